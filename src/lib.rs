//! ff_engine: durable execution inside PostgreSQL.
//!
//! ```text
//!  api        one wrapper per SQL function          bg     launcher, worker
//!   |                                                |
//!  ops        lock, decide, write, announce  <---- reconcile   periodic duties
//!   |     \
//!  model   store      pure decisions      statements, one file per table
//!            |
//!           pg         Postgres made safe
//! ```

::pgrx::pg_module_magic!();

mod api;
mod bg;
mod error;
mod guc;
mod model;
mod ops;
mod pg;
mod reconcile;
mod schema;
mod store;

/// Called when the library is loaded: settings, shared memory, commit callbacks, background workers.
#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    guc::init();
    pg::shared::init();
    pg::plan::init();
    pg::session::init();
    pg::table::init();
    pg::xact::init();
    pg::binding::init();
    bg::init();
}
