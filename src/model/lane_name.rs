//! Lane names (§10.5).

use crate::error::{Error, Kind, Result};

/// Longest lane name in bytes.
pub const MAX_BYTES: usize = 64;

/// Checks a lane name: 1–64 bytes, each a printable ASCII character (`0x20`–`0x7E`).
///
/// # Errors
/// `invalid_lane` with rule `empty`, `too_long:<bytes>` or `non_printable:<byte index>`.
pub fn check(name: &str) -> Result<()> {
    let rule = if name.is_empty() {
        "empty".to_owned()
    } else if name.len() > MAX_BYTES {
        format!("too_long:{}", name.len())
    } else if let Some(index) = name.bytes().position(|byte| !(0x20..=0x7e).contains(&byte)) {
        format!("non_printable:{index}")
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::InvalidLane)
        .say(format!("the lane name breaks the rule {rule}"))
        .with("rule", rule))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::check;
    use proptest::prelude::*;

    #[test]
    fn e_17_lane_name_limits() {
        let rule = |name: &str| {
            let error = check(name).unwrap_err();
            assert_eq!(error.kind().sqlstate(), "FF133");
            error
                .detail_value("rule")
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(rule(""), "empty");
        assert_eq!(rule(&"x".repeat(65)), "too_long:65");
        assert_eq!(rule("é"), "non_printable:0");
        assert_eq!(rule("ab\tc"), "non_printable:2");
        assert_eq!(rule("\u{7f}"), "non_printable:0");
        assert!(check(&"x".repeat(64)).is_ok());
        assert!(check(" ~").is_ok());
    }

    proptest! {
        #[test]
        fn printable_names_pass(name in "[ -~]{1,64}") {
            prop_assert!(check(&name).is_ok());
        }

        #[test]
        fn one_stranger_is_found(head in "[ -~]{0,20}", bad in "[^ -~]", tail in "[ -~]{0,20}") {
            let error = check(&format!("{head}{bad}{tail}")).unwrap_err();
            let rule = format!("non_printable:{}", head.len());
            prop_assert_eq!(error.detail_value("rule").unwrap(), rule.as_str());
        }
    }
}
