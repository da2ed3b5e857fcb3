//! The primitives of a backend with a fault.

use super::{BrokenDevice, Fault, hooks};
use crate::conformance::reference::Reference;
use mfm_core::tensor::{
    Binary, Compare, Element, Fused, OptimiserState, OptimiserStep, OptimiserUpdate, Pullback, Reduce, Segment, Transpose, Unary,
};
use mfm_core::{Device, Error, Operations, Result, Shape, Tensor};
use std::cell::RefCell;
use std::rc::Rc;

/// A tensor of a device with a fault.
#[derive(Clone, Debug)]
pub struct BrokenTensor {
    device: BrokenDevice,
    /// The values, in a cell, so that a fault can overwrite them under a handle that somebody holds.
    value: Rc<RefCell<Reference>>,
    /// What is read of a view by a fault that forgets its strides.
    stored: Option<Reference>,
}

impl BrokenTensor {
    pub(super) fn new(device: BrokenDevice, value: Reference) -> Self {
        Self { device, value: Rc::new(RefCell::new(value)), stored: None }
    }

    pub(super) fn value(&self) -> Reference {
        self.value.borrow().clone()
    }

    /// The values as `fault`, which forgets the strides, reads them.
    pub(super) fn value_by(&self, fault: Fault) -> Reference {
        self.stored.clone().filter(|_| self.is(fault)).unwrap_or_else(|| self.value())
    }

    pub(super) fn fault(&self) -> Fault {
        self.device.fault
    }

    fn is(&self, fault: Fault) -> bool {
        self.device.fault == fault
    }

    pub(super) fn wrap(&self, value: Result<Reference>) -> Result<Self> {
        Ok(self.device.own(value?))
    }

    /// A tensor of host values, made from the old ones.
    fn rebuilt(&self, shape: Shape, values: &[f64]) -> Result<Self> {
        self.wrap(self.device.judge.from_slice(values, shape))
    }
}

/// `x` with another number in place of each NaN.
pub(super) fn without_nan(x: &Reference, instead: f64) -> Result<Reference> {
    x.compare(Compare::Equal, x)?.select(x, &x.device().full(instead, Shape::SCALAR)?)
}

/// `x`, times one where `keep` holds along an axis, and times zero elsewhere.
fn masked(x: &Reference, axis: usize, keep: impl Fn(usize) -> bool) -> Result<Reference> {
    let mut axes = vec![1; x.shape().rank()];
    axes[axis] = x.shape().axis(axis)?;
    let mask: Vec<f64> = (0..axes[axis]).map(|i| f64::from(u8::from(keep(i)))).collect();
    x.mul(&x.device().from_slice(&mask, Shape::new(&axes)?)?)
}

/// `x` with eight bits of each number.
fn rounded(x: &Reference) -> Result<Reference> {
    let round = |value: f64| f64::from(f32::from_bits((value as f32).to_bits() & 0xffff_0000));
    x.device().from_slice(&x.values().into_iter().map(round).collect::<Vec<_>>(), x.shape())
}

impl Tensor for BrokenTensor {
    type Device = BrokenDevice;

    fn device(&self) -> BrokenDevice {
        self.device.clone()
    }

    fn shape(&self) -> Shape {
        self.value.borrow().shape()
    }

    fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        let values: Vec<f64> = self.value().to_vec()?;
        let change = |value: f64| match self.fault() {
            Fault::HostDropsSigns => value + 0.0,
            Fault::HostHalvesPrecision => f64::from(value as f32),
            _ => value,
        };
        Ok(values.into_iter().map(|value| E::from_f64(change(value))).collect())
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn to_working(&self) -> Result<Self> {
        self.wrap(if self.is(Fault::WorkingLosesSigns) { self.value().unary(Unary::Abs) } else { Ok(self.value()) })
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        let x = self.value();
        let y = match (self.fault(), op) {
            (Fault::TanhApproximate, Unary::Tanh) => {
                let square = x.square()?;
                x.mul(&square.shift(27.0)?)?.div(&square.scale(9.0)?.shift(27.0)?)
            }
            (Fault::SigmoidOverflows, Unary::Sigmoid) => x.exp()?.div(&x.exp()?.shift(1.0)?),
            (Fault::ScaleInSinglePrecision, Unary::Scale(c)) => x.unary(Unary::Scale(f64::from(c as f32))),
            (Fault::TanhClampsBlocks, Unary::Tanh) => {
                let body = x.values().len() / 8 * 8;
                let tanh = |(i, x): (usize, f64)| if i < body && x.is_nan() { -1.0 } else { x.tanh() };
                return self.rebuilt(x.shape(), &x.values().into_iter().enumerate().map(tanh).collect::<Vec<_>>());
            }
            (Fault::ScaleByZeroIsZero, Unary::Scale(0.0)) => x.zeros_like(),
            (Fault::NegSubtracts, Unary::Neg) => x.device().zeros(Shape::SCALAR)?.sub(&x),
            (Fault::StridesForgotten, _) => self.value_by(Fault::StridesForgotten).unary(op),
            _ => x.unary(op),
        }?;
        if self.is(Fault::UnaryInPlace) {
            self.value.replace(y.clone());
        }
        self.wrap(Ok(y))
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        if self.device.elsewhere != other.device.elsewhere {
            return Err(Error::DeviceMismatch { op: "binary" });
        }
        let (a, b) = (self.value(), other.value());
        self.wrap(if self.is(Fault::SubtractSwapped) && op == Binary::Sub { b.sub(&a) } else { a.binary(op, &b) })
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        let (a, b) = (self.value(), other.value());
        self.wrap(match (self.fault(), op) {
            (Fault::LessEqualIsLess, Compare::LessEqual) => a.compare(Compare::Less, &b),
            (Fault::NanEqualsNan, Compare::Equal) => {
                let differ = a.compare(Compare::Less, &b)?.add(&b.compare(Compare::Less, &a)?)?;
                differ.neg()?.shift(1.0)
            }
            _ => a.compare(op, &b),
        })
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        let (mask, yes, no) = (self.value(), yes.value(), no.value());
        if self.is(Fault::SelectMultiplies) {
            return self.wrap(mask.mul(&yes)?.add(&mask.neg()?.shift(1.0)?.mul(&no)?));
        }
        let mask = if self.is(Fault::SelectNanIsNo) { without_nan(&mask, 0.0)? } else { mask };
        self.wrap(mask.select(&yes, &no))
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        let x = self.value();
        let n = x.shape().axis(axis)?;
        self.wrap(match (self.fault(), op) {
            (Fault::SumDropsLast, Reduce::Sum) if n > 0 => x.slice(axis, 0, n - 1)?.reduce(op, axis),
            (Fault::SumDropsLastOfMany, Reduce::Sum) if n > 100_000 => x.slice(axis, 0, n - 1)?.reduce(op, axis),
            (Fault::SumInAnyOrder, Reduce::Sum) => {
                self.device.sums.set(self.device.sums.get() + 1);
                let rounding = if self.device.sums.get().is_multiple_of(7) { 1.0 + f64::EPSILON } else { 1.0 };
                x.reduce(op, axis)?.scale(rounding)
            }
            (Fault::MaxStartsAtZero, Reduce::Max) => {
                let zeros = x.slice(axis, 0, n.min(1))?.zeros_like()?;
                Reference::concat(&[&zeros, &x], axis)?.reduce(op, axis)
            }
            (Fault::EmptyMaxIsZero, Reduce::Max) if n == 0 => x.reduce(Reduce::Sum, axis),
            (Fault::MaxIgnoresNan, Reduce::Max) => without_nan(&x, f64::NEG_INFINITY)?.reduce(op, axis),
            (Fault::MaxIgnoresNanInBlocks, Reduce::Max) => {
                let body = n / 8 * 8;
                let blocks = without_nan(&x.slice(axis, 0, body)?, f64::NEG_INFINITY)?;
                Reference::concat(&[&blocks, &x.slice(axis, body, n - body)?], axis)?.reduce(op, axis)
            }
            (Fault::MaxCutsBlocks, Reduce::Max) if n > 1024 => x.slice(axis, 0, n / 256 * 256)?.reduce(op, axis),
            (Fault::SumInSinglePrecision, Reduce::Sum) if x.shape().rank() == 1 => {
                let sum = x.values().into_iter().fold(0.0f32, |sum, value| sum + value as f32);
                return self.rebuilt(Shape::new(&[1])?, &[f64::from(sum)]);
            }
            (Fault::SumSkipsNanOfLong, Reduce::Sum) if n > 4 => without_nan(&x, 0.0)?.reduce(op, axis),
            _ => x.reduce(op, axis),
        })
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        let x = self.value();
        if self.is(Fault::BroadcastGrows) {
            return self.wrap(x.broadcast(x.shape().broadcast(&shape, "broadcast")?));
        }
        let stretched = x.broadcast(shape)?;
        if self.is(Fault::BroadcastTiles) && !x.values().is_empty() {
            let tiled: Vec<f64> = x.values().into_iter().cycle().take(shape.elements()).collect();
            return self.rebuilt(shape, &tiled);
        }
        if self.is(Fault::BroadcastAddsZero) {
            return self.wrap(stretched.unary(Unary::Shift(0.0)));
        }
        let mut memory = x.values();
        memory.resize(shape.elements(), f64::NAN);
        let forgets = self.is(Fault::JvpForgetsStretch) || self.is(Fault::VjpForgetsStretch);
        let stored = forgets.then(|| x.device().from_slice(&memory, shape)).transpose()?;
        Ok(Self { stored, ..self.wrap(Ok(stretched))? })
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        let x = self.value();
        if self.is(Fault::ReshapeByColumns) {
            let reversed: Vec<usize> = (0..x.shape().rank()).rev().collect();
            return self.wrap(x.permute(&reversed)?.reshape(shape));
        }
        self.wrap(x.reshape(shape))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        let x = self.value();
        let turned = x.permute(axes)?;
        if self.is(Fault::PermuteInverts) {
            let inverse: Vec<usize> = (0..axes.len()).map(|i| axes.iter().position(|&axis| axis == i).unwrap_or(i)).collect();
            return self.wrap(x.permute(&inverse));
        }
        let stored = self.is(Fault::StridesForgotten).then(|| x.reshape(turned.shape())).transpose()?;
        Ok(Self { stored, ..self.wrap(Ok(turned))? })
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        let x = self.value();
        let n = x.shape().axis(axis)?;
        self.wrap(match self.fault() {
            Fault::SliceOffByOne if start > 0 && start < n && length < n - start => x.slice(axis, start + 1, length),
            Fault::SliceClamps => x.slice(axis, start.min(n), length.min(n - start.min(n))),
            _ => x.slice(axis, start, length),
        })
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        let [first, ..] = parts else { return Err(Error::Length { op: "concat", expected: 1, found: 0 }) };
        let mut values: Vec<Reference> = parts.iter().map(|part| part.value()).collect();
        match first.fault() {
            Fault::ConcatReverses => values.reverse(),
            Fault::ConcatForgetsNinth => values.iter_mut().skip(8).try_for_each(|value| value.zeros_like().map(|zeros| *value = zeros))?,
            Fault::ConcatLosesNan => values = values.iter().map(|value| without_nan(value, 0.0)).collect::<Result<_>>()?,
            Fault::ConcatWraps => {
                let lengths = values.iter().filter_map(|value| value.shape().axis(axis).ok());
                if let (total, true) =
                    lengths.fold((0usize, false), |(total, over), n| (total.wrapping_add(n), over || total.checked_add(n).is_none()))
                {
                    return first.wrap(first.value().device().zeros(first.shape().with_axis(axis, total)?));
                }
            }
            _ => {}
        }
        let mut joined = first.wrap(Reference::concat(&values.iter().collect::<Vec<_>>(), axis))?;
        joined.device.elsewhere |= first.is(Fault::ConcatElsewhere);
        Ok(joined)
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        let (a, b) = (self.value(), other.value());
        let square = matches!(b.shape().axes(), [.., rows, columns] if rows == columns);
        let batched = a.shape().rank() > 2 && a.shape().rank() == b.shape().rank();
        self.wrap(match self.fault() {
            Fault::MatMulIgnoresRight if square => a.matmul(&b, Transpose { right: false, ..transpose }),
            Fault::MatMulOneItem if batched && a.shape().batch() == b.shape().batch() && b.shape().batch() > 1 => {
                a.matmul(&b.slice(0, 0, 1)?, transpose)
            }
            Fault::MatMulCutsLong if a.shape().rank() == 2 && b.shape().rank() == 2 => {
                let cut = |x: &Reference, axis: usize| x.slice(axis, 0, x.shape().axis(axis)?.min(4096));
                cut(&a, usize::from(!transpose.left))?.matmul(&cut(&b, usize::from(transpose.right))?, transpose)
            }
            Fault::MatMulRoundsOperands => rounded(&a)?.matmul(&rounded(&b)?, transpose),
            Fault::MatMulSkipsZeros if a.shape().rank() == 2 && a.shape().axes()[usize::from(transpose.left)] == 1 => {
                // The line of one row is a list of factors, of which a zero is passed over.
                let keep: Vec<usize> = a.values().iter().enumerate().filter(|(_, value)| **value != 0.0).map(|(k, _)| k).collect();
                let along = |axis: bool| usize::from(axis);
                a.gather(along(!transpose.left), &keep)?.matmul(&b.gather(along(transpose.right), &keep)?, transpose)
            }
            _ => a.matmul(&b, transpose),
        })
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        let x = self.value();
        let n = x.shape().axis(axis)?;
        let mut index = index.to_vec();
        match self.fault() {
            Fault::GatherSorts => index.sort_unstable(),
            Fault::GatherClamps if n > 0 => index.iter_mut().for_each(|i| *i = (*i).min(n - 1)),
            Fault::GatherWraps => (1024..index.len()).for_each(|i| index[i] = index[i - 1024]),
            Fault::GatherCutsIndex => index.iter_mut().for_each(|i| *i &= 0xffff),
            Fault::GatherIsProduct if !index.is_empty() => {
                let entries = index.iter().map(|&i| masked(&x, axis, |k| k == i)?.reduce(Reduce::Sum, axis));
                let entries = entries.collect::<Result<Vec<_>>>()?;
                return self.wrap(Reference::concat(&entries.iter().collect::<Vec<_>>(), axis));
            }
            _ => {}
        }
        self.wrap(x.gather(axis, &index))
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        let x = self.value();
        let n = x.shape().axis(axis)?;
        match self.fault() {
            Fault::ScatterOverwrites => {
                let keep = |i: usize| index.get(i).is_some_and(|slot| !index[i + 1..].contains(slot));
                self.wrap(masked(&x, axis, keep)?.scatter_add(axis, index, length))
            }
            Fault::ScatterIsProduct if length > 0 && index.len() == n => {
                let slots = (0..length).map(|slot| masked(&x, axis, |k| index[k] == slot)?.reduce(Reduce::Sum, axis));
                let slots = slots.collect::<Result<Vec<_>>>()?;
                self.wrap(Reference::concat(&slots.iter().collect::<Vec<_>>(), axis))
            }
            Fault::ScatterTruncates if index.len() > n => self.wrap(x.scatter_add(axis, &index[..n], length)),
            _ => self.wrap(x.scatter_add(axis, index, length)),
        }
    }

    fn recompute<S: Segment>(segment: &S, inputs: &[Self]) -> Result<Self> {
        let output = segment.run(inputs)?;
        if output.is(Fault::RecomputeIsZero) { output.zeros_like() } else { Ok(output) }
    }

    fn optimise(step: &OptimiserStep, state: &OptimiserState<Self>, gradient: &Self) -> Result<OptimiserUpdate<Self>> {
        match state.parameters.fault() {
            Fault::OptimiserAveragesBefore => {
                let (d, old) = (step.average_decay, &state.parameters);
                let average =
                    state.average.as_ref().map(|average| Self::linear_combination(&[(d, average), (1.0 - d, old)])).transpose()?;
                let next = step.composed(state, gradient)?;
                Ok(OptimiserUpdate { state: OptimiserState { average, ..next.state }, ..next })
            }
            Fault::OptimiserForgetsEpsilon => OptimiserStep { epsilon: step.epsilon.map(|_| 0.0), ..*step }.composed(state, gradient),
            Fault::PreciseRounds => {
                let next = step.composed(state, gradient)?.state;
                let rounded: Vec<f64> = next.parameters.to_vec::<f64>()?.into_iter().map(|value| (value * 256.0).round() / 256.0).collect();
                OptimiserState { parameters: next.parameters.rebuilt(next.parameters.shape(), &rounded)?, ..next }.into_update()
            }
            Fault::OptimiserRoundsFactors => {
                let round = |factor: f64| f64::from(factor as f32);
                let (first_decay, second_decay) = (round(step.first_decay), round(step.second_decay));
                OptimiserStep { first_decay, second_decay, ..*step }.composed(state, gradient)
            }
            Fault::OptimiserInPlace => {
                let next = step.composed(state, gradient)?;
                state.second.value.replace(next.state.second.value());
                Ok(next)
            }
            Fault::OptimiserWorksWithOld => {
                Ok(OptimiserUpdate { working: state.parameters.to_working()?, ..step.composed(state, gradient)? })
            }
            Fault::OptimiserSumsOld => Ok(OptimiserUpdate { sum: state.parameters.sum_all()?, ..step.composed(state, gradient)? }),
            _ => step.composed(state, gradient),
        }
    }

    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        hooks::value(op, inputs)
    }

    fn fused_vjp(op: &Fused, inputs: &[&Self], needed: &[bool]) -> Result<Option<(Self, Pullback<Self>)>> {
        hooks::vjp(op, inputs, needed)
    }

    fn fused_jvp(op: &Fused, inputs: &[&Self], tangents: &[Option<&Self>]) -> Result<Option<(Self, Self)>> {
        hooks::jvp(op, inputs, tangents)
    }
}
