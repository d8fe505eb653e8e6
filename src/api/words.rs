//! Stored letters and numbers as the words of the specification, for views and reads.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::model::condition::{Condition, Progress};
use crate::model::event::Code;
use crate::model::flow::CancelPolicy;
use crate::model::moved;
use crate::model::packed::Packed;
use crate::model::words as w;
use crate::pg::jsonb::Jsonb;

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
        /// Word of a signal's effect.
        effect_word: Effect;
    }

    /// A stored condition with what each of its nodes has; NULL if either cannot be interpreted.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn condition_progress(condition: Jsonb, progress: Jsonb) -> Option<Jsonb> {
        let condition = Condition::from_stored(&condition.parse()).ok()?;
        let progress = Progress::from_stored(&progress.parse()).ok()?;
        Some(Jsonb::from_json(&condition.shown(&progress)))
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
    #[pg_extern(sql = false)]
    pub fn legal(row: crate::pg::composite::Composite) -> bool {
        crate::store::execution::legal(&row)
    }

    macro_rules! piece {
        ($(#[$doc:meta] $name:ident = |$p:ident| $piece:expr;)*) => {
            $(
                #[$doc]
                #[pg_extern(immutable, parallel_safe, strict)]
                pub fn $name(state: i32) -> Option<i8> {
                    let $p = Packed::from_number(state)?;
                    $piece.map(|letter: u8| letter as i8)
                }
            )*
        };
    }

    piece! {
        /// Letter of the lifecycle phase in a stored state.
        lifecycle = |p| Some(p.vector.lifecycle.letter());
        /// Letter of the ownership state in a stored state.
        ownership = |p| Some(p.vector.ownership.letter());
        /// Letter of the eligibility state in a stored state.
        eligibility = |p| Some(p.vector.eligibility.letter());
        /// Letter of the blocking reason in a stored state.
        blocking = |p| Some(p.vector.blocking.letter());
        /// Letter of the terminal outcome in a stored state.
        outcome = |p| Some(p.vector.outcome.letter());
        /// Letter of the attempt state in a stored state.
        attempt_state = |p| Some(p.vector.attempt.letter());
        /// Letter of the latest attempt's record in a stored state.
        attempt_record = |p| p.record.map(w::AttemptRecord::letter);
        /// Letter of the latest attempt's type in a stored state.
        attempt_type = |p| p.kind.map(w::AttemptType::letter);
    }

    /// The public state of a stored state.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn public_word(state: i32) -> Option<&'static str> {
        Some(Packed::from_number(state)?.vector.public_state().word())
    }

    /// The place by which counts know the public state of a stored state.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn public_place(state: i32) -> Option<i16> {
        let vector = Packed::from_number(state)?.vector;
        Some(moved::place(Some(vector.public_state())))
    }

    /// The word of the public state at a place.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn public_state_at(place: i16) -> Option<&'static str> {
        moved::at(place).map(w::PublicState::word)
    }

    /// Whether the cancellation of a flow by a policy is to end a member in a stored state.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn covers(policy: &str, state: i32) -> bool {
        let vector = Packed::from_number(state).map(|p| p.vector);
        let policy = CancelPolicy::from_word(policy);
        policy.zip(vector).is_some_and(|(p, v)| p.covers_at(v))
    }

    /// Whether a claim may hand out an execution in a stored state; lost leases only with `reclaim`.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn claimable(state: i32, reclaim: bool) -> bool {
        let Some(p) = Packed::from_number(state) else {
            return false;
        };
        match p.vector.lifecycle {
            w::Lifecycle::Runnable => {
                matches!(
                    p.vector.eligibility,
                    w::Eligibility::Now | w::Eligibility::Route
                )
            }
            w::Lifecycle::Active => {
                reclaim
                    && matches!(
                        p.vector.ownership,
                        w::Ownership::Expired | w::Ownership::Revoked
                    )
            }
            _ => false,
        }
    }

    /// An instant among the rare facts.
    #[pg_extern(immutable, parallel_safe, strict)]
    pub fn instant(value: Jsonb) -> Option<TimestampWithTimeZone> {
        TimestampWithTimeZone::try_from(value.parse().as_i64()?).ok()
    }
}
