//! The server's wall clock and its strong random generator.

use pgrx::pg_sys;

/// Microseconds since 2000-01-01 UTC, now: not the start of the transaction.
pub fn wall_micros() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Fills an array from the server's strong random generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // SAFETY: the buffer has N bytes.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) } {
        pgrx::error!("the server's random generator failed");
    }
    bytes
}
