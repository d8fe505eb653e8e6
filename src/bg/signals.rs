//! Signals of a background process: PostgreSQL's own handlers, so that it ends at once even inside a lock wait.

use pgrx::pg_sys;

type Handler = unsafe extern "C-unwind" fn(i32);

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" {
    fn pqsignal(signal: i32, handler: Handler) -> Option<Handler>;
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" {
    #[link_name = "pqsignal_be"]
    fn pqsignal(signal: i32, handler: Handler);
}

unsafe extern "C-unwind" {
    fn die(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
}

const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// Installs the handlers and lets signals through.
pub fn install() {
    // SAFETY: the handlers are the server's own and made for background processes.
    unsafe {
        let _ = pqsignal(SIGTERM, die);
        let _ = pqsignal(SIGHUP, SignalHandlerForConfigReload);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Reads the configuration again if somebody asked for it.
pub fn reload_if_asked() {
    // SAFETY: flags and function of the main loop of every backend.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}
