//! What a worker does with the attempt it holds.

pub mod cancel;
pub mod complete;
pub mod fail;
pub mod pause;
pub mod progress;
