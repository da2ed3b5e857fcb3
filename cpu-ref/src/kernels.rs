//! The operations behind the tensor trait, compiled in this crate once for each number type.
//!
//! Were they reached through generic functions alone, every program that uses the backend would compile all of them anew, and
//! with its own level of optimisation.

use crate::device::CpuDevice;
use crate::float::Float;
use crate::tensor::CpuTensor;
use crate::{copy, device, elementwise, fused, indexing, matmul, optimiser, reduce, ternary};
use mfm_core::tensor::{Binary, Compare, Fused, OptimiserState, OptimiserStep, OptimiserUpdate, Pullback, Reduce, Transpose, Unary};
use mfm_core::{Noise, Result, Shape};

/// One line for each operation: its name, the function that does it, and the type of that function.
macro_rules! kernels {
    ($($name:ident = $function:path: ($($argument:ident: $type:ty),*) -> $value:ty;)*) => {
        pub trait Kernels: Sized {
            $(fn $name($($argument: $type),*) -> Result<$value> where Self: Float;)*
        }

        impl Kernels for f32 {
            $(fn $name($($argument: $type),*) -> Result<$value> { $function($($argument),*) })*
        }

        impl Kernels for f64 {
            $(fn $name($($argument: $type),*) -> Result<$value> { $function($($argument),*) })*
        }
    };
}

kernels! {
    contiguous = copy::contiguous: (x: &CpuTensor<Self>) -> CpuTensor<Self>;
    concat = copy::concat: (parts: &[&CpuTensor<Self>], axis: usize) -> CpuTensor<Self>;
    unary = elementwise::unary: (x: &CpuTensor<Self>, op: Unary) -> CpuTensor<Self>;
    binary = elementwise::binary: (a: &CpuTensor<Self>, op: Binary, b: &CpuTensor<Self>) -> CpuTensor<Self>;
    compare = elementwise::compare: (a: &CpuTensor<Self>, op: Compare, b: &CpuTensor<Self>) -> CpuTensor<Self>;
    select = ternary::select: (mask: &CpuTensor<Self>, yes: &CpuTensor<Self>, no: &CpuTensor<Self>) -> CpuTensor<Self>;
    reduce = reduce::reduce: (x: &CpuTensor<Self>, op: Reduce, axis: usize) -> CpuTensor<Self>;
    matmul = matmul::matmul: (a: &CpuTensor<Self>, b: &CpuTensor<Self>, transpose: Transpose) -> CpuTensor<Self>;
    gather = indexing::gather: (x: &CpuTensor<Self>, axis: usize, index: &[usize]) -> CpuTensor<Self>;
    scatter_add = indexing::scatter_add: (x: &CpuTensor<Self>, axis: usize, index: &[usize], length: usize) -> CpuTensor<Self>;
    fused = fused::value: (op: &Fused, inputs: &[&CpuTensor<Self>]) -> Option<CpuTensor<Self>>;
    fused_vjp = fused::vjp: (op: &Fused, inputs: &[&CpuTensor<Self>], needed: &[bool]) -> Option<(CpuTensor<Self>, Pullback<CpuTensor<Self>>)>;
    fused_jvp = fused::jvp: (op: &Fused, inputs: &[&CpuTensor<Self>], tangents: &[Option<&CpuTensor<Self>>]) -> Option<(CpuTensor<Self>, CpuTensor<Self>)>;
    optimise = optimiser::optimise: (step: &OptimiserStep, state: &OptimiserState<CpuTensor<Self>>, gradient: &CpuTensor<Self>) -> OptimiserUpdate<CpuTensor<Self>>;
    normal = device::normal: (device: &CpuDevice<Self>, noise: &Noise, shape: Shape) -> CpuTensor<Self>;
}
