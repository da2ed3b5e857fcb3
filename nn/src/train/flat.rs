//! All parameters of a module as one vector, so that an optimiser's step is a handful of operations however many there are.

use crate::module::Module;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mfm_core::{Error, Result, Shape, Tensor};

/// Where each parameter of a module lies in one flat vector: one after another, in the module's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat {
    entries: Vec<(String, Shape)>,
    length: usize,
}

impl Flat {
    /// The layout of a module.
    pub fn of<T: Tensor>(module: &impl Module<T>) -> Self {
        let (mut entries, mut length) = (Vec::new(), 0);
        module.visit(&mut |name, tensor| {
            entries.push((name.to_string(), tensor.shape()));
            length += tensor.shape().elements();
        });
        Self { entries, length }
    }

    /// The number of parameters, counted as single numbers.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The names and shapes, in order.
    pub fn entries(&self) -> &[(String, Shape)] {
        &self.entries
    }

    /// The tensors one after another as a vector.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Shape`] if they are not those of the layout.
    pub fn join<T: Tensor>(&self, tensors: &[T]) -> Result<T> {
        if tensors.len() != self.entries.len() {
            return Err(Error::Length { op: "parameters", expected: self.entries.len(), found: tensors.len() });
        }
        let mut vectors = Vec::with_capacity(tensors.len());
        for (tensor, (_, shape)) in tensors.iter().zip(&self.entries) {
            if tensor.shape() != *shape {
                return Err(Error::Shape { op: "parameters", left: *shape, right: tensor.shape() });
            }
            vectors.push(tensor.reshape(Shape::new(&[shape.elements()])?)?);
        }
        let vectors: Vec<&T> = vectors.iter().collect();
        T::concat(&vectors, 0)
    }

    /// The parts of a vector, in the shapes of the layout.
    ///
    /// # Errors
    /// [`Error::Shape`] if the vector's length is not the layout's.
    pub fn split<T: Tensor>(&self, vector: &T) -> Result<Vec<T>> {
        if vector.shape().axes() != [self.length] {
            return Err(Error::Shape { op: "parameters", left: Shape::new(&[self.length])?, right: vector.shape() });
        }
        let lengths: Vec<usize> = self.entries.iter().map(|(_, shape)| shape.elements()).collect();
        let parts = vector.split(0, &lengths)?;
        parts.iter().zip(&self.entries).map(|(part, (_, shape))| part.reshape(*shape)).collect()
    }

    /// The first element of a vector that is not finite: the parameter's name, and its index there.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn first_non_finite<T: Tensor>(&self, vector: &T) -> Result<Option<(&str, usize)>> {
        let values = vector.to_vec::<f64>()?;
        let Some(mut index) = values.iter().position(|value| !value.is_finite()) else { return Ok(None) };
        for (name, shape) in &self.entries {
            if index < shape.elements() {
                return Ok(Some((name, index)));
            }
            index -= shape.elements();
        }
        Ok(None)
    }
}
