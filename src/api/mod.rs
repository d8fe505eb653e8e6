//! The SQL surface: one wrapper per function. Checks arguments, calls an operation, shapes rows, raises errors.
//!
//! Every argument is optional in Rust, so that no function is STRICT and a NULL gets the engine's own error.

pub mod words;
