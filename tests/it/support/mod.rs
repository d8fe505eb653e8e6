//! What every test stands on: servers, fresh databases, sessions, and readable assertions.
//!
//! A test takes a [`World`] (its own database with the extension), speaks SQL through it, and
//! leaves; the world then checks the engine's invariants and drops the database.

pub mod cells;
pub mod cluster;
pub mod contents;
pub mod contract;
pub mod events;
pub mod failure;
pub mod flow;
pub mod flow_control;
pub mod handle;
pub mod login;
pub mod observe;
pub mod pace;
pub mod session;
pub mod stream;
pub mod template;
pub mod waiting;
pub mod work;
pub mod world;

pub use cells::Cells;
pub use session::Session;
pub use work::Claim;
pub use world::World;
