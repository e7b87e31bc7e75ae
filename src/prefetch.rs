//! Asking the processor for memory before it is needed. A hint: it changes nothing, and any address will do.

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Asks for the cache line at `address`.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // Sound: a prefetch never faults, whatever the address; every x86-64 processor has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
