//! The numbers that a tensor holds.

use crate::math::{double, single};
use core::ops::{AddAssign, Neg};
use mfm_core::tensor::Element;
use ndarray::LinalgScalar;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// f32 or f64: what the loops of this crate are written over.
///
/// Functions with a parameter `FMA` are branch-free where they can be, so that a loop over them vectorises.
#[allow(missing_docs)] // each is the function of its name
pub trait Float: sealed::Sealed + Element + Default + PartialOrd + LinalgScalar + Neg<Output = Self> + AddAssign + Send + Sync {
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
    ($type:ident, $module:ident, $sqrt:path, $abs:path, $limit:literal) => {
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
implement!(f64, double, f64::sqrt, f64::abs, -1.0);
#[cfg(not(feature = "std"))]
implement!(f32, single, libm::sqrtf, libm::fabsf, 1e6);
#[cfg(not(feature = "std"))]
implement!(f64, double, libm::sqrt, libm::fabs, -1.0);
