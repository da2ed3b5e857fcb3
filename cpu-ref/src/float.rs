//! The numbers that a tensor holds.

use crate::kernels::Kernels;
use crate::math::{double, single};
use core::ops::{AddAssign, Neg};
use mfm_core::tensor::Element;
use ndarray::LinalgScalar;

mod sealed {
    #[cfg(not(feature = "std"))]
    pub trait Sealed {}
    #[cfg(not(feature = "std"))]
    impl<E> Sealed for E {}

    /// Vectors of an instruction set, where a loop is too intricate for the compiler to find them.
    #[cfg(feature = "std")]
    pub trait Sealed: Sized {
        type Vector<S: pulp::Simd>: Copy;

        /// A slice as vectors, and what is left.
        fn vectors<S: pulp::Simd>(x: &[Self]) -> (&[Self::Vector<S>], &[Self]);
        /// The same to be written to.
        fn vectors_mut<S: pulp::Simd>(x: &mut [Self]) -> (&mut [Self::Vector<S>], &mut [Self]);
        fn splat<S: pulp::Simd>(simd: S, x: Self) -> Self::Vector<S>;
        /// a b + c
        fn multiply_add<S: pulp::Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
        /// The sum of the lanes.
        fn total<S: pulp::Simd>(simd: S, x: Self::Vector<S>) -> Self;
        /// The matrix product for this machine.
        fn product() -> Product<Self>;
    }

    /// out = a out + b left right. In this order: m, n, k; `out`, from one column to the next, from one row to the next, whether it is read;
    /// `left` and its steps; `right` and its steps; a; b; whether each of the three is conjugated; threads.
    #[cfg(feature = "std")]
    pub type Product<E> = unsafe fn(
        usize,
        usize,
        usize,
        *mut E,
        isize,
        isize,
        bool,
        *const E,
        isize,
        isize,
        *const E,
        isize,
        isize,
        E,
        E,
        bool,
        bool,
        bool,
        gemm_common::Parallelism,
    );

    #[cfg(feature = "std")]
    macro_rules! vectors {
        ($type:ident, $vector:ident, $split:ident, $split_mut:ident, $splat:ident, $multiply_add:ident, $total:ident, $product:path) => {
            impl Sealed for $type {
                type Vector<S: pulp::Simd> = S::$vector;

                #[inline(always)]
                fn vectors<S: pulp::Simd>(x: &[Self]) -> (&[Self::Vector<S>], &[Self]) {
                    S::$split(x)
                }

                #[inline(always)]
                fn vectors_mut<S: pulp::Simd>(x: &mut [Self]) -> (&mut [Self::Vector<S>], &mut [Self]) {
                    S::$split_mut(x)
                }

                #[inline(always)]
                fn splat<S: pulp::Simd>(simd: S, x: Self) -> Self::Vector<S> {
                    simd.$splat(x)
                }

                #[inline(always)]
                fn multiply_add<S: pulp::Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S> {
                    simd.$multiply_add(a, b, c)
                }

                #[inline(always)]
                fn total<S: pulp::Simd>(simd: S, x: Self::Vector<S>) -> Self {
                    simd.$total(x)
                }

                fn product() -> Product<Self> {
                    $product()
                }
            }
        };
    }

    #[cfg(feature = "std")]
    vectors!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s, reduce_sum_f32s, gemm_f32::gemm::f32::get_gemm_fn);
    #[cfg(feature = "std")]
    vectors!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s, reduce_sum_f64s, gemm_f64::gemm::f64::get_gemm_fn);
}

/// f32 or f64: what the loops of this crate are written over.
///
/// Functions with a parameter `FMA` are branch-free where they can be, so that a loop over them vectorises.
#[allow(missing_docs)] // each is the function of its name
pub trait Float:
    Kernels + sealed::Sealed + Element + Default + PartialOrd + LinalgScalar + Neg<Output = Self> + AddAssign + Send + Sync
{
    const ZERO: Self;
    const ONE: Self;
    const INFINITY: Self;
    /// Up to which argument [`sine`](Self::sine) and [`cosine`](Self::cosine) hold; beyond, the system's functions do.
    const SINE_LIMIT: Self;

    fn fma<const FMA: bool>(self, factor: Self, term: Self) -> Self;
    fn exp<const FMA: bool>(self) -> Self;
    fn ln<const FMA: bool>(self) -> Self;
    fn sine<const FMA: bool>(self) -> Self;
    fn cosine<const FMA: bool>(self) -> Self;
    fn tanh<const FMA: bool>(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;

    /// 1/(1 + e⁻ˣ)
    #[inline(always)]
    fn sigmoid<const FMA: bool>(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp::<FMA>())
    }

    /// The larger of the two, NaN if one of them is.
    #[inline(always)]
    #[allow(clippy::eq_op)] // the test for NaN that vectorises
    fn larger(self, other: Self) -> Self {
        if other > self || other != other { other } else { self }
    }
}

macro_rules! implement {
    ($type:ident, $module:ident, $sqrt:path, $abs:path, $limit:expr) => {
        impl Float for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $type::INFINITY;
            const SINE_LIMIT: Self = $limit;

            #[inline(always)]
            fn fma<const FMA: bool>(self, factor: Self, term: Self) -> Self {
                $module::fma::<FMA>(self, factor, term)
            }

            #[inline(always)]
            fn exp<const FMA: bool>(self) -> Self {
                $module::exp::<FMA>(self)
            }

            #[inline(always)]
            fn ln<const FMA: bool>(self) -> Self {
                $module::ln::<FMA>(self)
            }

            #[inline(always)]
            fn sine<const FMA: bool>(self) -> Self {
                $module::sine::<FMA>(self)
            }

            #[inline(always)]
            fn cosine<const FMA: bool>(self) -> Self {
                $module::cosine::<FMA>(self)
            }

            #[inline(always)]
            fn tanh<const FMA: bool>(self) -> Self {
                $module::tanh::<FMA>(self)
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                $sqrt(self)
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
        }
    };
}

#[cfg(feature = "std")]
implement!(f32, single, f32::sqrt, f32::abs, 1e6);
#[cfg(feature = "std")]
implement!(f64, double, f64::sqrt, f64::abs, f64::INFINITY);
#[cfg(not(feature = "std"))]
implement!(f32, single, libm::sqrtf, libm::fabsf, 1e6);
#[cfg(not(feature = "std"))]
implement!(f64, double, libm::sqrt, libm::fabs, f64::INFINITY);
