//! The engine clock (G3) and what is drawn at random.

use uuid::Uuid;

use crate::guc;
use crate::model::id;
use crate::model::time::{Instant, MS};
use crate::pg::clock;

/// Now: the server's wall clock plus `ff_engine.clock_offset`. Read it after the row lock is held.
pub fn now() -> Instant {
    Instant(clock::wall_micros()).plus(i64::from(guc::CLOCK_OFFSET.value.get()) * MS)
}

/// Whether this session's clock is not the one the background worker goes by.
pub fn shifted() -> bool {
    guc::CLOCK_OFFSET.value.get() != 0
}

/// Mints an id of the engine for a partition, or for one drawn at random.
pub fn mint(partition: Option<u8>) -> Uuid {
    let [drawn] = clock::random::<1>();
    id::mint(
        Instant(clock::wall_micros()).unix_micros(),
        partition.unwrap_or(drawn),
        clock::random(),
    )
}

/// A random uuid of version 4: the secret part of a handle.
pub fn secret() -> Uuid {
    uuid::Builder::from_random_bytes(clock::random()).into_uuid()
}

/// Uniform in [0, 1).
pub fn draw() -> f64 {
    (u64::from_be_bytes(clock::random()) >> 11) as f64 / (1u64 << 53) as f64
}
