//! Output streams of attempts (§30.1–§30.9).

mod append;
mod close;
mod gc;
mod live;
mod races;
mod read;
mod summary;
mod tail;
