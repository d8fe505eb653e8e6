//! Limits on text given by callers (G8, §10.2).

use crate::error::{Error, Result};

/// Longest identifier in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 256;
/// Longest reason of an operator function or a cancellation in bytes.
pub const MAX_REASON_BYTES: usize = 1_024;
/// Bytes of worker-supplied failure or progress text that are kept.
pub const MAX_FREE_TEXT_BYTES: usize = 8_192;

/// Checks an identifier (`worker`, `worker_instance`, `namespace`, `kind`, `creator`,
/// `idempotency_key`): 1–256 bytes without control characters.
///
/// # Errors
/// `invalid_input` for `argument` with rule `empty`, `too_long` or `control_character`.
pub fn identifier(argument: &str, value: &str) -> Result<()> {
    bounded(argument, value, MAX_IDENTIFIER_BYTES)
}

/// Checks a word that only its caller interprets (`flow_kind`): 1–256 bytes, whatever they are.
///
/// # Errors
/// `invalid_input` for `argument` with rule `empty` or `too_long`.
pub fn literal(argument: &str, value: &str) -> Result<()> {
    sized(argument, value, MAX_IDENTIFIER_BYTES)
}

/// Checks a reason: 1–`max_bytes` bytes without control characters. The limit is
/// [`MAX_REASON_BYTES`], and 256 for `ff_mark_worker_dead`.
///
/// # Errors
/// `invalid_input` for `argument` with rule `empty`, `too_long` or `control_character`.
pub fn reason(argument: &str, value: &str, max_bytes: usize) -> Result<()> {
    bounded(argument, value, max_bytes)
}

/// The first 8192 bytes of worker-supplied text, fewer when the cut would split a character.
pub fn cut(value: &str) -> &str {
    let mut end = value.len().min(MAX_FREE_TEXT_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

/// The rule identifiers and reasons share.
fn bounded(argument: &str, value: &str, max_bytes: usize) -> Result<()> {
    sized(argument, value, max_bytes)?;
    match value.chars().any(char::is_control) {
        true => Err(Error::invalid_input(argument, "control_character")),
        false => Ok(()),
    }
}

/// The rule all checked text shares.
fn sized(argument: &str, value: &str, max_bytes: usize) -> Result<()> {
    let rule = if value.is_empty() {
        "empty"
    } else if value.len() > max_bytes {
        "too_long"
    } else {
        return Ok(());
    };
    Err(Error::invalid_input(argument, rule))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{cut, identifier, reason};
    use proptest::prelude::*;

    fn rule(result: crate::error::Result<()>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.detail_value("argument").unwrap(), "worker");
        error
            .detail_value("rule")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn identifiers_keep_to_their_limits() {
        assert!(identifier("worker", "w").is_ok());
        assert!(identifier("worker", &"é".repeat(128)).is_ok());
        assert_eq!(rule(identifier("worker", "")), "empty");
        assert_eq!(rule(identifier("worker", &"é".repeat(129))), "too_long");
        for control in ["a\nb", "\u{7f}", "\u{85}", "\0"] {
            assert_eq!(rule(identifier("worker", control)), "control_character");
        }
    }

    #[test]
    fn reasons_have_a_limit_of_their_own() {
        assert!(reason("worker", &"x".repeat(1024), 1024).is_ok());
        assert_eq!(rule(reason("worker", &"x".repeat(257), 256)), "too_long");
        assert_eq!(rule(reason("worker", "", 256)), "empty");
    }

    #[test]
    fn free_text_is_cut_before_a_split_character() {
        let text = format!("x{}", "é".repeat(5_000));
        assert_eq!(cut(&text).len(), 8_191);
        assert_eq!(cut(&"x".repeat(9_000)).len(), 8_192);
        assert_eq!(cut("a\nb"), "a\nb");
    }

    proptest! {
        #[test]
        fn cutting_keeps_a_prefix(text in "\\PC{0,4000}") {
            let kept = cut(&text);
            prop_assert!(text.starts_with(kept));
            prop_assert!(kept.len() <= 8_192);
            prop_assert!(kept.len() == text.len() || kept.len() > 8_192 - 4);
        }
    }
}
