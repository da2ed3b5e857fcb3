//! Fused hooks: operations that a backend may do in one kernel, each with a body composed from primitives.

use super::{Compare, Device, Operations, Reduce, Tensor, Transpose, Unary};
use crate::error::{Error, Result};
use crate::shape::Shape;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most terms of a [`Fused::LinearCombination`].
pub const MAX_TERMS: usize = 8;
/// The most layers that are asked for as one operation.
pub const MAX_LAYERS: usize = 5;
/// The most inputs a fused operation has: those of [`Fused::Layers`].
pub const MAX_INPUTS: usize = 1 + 2 * MAX_LAYERS;
const _: () = assert!(MAX_TERMS <= MAX_INPUTS);

/// From the cotangent of an output to those of the inputs: one place for each input, in order. A cotangent has the shape of its own input,
/// summed over the axes along which that was stretched; `None` serves for an input that was not needed, and for no other, not even
/// where the cotangent is zero. It may be called more than once, each time with the same result for the same cotangent.
pub type Pullback<T> = Box<dyn Fn(&T) -> Result<Vec<Option<T>>>>;

/// The non-linearity after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// x/(1 + e⁻ˣ)
    Silu,
    /// x/2 (1 + tanh(√(2/π)(x + 0.044715 x³)))
    Gelu,
    /// tanh x
    Tanh,
}

/// An operation with a name of its own. Its inputs are passed beside it, so that decorators treat all of them alike.
///
/// It takes whatever operands its composed body takes, broadcast ones and empty ones among them. A backend's kernel may take fewer: it answers
/// `None` to the others, and the composed body runs, or says what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fused {
    /// act(x Wᵀ + b) of `[x, W]` or `[x, W, b]`: x is [.., in], W [out, in], b `[out]`.
    Linear {
        /// The non-linearity.
        activation: Activation,
    },
    /// Linear layers one after another, each with its bias, of `[x, W₁, b₁, W₂, b₂, ...]`: a backend sees what lies between two products, which for a few rows takes
    /// as long as they do, and for many is a pass over memory that may go with one of them.
    Layers {
        /// The non-linearity after each layer but the last.
        between: Activation,
        /// That after the last.
        last: Activation,
    },
    /// act(x) of `[x]`.
    Activate {
        /// The non-linearity.
        activation: Activation,
    },
    /// Σ cᵢ xᵢ of up to [`MAX_TERMS`] inputs that broadcast.
    LinearCombination {
        /// The factors; those beyond the number of inputs are not read.
        factors: [f64; MAX_TERMS],
    },
    /// eˣ/Σ eˣ of `[x]` along an axis. Entries of −∞ give zero; a line of nothing else, or one with +∞, gives NaN.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// log((1/n) Σ eˣ) of `[x]` along an axis, which stays with length one: −∞ for a line of −∞ alone, NaN for one with +∞ and for an
    /// empty one.
    LogMeanExp {
        /// The axis.
        axis: usize,
    },
    /// (x − mean)/√(variance + ε) · (1 + scale) + shift of `[x, scale, shift]`. Mean and variance (over n, not n − 1) are those of x along
    /// its own last axis; then all three broadcast, so that scale or shift may also stretch x: of `[3, 4]`, `[2, 3, 4]`, `[4]` the result is
    /// `[2, 3, 4]`.
    LayerNorm {
        /// ε > 0.
        epsilon: f64,
    },
    /// softmax(q kᵀ/√d) v of `[q, k, v]`: q is [.., queries, d], k [.., keys, d], v [.., keys, e], the result [.., queries, e]. The width e of
    /// v may differ from d. The leading axes broadcast. Without keys the result is zero.
    Attention,
    /// x + g y of `[x, g, y]`, any of which broadcasts.
    GatedResidual,
    /// ‖x‖² of each item of `[x]`: Σ x² over all axes but the first, [n, ..] → `[n]`.
    SquareNorm,
}

impl Fused {
    /// The name, as errors give it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Layers { .. } => "layers",
            Self::Activate { .. } => "activate",
            Self::LinearCombination { .. } => "linear_combination",
            Self::Softmax { .. } => "softmax",
            Self::LogMeanExp { .. } => "log_mean_exp",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Attention => "attention",
            Self::GatedResidual => "gated_residual",
            Self::SquareNorm => "square_norm",
        }
    }

    /// The operation, by a native kernel where the tensor type has one with the derivative it needs.
    ///
    /// # Errors
    /// [`Error::Length`] for the wrong number of inputs, [`Error::Shape`] if they do not fit.
    pub fn apply<T: Tensor>(&self, inputs: &[&T]) -> Result<T> {
        match T::fused(self, inputs)? {
            Some(output) => Ok(output),
            None => self.composed(inputs),
        }
    }

    /// Σ cᵢ xᵢ.
    pub(super) fn combine<T: Tensor>(terms: &[(f64, &T)]) -> Result<T> {
        let [(_, first), ..] = terms else { return Err(Error::Length { op: "linear_combination", expected: 1, found: 0 }) };
        if terms.len() > MAX_TERMS {
            return Err(Error::Length { op: "linear_combination", expected: MAX_TERMS, found: terms.len() });
        }
        let mut factors = [0.0; MAX_TERMS];
        let mut inputs = [*first; MAX_TERMS];
        for (i, (factor, input)) in terms.iter().enumerate() {
            factors[i] = *factor;
            inputs[i] = input;
        }
        Self::LinearCombination { factors }.apply(&inputs[..terms.len()])
    }

    /// The operation in primitives: the meaning of the hook, and what decorators differentiate where a backend cannot.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn composed<T: Tensor>(&self, inputs: &[&T]) -> Result<T> {
        let wrong = |expected| Error::Length { op: self.name(), expected, found: inputs.len() };
        match (*self, inputs) {
            (Self::Linear { activation }, [x, weight, bias @ ..]) if bias.len() <= 1 => {
                linear(x, weight, bias.first().copied(), activation)
            }
            (Self::Linear { .. }, _) => Err(wrong(inputs.len().clamp(2, 3))),
            (Self::Layers { between, last }, [x, layers @ .., weight, bias]) if layers.len().is_multiple_of(2) => {
                let inner = layers.chunks_exact(2).try_fold((*x).clone(), |x, layer| x.linear(layer[0], Some(layer[1]), between))?;
                inner.linear(weight, Some(bias), last)
            }
            (Self::Layers { .. }, _) => Err(wrong((inputs.len() | 1).max(3))),
            (Self::Activate { activation }, [x]) => activate(x, activation),
            (Self::Activate { .. }, _) => Err(wrong(1)),
            (Self::LinearCombination { factors }, [first, rest @ ..]) if rest.len() < MAX_TERMS => {
                let start = first.scale(factors[0])?;
                rest.iter().zip(&factors[1..]).try_fold(start, |sum, (x, factor)| sum.add(&x.scale(*factor)?))
            }
            (Self::LinearCombination { .. }, _) => Err(wrong(inputs.len().clamp(1, MAX_TERMS))),
            (Self::Softmax { axis }, [x]) => softmax(x, axis),
            (Self::Softmax { .. }, _) => Err(wrong(1)),
            (Self::LogMeanExp { axis }, [x]) => log_mean_exp(x, axis),
            (Self::LogMeanExp { .. }, _) => Err(wrong(1)),
            (Self::LayerNorm { epsilon }, [x, scale, shift]) => layer_norm(x, scale, shift, epsilon),
            (Self::LayerNorm { .. }, _) => Err(wrong(3)),
            (Self::Attention, [q, k, v]) => attention(q, k, v),
            (Self::Attention, _) => Err(wrong(3)),
            (Self::GatedResidual, [x, gate, branch]) => x.add(&gate.mul(branch)?),
            (Self::GatedResidual, _) => Err(wrong(3)),
            (Self::SquareNorm, [x]) => x.square()?.sum_items(),
            (Self::SquareNorm, _) => Err(wrong(1)),
        }
    }

    /// The shape of x and W as a matrix product, checked: (rows, in, out).
    ///
    /// # Errors
    /// [`Error::Shape`] unless x is [.., in], W is [out, in], and the bias, if any, `[out]`.
    #[inline]
    pub fn linear_shape(x: Shape, weight: Shape, bias: Option<Shape>) -> Result<(usize, usize, usize)> {
        let mismatch = |right| Error::Shape { op: "linear", left: x, right };
        let (Some(&width), &[out, inner]) = (x.axes().last(), weight.axes()) else { return Err(mismatch(weight)) };
        if width != inner {
            return Err(mismatch(weight));
        }
        if let Some(bias) = bias.filter(|bias| bias.axes() != [out]) {
            return Err(Error::Shape { op: "linear", left: weight, right: bias });
        }
        let rows = x.axes()[..x.rank() - 1].iter().product();
        Ok((rows, inner, out))
    }
}

fn linear<T: Tensor>(x: &T, weight: &T, bias: Option<&T>, activation: Activation) -> Result<T> {
    let shape = x.shape();
    let (rows, inner, out) = Fused::linear_shape(shape, weight.shape(), bias.map(T::shape))?;
    // One flat product, so that the weight's gradient is one product too.
    let product = x.reshape(Shape::new(&[rows, inner])?)?.matmul(weight, Transpose::RIGHT)?;
    let biased = match bias {
        Some(bias) => product.add(bias)?,
        None => product,
    };
    activate(&biased, activation)?.reshape(shape.with_axis(shape.rank() - 1, out)?)
}

fn activate<T: Tensor>(x: &T, activation: Activation) -> Result<T> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Silu => x.mul(&x.unary(Unary::Sigmoid)?),
        Activation::Tanh => x.unary(Unary::Tanh),
        Activation::Gelu => {
            // (1 + tanh z)/2 = sigmoid(2 z).
            let cubic = x.square()?.scale(0.044715)?.shift(1.0)?.mul(x)?;
            let root = libm::sqrt(2.0 / core::f64::consts::PI);
            x.mul(&cubic.scale(2.0 * root)?.unary(Unary::Sigmoid)?)
        }
    }
}

/// The maximum along `axis` as a constant, 0 where it is −∞, so that x − max is never NaN for −∞ alone.
fn safe_maximum<T: Tensor>(x: &T, axis: usize) -> Result<T> {
    let maximum = x.detach().reduce(Reduce::Max, axis)?;
    let zero = x.device().zeros(Shape::SCALAR)?;
    let lowest = x.device().full(f64::NEG_INFINITY, Shape::SCALAR)?;
    maximum.compare(Compare::Equal, &lowest)?.select(&zero, &maximum)
}

fn softmax<T: Tensor>(x: &T, axis: usize) -> Result<T> {
    let e = x.sub(&safe_maximum(x, axis)?)?.exp()?;
    e.div(&e.sum(axis)?)
}

fn log_mean_exp<T: Tensor>(x: &T, axis: usize) -> Result<T> {
    let maximum = safe_maximum(x, axis)?;
    x.sub(&maximum)?.exp()?.mean(axis)?.log()?.add(&maximum)
}

fn layer_norm<T: Tensor>(x: &T, scale: &T, shift: &T, epsilon: f64) -> Result<T> {
    let axis = x.shape().rank().checked_sub(1).ok_or(Error::Rank { op: "layer_norm", rank: 0 })?;
    let centred = x.sub(&x.mean(axis)?)?;
    let deviation = centred.square()?.mean(axis)?.shift(epsilon)?.sqrt()?;
    centred.div(&deviation)?.mul(&scale.shift(1.0)?)?.add(shift)
}

fn attention<T: Tensor>(q: &T, k: &T, v: &T) -> Result<T> {
    let shape = q.shape();
    let axis = shape.rank().checked_sub(1).ok_or(Error::Rank { op: "attention", rank: 0 })?;
    let width = shape.axis(axis)? as f64;
    let scores = q.scale(1.0 / libm::sqrt(width))?.matmul(k, Transpose::RIGHT)?;
    // k may have more axes than q.
    scores.softmax(scores.shape().rank() - 1)?.matmul(v, Transpose::NONE)
}
