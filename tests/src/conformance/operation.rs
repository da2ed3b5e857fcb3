//! A primitive or a hook as a value, so that tables list them and programs are made of them.

use mfm_core::tensor::{Activation, Binary, Compare, Fused, Reduce, Transpose, Unary};
use mfm_core::{Error, Result, Shape, Tensor};

/// One call of a primitive or a hook, without its operands.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// [`Tensor::unary`].
    Unary(Unary),
    /// [`Tensor::binary`].
    Binary(Binary),
    /// [`Tensor::compare`].
    Compare(Compare),
    /// [`Tensor::select`] of `[mask, yes, no]`.
    Select,
    /// [`Tensor::reduce`] along an axis.
    Reduce(Reduce, usize),
    /// [`Tensor::broadcast`].
    Broadcast(Shape),
    /// [`Tensor::reshape`].
    Reshape(Shape),
    /// [`Tensor::permute`].
    Permute(Vec<usize>),
    /// [`Tensor::slice`].
    Slice {
        /// The axis.
        axis: usize,
        /// The first entry.
        start: usize,
        /// The number of entries.
        length: usize,
    },
    /// Some of the parts of [`Tensor::split`], one after another.
    Split {
        /// The axis.
        axis: usize,
        /// The lengths of the parts.
        lengths: Vec<usize>,
        /// Which parts are taken, in which order; one may be taken often, or not at all.
        taken: Vec<usize>,
    },
    /// [`Tensor::concat`] along an axis.
    Concat(usize),
    /// [`Tensor::matmul`].
    MatMul(Transpose),
    /// [`Tensor::gather`].
    Gather {
        /// The axis.
        axis: usize,
        /// The entries.
        index: Vec<usize>,
    },
    /// [`Tensor::scatter_add`].
    ScatterAdd {
        /// The axis.
        axis: usize,
        /// Where each entry goes.
        index: Vec<usize>,
        /// The length of the axis afterwards.
        length: usize,
    },
    /// [`Tensor::detach`].
    Detach,
    /// A hook, as [`Fused::apply`] chooses.
    Fused(Fused),
    /// A hook in primitives, whatever the backend offers.
    Composed(Fused),
}

impl Operation {
    /// The operation on `inputs`.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Length`] for the wrong number of inputs.
    pub fn apply<T: Tensor>(&self, inputs: &[&T]) -> Result<T> {
        match (self, inputs) {
            (Self::Unary(op), [x]) => x.unary(*op),
            (Self::Binary(op), [a, b]) => a.binary(*op, b),
            (Self::Compare(op), [a, b]) => a.compare(*op, b),
            (Self::Select, [mask, yes, no]) => mask.select(yes, no),
            (Self::Reduce(op, axis), [x]) => x.reduce(*op, *axis),
            (Self::Broadcast(shape), [x]) => x.broadcast(*shape),
            (Self::Reshape(shape), [x]) => x.reshape(*shape),
            (Self::Permute(axes), [x]) => x.permute(axes),
            (Self::Slice { axis, start, length }, [x]) => x.slice(*axis, *start, *length),
            (Self::Split { axis, lengths, taken }, [x]) => {
                let parts = x.split(*axis, lengths)?;
                T::concat(&taken.iter().filter_map(|&i| parts.get(i)).collect::<Vec<_>>(), *axis)
            }
            (Self::Concat(axis), parts) => T::concat(parts, *axis),
            (Self::MatMul(transpose), [a, b]) => a.matmul(b, *transpose),
            (Self::Gather { axis, index }, [x]) => x.gather(*axis, index),
            (Self::ScatterAdd { axis, index, length }, [x]) => x.scatter_add(*axis, index, *length),
            (Self::Detach, [x]) => Ok(x.detach()),
            (Self::Fused(op), inputs) => op.apply(inputs),
            (Self::Composed(op), inputs) => op.composed(inputs),
            _ => Err(Error::Length { op: "operation", expected: self.arity(), found: inputs.len() }),
        }
    }

    /// The least number of inputs.
    pub fn arity(&self) -> usize {
        match self {
            Self::Select | Self::Fused(Fused::Layers { .. } | Fused::Attention | Fused::GatedResidual | Fused::LayerNorm { .. }) => 3,
            Self::Binary(_) | Self::Compare(_) | Self::MatMul(_) | Self::Fused(Fused::Linear { .. }) => 2,
            Self::Composed(op) => Self::Fused(*op).arity(),
            _ => 1,
        }
    }

    /// The operation in few words: a long list of indices by its length.
    pub fn name(&self) -> String {
        match self {
            Self::Gather { axis, index } if index.len() > 12 => format!("Gather of {} entries along axis {axis}", index.len()),
            Self::ScatterAdd { axis, index, length } if index.len() > 12 => {
                format!("ScatterAdd of {} entries to {length} along axis {axis}", index.len())
            }
            _ => format!("{self:?}"),
        }
    }

    /// The hook, if it is one.
    pub fn hook(&self) -> Option<Fused> {
        match self {
            Self::Fused(op) | Self::Composed(op) => Some(*op),
            _ => None,
        }
    }
}

/// Every [`Unary`], with its constants.
pub const UNARIES: [Unary; 13] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Recip,
    Unary::Square,
    Unary::Sin,
    Unary::Cos,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Scale(-1.7),
    Unary::Shift(0.3),
];

/// Every [`Binary`].
pub const BINARIES: [Binary; 4] = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div];

/// Every [`Compare`].
pub const COMPARES: [Compare; 3] = [Compare::Equal, Compare::Less, Compare::LessEqual];

/// Every [`Transpose`].
pub const TRANSPOSES: [Transpose; 4] = [Transpose::NONE, Transpose::LEFT, Transpose::RIGHT, Transpose { left: true, right: true }];

/// Every [`Activation`].
pub const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Silu, Activation::Gelu, Activation::Tanh];
