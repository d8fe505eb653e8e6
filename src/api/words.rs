//! Stored letters and numbers as the words of the specification, for views and reads.

use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::model::event::Code;
use crate::model::words as w;

macro_rules! word {
    ($(#[$doc:meta] $name:ident: $type:ident;)*) => {
        $(
            #[$doc]
            #[pg_extern(immutable, parallel_safe, strict)]
            pub fn $name(letter: i8) -> Option<&'static str> {
                w::$type::from_letter(letter as u8).map(w::$type::word)
            }
        )*
    };
}

#[pg_schema]
mod ff_engine {
    use super::*;

    word! {
        /// Word of a lifecycle phase.
        lifecycle_word: Lifecycle;
        /// Word of an ownership state.
        ownership_word: Ownership;
        /// Word of an eligibility state.
        eligibility_word: Eligibility;
        /// Word of a blocking reason.
        blocking_word: Blocking;
        /// Word of a terminal outcome.
        outcome_word: TerminalOutcome;
        /// Word of an attempt state.
        attempt_state_word: AttemptState;
        /// Word of an attempt record's state.
        attempt_record_word: AttemptRecord;
        /// Word of an attempt type.
        attempt_type_word: AttemptType;
    }

    /// The public state of a vector (§10.3.1); ownership and blocking reason do not enter.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn public_state(
        lifecycle: i8,
        outcome: i8,
        eligibility: i8,
        attempt: i8,
    ) -> Option<&'static str> {
        let vector = w::Vector {
            lifecycle: w::Lifecycle::from_letter(lifecycle as u8)?,
            ownership: w::Ownership::Unowned,
            eligibility: w::Eligibility::from_letter(eligibility as u8)?,
            blocking: w::Blocking::None,
            outcome: w::TerminalOutcome::from_letter(outcome as u8)?,
            attempt: w::AttemptState::from_letter(attempt as u8)?,
        };
        Some(vector.public_state().word())
    }

    /// Family of an event code.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn event_family(code: i16) -> Option<&'static str> {
        Code::from_number(code).map(|c| c.words().0)
    }

    /// Type of an event code.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn event_type(code: i16) -> Option<&'static str> {
        Code::from_number(code).map(|c| c.words().1)
    }

    /// Whether a row of `ff_engine.execution` keeps V1–V6 and the first half of V10 (§10.3.2).
    ///
    /// One function instead of an expression per invariant: the server reads and compiles a check's expression
    /// anew for every statement that writes the table.
    #[pg_extern(immutable, parallel_safe)]
    #[allow(clippy::too_many_arguments)]
    pub fn legal(
        lifecycle: i8,
        ownership: i8,
        eligibility: i8,
        blocking: i8,
        outcome: i8,
        attempt: i8,
        lease_id: Option<Uuid>,
        lease_expires_at: Option<TimestampWithTimeZone>,
        delay_until: Option<TimestampWithTimeZone>,
        completed_at: Option<TimestampWithTimeZone>,
    ) -> bool {
        let words = (
            w::Lifecycle::from_letter(lifecycle as u8),
            w::Ownership::from_letter(ownership as u8),
            w::Eligibility::from_letter(eligibility as u8),
            w::Blocking::from_letter(blocking as u8),
            w::TerminalOutcome::from_letter(outcome as u8),
            w::AttemptState::from_letter(attempt as u8),
        );
        let (
            Some(lifecycle),
            Some(ownership),
            Some(eligibility),
            Some(blocking),
            Some(outcome),
            Some(attempt),
        ) = words
        else {
            return false;
        };
        let vector = w::Vector {
            lifecycle,
            ownership,
            eligibility,
            blocking,
            outcome,
            attempt,
        };
        let facts = w::Facts {
            lease: lease_id.is_some(),
            expiry: lease_expires_at.is_some(),
            delay: delay_until.is_some(),
            completed: completed_at.is_some(),
        };
        vector.broken(facts).is_none()
    }
}
