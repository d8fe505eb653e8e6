//! A worker's registration (§10.19) and when it holds.

use super::time::{Instant, MS};

/// What a worker has announced about itself, as far as later calls are judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Pool identity.
    pub worker: String,
    /// When it became live; refreshing keeps it.
    pub registered_at: Instant,
    /// Until when it holds without another heartbeat.
    pub expires_at: Instant,
    /// Its liveness time in milliseconds.
    pub ttl_ms: i32,
}

impl Registration {
    /// Whether it holds at `now`; one that has lapsed counts as absent.
    pub fn is_live(&self, now: Instant) -> bool {
        self.expires_at > now
    }

    /// Its end after a sign of life at `now`.
    pub fn renewed(&self, now: Instant) -> Instant {
        now.plus(i64::from(self.ttl_ms) * MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_92_a_registration_holds_up_to_its_instant_and_not_at_it() {
        let registration = Registration {
            worker: "w".into(),
            registered_at: Instant(0),
            expires_at: Instant(2 * MS),
            ttl_ms: 2,
        };
        assert!(registration.is_live(Instant(2 * MS - 1)));
        assert!(!registration.is_live(Instant(2 * MS)));
        assert_eq!(registration.renewed(Instant(MS)), Instant(3 * MS));
    }
}
