//! Element-wise operations on any strides.

use crate::abi::{BinaryArgs, CombineArgs, SelectArgs, UnaryArgs};
use crate::kernels::{BINARY, COMBINE, SELECT, UNARY};
use crate::space::Axes;
use crate::tensor::{ABSENT, CudaTensor, one_device};
use mfm_core::tensor::{Binary, Compare, MAX_TERMS, Unary};
use mfm_core::{Layout, Result, Shape, Tensor};

/// The number of an operation, and its constant.
fn number_of(op: Unary) -> (i32, f64) {
    match op {
        Unary::Neg => (0, 0.0),
        Unary::Abs => (1, 0.0),
        Unary::Exp => (2, 0.0),
        Unary::Log => (3, 0.0),
        Unary::Sqrt => (4, 0.0),
        Unary::Recip => (5, 0.0),
        Unary::Square => (6, 0.0),
        Unary::Sin => (7, 0.0),
        Unary::Cos => (8, 0.0),
        Unary::Tanh => (9, 0.0),
        Unary::Sigmoid => (10, 0.0),
        Unary::Scale(constant) => (11, constant),
        Unary::Shift(constant) => (12, constant),
    }
}

/// How the result of an element-wise operation on operands of one layout lies: as they do, if they fill a range of their buffers (so that a
/// permuted operand is read in order, and a constant is one number); else in row-major order. With the shape that the kernel goes through.
fn result_layout(layout: &Layout) -> (Layout, Shape, Layout) {
    let range = layout.range();
    let flat = Shape::new(&[range.len()]).ok().filter(|_| layout.is_dense() && !range.is_empty());
    match flat {
        Some(flat) => {
            let run = Layout { offset: layout.offset, ..Layout::contiguous(flat) };
            (Layout { offset: 0, ..*layout }, flat, run)
        }
        None => (Layout::contiguous(layout.shape), layout.shape, *layout),
    }
}

/// As [`mfm_core::Tensor::unary`].
pub(crate) fn unary(x: &CudaTensor, op: Unary) -> Result<CudaTensor> {
    let (result, shape, layout) = result_layout(x.layout());
    let elements = shape.elements();
    let buffer = x.home().elements("unary", elements)?;
    if elements > 0 {
        let (axes, _) = Axes::new(shape, [&layout], None);
        let (op, constant) = number_of(op);
        let view = axes.view(0, x.address());
        let arguments = UnaryArgs { space: axes.space(), x: view, out: buffer.address(), constant: constant as f32, op };
        x.home().launch_over("unary", UNARY, elements, &arguments)?;
    }
    Ok(CudaTensor::new(buffer, shape).view(result))
}

/// As [`mfm_core::Tensor::binary`].
pub(crate) fn binary(a: &CudaTensor, op: Binary, b: &CudaTensor) -> Result<CudaTensor> {
    let (name, number) = match op {
        Binary::Add => ("add", 0),
        Binary::Sub => ("sub", 1),
        Binary::Mul => ("mul", 2),
        Binary::Div => ("div", 3),
    };
    pairwise(name, a, number, b)
}

/// As [`mfm_core::Tensor::compare`].
pub(crate) fn compare(a: &CudaTensor, op: Compare, b: &CudaTensor) -> Result<CudaTensor> {
    let number = match op {
        Compare::Equal => 4,
        Compare::Less => 5,
        Compare::LessEqual => 6,
    };
    pairwise("compare", a, number, b)
}

fn pairwise(name: &'static str, a: &CudaTensor, op: i32, b: &CudaTensor) -> Result<CudaTensor> {
    let shape = a.shape().broadcast(&b.shape(), name)?;
    one_device(name, &[a, b])?;
    let (left, right) = (a.stretched_layout(name, shape)?, b.stretched_layout(name, shape)?);
    let alike = left.strides == right.strides;
    let (result, shape, run) = if alike { result_layout(&left) } else { (Layout::contiguous(shape), shape, left) };
    let (left, right) = if alike { (run, run) } else { (left, right) };
    let elements = shape.elements();
    let buffer = a.home().elements(name, elements)?;
    if elements > 0 {
        let (axes, _) = Axes::new(shape, [&left, &right], None);
        let (x, y) = (axes.view(0, a.address()), axes.view(1, b.address()));
        let arguments = BinaryArgs { space: axes.space(), a: x, b: y, out: buffer.address(), op, reserved: 0 };
        a.home().launch_over(name, BINARY, elements, &arguments)?;
    }
    Ok(CudaTensor::new(buffer, shape).view(result))
}

/// As [`mfm_core::Tensor::select`].
pub(crate) fn select(mask: &CudaTensor, yes: &CudaTensor, no: &CudaTensor) -> Result<CudaTensor> {
    let name = "select";
    let shape = mask.shape().broadcast(&yes.shape(), name)?.broadcast(&no.shape(), name)?;
    one_device(name, &[mask, yes, no])?;
    let [mask, yes, no] = [mask.stretched(name, shape)?, yes.stretched(name, shape)?, no.stretched(name, shape)?];
    let elements = shape.elements();
    let buffer = mask.home().elements(name, elements)?;
    if elements > 0 {
        let (axes, _) = Axes::new(shape, [mask.layout(), yes.layout(), no.layout()], None);
        let arguments = SelectArgs {
            space: axes.space(),
            mask: axes.view(0, mask.address()),
            yes: axes.view(1, yes.address()),
            no: axes.view(2, no.address()),
            out: buffer.address(),
        };
        mask.home().launch_over(name, SELECT, elements, &arguments)?;
    }
    Ok(CudaTensor::new(buffer, shape))
}

/// Σ cᵢ xᵢ of one to [`MAX_TERMS`] operands that broadcast to `shape`.
pub(crate) fn combine(terms: &[(f64, &CudaTensor)], shape: Shape) -> Result<Option<CudaTensor>> {
    let name = "linear_combination";
    let Some((_, first)) = terms.first() else { return Ok(None) };
    let operands = terms.iter().map(|(_, x)| x.stretched(name, shape)).collect::<Result<Vec<_>>>()?;
    let elements = shape.elements();
    let buffer = first.home().elements(name, elements)?;
    if elements > 0 {
        let layouts: [&Layout; MAX_TERMS] = core::array::from_fn(|k| operands.get(k).unwrap_or(&operands[0]).layout());
        let (axes, _) = Axes::new(shape, layouts, None);
        let arguments = CombineArgs {
            space: axes.space(),
            x: core::array::from_fn(|k| operands.get(k).map_or(ABSENT, |x| axes.view(k, x.address()))),
            out: buffer.address(),
            factor: core::array::from_fn(|k| terms.get(k).map_or(0.0, |(factor, _)| *factor as f32)),
            terms: terms.len() as i32,
            reserved: 0,
        };
        first.home().launch_over(name, COMBINE, elements, &arguments)?;
    }
    Ok(Some(CudaTensor::new(buffer, shape)))
}
