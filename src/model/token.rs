//! Waitpoint tokens (§20.9): deterministic text that proves its bearer was given a waitpoint.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::time::Instant;

/// Separates tokens from any other use of a signing key.
const PURPOSE: &[u8] = b"ff-waitpoint-token-v1\0";
/// Separates fingerprints from any other digest of a token.
const FINGERPRINT: &[u8] = b"ff-waitpoint-fingerprint-v1\0";
/// Hexadecimal digits of a MAC.
const DIGITS: usize = 64;

/// What a token vouches for: facts of a waitpoint that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its execution.
    pub execution_id: Uuid,
    /// Its id.
    pub waitpoint_id: Uuid,
    /// When it was made.
    pub created_at: Instant,
    /// Its name in conditions.
    pub key: String,
}

/// A token taken apart. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Name of the key that is said to have signed.
    pub kid: String,
    mac: [u8; 32],
}

/// Whether a text may name a signing key.
pub fn is_kid(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

impl Token {
    /// Reads the text form; none if its shape is not exact.
    pub fn parse(text: &str) -> Option<Token> {
        let (kid, digits) = text.split_once(':')?;
        if !is_kid(kid) || digits.len() != DIGITS {
            return None;
        }
        let mut mac = [0u8; 32];
        for (byte, pair) in mac.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Token {
            kid: kid.to_owned(),
            mac,
        })
    }

    /// Whether this secret signed these facts under the token's kid. Takes the same time for every wrong MAC.
    pub fn is_signed(&self, secret: &[u8], subject: &Subject) -> bool {
        signature(secret, &self.kid, subject).is_some_and(|mac| mac.verify_slice(&self.mac).is_ok())
    }
}

/// The token of a waitpoint under a key.
pub fn mint(kid: &str, secret: &[u8], subject: &Subject) -> String {
    let mac = signature(secret, kid, subject).map(|mac| mac.finalize().into_bytes());
    format!("{kid}:{}", hex(mac.as_deref().unwrap_or_default()))
}

/// Sixteen digits that tell tokens apart and give nothing of them away.
pub fn fingerprint(token: &str) -> String {
    let digest = Sha256::new()
        .chain_update(FINGERPRINT)
        .chain_update(token.as_bytes())
        .finalize();
    hex(digest.get(..8).unwrap_or_default())
}

/// The form in which a token may be shown.
pub fn redact(text: &str) -> String {
    match Token::parse(text) {
        Some(token) => format!("{}:<REDACTED:len={DIGITS}>", token.kid),
        None => "<REDACTED:malformed>".to_owned(),
    }
}

/// Every part of variable length is preceded by its length, so no two subjects share an input.
fn signature(secret: &[u8], kid: &str, subject: &Subject) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(PURPOSE);
    mac.update(&(kid.len() as u16).to_be_bytes());
    mac.update(kid.as_bytes());
    mac.update(subject.execution_id.as_bytes());
    mac.update(subject.waitpoint_id.as_bytes());
    mac.update(&subject.created_at.unix_micros().to_be_bytes());
    mac.update(&(subject.key.len() as u32).to_be_bytes());
    mac.update(subject.key.as_bytes());
    Some(mac)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: [u8; 32] = {
        let mut secret = [0u8; 32];
        let mut i = 0;
        while i < 32 {
            secret[i] = i as u8;
            i += 1;
        }
        secret
    };

    fn subject() -> Subject {
        Subject {
            execution_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            waitpoint_id: "00000000-0000-4000-8000-000000000002".parse().unwrap(),
            created_at: Instant::from_unix_ms(1_704_067_200_000),
            key: "wpk:a".to_owned(),
        }
    }

    #[test]
    fn s_28_known_answers() {
        let token = mint("k1", &SECRET, &subject());
        assert_eq!(
            token,
            "k1:8fffed8471e1a427d456ffd46d04bd3f7241a431346f9ead72daec59fb37f621"
        );
        assert_eq!(fingerprint(&token), "2452789abe1e47e5");
        let mut later = subject();
        later.created_at = later.created_at.plus(1);
        assert_eq!(
            mint("k1", &SECRET, &later),
            "k1:ce55c789d131b387829143359d832580c008f144c8cb282c0de0b2b0a512f4b0"
        );
    }

    #[test]
    fn s_27_texts_that_are_not_tokens() {
        let zeros = "0".repeat(64);
        for text in [
            String::new(),
            zeros.clone(),
            format!(":{zeros}"),
            format!("k1:{}", &zeros[1..]),
            format!("k1:{zeros}0"),
            format!("k1:{}", zeros.replace('0', "A")),
            format!("k 1:{zeros}"),
            format!("{}:{zeros}", "k".repeat(65)),
            format!("k1:{}é", &zeros[2..]),
        ] {
            assert!(Token::parse(&text).is_none(), "{text}");
            assert_eq!(redact(&text), "<REDACTED:malformed>");
        }
        assert_eq!(redact(&format!("k1:{zeros}")), "k1:<REDACTED:len=64>");
    }

    fn any_subject() -> impl Strategy<Value = Subject> {
        (any::<u128>(), any::<u128>(), any::<i64>(), "\\PC{1,20}").prop_map(|(e, w, at, key)| {
            Subject {
                execution_id: Uuid::from_u128(e),
                waitpoint_id: Uuid::from_u128(w),
                created_at: Instant(at),
                key,
            }
        })
    }

    proptest! {
        #[test]
        fn a_token_fits_its_subject_its_key_and_its_secret(
            subject in any_subject(), other in any_subject(), kid in "[A-Za-z0-9._-]{1,64}", secret in any::<[u8; 32]>(),
        ) {
            let text = mint(&kid, &secret, &subject);
            let token = Token::parse(&text).unwrap();
            prop_assert!(token.is_signed(&secret, &subject));
            prop_assert_eq!(token.is_signed(&secret, &other), subject == other);
            let mut forged = secret;
            forged[0] ^= 1;
            prop_assert!(!token.is_signed(&forged, &subject));
            let renamed = Token { kid: format!("{}x", &kid[1..]), mac: token.mac };
            prop_assert!(renamed.kid == kid || !renamed.is_signed(&secret, &subject));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let shown = redact(&text);
            prop_assert!(shown.contains("<REDACTED:"));
            prop_assert_eq!(fingerprint(&text).len(), 16);
        }
    }
}
