//! Reverse mode: a value with its place on a tape.

use super::rules;
use crate::error::{Error, Result};
use crate::noise::Noise;
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::{Binary, Compare, Device, Element, Fused, MAX_INPUTS, Operations, Reduce, Segment, Tensor, Transpose, Unary, sum_to};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

/// Receives the cotangent of one operand, by its place on the tape.
type Sink<'a, T> = dyn FnMut(usize, T) -> Result<()> + 'a;
/// The tape of some operands, and the place of each that is tracked.
type Operands<T> = (Tape<T>, Vec<Option<usize>>);
/// From the cotangent of an output to those of its operands.
type Pull<T> = Box<dyn FnOnce(&T, &mut Sink<'_, T>) -> Result<()>>;

/// The record of what was computed from its variables. Cheap to clone; every clone is the same tape.
pub struct Tape<T> {
    record: Rc<RefCell<Record<T>>>,
}

struct Record<T> {
    /// The place of the first entry. Those before it have been used up; their places are never given again, so that a value
    /// from before cannot be mistaken for one from after.
    start: usize,
    /// One for each tracked value, and for each split before those of its parts.
    entries: Vec<Entry<T>>,
}

enum Entry<T> {
    /// A variable, which keeps its cotangent, or a part of a split, which keeps it until the sweep reaches the split.
    Held,
    /// A value computed by one operation.
    Value(Pull<T>),
    /// The places after it are its parts'.
    Split(Split),
}

/// What was cut in parts, and how.
struct Split {
    operand: usize,
    axis: usize,
    parts: Vec<Shape>,
}

impl<T> Clone for Tape<T> {
    fn clone(&self) -> Self {
        Self { record: Rc::clone(&self.record) }
    }
}

impl<T> Default for Tape<T> {
    fn default() -> Self {
        Self { record: Rc::new(RefCell::new(Record { start: 0, entries: Vec::new() })) }
    }
}

impl<T> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape({} entries)", self.record.borrow().entries.len())
    }
}

impl<T: Tensor> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable, by which the output can be differentiated.
    pub fn variable(&self, value: T) -> Var<T> {
        self.record(value, Entry::Held)
    }

    fn record(&self, value: T, entry: Entry<T>) -> Var<T> {
        Var { value, place: Some(Place { tape: self.clone(), index: self.push(entry) }) }
    }

    /// The place of a new entry.
    fn push(&self, entry: Entry<T>) -> usize {
        let mut record = self.record.borrow_mut();
        record.entries.push(entry);
        record.start + record.entries.len() - 1
    }

    /// The gradient of ⟨output, cotangent⟩ by everything on the tape, which is emptied: what an entry kept is freed as soon as it
    /// has been used. The tape then serves for new variables, but not for what was recorded before.
    ///
    /// # Errors
    /// [`Error::Independent`] if the output depends on no variable, [`Error::Tape`] if it was recorded elsewhere (or depends on
    /// what has been used up), [`Error::Shape`] if the cotangent differs in shape from the output.
    pub fn backward(&self, output: &Var<T>, cotangent: T) -> Result<Gradients<T>> {
        let place = output.place.as_ref().ok_or(Error::Independent { op: "backward" })?;
        if !Rc::ptr_eq(&place.tape.record, &self.record) {
            return Err(Error::Tape { op: "backward" });
        }
        if cotangent.shape() != output.shape() {
            return Err(Error::Shape { op: "backward", left: cotangent.shape(), right: output.shape() });
        }
        let (start, mut entries) = {
            let mut record = self.record.borrow_mut();
            let start = record.start;
            if place.index < start {
                return Err(Error::Tape { op: "backward" });
            }
            record.start += record.entries.len();
            (start, core::mem::take(&mut record.entries))
        };
        entries.truncate(place.index - start + 1);
        let mut slots: Vec<Option<T>> = Vec::new();
        slots.resize_with(entries.len(), || None);
        slots[place.index - start] = Some(cotangent);
        while let Some(entry) = entries.pop() {
            let place = entries.len();
            match entry {
                Entry::Held => {}
                Entry::Value(pull) => {
                    // An intermediate value's cotangent is of no further use.
                    let Some(g) = slots[place].take() else { continue };
                    pull(&g, &mut |index, part| accumulate(&mut slots, start, index, part))?;
                }
                Entry::Split(Split { operand, axis, parts }) => {
                    // Parts beyond the output have no slot.
                    let found = (1..=parts.len()).map(|i| slots.get_mut(place + i).and_then(Option::take)).collect();
                    if let Some(g) = rules::join(found, &parts, axis)? {
                        accumulate(&mut slots, start, operand, g)?;
                    }
                }
            }
        }
        Ok(Gradients { tape: self.clone(), start, slots })
    }
}

/// Adds to the cotangent of the value at `index`, where slots begin at `start`.
fn accumulate<T: Tensor>(slots: &mut [Option<T>], start: usize, index: usize, part: T) -> Result<()> {
    let slot = index.checked_sub(start).and_then(|i| slots.get_mut(i)).ok_or(Error::Tape { op: "backward" })?;
    *slot = Some(match slot.take() {
        Some(sum) => sum.add(&part)?,
        None => part,
    });
    Ok(())
}

/// What [`Tape::backward`] found.
#[derive(Debug)]
pub struct Gradients<T> {
    tape: Tape<T>,
    /// The place of the first slot.
    start: usize,
    slots: Vec<Option<T>>,
}

impl<T: Tensor> Gradients<T> {
    /// The gradient by a variable.
    ///
    /// # Errors
    /// [`Error::Independent`] if the output does not depend on it (or it is no variable), [`Error::Tape`] if it belongs to another tape.
    pub fn of(&self, variable: &Var<T>) -> Result<T> {
        self.find(variable)?.cloned().ok_or(Error::Independent { op: "gradient" })
    }

    /// The gradient by a variable, zeros if the output does not depend on it.
    ///
    /// # Errors
    /// [`Error::Tape`] if it belongs to another tape.
    pub fn of_or_zeros(&self, variable: &Var<T>) -> Result<T> {
        self.find(variable)?.cloned().map_or_else(|| variable.value.zeros_like(), Ok)
    }

    fn find(&self, variable: &Var<T>) -> Result<Option<&T>> {
        let Some(place) = &variable.place else { return Ok(None) };
        if !Rc::ptr_eq(&place.tape.record, &self.tape.record) {
            return Err(Error::Tape { op: "gradient" });
        }
        Ok(place.index.checked_sub(self.start).and_then(|i| self.slots.get(i)).and_then(Option::as_ref))
    }
}

/// A value and, if it is tracked, its place on a tape.
#[derive(Clone)]
pub struct Var<T> {
    value: T,
    place: Option<Place<T>>,
}

#[derive(Clone)]
struct Place<T> {
    tape: Tape<T>,
    index: usize,
}

impl<T: fmt::Debug> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("value", &self.value).field("place", &self.place.as_ref().map(|p| p.index)).finish()
    }
}

impl<T: Tensor> Var<T> {
    /// A value that is not tracked.
    pub fn constant(value: T) -> Self {
        Self { value, place: None }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, without its place.
    pub fn into_value(self) -> T {
        self.value
    }

    /// An operation of one operand.
    fn derive(&self, value: T, pull: impl FnOnce(&T) -> Result<T> + 'static) -> Self {
        match &self.place {
            None => Self::constant(value),
            Some(Place { tape, index }) => {
                let index = *index;
                tape.record(value, Entry::Value(Box::new(move |g, sink| sink(index, pull(g)?))))
            }
        }
    }

    /// The tape and the place of each of several operands; `None` if none is tracked.
    fn places(op: &'static str, operands: &[&Self]) -> Result<Option<Operands<T>>> {
        let mut tape: Option<&Tape<T>> = None;
        for place in operands.iter().filter_map(|operand| operand.place.as_ref()) {
            match tape {
                Some(tape) if !Rc::ptr_eq(&tape.record, &place.tape.record) => return Err(Error::Tape { op }),
                _ => tape = Some(&place.tape),
            }
        }
        Ok(tape.map(|tape| (tape.clone(), operands.iter().map(|operand| operand.place.as_ref().map(|p| p.index)).collect())))
    }

    /// An operation of two operands; each pull is called only if its operand is tracked.
    fn derive_two(
        op: &'static str,
        operands: [&Self; 2],
        value: T,
        left: impl FnOnce(&T) -> Result<T> + 'static,
        right: impl FnOnce(&T) -> Result<T> + 'static,
    ) -> Result<Self> {
        let Some((tape, places)) = Self::places(op, &operands)? else { return Ok(Self::constant(value)) };
        let pull: Pull<T> = Box::new(move |g, sink| {
            if let Some(Some(index)) = places.first() {
                sink(*index, left(g)?)?;
            }
            if let Some(Some(index)) = places.get(1) {
                sink(*index, right(g)?)?;
            }
            Ok(())
        });
        Ok(tape.record(value, Entry::Value(pull)))
    }
}

/// The device of [`Var`] tensors: its creations are constants.
#[derive(Clone, Debug)]
pub struct VarDevice<D>(
    /// The device underneath.
    pub D,
);

impl<D: Device> Device for VarDevice<D> {
    type Tensor = Var<D::Tensor>;

    fn from_slice<E: Element>(&self, values: &[E], shape: Shape) -> Result<Self::Tensor> {
        self.0.from_slice(values, shape).map(Var::constant)
    }

    fn full(&self, value: f64, shape: Shape) -> Result<Self::Tensor> {
        self.0.full(value, shape).map(Var::constant)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn normal(&self, noise: &Noise, shape: Shape) -> Result<Self::Tensor> {
        self.0.normal(noise, shape).map(Var::constant)
    }
}

impl<T: Tensor> Tensor for Var<T> {
    type Device = VarDevice<T::Device>;

    const DERIVATIVES: usize = T::DERIVATIVES + 1;

    fn device(&self) -> Self::Device {
        VarDevice(self.value.device())
    }

    fn shape(&self) -> Shape {
        self.value.shape()
    }

    fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        self.value.to_vec()
    }

    fn detach(&self) -> Self {
        Self::constant(self.value.detach())
    }

    fn is_tracked(&self) -> bool {
        self.place.is_some() || self.value.is_tracked()
    }

    fn unary(&self, op: Unary) -> Result<Self> {
        let y = self.value.unary(op)?;
        let (x, out) = (self.value.clone(), y.clone());
        Ok(self.derive(y, move |g| rules::unary_slope(op, &x, &out, g)))
    }

    fn binary(&self, op: Binary, other: &Self) -> Result<Self> {
        let y = self.value.binary(op, &other.value)?;
        let (a, b, out) = (self.value.clone(), other.value.clone(), y.clone());
        let (a_shape, b_shape, divisor) = (a.shape(), b.shape(), b.clone());
        let left = move |g: &T| {
            let g = match op {
                Binary::Add | Binary::Sub => g.clone(),
                Binary::Mul => g.mul(&b)?,
                Binary::Div => g.div(&b)?,
            };
            sum_to(&g, a_shape)
        };
        let right = move |g: &T| {
            let g = match op {
                Binary::Add => g.clone(),
                Binary::Sub => g.neg()?,
                Binary::Mul => g.mul(&a)?,
                Binary::Div => g.mul(&out)?.div(&divisor)?.neg()?,
            };
            sum_to(&g, b_shape)
        };
        Self::derive_two("binary", [self, other], y, left, right)
    }

    fn compare(&self, op: Compare, other: &Self) -> Result<Self> {
        self.value.compare(op, &other.value).map(Self::constant)
    }

    fn select(&self, yes: &Self, no: &Self) -> Result<Self> {
        let y = self.value.select(&yes.value, &no.value)?;
        let (mask, other_mask) = (self.value.detach(), self.value.detach());
        let (yes_shape, no_shape) = (yes.shape(), no.shape());
        let left = move |g: &T| sum_to(&mask.select(g, &g.zeros_like()?)?, yes_shape);
        let right = move |g: &T| sum_to(&other_mask.select(&g.zeros_like()?, g)?, no_shape);
        Self::derive_two("select", [yes, no], y, left, right)
    }

    fn reduce(&self, op: Reduce, axis: usize) -> Result<Self> {
        let y = self.value.reduce(op, axis)?;
        let shape = self.shape();
        let (x, out) = (self.value.clone(), y.clone());
        Ok(match op {
            Reduce::Sum => self.derive(y, move |g| g.broadcast(shape)),
            Reduce::Max => self.derive(y, move |g| g.mul(&rules::maximum_shares(&x, &out, axis)?)),
        })
    }

    fn broadcast(&self, shape: Shape) -> Result<Self> {
        let from = self.shape();
        Ok(self.derive(self.value.broadcast(shape)?, move |g| sum_to(g, from)))
    }

    fn reshape(&self, shape: Shape) -> Result<Self> {
        let from = self.shape();
        Ok(self.derive(self.value.reshape(shape)?, move |g| g.reshape(from)))
    }

    fn permute(&self, axes: &[usize]) -> Result<Self> {
        let y = self.value.permute(axes)?;
        let mut inverse = [0; MAX_RANK];
        rules::inverse_permutation(axes, &mut inverse);
        let rank = axes.len();
        Ok(self.derive(y, move |g| g.permute(&inverse[..rank])))
    }

    fn slice(&self, axis: usize, start: usize, length: usize) -> Result<Self> {
        let y = self.value.slice(axis, start, length)?;
        let whole = self.shape().axis(axis)?;
        Ok(self.derive(y, move |g| rules::embed(g, axis, start, whole)))
    }

    fn concat(parts: &[&Self], axis: usize) -> Result<Self> {
        let values: Vec<&T> = parts.iter().map(|p| &p.value).collect();
        let y = T::concat(&values, axis)?;
        let Some((tape, places)) = Self::places("concat", parts)? else { return Ok(Self::constant(y)) };
        let widths = parts.iter().map(|p| p.shape().axis(axis)).collect::<Result<Vec<_>>>()?;
        let pull: Pull<T> = Box::new(move |g, sink| {
            let mut start = 0;
            for (place, width) in places.into_iter().zip(widths) {
                if let Some(index) = place {
                    sink(index, g.slice(axis, start, width)?)?;
                }
                start += width;
            }
            Ok(())
        });
        Ok(tape.record(y, Entry::Value(pull)))
    }

    fn matmul(&self, other: &Self, transpose: Transpose) -> Result<Self> {
        let y = self.value.matmul(&other.value, transpose)?;
        let (a, b) = (self.value.clone(), other.value.clone());
        let (a_shape, b_shape) = (a.shape(), b.shape());
        let left = move |g: &T| sum_to(&rules::matmul_left(&b, transpose, g)?, a_shape);
        let right = move |g: &T| sum_to(&rules::matmul_right(&a, transpose, g)?, b_shape);
        Self::derive_two("matmul", [self, other], y, left, right)
    }

    fn gather(&self, axis: usize, index: &[usize]) -> Result<Self> {
        let y = self.value.gather(axis, index)?;
        let length = self.shape().axis(axis)?;
        let index: Vec<usize> = if self.place.is_some() { index.to_vec() } else { Vec::new() };
        Ok(self.derive(y, move |g| g.scatter_add(axis, &index, length)))
    }

    fn scatter_add(&self, axis: usize, index: &[usize], length: usize) -> Result<Self> {
        let y = self.value.scatter_add(axis, index, length)?;
        let index: Vec<usize> = if self.place.is_some() { index.to_vec() } else { Vec::new() };
        Ok(self.derive(y, move |g| g.gather(axis, &index)))
    }

    fn split(&self, axis: usize, lengths: &[usize]) -> Result<Vec<Self>> {
        let values = self.value.split(axis, lengths)?;
        let Some(Place { tape, index }) = &self.place else { return Ok(values.into_iter().map(Self::constant).collect()) };
        let parts = values.iter().map(T::shape).collect();
        tape.push(Entry::Split(Split { operand: *index, axis, parts }));
        Ok(values.into_iter().map(|value| tape.variable(value)).collect())
    }

    fn recompute<S: Segment>(segment: &S, inputs: &[Self]) -> Result<Self> {
        let values: Vec<T> = inputs.iter().map(|input| input.value.clone()).collect();
        let value = T::recompute(segment, &values)?;
        let operands: Vec<&Self> = inputs.iter().collect();
        let Some((tape, places)) = Self::places("recompute", &operands)? else { return Ok(Self::constant(value)) };
        let segment = segment.clone();
        let pull: Pull<T> = Box::new(move |g, sink| {
            let again = Tape::new();
            let tracked = |(value, place): (T, &Option<usize>)| if place.is_some() { again.variable(value) } else { Self::constant(value) };
            let inputs: Vec<Self> = values.into_iter().zip(&places).map(tracked).collect();
            let output = segment.run(&inputs)?;
            if output.place.is_none() {
                return Ok(());
            }
            let gradients = again.backward(&output, g.clone())?;
            for (input, place) in inputs.iter().zip(places) {
                // An input without influence gets nothing, as it would have if the segment had been recorded: zeros would make it one with influence.
                if let (Some(index), Some(part)) = (place, gradients.find(input)?) {
                    sink(index, part.clone())?;
                }
            }
            Ok(())
        });
        Ok(tape.record(value, Entry::Value(pull)))
    }

    fn fused(op: &Fused, inputs: &[&Self]) -> Result<Option<Self>> {
        let Some(first) = inputs.first().filter(|_| inputs.len() <= MAX_INPUTS) else { return Ok(None) };
        let (mut values, mut needed) = ([&first.value; MAX_INPUTS], [false; MAX_INPUTS]);
        for (i, input) in inputs.iter().enumerate() {
            values[i] = &input.value;
            needed[i] = input.place.is_some();
        }
        let (values, needed) = (&values[..inputs.len()], &needed[..inputs.len()]);
        let Some((tape, places)) = Self::places(op.name(), inputs)? else {
            return op.apply(values).map(|value| Some(Self::constant(value)));
        };
        let Some((value, pullback)) = T::fused_vjp(op, values, needed)? else { return Ok(None) };
        let name = op.name();
        let pull: Pull<T> = Box::new(move |g, sink| {
            let mut parts = pullback(g)?.into_iter();
            for place in places {
                // A kernel that forgets a cotangent must not pass for one that found zero.
                match (place, parts.next().flatten()) {
                    (Some(index), Some(part)) => sink(index, part)?,
                    (Some(_), None) => return Err(Error::NotDifferentiable { op: name }),
                    (None, _) => {}
                }
            }
            Ok(())
        });
        Ok(Some(tape.record(value, Entry::Value(pull))))
    }
}
