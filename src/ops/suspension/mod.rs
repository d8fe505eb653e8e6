//! Waiting for the outside (chapter 20): suspending, signals, resuming, timeouts, waitpoints and the keys of tokens.

pub mod batch;
pub mod close;
pub mod deliver;
pub mod draft;
pub mod expire;
pub mod key;
pub mod observe;
pub mod repeat;
pub mod resume;
pub mod suspend;
pub mod token;
pub mod waitpoint;
pub mod waits;
