//! The one trait that every backend implements and every formula is written over.
//!
//! [`Tensor`] holds the required primitives and the fused hooks; [`Operations`] is everything composed from them.

mod device;
mod element;
mod fused;
mod operations;
mod optimiser;

pub use device::Device;
pub use element::Element;
pub use fused::{Activation, Fused, MAX_INPUTS, MAX_LAYERS, MAX_TERMS, Pullback};
pub use operations::{Operations, sum_to};
pub use optimiser::{OptimiserState, OptimiserStep, OptimiserUpdate};

use crate::error::{Error, Result};
use crate::shape::Shape;
use alloc::vec::Vec;
use core::fmt::Debug;

/// An element-wise function of one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// −x: the sign bit, flipped, of 0 and ∞ too
    Neg,
    /// |x|: the sign bit, cleared; with derivative 0 at 0
    Abs,
    /// eˣ
    Exp,
    /// ln x
    Log,
    /// √x
    Sqrt,
    /// 1/x
    Recip,
    /// x²
    Square,
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// tanh x
    Tanh,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// c x, also for c = 0, where NaN and ∞ give NaN. A c beyond the device's range may be taken for ∞ there, and one below it for 0.
    Scale(f64),
    /// x + c, with c as for [`Scale`](Self::Scale)
    Shift(f64),
}

/// An element-wise function of two operands, which broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a b
    Mul,
    /// a/b
    Div,
}

/// An element-wise comparison: 1 where it holds, 0 elsewhere (so also where an operand is NaN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// a = b
    Equal,
    /// a < b
    Less,
    /// a ≤ b
    LessEqual,
}

/// A reduction along one axis, which stays with length one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Σ (0 over an empty axis)
    Sum,
    /// The maximum (NaN if there is one, −∞ over an empty axis); its derivative is shared equally among ties.
    Max,
}

/// Which operands of a matrix product are transposed in their last two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Transpose {
    /// The left operand is given as [.., k, m].
    pub left: bool,
    /// The right operand is given as [.., n, k].
    pub right: bool,
}

impl Transpose {
    /// Neither operand.
    pub const NONE: Self = Self { left: false, right: false };
    /// The left one only.
    pub const LEFT: Self = Self { left: true, right: false };
    /// The right one only.
    pub const RIGHT: Self = Self { left: false, right: true };
}

/// A part of a computation over any tensor, which can be run again: the same inputs give the same output.
pub trait Segment: Clone + 'static {
    /// The output, of the inputs alone.
    ///
    /// # Errors
    /// Those of the operations it is made of.
    fn run<T: Tensor>(&self, inputs: &[T]) -> Result<T>;
}

/// An immutable array of real numbers on a device: a handle that is cheap to clone.
///
/// The primitives are closed under both derivatives, so [`Dual`](crate::autodiff::Dual) and
/// [`Var`](crate::autodiff::Var) implement this trait over any `T: Tensor`, and nest.
/// Precision is the device's own business; host values pass as any [`Element`].
/// On an asynchronous device an error may surface only at [`Device::sync`] or [`to_vec`](Self::to_vec).
///
/// What every backend does besides:
///
/// - The same work on the same values gives the same bits each time, in values and in gradients, so that a resumed run goes on exactly.
///   Every sum has one order: none is made by atomic additions in the order in which threads happen to come.
/// - The values of a tensor never change while a handle to it lives.
/// - What only moves numbers keeps each as it is, bit for bit, NaN as a NaN: `detach`, `broadcast`, `reshape`, `permute`, `slice`, `split`, `concat`, `gather`,
///   and `select`. So −0 keeps its sign there; after arithmetic, a zero may have either.
/// - NaN goes through every function, sum and product that it enters, and into no other: an entry that is not gathered, or lands elsewhere, adds nothing.
/// - What does not fit is one of the errors named below, never a panic; a result with more elements than can be addressed is
///   [`Error::TooLarge`], and one for which there is no room [`Error::OutOfMemory`].
/// - The operands of one operation live on one device. Where each device has memory of its own, operands of two are
///   [`Error::DeviceMismatch`] (CUDA: of two handles that are no clones of one another). Where all share one memory (the CPU) they may be
///   mixed; the result lives where the first operand does.
pub trait Tensor: Clone + Debug + Sized + 'static {
    /// The device on which tensors of this type live.
    type Device: Device<Tensor = Self>;

    /// How many derivatives are being taken: 0 for a backend's own tensor, one more for each decorator.
    const DERIVATIVES: usize = 0;

    /// The tensor's device.
    fn device(&self) -> Self::Device;

    /// The tensor's shape.
    fn shape(&self) -> Shape;

    /// The values, in row-major order, on the host.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn to_vec<E: Element>(&self) -> Result<Vec<E>>;

    /// The same values as a constant, without any derivative.
    fn detach(&self) -> Self;

    /// The same values as [`Device::precise`] keeps them; no value changes.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn to_precise(&self) -> Result<Self> {
        Ok(self.clone())
    }

    /// The same values as the device keeps them that [`Device::precise`] was asked of, rounded to that; undoes [`to_precise`](Self::to_precise).
    ///
    /// # Errors
    /// Whatever the device reports.
    fn to_working(&self) -> Result<Self> {
        Ok(self.clone())
    }

    /// Whether a derivative is being taken through this tensor.
    fn is_tracked(&self) -> bool {
        false
    }

    /// `op` of every element.
    ///
    /// # Errors
    /// Whatever the device reports; an argument outside the function's domain gives NaN or infinity, as IEEE 754 has it.
    fn unary(&self, op: Unary) -> Result<Self>;

    /// `op` of every pair of elements.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not broadcast, [`Error::TooLarge`] if the result would have more elements than can be addressed, as that of
    /// empty operands may.
    fn binary(&self, op: Binary, other: &Self) -> Result<Self>;

    /// 1 where `op` holds for the pair, else 0; never tracked.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not broadcast, [`Error::TooLarge`] if the result would have more elements than can be addressed, as that of
    /// empty operands may.
    fn compare(&self, op: Compare, other: &Self) -> Result<Self>;

    /// `yes` where `self` is not zero, else `no`; all three broadcast. NaN is not zero, −0 is. An operand that is not selected contributes nothing,
    /// to the value or to a derivative, even where it is NaN.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not broadcast, [`Error::TooLarge`] if the result would have more elements than can be addressed, as that of
    /// empty operands may.
    fn select(&self, yes: &Self, no: &Self) -> Result<Self>;

    /// `op` along `axis`, which stays with length one.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis.
    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self>;

    /// The tensor stretched to `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `self` broadcasts to exactly `shape`.
    fn broadcast(&self, shape: Shape) -> Result<Self>;

    /// The same elements in row-major order under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs.
    fn reshape(&self, shape: Shape) -> Result<Self>;

    /// The axes in another order: axis i of the result is axis `axes[i]` of `self`.
    ///
    /// # Errors
    /// [`Error::Axis`] or [`Error::Length`] unless `axes` is a permutation.
    fn permute(&self, axes: &[usize]) -> Result<Self>;

    /// The elements `start .. start + length` along `axis`.
    ///
    /// # Errors
    /// [`Error::Axis`] if the range leaves the axis.
    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self>;

    /// The parts one after another along `axis`.
    ///
    /// # Errors
    /// [`Error::Axis`] (or [`Error::Shape`]) if there is no such axis, [`Error::Shape`] if they differ in another one, [`Error::Length`] if
    /// there are no parts, [`Error::TooLarge`] if the whole would have more elements than can be addressed.
    fn concat(parts: &[&Self], axis: usize) -> Result<Self>;

    /// The matrix product over the last two axes, [.., m, k] × [.., k, n] → [.., m, n]; the leading axes broadcast.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit, or [`Error::Rank`] for an operand of fewer than two axes, [`Error::TooLarge`] if the result would
    /// have more elements than can be addressed, as that of two empty operands may.
    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self>;

    /// The entries `index` along `axis`, in that order.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis, [`Error::Index`] if an index lies outside it, [`Error::TooLarge`] if the result would
    /// have more elements than can be addressed.
    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self>;

    /// The transpose of [`gather`](Self::gather): zeros of `length` along `axis`, to which entry i of `self` is added at `index[i]`.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis, [`Error::Length`] unless there is one index for each entry, [`Error::Index`] if an index
    /// is not below `length`, [`Error::TooLarge`] if the result would have more elements than can be addressed.
    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self>;

    /// The whole in parts of these `lengths` along `axis`: part i holds the entries from ℓ₀ + … + ℓᵢ₋₁ on, ℓᵢ of them, as
    /// [`slice`](Self::slice) gives them. [`concat`](Self::concat) undoes it, and so pulls back the cotangents of all parts at once, which
    /// slices one by one do not.
    ///
    /// # Errors
    /// [`Error::Axis`] if there is no such axis, [`Error::Length`] unless the lengths add up to
    /// the axis.
    fn split(&self, axis: usize, lengths: &[usize]) -> Result<Vec<Self>> {
        let shape = self.shape();
        let whole = *shape.axes().get(axis).ok_or(Error::Axis { op: "split", axis, shape })?;
        let total = lengths.iter().fold(0usize, |sum, &length| sum.saturating_add(length));
        if total != whole {
            return Err(Error::Length { op: "split", expected: whole, found: total });
        }
        let mut start = 0;
        let part = |&length: &usize| {
            let part = self.slice(axis, start, length)?;
            start += length;
            Ok(part)
        };
        lengths.iter().map(part).collect()
    }

    /// `segment` of `inputs`. Reverse differentiation keeps nothing of it but the inputs, and runs it again when it is pulled back: memory for
    /// time.
    ///
    /// # Errors
    /// Those of the segment.
    fn recompute<S: Segment>(segment: &S, inputs: &[Self]) -> Result<Self> {
        segment.run(inputs)
    }

    /// One step of an optimiser. Call [`OptimiserStep::apply`], which checks the shapes; a backend with a kernel for all of it overrides this, and one
    /// with a [`Device::precise`] of its own takes a precise state with a gradient that is not.
    ///
    /// # Errors
    /// As the composed body.
    fn optimise(step: &OptimiserStep, state: &OptimiserState<Self>, gradient: &Self) -> Result<OptimiserUpdate<Self>> {
        step.composed(state, gradient)
    }

    /// A native kernel for `op`, or `None` for the composed body: for operations without a kernel, and for operands that the kernel does not
    /// take, right or wrong. Call [`Fused::apply`], which chooses.
    ///
    /// # Errors
    /// As the composed body.
    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        let _ = (op, inputs);
        Ok(None)
    }

    /// A native kernel for `op` with its vector–Jacobian product, or `None` as for [`fused`](Self::fused); the residuals stay inside the
    /// closure ([`Pullback`]). `needed` says for which inputs a cotangent will be asked.
    ///
    /// # Errors
    /// As the composed body.
    fn fused_vjp(op: &Fused, inputs: &[&Self], needed: &[bool]) -> Result<Option<(Self, Pullback<Self>)>> {
        let _ = (op, inputs, needed);
        Ok(None)
    }

    /// A native kernel for `op` with its Jacobian–vector product, or `None` as for [`fused`](Self::fused). Each tangent has its input's shape, a
    /// missing one is zero, and at least one is there; the tangent of the output has the output's shape.
    ///
    /// # Errors
    /// As the composed body.
    fn fused_jvp(op: &Fused, inputs: &[&Self], tangents: &[Option<&Self>]) -> Result<Option<(Self, Self)>> {
        let _ = (op, inputs, tangents);
        Ok(None)
    }
}
