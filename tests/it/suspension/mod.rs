//! Suspension, waitpoints, signals and tokens (chapter 20).

mod close;
mod conditions;
mod delivery;
mod keys;
mod pending;
mod races;
mod reads;
mod repeat;
mod resume;
mod rollback;
mod secrecy;
mod suspend;
mod timeout;
