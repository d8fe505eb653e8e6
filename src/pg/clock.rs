//! The server's wall clock and its strong random generator.

use std::cell::RefCell;

use pgrx::pg_sys;

/// Microseconds since 2000-01-01 UTC, now: not the start of the transaction.
pub fn wall_micros() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Bytes drawn at once from the server's strong random generator, which costs much the same for few and for many.
const POOL: usize = 512;

thread_local! {
    /// Random bytes of this backend and how many of them are used up. No byte is given out twice.
    static RANDOM: RefCell<([u8; POOL], usize)> = const { RefCell::new(([0; POOL], POOL)) };
}

/// Random bytes from the server's strong random generator.
pub fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL) };
    let mut bytes = [0u8; N];
    RANDOM.with_borrow_mut(|(pool, used)| {
        if N > POOL - *used {
            // SAFETY: the buffer has as many bytes as are asked for.
            if !unsafe { pg_sys::pg_strong_random(pool.as_mut_ptr().cast(), POOL) } {
                pgrx::error!("the server's random generator failed");
            }
            *used = 0;
        }
        for (to, from) in bytes.iter_mut().zip(pool.iter_mut().skip(*used)) {
            *to = std::mem::take(from);
        }
        *used += N;
    });
    bytes
}
