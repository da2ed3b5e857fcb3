//! Memory that is asked for before it is read.

/// Asks for the cache line of an element that will be read soon, if there is one.
#[inline(always)]
pub(crate) fn prefetch<E>(elements: &[E], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = elements.get(index) {
        // SAFETY: a hint, which every processor of this kind knows, and an address that may be read.
        unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::from_ref(element).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, index);
}
