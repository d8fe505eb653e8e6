//! The ring of signing keys (§20.10): which key signs, which still verify, and what becomes of it.

use crate::error::{Error, Kind, Result};

use super::time::{DAY, Instant};
use super::token::is_kid;

/// Fewest and most bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=128;
/// Longest grace of a retired key, microseconds.
const MAX_GRACE: i64 = 3_653 * DAY;

/// One key. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub kid: String,
    /// Its secret; erased some time after its end.
    pub secret: Option<Vec<u8>>,
    /// When it was retired; none while it is current.
    pub retired_at: Option<Instant>,
    /// When it stops verifying.
    pub expires_at: Option<Instant>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Whether it signs new tokens.
    pub fn is_current(&self) -> bool {
        self.retired_at.is_none()
    }

    /// Whether its tokens are accepted at `now`.
    pub fn verifies(&self, now: Instant) -> bool {
        self.is_current() || self.expires_at.is_some_and(|at| at > now)
    }

    /// Whether these are its bytes; none if there is nothing to compare. Takes the same time for all bytes of a length.
    fn has(&self, secret: Option<&[u8]>) -> Option<bool> {
        let (own, given) = (self.secret.as_deref()?, secret?);
        let differing = own.iter().zip(given).fold(0, |d, (a, b)| d | (a ^ b));
        Some(own.len() == given.len() && std::hint::black_box(differing) == 0)
    }
}

/// Every key ever installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(pub Vec<Key>);

/// What a rotation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The key is current already.
    Nothing,
    /// The key becomes current.
    Rotate {
        /// The key it takes over from.
        previous: Option<String>,
        /// When that stops verifying.
        expires_at: Instant,
    },
}

impl Ring {
    /// The key that signs.
    pub fn current(&self) -> Option<&Key> {
        self.0.iter().find(|k| k.is_current())
    }

    /// The key of a name.
    pub fn find(&self, kid: &str) -> Option<&Key> {
        self.0.iter().find(|k| k.kid == kid)
    }

    /// What a seed finds: nothing yet, or the key with whether its bytes are the given ones.
    ///
    /// # Errors
    /// `invalid_kid`, `invalid_secret`; `invalid_input` if another key is current.
    pub fn seed(&self, kid: &str, secret: Option<&[u8]>) -> Result<Option<Option<bool>>> {
        check(kid, secret)?;
        match (self.find(kid), self.current()) {
            (Some(key), _) => Ok(Some(key.has(secret))),
            (None, None) => Ok(None),
            (None, Some(current)) => Err(Error::invalid_input("kid", "different_kid_active")
                .with("current", current.kid.clone())),
        }
    }

    /// What a rotation to a key does at `now`.
    ///
    /// # Errors
    /// `invalid_kid`, `invalid_secret`, `invalid_grace`, `rotation_conflict`.
    pub fn rotate(
        &self,
        kid: &str,
        secret: Option<&[u8]>,
        grace: i64,
        now: Instant,
    ) -> Result<Rotation> {
        check(kid, secret)?;
        if !(0..=MAX_GRACE).contains(&grace) {
            return Err(Error::new(Kind::InvalidGrace).with("argument", "grace"));
        }
        match self.find(kid) {
            Some(key) if key.is_current() && key.has(secret) != Some(false) => {
                Ok(Rotation::Nothing)
            }
            Some(_) => Err(Error::new(Kind::RotationConflict).with("kid", kid)),
            None => Ok(Rotation::Rotate {
                previous: self.current().map(|k| k.kid.clone()),
                expires_at: now.plus(grace),
            }),
        }
    }

    /// Whether a revocation has a key to end at `now`.
    ///
    /// # Errors
    /// `invalid_kid`; `invalid_input` for the current key.
    pub fn revocable(&self, kid: &str, now: Instant) -> Result<bool> {
        check(kid, None)?;
        match self.find(kid) {
            Some(key) if key.is_current() => Err(Error::invalid_input("kid", "kid_is_current")
                .hint("Rotate to another key with grace 0 instead.")),
            Some(key) => Ok(key.verifies(now)),
            None => Ok(false),
        }
    }
}

fn check(kid: &str, secret: Option<&[u8]>) -> Result<()> {
    if !is_kid(kid) {
        return Err(Error::new(Kind::InvalidKid).with("argument", "kid"));
    }
    match secret {
        Some(secret) if !SECRET_BYTES.contains(&secret.len()) => {
            Err(Error::new(Kind::InvalidSecret).with("bytes", secret.len()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000 * DAY);

    fn key(kid: &str, byte: u8, expires_at: Option<Instant>) -> Key {
        Key {
            kid: kid.to_owned(),
            secret: Some(vec![byte; 32]),
            retired_at: expires_at.map(|_| NOW),
            expires_at,
        }
    }

    #[test]
    fn a_seed_installs_once_and_compares_afterwards() {
        let ring = Ring(vec![key("k1", 1, None)]);
        assert_eq!(Ring::default().seed("k1", None).unwrap(), None);
        assert_eq!(ring.seed("k1", Some(&[1; 32])).unwrap(), Some(Some(true)));
        assert_eq!(ring.seed("k1", Some(&[2; 32])).unwrap(), Some(Some(false)));
        assert_eq!(ring.seed("k1", Some(&[1; 33])).unwrap(), Some(Some(false)));
        assert_eq!(ring.seed("k1", None).unwrap(), Some(None));
        let refused = ring.seed("k2", None).unwrap_err();
        assert_eq!(
            refused.detail_value("rule").unwrap(),
            "different_kid_active"
        );
    }

    #[test]
    fn a_rotation_never_uses_a_name_again() {
        let later = NOW.plus(DAY);
        let ring = Ring(vec![key("k1", 1, Some(later)), key("k2", 2, None)]);
        assert_eq!(ring.rotate("k2", None, 0, NOW).unwrap(), Rotation::Nothing);
        for (kid, byte) in [("k2", 1), ("k1", 1), ("k1", 9)] {
            let error = ring.rotate(kid, Some(&[byte; 32]), 0, NOW).unwrap_err();
            assert_eq!(error.kind(), Kind::RotationConflict);
        }
        let expected = Rotation::Rotate {
            previous: Some("k2".to_owned()),
            expires_at: later,
        };
        assert_eq!(ring.rotate("k3", None, DAY, NOW).unwrap(), expected);
        for grace in [-1, MAX_GRACE + 1] {
            let error = ring.rotate("k3", None, grace, NOW).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidGrace);
        }
    }

    #[test]
    fn names_and_secrets_have_limits() {
        for kid in ["", "a:b", "é", &"k".repeat(65)] {
            let error = Ring::default().seed(kid, None).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidKid);
        }
        for bytes in [0, 31, 129] {
            let error = Ring::default()
                .seed("k", Some(&vec![0; bytes]))
                .unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidSecret);
        }
        assert!(!format!("{:?}", key("k1", 77, None)).contains("77"));
    }

    #[test]
    fn a_grace_ends_at_its_instant() {
        let key = key("k1", 1, Some(NOW));
        assert!(key.verifies(NOW.minus(1)) && !key.verifies(NOW));
        let ring = Ring(vec![key]);
        assert!(ring.revocable("k1", NOW.minus(1)).unwrap());
        assert!(!ring.revocable("k1", NOW).unwrap());
        assert!(!ring.revocable("k9", NOW).unwrap());
    }
}
