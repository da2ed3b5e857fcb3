//! The primitives of a backend with a fault.

use super::{BrokenDevice, Fault, hooks};
use crate::conformance::reference::Reference;
use mfm_core::tensor::{Binary, Compare, Element, Fused, OptimiserState, OptimiserStep, Pullback, Reduce, Transpose, Unary};
use mfm_core::{Device, Operations, Result, Shape, Tensor};
use std::cell::RefCell;
use std::rc::Rc;

/// A tensor of a device with a fault.
#[derive(Clone, Debug)]
pub struct BrokenTensor {
    device: BrokenDevice,
    /// The values, in a cell, so that a fault can overwrite them under a handle that somebody holds.
    value: Rc<RefCell<Reference>>,
    /// The values of a view in the order of its memory, for a fault that forgets the strides.
    stored: Option<Reference>,
}

impl BrokenTensor {
    pub(super) fn new(device: BrokenDevice, value: Reference) -> Self {
        Self { device, value: Rc::new(RefCell::new(value)), stored: None }
    }

    pub(super) fn value(&self) -> Reference {
        self.value.borrow().clone()
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
            (Fault::StridesForgotten, _) => self.stored.as_ref().unwrap_or(&x).unary(op),
            _ => x.unary(op),
        }?;
        if self.is(Fault::UnaryInPlace) {
            self.value.replace(y.clone());
        }
        self.wrap(Ok(y))
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
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
        self.wrap(mask.select(&yes, &no))
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        let x = self.value();
        let n = x.shape().axis(axis)?;
        self.wrap(match (self.fault(), op) {
            (Fault::SumDropsLast, Reduce::Sum) if n > 0 => x.slice(axis, 0, n - 1)?.reduce(op, axis),
            (Fault::SumDropsLastOfMany, Reduce::Sum) if n > 10_000 => x.slice(axis, 0, n - 1)?.reduce(op, axis),
            (Fault::SumInAnyOrder, Reduce::Sum) => {
                self.device.sums.set(self.device.sums.get() + 1);
                let rounding = if self.device.sums.get().is_multiple_of(7) { 1.0 + f64::EPSILON } else { 1.0 };
                x.reduce(op, axis)?.scale(rounding)
            }
            (Fault::MaxStartsAtZero, Reduce::Max) => x.reduce(op, axis)?.maximum(&x.device().zeros(Shape::SCALAR)?),
            (Fault::EmptyMaxIsZero, Reduce::Max) if n == 0 => x.reduce(Reduce::Sum, axis),
            (Fault::MaxIgnoresNan, Reduce::Max) => {
                let lowest = x.device().full(f64::NEG_INFINITY, Shape::SCALAR)?;
                x.compare(Compare::Equal, &x)?.select(&x, &lowest)?.reduce(op, axis)
            }
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
        self.wrap(Ok(stretched))
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
        let stored = Some(x.reshape(turned.shape())?);
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
        let mut values: Vec<Reference> = parts.iter().map(|part| part.value()).collect();
        if parts.first().is_some_and(|first| first.is(Fault::ConcatReverses)) {
            values.reverse();
        }
        let joined = Reference::concat(&values.iter().collect::<Vec<_>>(), axis)?;
        match parts.first() {
            Some(first) => first.wrap(Ok(joined)),
            None => Err(mfm_core::Error::Length { op: "concat", expected: 1, found: 0 }),
        }
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
                let mask: Vec<f64> = (0..n).map(|i| f64::from(u8::from(keep(i)))).collect();
                let mut axes = vec![1; x.shape().rank()];
                axes[axis] = n;
                let mask = x.device().from_slice(&mask, Shape::new(&axes)?)?;
                self.wrap(x.mul(&mask)?.scatter_add(axis, index, length))
            }
            Fault::ScatterTruncates if index.len() > n => self.wrap(x.scatter_add(axis, &index[..n], length)),
            _ => self.wrap(x.scatter_add(axis, index, length)),
        }
    }

    fn optimise(step: &OptimiserStep, state: &OptimiserState<Self>, gradient: &Self) -> Result<OptimiserState<Self>> {
        match state.parameters.fault() {
            Fault::OptimiserAveragesBefore => {
                let (d, old) = (step.average_decay, &state.parameters);
                let average =
                    state.average.as_ref().map(|average| Self::linear_combination(&[(d, average), (1.0 - d, old)])).transpose()?;
                Ok(OptimiserState { average, ..step.composed(state, gradient)? })
            }
            Fault::OptimiserForgetsEpsilon => OptimiserStep { epsilon: step.epsilon.map(|_| 0.0), ..*step }.composed(state, gradient),
            Fault::PreciseRounds => {
                let next = step.composed(state, gradient)?;
                let rounded: Vec<f64> = next.parameters.to_vec::<f64>()?.into_iter().map(|value| (value * 256.0).round() / 256.0).collect();
                Ok(OptimiserState { parameters: next.parameters.rebuilt(next.parameters.shape(), &rounded)?, ..next })
            }
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
