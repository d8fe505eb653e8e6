//! Arguments of the reads that are written in SQL, checked where the text of errors is.
//!
//! Each returns what the query goes on with, or raises.

use pgrx::datum::Uuid;
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::model::flow::FlowState;
use crate::model::tags;
use crate::model::words::PublicState;
use crate::pg::jsonb::Jsonb;

use super::{limit, object, required, uuid_in};

fn checked<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| error.raise())
}

#[pg_schema]
mod ff_engine {
    use super::*;

    /// The id, which must not be NULL.
    #[pg_extern(stable, parallel_safe)]
    pub fn given(execution_id: Option<Uuid>) -> Uuid {
        checked(required(execution_id, "execution_id"))
    }

    /// True, for a budget that was found.
    #[pg_extern(stable, parallel_safe)]
    pub fn known_budget(budget_id: Option<Uuid>, found: Option<bool>) -> bool {
        let id = checked(required(budget_id, "budget_id"));
        if found != Some(true) {
            Error::new(Kind::BudgetNotFound)
                .with("budget_id", uuid_in(id).to_string())
                .raise()
        }
        true
    }

    /// True, for a quota policy that was found.
    #[pg_extern(stable, parallel_safe)]
    pub fn known_quota(quota_policy_id: Option<Uuid>, found: Option<bool>) -> bool {
        let id = checked(required(quota_policy_id, "quota_policy_id"));
        if found != Some(true) {
            Error::new(Kind::QuotaPolicyNotFound)
                .with("quota_policy_id", uuid_in(id).to_string())
                .raise()
        }
        true
    }

    /// The id of an object, which must not be NULL.
    #[pg_extern(stable, parallel_safe)]
    pub fn given_as(id: Option<Uuid>, argument: &str) -> Uuid {
        checked(required(id, argument))
    }

    /// An id that must not be NULL.
    #[pg_extern(stable, parallel_safe)]
    pub fn given_id(id: Option<Uuid>, argument: &str) -> Uuid {
        checked(required(id, argument))
    }

    /// Which edges of an execution are asked for.
    #[pg_extern(stable, parallel_safe)]
    pub fn edge_direction(direction: Option<String>) -> String {
        let word = checked(required(direction, "direction"));
        if !["incoming", "outgoing", "both"].contains(&word.as_str()) {
            Error::invalid_input("direction", "unknown_word").raise();
        }
        word
    }

    /// A text, which must not be NULL.
    #[pg_extern(stable, parallel_safe)]
    pub fn given_text(value: Option<String>, argument: &str) -> String {
        checked(required(value, argument))
    }

    /// The state of flows that a status word stands for, NULL for all.
    #[pg_extern(stable, parallel_safe)]
    pub fn flow_state(status: Option<String>) -> Option<&'static str> {
        let status = status?;
        let state = match status.as_str() {
            "active" => Some(FlowState::Open),
            "open" => None,
            word => FlowState::from_word(word),
        };
        match state {
            Some(state) => Some(state.word()),
            None => Error::invalid_input("status", "unknown_word").raise(),
        }
    }

    /// True, for an execution that was found.
    #[pg_extern(stable, parallel_safe)]
    pub fn existing(execution_id: Option<Uuid>, found: Option<bool>) -> bool {
        match (execution_id, found) {
            (Some(id), Some(false) | None) => Error::new(Kind::ExecutionNotFound)
                .with("execution_id", uuid_in(id).to_string())
                .raise(),
            _ => true,
        }
    }

    /// Rows of a page (G9): a limit above the cap is lowered to it.
    #[pg_extern(stable, parallel_safe)]
    pub fn page(max_items: Option<i32>, cap: i32) -> i64 {
        checked(limit(max_items, "max_items", cap))
    }

    /// A partition, NULL for all.
    #[pg_extern(stable, parallel_safe)]
    pub fn partition(partition_key: Option<i32>) -> Option<i16> {
        partition_key.map(|key| match u8::try_from(key) {
            Ok(key) => i16::from(key),
            Err(_) => Error::invalid_input("partition_key", "out_of_range").raise(),
        })
    }

    /// Words of public states, NULL for all.
    #[pg_extern(stable, parallel_safe)]
    pub fn public_states(words: Option<Vec<Option<String>>>) -> Option<Vec<String>> {
        let words = checked(whole(words, "public_states"))?;
        if let Some(word) = words
            .iter()
            .find(|word| PublicState::from_word(word).is_none())
        {
            Error::invalid_input("public_states", "unknown_state")
                .with("word", crate::model::text::cut(word))
                .raise();
        }
        Some(words)
    }

    /// A tag key.
    #[pg_extern(stable, parallel_safe)]
    pub fn tag_key(key: Option<String>) -> String {
        let key = checked(required(key, "key"));
        checked(tags::check_key(&key));
        key
    }

    /// An object of tags that must all be there, NULL for any.
    #[pg_extern(stable, parallel_safe)]
    pub fn tag_filter(tags: Option<Jsonb>) -> Option<Jsonb> {
        let tags = tags?;
        let object = checked(object(Some(tags.clone()), "tags"));
        if let Some((key, _)) = object.iter().find(|(_, value)| !value.is_string()) {
            Error::invalid_input("tags", "not_text")
                .with("key", crate::model::text::cut(key))
                .raise();
        }
        Some(tags)
    }

    /// Names of fields.
    #[pg_extern(stable, parallel_safe)]
    pub fn names(fields: Option<Vec<Option<String>>>) -> Vec<String> {
        let fields = checked(whole(fields, "fields"));
        checked(required(fields, "fields"))
    }
}

/// An array without a NULL among its elements.
fn whole(words: Option<Vec<Option<String>>>, argument: &str) -> Result<Option<Vec<String>>> {
    let Some(words) = words else { return Ok(None) };
    let words: Option<Vec<String>> = words.into_iter().collect();
    words
        .map(Some)
        .ok_or_else(|| Error::invalid_input(argument, "null_element"))
}
