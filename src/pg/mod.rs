//! Postgres made safe: statements, shared memory, commit hooks, waiting. Nothing of the engine is known here.
//!
//! All `unsafe` of the crate lives in this folder, in `bg/` and in `error/raise.rs`.

pub mod array;
pub mod background;
pub mod binding;
pub mod cache;
pub mod calls;
pub mod clock;
pub mod composite;
pub mod jsonb;
pub mod lock;
pub mod mark;
pub mod path;
pub mod plan;
pub mod procedure;
pub mod process;
pub mod rejection;
pub mod runs;
pub mod sequence;
pub mod session;
pub mod shared;
pub mod snapshot;
pub mod spi;
pub mod srf;
pub mod subxact;
pub mod table;
pub mod trial;
pub mod waiter;
pub mod xact;
