//! This backend among the server's processes: its number, its latch, its end.

use std::cell::Cell;

use pgrx::pg_sys;

/// Number of this process in the server's process array.
pub fn number() -> usize {
    // SAFETY: MyProc points into the array that ProcGlobal describes, for the life of the backend.
    unsafe {
        let all = (*pg_sys::ProcGlobal).allProcs;
        pg_sys::MyProc.offset_from(all).unsigned_abs()
    }
}

/// Sets the latch of a process by number; harmless if it has gone.
pub fn set_latch(number: usize) {
    // SAFETY: numbers come from `number`; the array lives as long as the server, latches are never unmapped.
    unsafe {
        let process = (*pg_sys::ProcGlobal).allProcs.add(number);
        pg_sys::SetLatch(&raw mut (*process).procLatch);
    }
}

thread_local! {
    static AT_EXIT: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Has `forget` called when this process ends, however it ends short of a crash.
pub fn at_exit(forget: fn()) {
    if AT_EXIT.get().is_none() {
        AT_EXIT.set(Some(forget));
        // SAFETY: the callback lives in this library, which is never unloaded.
        unsafe { pg_sys::before_shmem_exit(Some(run_at_exit), pg_sys::Datum::from(0)) };
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn run_at_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(forget) = AT_EXIT.get() {
        forget();
    }
}

/// Sleeps until the latch is set or `millis` have passed, then serves interrupts.
pub fn sleep(millis: i64) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: MyLatch is this process's own latch; interrupts are served at a point that holds no lock.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            millis.max(1) as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Sleeps for `millis` whatever happens to the latch, then serves interrupts.
pub fn rest(millis: i64) {
    std::thread::sleep(std::time::Duration::from_millis(
        millis.max(0).unsigned_abs(),
    ));
    pgrx::check_for_interrupts!();
}
