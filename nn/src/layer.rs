//! The layer that every network here is made of.

use alloc::format;
use alloc::string::String;
use mfm_core::tensor::Activation;
use mfm_core::{Device, Error, Noise, Operations, Result, Shape, Tensor, memory};

/// Where the parameters of a network under construction come from: a name and a shape give a tensor.
pub type Source<'a, T, E> = dyn FnMut(&str, Shape) -> Result<T, E> + 'a;

/// x Wᵀ + b, with W of `[out, in]` and b of `[out]`.
#[derive(Clone, Debug)]
pub struct Linear<T> {
    /// W.
    pub weight: T,
    /// b.
    pub bias: T,
}

impl<T: Tensor> Linear<T> {
    /// A layer with parameters `name`.weight and `name`.bias.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the shapes overflow, and those of `source`.
    pub fn build<E: From<Error>>(name: &str, inputs: usize, outputs: usize, source: &mut Source<'_, T, E>) -> Result<Self, E> {
        let weight = source(&join(name, "weight"), Shape::new(&[outputs, inputs])?)?;
        let bias = source(&join(name, "bias"), Shape::new(&[outputs])?)?;
        Ok(Self { weight, bias })
    }

    /// act(x Wᵀ + b) of x, [.., in] → [.., out].
    ///
    /// # Errors
    /// [`Error::Shape`] if x does not fit.
    pub fn apply(&self, x: &T, activation: Activation) -> Result<T> {
        x.linear(&self.weight, Some(&self.bias), activation)
    }

    /// Calls `f` with `name`.weight and `name`.bias.
    pub fn visit(&self, name: &str, f: &mut dyn FnMut(&str, &T)) {
        f(&join(name, "weight"), &self.weight);
        f(&join(name, "bias"), &self.bias);
    }

    /// The same layer with other parameters.
    ///
    /// # Errors
    /// Those of `next`.
    pub fn rebuild<U: Tensor>(&self, name: &str, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Linear<U>> {
        Ok(Linear { weight: next(&join(name, "weight"), &self.weight)?, bias: next(&join(name, "bias"), &self.bias)? })
    }
}

/// The same weight, stored input by input, which is fastest for products of few rows. Done once, for weights that are kept.
///
/// # Errors
/// Whatever the device reports.
pub fn settled<T: Tensor>(weight: &T) -> Result<T> {
    let shape = weight.shape();
    let &[out, inputs] = shape.axes() else { return Ok(weight.clone()) };
    if out < 16 {
        return Ok(weight.clone());
    }
    let turned = weight.permute(&[1, 0])?.reshape(Shape::new(&[shape.elements()])?)?;
    turned.reshape(Shape::new(&[inputs, out])?)?.permute(&[1, 0])
}

/// `name`.`part`.
pub(crate) fn join(name: &str, part: &str) -> String {
    format!("{name}.{part}")
}

/// Uniform numbers in [−bound, bound) from the start of `noise`.
///
/// # Errors
/// [`Error::OutOfMemory`] if the host has no room for them, and whatever the device reports.
pub fn uniform<D: Device>(device: &D, noise: &Noise, bound: f64, shape: Shape) -> Result<D::Tensor> {
    let elements = shape.elements();
    let mut values = memory::room("fresh parameters", elements)?;
    values.resize(elements, 0.0);
    noise.fill_uniform(&mut values);
    for value in &mut values {
        *value = bound * (2.0 * *value - 1.0);
    }
    device.from_slice(&values, shape)
}

/// A source of fresh parameters, uniform in ±1/√fan_in as PyTorch's `Linear` draws weights and biases: parameter i comes from
/// `noise.fork(i)`; a bias takes the fan-in of the weight before it. Parameters whose name begins with one of `zeros` are zero.
pub fn fresh<'a, D: Device>(device: &'a D, noise: &'a Noise, zeros: &'a [&'a str]) -> impl FnMut(&str, Shape) -> Result<D::Tensor> + 'a {
    let (mut index, mut fan_in) = (0, 1);
    move |name, shape| {
        if let [_, inputs] = shape.axes() {
            fan_in = (*inputs).max(1);
        }
        index += 1;
        if zeros.iter().any(|prefix| name.starts_with(prefix)) {
            return device.zeros(shape);
        }
        uniform(device, &noise.fork(index - 1), 1.0 / libm::sqrt(fan_in as f64), shape)
    }
}
