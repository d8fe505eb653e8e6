//! The words of the state vector (§10.3): stored as one letter, shown as words.

/// An enumeration stored as a letter and shown as a word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $letter:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        // The same conversions for every enumeration, whether each of them needs all of them or not.
        #[allow(dead_code)]
        impl $name {
            /// Every value, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stored letter.
            pub const fn letter(self) -> u8 {
                match self { $(Self::$variant => $letter,)* }
            }

            /// The word shown to users.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of a stored letter.
            pub const fn from_letter(letter: u8) -> Option<Self> {
                match letter { $($letter => Some(Self::$variant),)* _ => None }
            }

            /// The value of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub(super) use words;

words! {
    /// Where in its life an execution is.
    Lifecycle {
        Runnable = b'r' "runnable",
        Active = b'a' "active",
        Suspended = b's' "suspended",
        Terminal = b't' "terminal",
    }
}

words! {
    /// Who holds it.
    Ownership {
        Unowned = b'u' "unowned",
        Leased = b'l' "leased",
        Expired = b'e' "lease_expired_reclaimable",
        Revoked = b'r' "lease_revoked",
    }
}

words! {
    /// Whether a runnable execution may be handed out.
    Eligibility {
        Now = b'e' "eligible_now",
        UntilTime = b't' "not_eligible_until_time",
        Dependencies = b'd' "blocked_by_dependencies",
        Budget = b'b' "blocked_by_budget",
        Quota = b'q' "blocked_by_quota",
        Route = b'r' "blocked_by_route",
        LaneState = b'l' "blocked_by_lane_state",
        Operator = b'o' "blocked_by_operator",
        NotApplicable = b'n' "not_applicable",
    }
}

words! {
    /// What it waits for.
    Blocking {
        None = b'-' "none",
        Worker = b'w' "waiting_for_worker",
        RetryBackoff = b'r' "waiting_for_retry_backoff",
        ResumeDelay = b'e' "waiting_for_resume_delay",
        Delay = b'd' "waiting_for_delay",
        Signal = b's' "waiting_for_signal",
        Approval = b'a' "waiting_for_approval",
        Callback = b'c' "waiting_for_callback",
        ToolResult = b't' "waiting_for_tool_result",
        Children = b'h' "waiting_for_children",
        Budget = b'b' "waiting_for_budget",
        Quota = b'q' "waiting_for_quota",
        CapableWorker = b'p' "waiting_for_capable_worker",
        Locality = b'l' "waiting_for_locality_match",
        PausedByOperator = b'o' "paused_by_operator",
        PausedByPolicy = b'y' "paused_by_policy",
        PausedByFlowCancel = b'f' "paused_by_flow_cancel",
    }
}

words! {
    /// How it ended.
    TerminalOutcome {
        None = b'n' "none",
        Success = b's' "success",
        Failed = b'f' "failed",
        Cancelled = b'c' "cancelled",
        Expired = b'e' "expired",
        Skipped = b'k' "skipped",
    }
}

words! {
    /// What the next claim makes of the latest attempt.
    AttemptState {
        None = b'n' "none",
        PendingFirst = b'f' "pending_first_attempt",
        Running = b'r' "running_attempt",
        Interrupted = b'i' "attempt_interrupted",
        PendingRetry = b'y' "pending_retry_attempt",
        PendingReplay = b'p' "pending_replay_attempt",
        Terminal = b't' "attempt_terminal",
    }
}

words! {
    /// The label derived from the vector (§10.3.1).
    PublicState {
        Waiting = b'w' "waiting",
        Delayed = b'd' "delayed",
        RateLimited = b'l' "rate_limited",
        WaitingChildren = b'h' "waiting_children",
        Active = b'a' "active",
        Suspended = b's' "suspended",
        Resumable = b'r' "resumable",
        Completed = b'c' "completed",
        Failed = b'f' "failed",
        Cancelled = b'x' "cancelled",
        Expired = b'e' "expired",
        Skipped = b'k' "skipped",
    }
}

words! {
    /// State of an attempt's record.
    AttemptRecord {
        Started = b's' "started",
        Suspended = b'p' "suspended",
        EndedSuccess = b'c' "ended_success",
        EndedFailure = b'f' "ended_failure",
        EndedCancelled = b'x' "ended_cancelled",
        InterruptedReclaimed = b'i' "interrupted_reclaimed",
    }
}

words! {
    /// Why an attempt was made.
    AttemptType {
        Initial = b'i' "initial",
        Retry = b'r' "retry",
        Reclaim = b'c' "reclaim",
        Replay = b'p' "replay",
        Fallback = b'f' "fallback",
    }
}

words! {
    /// The operation by which a lease's holder ended or paused an attempt (G6).
    EndOp {
        Complete = b'c' "complete",
        Fail = b'f' "fail",
        Cancel = b'x' "cancel",
        Delay = b'd' "delay",
        WaitChildren = b'w' "wait_children",
    }
}

words! {
    /// What a grant allows.
    GrantKind {
        Claim = b'c' "claim",
        Reclaim = b'r' "reclaim",
    }
}

words! {
    /// State of a waitpoint (§20.2).
    WaitpointState {
        Pending = b'p' "pending",
        Active = b'a' "active",
        Closed = b'c' "closed",
        Expired = b'e' "expired",
    }
}

words! {
    /// What a signal did (§20.3.3).
    Effect {
        Satisfied = b's' "resume_condition_satisfied",
        Appended = b'a' "appended_to_waitpoint",
        AppendedDuplicate = b'd' "appended_to_waitpoint_duplicate",
        MatcherFailed = b'm' "signal_ignored_matcher_failed",
        NotInCondition = b'n' "signal_ignored_not_in_condition",
        Buffered = b'b' "buffered_for_pending_waitpoint",
    }
}

words! {
    /// What made a suspended execution go on (§20.2).
    ResumeTrigger {
        Signal = b's' "signal",
        Operator = b'o' "operator",
        AutoResume = b'a' "auto_resume",
        Timeout = b't' "timeout",
        Buffered = b'b' "buffered",
    }
}

words! {
    /// How a frame of a stream is stored and kept (§30.2).
    FrameMode {
        Durable = b'd' "durable",
        Summary = b's' "durable_summary",
        BestEffort = b'b' "best_effort_live",
    }
}

words! {
    /// Why a stream is closed (§30.8).
    CloseReason {
        AttemptSuccess = b's' "attempt_success",
        AttemptFailure = b'f' "attempt_failure",
        AttemptCancelled = b'c' "attempt_cancelled",
        LeaseExpired = b'l' "lease_expired",
        LeaseRevoked = b'v' "lease_revoked",
        Reclaimed = b'r' "reclaimed",
        Expired = b'e' "expired",
        SuspensionTimeout = b't' "suspension_timeout",
        DependencyImpossible = b'd' "dependency_impossible",
    }
}

/// The six independent dimensions of an execution's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Phase of life.
    pub lifecycle: Lifecycle,
    /// Ownership of the lease.
    pub ownership: Ownership,
    /// Eligibility for a claim.
    pub eligibility: Eligibility,
    /// Reason for waiting.
    pub blocking: Blocking,
    /// Final outcome.
    pub outcome: TerminalOutcome,
    /// State of the latest attempt.
    pub attempt: AttemptState,
}

impl Vector {
    /// The public state, first matching row of §10.3.1.
    pub const fn public_state(&self) -> PublicState {
        match (self.lifecycle, self.outcome, self.eligibility, self.attempt) {
            (Lifecycle::Terminal, TerminalOutcome::Success, ..) => PublicState::Completed,
            (Lifecycle::Terminal, TerminalOutcome::Failed | TerminalOutcome::None, ..) => {
                PublicState::Failed
            }
            (Lifecycle::Terminal, TerminalOutcome::Cancelled, ..) => PublicState::Cancelled,
            (Lifecycle::Terminal, TerminalOutcome::Expired, ..) => PublicState::Expired,
            (Lifecycle::Terminal, TerminalOutcome::Skipped, ..) => PublicState::Skipped,
            (Lifecycle::Suspended, ..) => PublicState::Suspended,
            (Lifecycle::Active, ..) => PublicState::Active,
            (_, _, Eligibility::UntilTime, _) => PublicState::Delayed,
            (_, _, Eligibility::Dependencies, _) => PublicState::WaitingChildren,
            (_, _, Eligibility::Budget | Eligibility::Quota, _) => PublicState::RateLimited,
            (_, _, Eligibility::Now, AttemptState::Interrupted) => PublicState::Resumable,
            _ => PublicState::Waiting,
        }
    }
}

/// What of a row the invariants look at beside the vector.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Lease id, claimer, attempt and an epoch above 0 are stored.
    pub lease: bool,
    /// A lease expiry is stored.
    pub expiry: bool,
    /// A delay's instant is stored.
    pub delay: bool,
    /// The end's instant is stored.
    pub completed: bool,
}

impl Vector {
    /// The first invariant of §10.3.2 that a row with this vector breaks.
    ///
    /// The row keeps its latest lease after a release, where reads show none; the expiry stands exactly while the
    /// execution is owned.
    pub fn broken(&self, facts: Facts) -> Option<&'static str> {
        let owned = self.ownership != Ownership::Unowned;
        let terminal = self.lifecycle == Lifecycle::Terminal;
        let rules = [
            ("V1", terminal == (self.outcome != TerminalOutcome::None)),
            ("V2", (self.lifecycle == Lifecycle::Active) == owned),
            (
                "V3",
                (self.lifecycle == Lifecycle::Runnable)
                    == (self.eligibility != Eligibility::NotApplicable),
            ),
            (
                "V4",
                (self.ownership == Ownership::Leased) == (self.attempt == AttemptState::Running),
            ),
            ("V5", owned == facts.expiry && (!owned || facts.lease)),
            (
                "V6",
                self.eligibility != Eligibility::UntilTime || facts.delay,
            ),
            ("V10", terminal == facts.completed),
        ];
        rules
            .into_iter()
            .find(|(_, holds)| !holds)
            .map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(l: Lifecycle, e: Eligibility, o: TerminalOutcome, a: AttemptState) -> Vector {
        let ownership = if l == Lifecycle::Active {
            Ownership::Expired
        } else {
            Ownership::Unowned
        };
        Vector {
            lifecycle: l,
            ownership,
            eligibility: e,
            blocking: Blocking::None,
            outcome: o,
            attempt: a,
        }
    }

    #[test]
    fn e_1_public_state_follows_the_first_matching_row() {
        use AttemptState as A;
        use Eligibility as E;
        use Lifecycle as L;
        use TerminalOutcome as T;
        let read = |l, e, o, a| vector(l, e, o, a).public_state().word();
        for (outcome, word) in [
            (T::Success, "completed"),
            (T::Failed, "failed"),
            (T::Cancelled, "cancelled"),
            (T::Expired, "expired"),
            (T::Skipped, "skipped"),
            (T::None, "failed"),
        ] {
            assert_eq!(
                read(L::Terminal, E::NotApplicable, outcome, A::Terminal),
                word
            );
        }
        assert_eq!(
            read(L::Suspended, E::NotApplicable, T::None, A::Interrupted),
            "suspended"
        );
        assert_eq!(
            read(L::Active, E::NotApplicable, T::None, A::Interrupted),
            "active"
        );
        for (eligibility, word) in [
            (E::UntilTime, "delayed"),
            (E::Dependencies, "waiting_children"),
            (E::Budget, "rate_limited"),
            (E::Quota, "rate_limited"),
            (E::Route, "waiting"),
            (E::LaneState, "waiting"),
            (E::Operator, "waiting"),
            (E::Now, "resumable"),
        ] {
            assert_eq!(
                read(L::Runnable, eligibility, T::None, A::Interrupted),
                word
            );
        }
        assert_eq!(
            read(L::Runnable, E::Now, T::None, A::PendingFirst),
            "waiting"
        );
    }

    #[test]
    fn letters_and_words_are_unambiguous() {
        fn distinct<T: Copy>(all: &[T], letter: fn(T) -> u8, word: fn(T) -> &'static str) {
            let letters: std::collections::BTreeSet<u8> = all.iter().map(|v| letter(*v)).collect();
            let words: std::collections::BTreeSet<&str> = all.iter().map(|v| word(*v)).collect();
            assert_eq!((letters.len(), words.len()), (all.len(), all.len()));
        }
        distinct(Lifecycle::ALL, Lifecycle::letter, Lifecycle::word);
        distinct(Ownership::ALL, Ownership::letter, Ownership::word);
        distinct(Eligibility::ALL, Eligibility::letter, Eligibility::word);
        distinct(Blocking::ALL, Blocking::letter, Blocking::word);
        distinct(
            TerminalOutcome::ALL,
            TerminalOutcome::letter,
            TerminalOutcome::word,
        );
        distinct(AttemptState::ALL, AttemptState::letter, AttemptState::word);
        distinct(
            AttemptRecord::ALL,
            AttemptRecord::letter,
            AttemptRecord::word,
        );
        distinct(AttemptType::ALL, AttemptType::letter, AttemptType::word);
        distinct(
            WaitpointState::ALL,
            WaitpointState::letter,
            WaitpointState::word,
        );
        distinct(Effect::ALL, Effect::letter, Effect::word);
        distinct(
            ResumeTrigger::ALL,
            ResumeTrigger::letter,
            ResumeTrigger::word,
        );
        distinct(FrameMode::ALL, FrameMode::letter, FrameMode::word);
        distinct(CloseReason::ALL, CloseReason::letter, CloseReason::word);
    }
}
