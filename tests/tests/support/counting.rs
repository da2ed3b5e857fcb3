//! A map that counts how often it is asked.

use mfm_core::{Lift, MetaFlowMap, Query, Result, Tensor};
use std::cell::Cell;
use std::rc::Rc;

/// Counts rows: one for each value, three for each that a derivative is taken of (forward, and a backward pass that counts two).
#[derive(Clone, Debug)]
pub struct Counting<M> {
    inner: M,
    rows: Rc<Cell<usize>>,
}

impl<M> Counting<M> {
    pub fn new(inner: M) -> Self {
        Self { inner, rows: Rc::default() }
    }

    /// The rows so far; the count starts anew.
    pub fn take(&self) -> usize {
        self.rows.replace(0)
    }

    fn count<T: Tensor>(&self, query: &Query<'_, T>) {
        let passes = if T::DERIVATIVES == 0 { 1 } else { 3 };
        self.rows.set(self.rows.get() + passes * query.x.shape().batch());
    }
}

impl<T: Tensor, M: MetaFlowMap<T>> MetaFlowMap<T> for Counting<M> {
    fn velocity(&self, query: &Query<'_, T>) -> Result<T> {
        self.count(query);
        self.inner.velocity(query)
    }

    fn map(&self, query: &Query<'_, T>) -> Result<T> {
        self.count(query);
        self.inner.map(query)
    }
}

impl<T: Tensor, M: Lift<T>> Lift<T> for Counting<M> {
    type Lifted<U: Tensor> = Counting<M::Lifted<U>>;

    fn lift<U: Tensor>(&self, carry: &mut dyn FnMut(&T) -> Result<U>) -> Result<Self::Lifted<U>> {
        Ok(Counting { inner: self.inner.lift(carry)?, rows: Rc::clone(&self.rows) })
    }
}
