//! Reading the event log. Nothing is locked and nothing written, so these run on a standby as well.

pub mod history;
pub mod identity;
pub mod read;
