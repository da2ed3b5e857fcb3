//! Batched matrix products: by cuBLASLt where it is there and takes the operands, by a plain kernel otherwise.

use crate::abi::GemmArgs;
use crate::epilogue::Epilogue;
use crate::kernels::{GEMM, Grid, Suffix};
use crate::space::Axes;
use crate::tensor::{CudaTensor, one_device};
use mfm_core::tensor::Transpose;
use mfm_core::{Device, Error, Layout, MAX_RANK, Result, Shape, Tensor};

/// One operand: a stack of matrices, rows × columns after transposition, with the distances between neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub batch: Layout,
    pub rows: usize,
    pub columns: usize,
    pub row: usize,
    pub column: usize,
}

impl Stack {
    fn new(layout: &Layout, transpose: bool) -> Result<Self> {
        let axes = layout.shape.axes();
        let lead = axes.len() - 2;
        let batch = Layout { shape: Shape::new(&axes[..lead])?, ..*layout };
        let (i, j) = if transpose { (lead + 1, lead) } else { (lead, lead + 1) };
        Ok(Self { batch, rows: axes[i], columns: axes[j], row: layout.strides[i], column: layout.strides[j] })
    }
}

/// As [`mfm_core::Tensor::matmul`].
pub(crate) fn matmul(a: &CudaTensor, b: &CudaTensor, transpose: Transpose) -> Result<CudaTensor> {
    product(a, b, transpose, Epilogue::None).map(|(product, _)| product)
}

/// The product with the epilogue `wanted`, or what cuBLASLt offers of it, and which that was.
pub(crate) fn product(a: &CudaTensor, b: &CudaTensor, transpose: Transpose, wanted: Epilogue) -> Result<(CudaTensor, Epilogue)> {
    let mismatch = Error::Shape { op: "matmul", left: a.shape(), right: b.shape() };
    if let Some(x) = [a, b].into_iter().find(|x| x.shape().rank() < 2) {
        return Err(Error::Rank { op: "matmul", rank: x.shape().rank() });
    }
    one_device("matmul", &[a, b])?;
    let mut left = Stack::new(a.layout(), transpose.left)?;
    let mut right = Stack::new(b.layout(), transpose.right)?;
    if left.columns != right.rows {
        return Err(mismatch);
    }
    let mut batch = left.batch.shape.broadcast(&right.batch.shape, "matmul").map_err(|_| mismatch)?;
    let (m, n, k) = (left.rows, right.columns, left.columns);
    let mut lengths = [0; MAX_RANK];
    let rank = batch.rank() + 2;
    lengths[..batch.rank()].copy_from_slice(batch.axes());
    (lengths[rank - 2], lengths[rank - 1]) = (m, n);
    let shape = Shape::new(&lengths[..rank])?;
    if k == 0 {
        return Ok((a.home().zeros(shape)?, Epilogue::None));
    }
    let out = CudaTensor::new(a.home().elements("matmul", shape.elements())?, shape);
    if shape.elements() == 0 {
        return Ok((out, Epilogue::None));
    }
    // A batch of left operands on one right operand is one product of more rows.
    let flat = Shape::new(&[batch.elements() * m, k])?;
    let one = right.batch.shape.elements() == 1 && !transpose.left && left.batch.shape.elements() == batch.elements();
    if let Some(layout) = a.layout().reshape(flat).filter(|_| one) {
        left = Stack::new(&layout, false)?;
        right.batch = Layout { offset: right.batch.offset, ..Layout::contiguous(Shape::SCALAR) };
        batch = Shape::SCALAR;
    }
    left.batch = left.batch.broadcast(batch).ok_or(mismatch)?;
    right.batch = right.batch.broadcast(batch).ok_or(mismatch)?;
    let done = multiply((a, &left), (b, &right), wanted, out.address())?;
    Ok((out, done))
}

/// Writes the products of two stacks of one batch shape, without an empty axis, one after another in row-major order. Says which epilogue was done.
fn multiply((a, left): (&CudaTensor, &Stack), (b, right): (&CudaTensor, &Stack), wanted: Epilogue, out: u64) -> Result<Epilogue> {
    let device = a.home();
    if let Some(products) = device.products()
        && let Some(done) = products.multiply(device, (a.address(), left), (b.address(), right), wanted, out)?
    {
        return Ok(done);
    }
    let batch = left.batch.shape;
    let (axes, _) = Axes::new(batch, [&left.batch, &right.batch], None);
    let (m, n, k) = (left.rows, right.columns, left.columns);
    let arguments = GemmArgs {
        batch: axes.space(),
        a: axes.view(0, a.address()),
        b: axes.view(1, b.address()),
        m: m as i64,
        n: n as i64,
        k: k as i64,
        a_row: left.row as i64,
        a_column: left.column as i64,
        b_row: right.row as i64,
        b_column: right.column as i64,
        out,
    };
    let grid = Grid::new([n.div_ceil(64), m.div_ceil(64), batch.elements()], 256);
    device.launch("matmul", GEMM, Suffix::Of(device.storage()), grid, &arguments)?;
    Ok(Epilogue::None)
}
