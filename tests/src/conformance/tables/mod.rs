//! The cases, one table for each primitive and hook.

mod elementwise;
mod hooks;
mod large;
mod movement;
mod products;

pub use large::{large, long_products};

use super::case::Case;

/// The primitives and hooks that the suite has cases of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Unary,
    Binary,
    Compare,
    Select,
    ReduceSum,
    ReduceMax,
    Broadcast,
    Reshape,
    Permute,
    Slice,
    Split,
    Concat,
    MatMul,
    Gather,
    ScatterAdd,
    Detach,
    Linear,
    Layers,
    Activate,
    LinearCombination,
    Softmax,
    LogMeanExp,
    LayerNorm,
    Attention,
    GatedResidual,
    SquareNorm,
}

/// The groups that are hooks.
pub const HOOKS: [Group; 10] = [
    Group::Linear,
    Group::Layers,
    Group::Activate,
    Group::LinearCombination,
    Group::Softmax,
    Group::LogMeanExp,
    Group::LayerNorm,
    Group::Attention,
    Group::GatedResidual,
    Group::SquareNorm,
];

/// The groups that are primitives with a derivative, and a split, which is made of them.
pub const DIFFERENTIABLE: [Group; 14] = [
    Group::Unary,
    Group::Binary,
    Group::Select,
    Group::ReduceSum,
    Group::ReduceMax,
    Group::Broadcast,
    Group::Reshape,
    Group::Permute,
    Group::Slice,
    Group::Split,
    Group::Concat,
    Group::MatMul,
    Group::Gather,
    Group::ScatterAdd,
];

impl Group {
    /// The cases of the group.
    pub fn cases(self) -> Vec<Case> {
        match self {
            Self::Unary => elementwise::unary(),
            Self::Binary => elementwise::binary(),
            Self::Compare => elementwise::compare(),
            Self::Select => elementwise::select(),
            Self::ReduceSum => elementwise::reduce_sum(),
            Self::ReduceMax => elementwise::reduce_max(),
            Self::Broadcast => movement::broadcast(),
            Self::Reshape => movement::reshape(),
            Self::Permute => movement::permute(),
            Self::Slice => movement::slice(),
            Self::Split => movement::split(),
            Self::Concat => movement::concat(),
            Self::Detach => movement::detach(),
            Self::MatMul => products::matmul(),
            Self::Gather => products::gather(),
            Self::ScatterAdd => products::scatter_add(),
            Self::Linear => hooks::linear(),
            Self::Layers => hooks::layers(),
            Self::Activate => hooks::activate(),
            Self::LinearCombination => hooks::linear_combination(),
            Self::Softmax => hooks::softmax(),
            Self::LogMeanExp => hooks::log_mean_exp(),
            Self::LayerNorm => hooks::layer_norm(),
            Self::Attention => hooks::attention(),
            Self::GatedResidual => hooks::gated_residual(),
            Self::SquareNorm => hooks::square_norm(),
        }
    }
}

/// Shapes of every rank, with axes of length one and zero at either end and in the middle.
const SHAPES: [&[usize]; 16] = [
    &[],
    &[1],
    &[0],
    &[7],
    &[300],
    &[2, 3],
    &[5, 1],
    &[1, 5],
    &[3, 0],
    &[0, 3],
    &[2, 3, 4],
    &[2, 0, 3],
    &[4, 1, 3],
    &[2, 3, 1, 5],
    &[1, 2, 3, 2, 2],
    &[2, 1, 3, 2, 1, 2],
];
