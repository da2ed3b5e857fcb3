//! Loops compiled for several instruction sets, chosen at run time.

/// A loop that the compiler vectorises. `run` must be `#[inline(always)]`, and so must everything it calls: what is not inlined is
/// compiled without the chosen instructions. So no work in closures that an iterator calls (`for_each`, `fold`), only in `for` loops.
pub(crate) trait Kernel {
    type Output;

    /// The loop; `FMA` says whether the processor multiplies and adds in one step (else `mul_add` is a slow library call).
    fn run<const FMA: bool>(self) -> Self::Output;
}

#[cfg(feature = "std")]
struct Adapter<K>(K);

#[cfg(feature = "std")]
impl<K: Kernel> pulp::WithSimd for Adapter<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> K::Output {
        if S::IS_SCALAR || cfg!(target_arch = "wasm32") { self.0.run::<false>() } else { self.0.run::<true>() }
    }
}

/// Runs the loop with the widest instructions that the processor has.
#[cfg(feature = "std")]
pub(crate) fn vectorise<K: Kernel>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(Adapter(kernel))
}

/// Runs the loop with the instructions that the crate is compiled for.
#[cfg(not(feature = "std"))]
pub(crate) fn vectorise<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<false>()
}
