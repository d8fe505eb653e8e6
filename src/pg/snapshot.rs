//! The snapshot of the running statement, as the numbers of transactions.

use pgrx::pg_sys;

/// What a snapshot shows: every transaction below `next` that is not listed.
pub struct Seen {
    /// No transaction from here on is shown.
    pub next: u64,
    /// Transactions below `next` that are not shown; may hold subtransactions, which changes nothing.
    pub running: Vec<u64>,
}

/// The snapshot on which statements read that are run by [`super::spi::Stmt::read`].
///
/// The caller's own transaction counts as running, so that what it writes is shown only once it has committed.
pub fn active() -> Seen {
    // SAFETY: a function called by a statement has an active snapshot, and its arrays have the counts it says.
    unsafe {
        let snapshot = &*pg_sys::GetActiveSnapshot();
        let present = pg_sys::ReadNextFullTransactionId().value;
        let wide = |xid: pg_sys::TransactionId| widen(u32::from(xid), present);
        let next = wide(snapshot.xmax);
        // During recovery the server keeps all running transactions in the second list.
        let (list, count) = if snapshot.takenDuringRecovery {
            (snapshot.subxip, snapshot.subxcnt.max(0) as usize)
        } else {
            (snapshot.xip, snapshot.xcnt as usize)
        };
        let mut running: Vec<u64> = (0..count).map(|i| wide(*list.add(i))).collect();
        let own = pg_sys::GetTopFullTransactionIdIfAny().value;
        if own != 0 {
            running.push(own);
        }
        Seen { next, running }
    }
}

/// Runs `work` on the latest snapshot, also where the transaction's own is fixed.
pub fn latest<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: pushed and popped in pairs; an error in between is cleaned up by the transaction's abort.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        let value = work();
        pg_sys::PopActiveSnapshot();
        value
    }
}

/// Whether this transaction may write.
pub fn writable() -> bool {
    // SAFETY: settings of the running transaction.
    unsafe { !pg_sys::XactReadOnly && !pg_sys::RecoveryInProgress() }
}

/// Whether this server follows another one, or has not caught up with its own past yet.
pub fn recovering() -> bool {
    // SAFETY: a flag in shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The whole number of a transaction not later than `present` and less than half the circle before it.
fn widen(xid: u32, present: u64) -> u64 {
    let epoch = present >> 32;
    let epoch = if xid > present as u32 {
        epoch.wrapping_sub(1)
    } else {
        epoch
    };
    (epoch << 32) | u64::from(xid)
}

#[cfg(test)]
mod tests {
    use super::widen;

    #[test]
    fn numbers_above_the_present_belong_to_the_epoch_before() {
        assert_eq!(widen(7, 9), 7);
        assert_eq!(widen(7, (3 << 32) + 9), (3 << 32) + 7);
        assert_eq!(
            widen(u32::MAX, (3 << 32) + 9),
            (2 << 32) + u64::from(u32::MAX)
        );
        assert_eq!(widen(9, (3 << 32) + 9), (3 << 32) + 9);
    }
}
