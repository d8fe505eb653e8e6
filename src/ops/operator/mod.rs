//! Interventions from outside: what an operator does to an execution, whatever its worker thinks.

pub mod block;
pub mod cancel;
pub mod priority;
pub mod replay;
pub mod revoke;
pub mod tags;
