//! Reductions along an axis, in an order that depends on shapes only.

use crate::abi::{Address, ReduceArgs, Space, View};
use crate::device::CudaDevice;
use crate::kernels::{Grid, REDUCE_COLUMNS, REDUCE_ROWS, Suffix};
use crate::options::Storage;
use crate::space::Axes;
use crate::tensor::CudaTensor;
use mfm_core::tensor::Reduce;
use mfm_core::{Device, Error, Layout, Result, Shape, Tensor};

/// What is added up, or compared, as `abi.h` numbers it.
const SUM: i32 = 0;
const MAX: i32 = 1;
const SQUARES: i32 = 2;
/// Blocks that keep a GPU busy.
const BUSY: usize = 512;
/// Entries that a block at least takes of a long axis that is cut: of one row, or of each of its columns.
const ROW_RUN: usize = 4096;
const COLUMN_RUN: usize = 64;

/// The blocks across `outputs` columns whose entries are `stride` apart: a warp takes 32 columns, or 32 vectors of them.
fn blocks_across(storage: Storage, outputs: usize, stride: usize) -> usize {
    let lanes = storage.lanes();
    let vectors = outputs.is_multiple_of(lanes) && stride.is_multiple_of(lanes);
    (if vectors { outputs / lanes } else { outputs }).div_ceil(32)
}

/// As [`mfm_core::Tensor::reduce`].
pub(crate) fn reduce(x: &CudaTensor, op: Reduce, axis: usize) -> Result<CudaTensor> {
    let (name, number, empty) = match op {
        Reduce::Sum => ("sum", SUM, 0.0),
        Reduce::Max => ("max", MAX, f64::NEG_INFINITY),
    };
    let shape = x.shape();
    let length = *shape.axes().get(axis).ok_or(Error::Axis { op: name, axis, shape })?;
    let result = shape.with_axis(axis, 1)?;
    if length == 0 {
        return x.home().full(empty, result);
    }
    if length == 1 {
        return Ok(x.clone());
    }
    let out = CudaTensor::new(x.home().elements(name, result.elements())?, result);
    if result.elements() > 0 {
        reduce_into(name, number, x, axis, &out)?;
    }
    Ok(out)
}

/// Σ x² over the rows of a matrix that is not empty: a vector.
pub(crate) fn sum_of_squares(x: &CudaTensor) -> Result<CudaTensor> {
    let x = x.contiguous()?;
    let result = Shape::new(&[x.shape().batch(), 1])?;
    let out = CudaTensor::new(x.home().elements("square_norm", result.elements())?, result);
    reduce_into("square_norm", SQUARES, &x, 1, &out)?;
    out.reshape(Shape::new(&[result.batch()])?)
}

/// Writes the sums or maxima of `x` along `axis`, neither of which is empty.
fn reduce_into(name: &'static str, op: i32, x: &CudaTensor, axis: usize, out: &CudaTensor) -> Result<()> {
    let (device, result, length) = (x.home(), out.shape(), x.shape().axis(axis)?);
    let outputs = result.elements();
    let stride = x.layout().strides[axis];
    let (axes, _) = Axes::new(result, [&Layout { shape: result, ..*x.layout() }], None);
    let pass = Pass { name, length, stride, op };
    // Neighbouring threads should read neighbouring elements; squares are added up along rows alone.
    let by_rows = stride == 1 || outputs == 1 || op == SQUARES;
    let storage = device.storage();
    let parts = if by_rows {
        (BUSY / outputs).clamp(1, length.div_ceil(ROW_RUN))
    } else {
        (BUSY / blocks_across(storage, outputs, stride)).clamp(1, length.div_ceil(COLUMN_RUN))
    };
    let from = axes.view(0, x.address());
    if parts == 1 {
        return pass.launch(device, by_rows, (axes.space(), from), out.address(), 1, (storage, storage));
    }
    // Parts in f32, then their sum or maximum.
    let partial = device.buffer(name, parts * outputs * 4)?;
    pass.launch(device, by_rows, (axes.space(), from), partial.address(), parts, (storage, Storage::F32))?;
    join(name, device, if op == MAX { MAX } else { SUM }, (partial.address(), (parts, outputs)), out)
}

/// Σ over `parts` vectors in f32 that begin `apart` numbers from one another, of their first `outputs`: a vector in the device's type.
pub(crate) fn sum_of_parts(device: &CudaDevice, from: Address, (parts, apart): (usize, usize), outputs: usize) -> Result<CudaTensor> {
    let shape = Shape::new(&[outputs])?;
    let out = CudaTensor::new(device.elements("sum", outputs)?, shape);
    join("sum", device, SUM, (from, (parts, apart)), &out)?;
    Ok(out)
}

/// Writes the sum or maximum of parts that are a stride apart; many of them by runs.
fn join(name: &'static str, device: &CudaDevice, op: i32, parts: (Address, (usize, usize)), out: &CudaTensor) -> Result<()> {
    let (from, (parts, apart)) = parts;
    let outputs = out.shape().elements();
    let runs = parts.div_ceil(COLUMN_RUN).min(BUSY);
    let partial = if parts > BUSY { Some(device.buffer(name, runs * outputs * 4)?) } else { None };
    let (axes, _) = Axes::new(out.shape(), [out.layout()], None);
    let pass = Pass { name, length: parts, stride: apart, op };
    let from = (axes.space(), axes.view(0, from));
    match partial {
        None => pass.launch(device, outputs == 1, from, out.address(), 1, (Storage::F32, device.storage())),
        Some(partial) => {
            pass.launch(device, outputs == 1, from, partial.address(), runs, (Storage::F32, Storage::F32))?;
            join(name, device, op, (partial.address(), (runs, outputs)), out)
        }
    }
}

struct Pass {
    name: &'static str,
    length: usize,
    stride: usize,
    op: i32,
}

impl Pass {
    fn launch(
        &self,
        device: &CudaDevice,
        by_rows: bool,
        (space, x): (Space, View),
        out: Address,
        parts: usize,
        (from, to): (Storage, Storage),
    ) -> Result<()> {
        let outputs = space.elements as usize;
        let (length, stride) = (self.length as i64, self.stride as i64);
        let arguments = ReduceArgs { space, x, length, stride, out, op: self.op, parts: parts as i32 };
        let (kernel, grid) = if by_rows {
            (REDUCE_ROWS, Grid::new([outputs, parts, 1], Grid::row_threads(self.length.div_ceil(parts))))
        } else {
            (REDUCE_COLUMNS, Grid::new([blocks_across(from, outputs, self.stride), parts, 1], 256))
        };
        device.launch(self.name, kernel, Suffix::FromTo(from, to), grid, &arguments)
    }
}
