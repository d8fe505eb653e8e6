//! Handles: the opaque bearer token of a lease (§10.13).

use crate::error::{Error, Kind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use uuid::Uuid;

/// What every handle of this format starts with.
const PREFIX: &str = "ffh1.";
/// Length of the packed fields in bytes.
const BYTES: usize = 65;
/// Length of the base64url text of those bytes, without padding.
const TEXT: usize = 87;

/// How the lease behind a handle came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleKind {
    /// A new attempt was started.
    Fresh,
    /// An interrupted attempt was continued.
    Resumed,
    /// The lease was released by a suspension; the handle fits only the functions of §20.
    Suspended,
    /// The execution was taken over from a lost lease.
    Reclaimed,
}

impl HandleKind {
    /// The word `ff_handle_info` and the claim functions report.
    pub const fn word(self) -> &'static str {
        match self {
            HandleKind::Fresh => "fresh",
            HandleKind::Resumed => "resumed",
            HandleKind::Suspended => "suspended",
            HandleKind::Reclaimed => "reclaimed",
        }
    }

    /// The byte that stands for the kind in the packed form.
    const fn code(self) -> u8 {
        match self {
            HandleKind::Fresh => 0,
            HandleKind::Resumed => 1,
            HandleKind::Suspended => 2,
            HandleKind::Reclaimed => 3,
        }
    }

    /// The kind a byte of the packed form stands for.
    const fn from_code(code: u8) -> Option<HandleKind> {
        match code {
            0 => Some(HandleKind::Fresh),
            1 => Some(HandleKind::Resumed),
            2 => Some(HandleKind::Suspended),
            3 => Some(HandleKind::Reclaimed),
            _ => None,
        }
    }
}

/// The fields of a handle. `lease_id` is its secret part, which is why neither `Debug` nor any
/// error shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// How the lease came about.
    pub kind: HandleKind,
    /// The installation that minted the handle, drawn once per database.
    pub installation: [u8; 4],
    /// The execution the lease is on.
    pub execution_id: Uuid,
    /// The attempt's index, counted from 0.
    pub attempt_index: i32,
    /// The attempt's id.
    pub attempt_id: Uuid,
    /// The lease's id, unguessable.
    pub lease_id: Uuid,
    /// The number of leases ever granted to the execution, this one included.
    pub lease_epoch: i64,
}

impl Handle {
    /// The 92-character text form.
    pub fn encode(&self) -> String {
        let mut packed = Vec::with_capacity(BYTES);
        packed.push(self.kind.code());
        packed.extend_from_slice(&self.installation);
        packed.extend_from_slice(self.execution_id.as_bytes());
        packed.extend_from_slice(&self.attempt_index.to_be_bytes());
        packed.extend_from_slice(self.attempt_id.as_bytes());
        packed.extend_from_slice(self.lease_id.as_bytes());
        packed.extend_from_slice(&self.lease_epoch.to_be_bytes());
        let mut text = String::with_capacity(PREFIX.len() + TEXT);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&packed, &mut text);
        text
    }

    /// Reads the text form. Which installation minted it is not judged here, see
    /// [`Handle::check_installation`].
    ///
    /// # Errors
    /// `invalid_handle` with the rule the text breaks, the first of `prefix`, `version` (a handle of
    /// another format), `length`, `alphabet` and `kind`. The text itself is not repeated.
    pub fn decode(text: &str) -> Result<Handle> {
        let body = match text.strip_prefix(PREFIX) {
            Some(body) => body,
            None if is_other_version(text) => return Err(invalid("version")),
            None => return Err(invalid("prefix")),
        };
        if body.len() != TEXT {
            return Err(invalid("length"));
        }
        // Also refuses stray bits in the last character, so that one handle has one text.
        let packed = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| invalid("alphabet"))?;
        let mut fields = Fields(&packed);
        Ok(Handle {
            kind: HandleKind::from_code(fields.take::<1>()?[0]).ok_or_else(|| invalid("kind"))?,
            installation: fields.take()?,
            execution_id: Uuid::from_bytes(fields.take()?),
            attempt_index: i32::from_be_bytes(fields.take()?),
            attempt_id: Uuid::from_bytes(fields.take()?),
            lease_id: Uuid::from_bytes(fields.take()?),
            lease_epoch: i64::from_be_bytes(fields.take()?),
        })
    }

    /// Checks that this installation minted the handle.
    ///
    /// # Errors
    /// `handle_from_other_database`.
    pub fn check_installation(&self, installation: [u8; 4]) -> Result<()> {
        if self.installation == installation {
            Ok(())
        } else {
            Err(Error::new(Kind::HandleFromOtherDatabase)
                .say("the handle was minted by another installation"))
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("kind", &self.kind)
            .field("execution_id", &self.execution_id)
            .field("attempt_index", &self.attempt_index)
            .finish_non_exhaustive()
    }
}

/// What is left of the packed bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; running out of them cannot happen once the length has been checked.
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| invalid("length"))?;
        self.0 = rest;
        Ok(*field)
    }
}

/// Whether the text starts like a handle, but of another format: `ffh<digits>.`.
fn is_other_version(text: &str) -> bool {
    text.strip_prefix("ffh")
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `invalid_handle` with its rule, and nothing of the text.
fn invalid(rule: &str) -> Error {
    Error::new(Kind::InvalidHandle)
        .say(format!(
            "the text is not a handle, it breaks the rule {rule}"
        ))
        .with("rule", rule)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{Handle, HandleKind};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn any_handle() -> impl Strategy<Value = Handle> {
        let ids = (any::<u128>(), any::<u128>(), any::<u128>());
        (0u8..4, any::<[u8; 4]>(), ids, any::<i32>(), any::<i64>()).prop_map(
            |(kind, installation, (execution, attempt, lease), attempt_index, lease_epoch)| {
                Handle {
                    kind: HandleKind::from_code(kind).unwrap(),
                    installation,
                    execution_id: Uuid::from_u128(execution),
                    attempt_index,
                    attempt_id: Uuid::from_u128(attempt),
                    lease_id: Uuid::from_u128(lease),
                    lease_epoch,
                }
            },
        )
    }

    fn sample() -> Handle {
        Handle {
            kind: HandleKind::Reclaimed,
            installation: [1, 2, 3, 4],
            execution_id: Uuid::from_u128(0xe),
            attempt_index: 2,
            attempt_id: Uuid::from_u128(0xa),
            lease_id: Uuid::from_u128(0x5ec2e7),
            lease_epoch: 9,
        }
    }

    fn rule(text: &str) -> String {
        let error = Handle::decode(text).unwrap_err();
        assert_eq!(error.kind().sqlstate(), "FF129");
        error
            .detail_value("rule")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn e_42_texts_that_are_not_handles() {
        let text = sample().encode();
        assert_eq!(text.len(), 92);
        assert_eq!(rule(""), "prefix");
        assert_eq!(rule("nonsense"), "prefix");
        assert_eq!(rule("ffh."), "prefix");
        assert_eq!(rule("FFH1.x"), "prefix");
        assert_eq!(rule(&text.replace("ffh1.", "ffh2.")), "version");
        assert_eq!(rule("ffh1."), "length");
        assert_eq!(rule(&text[..91]), "length");
        assert_eq!(rule(&format!("{text}A")), "length");
        for stranger in ["+", "/", "=", " ", "."] {
            assert_eq!(
                rule(&format!("{}{stranger}{}", &text[..40], &text[41..])),
                "alphabet"
            );
        }
        assert_eq!(
            rule(&format!("{}é{}", &text[..40], &text[42..])),
            "alphabet"
        );
        // The first body character holds the top six bits of the kind byte.
        assert_eq!(rule(&text.replacen(".A", ".B", 1)), "kind");
    }

    #[test]
    fn e_42_handle_of_another_installation() {
        let handle = Handle::decode(&sample().encode()).unwrap();
        assert!(handle.check_installation([1, 2, 3, 4]).is_ok());
        let error = handle.check_installation([1, 2, 3, 5]).unwrap_err();
        assert_eq!(error.kind().sqlstate(), "FF126");
        assert!(!error.detail().contains(&handle.lease_id.to_string()));
    }

    #[test]
    fn debug_output_keeps_the_secret() {
        let text = format!("{:?}", sample());
        assert!(!text.contains(&sample().lease_id.to_string()) && !text.contains("ffh1"));
    }

    proptest! {
        #[test]
        fn round_trip(handle in any_handle()) {
            let text = handle.encode();
            prop_assert!(Handle::decode(&text).unwrap() == handle);
            prop_assert_eq!(text.len(), 92);
        }

        #[test]
        fn a_changed_character_is_another_handle_or_none(
            handle in any_handle(), at in 0usize..92, other in "[A-Za-z0-9_+/=.-]",
        ) {
            let text = handle.encode();
            let mut tampered = text.clone();
            tampered.replace_range(at..=at, &other);
            prop_assume!(tampered != text);
            match Handle::decode(&tampered) {
                Ok(found) => prop_assert!(found != handle && found.encode() == tampered),
                Err(error) => {
                    // Not even a damaged handle may be quoted.
                    prop_assert!(!error.message().contains(&tampered[5..]));
                    prop_assert!(!error.detail().contains(&tampered[5..]));
                }
            }
        }

        #[test]
        fn any_text_is_answered(text in "(ffh[0-9]\\.)?\\PC*") {
            let _ = Handle::decode(&text);
        }
    }
}
