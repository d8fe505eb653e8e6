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

mod error;
mod model;
mod pg;
mod store;
mod guc;
mod schema;
mod api;
