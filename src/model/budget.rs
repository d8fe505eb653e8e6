//! Budgets (§50.2–50.6): dimensions, limits, and what a report makes of them.

use std::collections::BTreeMap;

use serde_json::{Number, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

use super::time::Instant;

/// Amounts or limits by dimension, in byte order.
pub type Amounts = BTreeMap<String, i64>;

/// Most dimensions of one call.
pub const MAX_DIMENSIONS: usize = 64;
/// Most dimensions of one budget.
pub const MAX_BUDGET_DIMENSIONS: usize = 1000;
/// Longest name of a dimension, bytes.
const MAX_NAME: usize = 64;

/// `invalid_budget_spec` with its rule.
pub fn invalid(rule: &str) -> Error {
    Error::new(Kind::InvalidBudgetSpec).with("rule", rule)
}

/// Checks the name of a dimension.
///
/// # Errors
/// `invalid_budget_spec`, rule `dimension_name`.
pub fn check_dimension(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
    if first && rest && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(invalid("dimension_name").with("dimension", super::text::cut(name)))
}

/// A whole number from 0 to 2⁶³ − 1, however many zeros follow its point.
fn whole(number: &Number) -> Option<i64> {
    let text = number.to_string();
    let digits = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => &text,
    };
    digits.parse().ok().filter(|amount| *amount >= 0)
}

/// Amounts or limits from a JSON object. Zeros are dropped: no delta, or no limit.
///
/// # Errors
/// `invalid_budget_spec`, rules `shape`, `too_many_dimensions`, `dimension_name`, `amount`.
pub fn amounts(value: &Value, most: usize) -> Result<Amounts> {
    let Value::Object(object) = value else {
        return Err(invalid("shape"));
    };
    if object.len() > most {
        return Err(invalid("too_many_dimensions").with("limit", most));
    }
    let mut found = Amounts::new();
    for (name, value) in object {
        check_dimension(name)?;
        let amount = match value {
            Value::Number(number) => whole(number),
            _ => None,
        };
        let amount = amount.ok_or_else(|| invalid("amount").with("dimension", name.as_str()))?;
        if amount > 0 {
            found.insert(name.clone(), amount);
        }
    }
    Ok(found)
}

/// Amounts as JSON.
pub fn json(amounts: &Amounts) -> Value {
    Value::Object(
        amounts
            .iter()
            .map(|(name, amount)| (name.clone(), Value::from(*amount)))
            .collect(),
    )
}

/// What a budget does with executions once a hard limit is reached (§50.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keeps waiting ones from starting.
    Block,
    /// Fails the one that reported.
    Fail,
    /// Parks the one that reported.
    Suspend,
    /// Cancels all.
    Cancel,
}

impl Action {
    const WORDS: [(&'static str, Action); 4] = [
        ("block", Action::Block),
        ("fail", Action::Fail),
        ("suspend", Action::Suspend),
        ("cancel", Action::Cancel),
    ];

    /// The action of a word.
    pub fn from_word(word: &str) -> Option<Action> {
        Self::WORDS.into_iter().find(|w| w.0 == word).map(|w| w.1)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .into_iter()
            .find(|w| w.1 == self)
            .map_or("", |w| w.0)
    }
}

/// A budget as reports and admission see it.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Identity.
    pub id: Uuid,
    /// Hard limits hold; otherwise crossings are only counted.
    pub strict: bool,
    /// On a hard breach.
    pub action: Action,
    /// The first soft breach of a period is announced.
    pub warns: bool,
    /// Hard limits.
    pub hard: Amounts,
    /// Soft limits.
    pub soft: Amounts,
    /// Counters per dimension.
    pub stripes: i32,
    /// The current period.
    pub period: i64,
    /// When this period's first hard breach was.
    pub breached_at: Option<Instant>,
    /// When this period's first soft breach was.
    pub soft_breached_at: Option<Instant>,
}

impl Budget {
    /// The limit of a dimension that a report may not exceed.
    pub fn strict_limit(&self, dimension: &str) -> Option<i64> {
        self.hard.get(dimension).copied().filter(|_| self.strict)
    }

    /// Whether a dimension's limit is spread over stripes (§50.5).
    pub fn escrowed(&self, dimension: &str) -> Option<i64> {
        self.strict_limit(dimension).filter(|_| self.stripes > 1)
    }

    /// The limit that usage exceeds without being rejected: the soft one, or in mode `warn` the hard one, which
    /// comes first.
    pub fn crossed(&self, dimension: &str, usage: i64) -> Option<Crossed> {
        let over = |limits: &Amounts| limits.get(dimension).copied().filter(|l| usage > *l);
        let hard = over(&self.hard).filter(|_| !self.strict);
        let crossed = |limit, hard| Crossed { limit, hard };
        hard.map(|limit| crossed(limit, true))
            .or_else(|| over(&self.soft).map(|limit| crossed(limit, false)))
    }
}

/// A limit that usage exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// The limit.
    pub limit: i64,
    /// It is the hard limit of a budget in mode `warn`.
    pub hard: bool,
}

/// What is left of a limit spread evenly over stripes: the share of each, and what stays in the pool.
pub fn spread(amount: i64, stripes: usize) -> (i64, i64) {
    let count = i64::try_from(stripes).unwrap_or(1).max(1);
    let share = amount.max(0) / count;
    (share, amount - share * count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rule(value: Value) -> String {
        let error = amounts(&value, MAX_DIMENSIONS).expect_err("refused");
        assert_eq!(error.kind(), Kind::InvalidBudgetSpec);
        error.detail_value("rule").unwrap().as_str().unwrap().into()
    }

    #[test]
    fn amounts_are_whole_and_dimensions_have_names() {
        let given = json!({"tokens": 3, "wall_ms": 0, "a.b:c-d_1": 2});
        let found = amounts(&given, MAX_DIMENSIONS).unwrap();
        assert_eq!(found.len(), 2, "zero is none");
        assert_eq!(found["a.b:c-d_1"], 2);
        for bad in ["1x", "", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(rule(json!({ bad: 1 })), "dimension_name", "{bad}");
        }
        assert!(amounts(&json!({ "x".repeat(64): 1 }), MAX_DIMENSIONS).is_ok());
        let numbers = ["-1", "1.5", "9223372036854775808", "1e400", "1e3000000000"];
        for number in numbers {
            let text = format!("{{\"tokens\":{number}}}");
            if let Ok(value) = serde_json::from_str(&text) {
                assert_eq!(rule(value), "amount", "{number}");
            }
        }
        for bad in [json!("3"), json!(null), json!([1]), json!(true)] {
            assert_eq!(rule(json!({ "tokens": bad })), "amount");
        }
        assert_eq!(rule(json!([])), "shape");
        assert_eq!(rule(json!(null)), "shape");
        let many: serde_json::Map<_, _> = (0..65).map(|i| (format!("d{i}"), json!(1))).collect();
        assert_eq!(rule(Value::Object(many)), "too_many_dimensions");
    }

    fn budget(strict: bool) -> Budget {
        Budget {
            id: Uuid::nil(),
            strict,
            action: Action::Block,
            warns: true,
            hard: Amounts::from([("tokens".into(), 10)]),
            soft: Amounts::from([("tokens".into(), 8)]),
            stripes: 4,
            period: 1,
            breached_at: None,
            soft_breached_at: None,
        }
    }

    #[test]
    fn equality_is_no_breach_and_mode_warn_reports_the_hard_limit() {
        let strict = budget(true);
        assert_eq!(strict.crossed("tokens", 8), None);
        assert_eq!(strict.crossed("other", 1000), None);
        let soft = strict.crossed("tokens", 9).unwrap();
        assert_eq!((soft.limit, soft.hard), (8, false));
        assert_eq!(strict.escrowed("tokens"), Some(10));
        let warn = budget(false);
        assert_eq!(warn.escrowed("tokens"), None);
        let hard = warn.crossed("tokens", 11).unwrap();
        assert_eq!((hard.limit, hard.hard), (10, true));
        assert_eq!(warn.crossed("tokens", 10).unwrap().limit, 8);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_when_a_limit_is_spread(amount in 0i64..=i64::MAX, stripes in 1usize..=64) {
            let (share, rest) = spread(amount, stripes);
            prop_assert_eq!(i128::from(share) * stripes as i128 + i128::from(rest), i128::from(amount));
            prop_assert!((0..stripes as i64).contains(&rest));
        }
    }
}
