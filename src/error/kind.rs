//! The closed catalogue of conditions the engine can report (§10.24).
//!
//! One table below is the only place where a kind is defined; everything that lists kinds
//! (`ff_error_codes()`, the raising code, the tests) reads it. Codes are never renumbered or reused.

/// Expands the table into the enum and its lookups, so that no list can fall behind another.
macro_rules! kinds {
    ($($variant:ident = $state:literal $name:literal $advice:literal $surface:literal
        $summary:literal $(=> $hint:literal)?;)*) => {
        /// A condition of the engine, named as in §10.24.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = $summary] $variant,)*
        }

        impl Kind {
            /// Every kind, in ascending order of its SQLSTATE.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The kind's table row.
            const fn row(self) -> Row {
                match self {
                    $(Kind::$variant => Row {
                        sqlstate: $state,
                        name: $name,
                        advice: $advice,
                        surface: $surface,
                        summary: $summary,
                        hint: {
                            #[allow(unused_mut, unused_assignments)]
                            let mut hint = "";
                            $(hint = $hint;)?
                            hint
                        },
                    },)*
                }
            }
        }
    };
}

/// One row of the catalogue; `hint` is empty where the advice says it all.
struct Row {
    sqlstate: &'static str,
    name: &'static str,
    advice: &'static str,
    // Read by the checks of the catalogue against its page and the specification.
    #[cfg_attr(not(test), allow(dead_code))]
    surface: &'static str,
    summary: &'static str,
    hint: &'static str,
}

// Variant = SQLSTATE, kind word, advice, surface, meaning, and a HINT of its own where the advice
// alone would leave the reader guessing.
kinds! {
    // FF0xx not found
    ExecutionNotFound = "FF001" "execution_not_found" "gone" "E" "no such execution, or purged"
        => "Check the id; the execution may have been purged after its retention.";
    FlowNotFound = "FF002" "flow_not_found" "gone" "E" "no such flow";
    AttemptNotFound = "FF003" "attempt_not_found" "gone" "E" "the handle's attempt does not exist (§20.14)";
    BudgetNotFound = "FF004" "budget_not_found" "gone" "E" "no such budget";
    QuotaPolicyNotFound = "FF005" "quota_policy_not_found" "gone" "E" "no such quota policy";
    StreamNotFound = "FF006" "stream_not_found" "benign" "—" "not needed: a stream nobody has appended to reads as empty (§30.7)";
    WaitpointNotFound = "FF007" "waitpoint_not_found" "retry" "E" "unknown waitpoint; it may not have been committed yet"
        => "Retry after a short back-off: the waitpoint may not have been committed yet.";
    EdgeNotFound = "FF008" "edge_not_found" "gone" "E" "no such dependency edge";
    LaneNotFound = "FF009" "lane_not_found" "gone" "—" "reserved";
    WorkerNotFound = "FF010" "worker_not_found" "gone" "O" "registry outcome not_registered";
    SubscriptionNotFound = "FF011" "subscription_not_found" "gone" "E" "no such named subscription";
    // FF1xx validation
    InvalidInput = "FF101" "invalid_input" "fix" "E" "malformed or out-of-range argument; DETAIL argument, rule"
        => "Correct the argument named in the detail; the same call fails again.";
    CapabilityMismatch = "FF102" "capability_mismatch" "reread" "O" "worker lacks required capabilities; missing sorted"
        => "Leave the execution to a worker that has the missing capabilities.";
    InvalidCapabilities = "FF103" "invalid_capabilities" "fix" "E" "capability list breaks §10.9"
        => "Correct the capability list as the rule in the detail says; nothing was dropped silently.";
    InvalidPolicy = "FF104" "invalid_policy" "fix" "E" "policy document breaks §10.7; DETAIL path"
        => "Correct the policy document at the path named in the detail.";
    PayloadTooLarge = "FF105" "payload_too_large" "fix" "E" "payload, result or signal payload over its limit"
        => "Store the bytes elsewhere and pass a reference, or have the limit raised.";
    SignalLimitExceeded = "FF106" "signal_limit_exceeded" "fix" "E" "the execution has accepted its maximum of signals";
    InvalidWaitpointKey = "FF107" "invalid_waitpoint_key" "fix" "E" "waitpoint key malformed or given twice";
    InvalidToken = "FF108" "invalid_token" "fix" "E" "missing, malformed or wrongly signed waitpoint token"
        => "Use the token exactly as it was returned for this waitpoint.";
    WaitpointNotTokenBound = "FF109" "waitpoint_not_token_bound" "alert" "—" "not needed: every waitpoint has a token";
    RetentionLimitExceeded = "FF110" "retention_limit_exceeded" "fix" "E" "stream frame over its limit";
    InvalidLeaseForSuspend = "FF111" "invalid_lease_for_suspend" "stop" "E" "lease and attempt do not belong together on suspend";
    InvalidDependency = "FF112" "invalid_dependency" "fix" "E" "edge refers to something it may not";
    InvalidWaitpointForExecution = "FF113" "invalid_waitpoint_for_execution" "fix" "E" "waitpoint belongs to another execution or attempt";
    InvalidBlockingReason = "FF114" "invalid_blocking_reason" "fix" "E" "word not accepted by §10.10";
    InvalidOffset = "FF115" "invalid_offset" "fix" "E" "bad stream position";
    Unauthorized = "FF116" "unauthorized" "fix" "E" "the role may not do this (§10.23); a missing EXECUTE right is PostgreSQL's own 42501"
        => "Ask an administrator for the role this function needs.";
    InvalidBudgetScope = "FF117" "invalid_budget_scope" "fix" "E" "malformed budget scope";
    BudgetOverrideNotAllowed = "FF118" "budget_override_not_allowed" "fix" "—" "not needed: 42501";
    InvalidQuotaSpec = "FF119" "invalid_quota_spec" "fix" "E" "malformed quota definition";
    InvalidKid = "FF120" "invalid_kid" "fix" "E" "signing-key id empty or containing a separator";
    InvalidSecret = "FF121" "invalid_secret" "fix" "E" "signing secret malformed";
    InvalidGrace = "FF122" "invalid_grace" "fix" "E" "grace period of a key rotation or flow cancellation negative, too long or not finite";
    InvalidTagKey = "FF123" "invalid_tag_key" "fix" "E" "tag key breaks §10.8"
        => "Use a key of lower-case letters, digits and underscores with a dotted prefix, such as app.session.";
    InvalidFrameType = "FF124" "invalid_frame_type" "fix" "E" "unusable stream frame type";
    Corruption = "FF125" "corruption" "alert" "E" "stored data cannot be interpreted; retrying reads the same bytes"
        => "Tell an operator: retrying reads the same bytes.";
    HandleFromOtherDatabase = "FF126" "handle_from_other_database" "fix" "E" "handle minted by another installation"
        => "Use the handle only with the database that issued it.";
    FenceRequired = "FF127" "fence_required" "fix" "E" "no fence and no operator override"
        => "Pass lease_id, lease_epoch and attempt_id, or source => 'operator_override' to act without them.";
    PartialFenceTriple = "FF128" "partial_fence_triple" "fix" "E" "some but not all of the fence"
        => "Pass lease_id, lease_epoch and attempt_id together, or none of them.";
    InvalidHandle = "FF129" "invalid_handle" "fix" "E" "not a handle"
        => "Pass the handle exactly as the claim returned it.";
    TokenExpired = "FF130" "token_expired" "fix" "E" "token signed by a key whose grace has ended"
        => "Ask for a new token: the key that signed this one is no longer accepted.";
    InvalidResumeCondition = "FF131" "invalid_resume_condition" "fix" "E" "resume condition document malformed";
    InvalidCursor = "FF132" "invalid_cursor" "fix" "E" "cursor text not produced by this function"
        => "Pass the cursor exactly as the previous page returned it, or none to start over.";
    InvalidLane = "FF133" "invalid_lane" "fix" "E" "lane name breaks §10.5"
        => "Use a lane name of 1 to 64 printable ASCII characters.";
    UnsupportedIsolation = "FF134" "unsupported_isolation" "fix" "E" "the option needs READ COMMITTED"
        => "Run the call in a READ COMMITTED transaction.";
    InvalidEdgePolicy = "FF135" "invalid_edge_policy" "fix" "E" "edge-group policy malformed";
    InvalidBudgetSpec = "FF136" "invalid_budget_spec" "fix" "E" "malformed budget definition or usage dimensions";
    // FF2xx contention
    UseClaimResumedExecution = "FF201" "use_claim_resumed_execution" "reread" "—" "not needed: ff_claim_execution resumes by itself";
    NotAResumedExecution = "FF202" "not_a_resumed_execution" "reread" "E" "no interrupted attempt to continue";
    ExecutionNotLeaseable = "FF203" "execution_not_leaseable" "reread" "E" "state changed since the grant";
    LeaseConflict = "FF204" "lease_conflict" "retry" "E" "somebody holds the execution; take another one"
        => "Take another execution, or try this one again later.";
    InvalidClaimGrant = "FF205" "invalid_claim_grant" "reread" "E" "grant absent, consumed or for someone else; ask for a new one"
        => "Ask for a new grant.";
    ClaimGrantExpired = "FF206" "claim_grant_expired" "retry" "E" "grant lapsed; ask for a new one"
        => "Ask for a new grant.";
    NoEligibleExecution = "FF207" "no_eligible_execution" "retry" "O" "no work: zero rows or no_work";
    WaitpointPendingUseBuffer = "FF208" "waitpoint_pending_use_buffer" "—" "—" "not needed: delivery buffers by itself";
    StaleGraphRevision = "FF209" "stale_graph_revision" "reread" "E" "graph changed; read adjacency again"
        => "Read the adjacency again and repeat the call with the new revision.";
    ExecutionNotActive = "FF210" "execution_not_active" "reread" "E" "not running; DETAIL of §10.13 step 5"
        => "Compare the detail with what this worker last did; if it did not end the execution itself, stop.";
    ExecutionNotEligible = "FF211" "execution_not_eligible" "reread" "E" "state does not allow it";
    ExecutionNotInEligibleSet = "FF212" "execution_not_in_eligible_set" "—" "—" "no separate eligible set exists";
    ExecutionNotReclaimable = "FF213" "execution_not_reclaimable" "reread" "O" "not_reclaimable";
    NoActiveLease = "FF214" "no_active_lease" "benign" "O" "already_satisfied";
    RateLimitExceeded = "FF215" "rate_limit_exceeded" "retry" "O" "window full; retry_after_ms";
    ConcurrencyLimitExceeded = "FF216" "concurrency_limit_exceeded" "retry" "O" "concurrency cap reached";
    RetryExhausted = "FF217" "retry_exhausted" "retry" "E" "an engine-internal retry loop gave up (§50.5)";
    // FF3xx conflict
    DependencyAlreadyExists = "FF301" "dependency_already_exists" "reread" "E" "DETAIL carries the existing edge";
    CycleDetected = "FF302" "cycle_detected" "fix" "E" "the edge would close a cycle";
    SelfReferencingEdge = "FF303" "self_referencing_edge" "fix" "E" "both ends are the same execution";
    ExecutionAlreadyInFlow = "FF304" "execution_already_in_flow" "reread" "E" "member of another flow; DETAIL flow_id";
    WaitpointAlreadyExists = "FF305" "waitpoint_already_exists" "reread" "E" "key in use by an open waitpoint";
    BudgetAttachConflict = "FF306" "budget_attach_conflict" "benign" "O" "already_attached";
    QuotaAttachConflict = "FF307" "quota_attach_conflict" "benign" "O" "already_attached";
    RotationConflict = "FF308" "rotation_conflict" "fix" "E" "key id already installed with another secret";
    ActiveAttemptExists = "FF309" "active_attempt_exists" "alert" "E" "an attempt is running where none may be";
    WorkerInstanceReassigned = "FF310" "worker_instance_reassigned" "fix" "E" "live instance registered under another worker";
    IdempotencyConflict = "FF311" "idempotency_conflict" "fix" "E" "same key, different request, where a function forbids it";
    // FF4xx state
    StaleLease = "FF401" "stale_lease" "stop" "E" "superseded by a newer lease"
        => "Stop working on this execution: a newer lease has taken it over.";
    LeaseExpired = "FF402" "lease_expired" "stop" "E" "lease ran out"
        => "Stop working on this execution: its lease ran out and cannot be revived.";
    LeaseRevoked = "FF403" "lease_revoked" "stop" "E" "lease taken away"
        => "Stop working on this execution: its lease was taken away.";
    ExecutionNotSuspended = "FF404" "execution_not_suspended" "benign" "E" "already resumed or ended";
    AlreadySuspended = "FF405" "already_suspended" "benign" "E" "an open suspension exists";
    WaitpointClosed = "FF406" "waitpoint_closed" "benign" "E" "the signal came too late";
    TargetNotSignalable = "FF407" "target_not_signalable" "reread" "E" "nothing there can take a signal";
    DuplicateSignal = "FF408" "duplicate_signal" "benign" "O" "duplicate with the first signal's id";
    ResumeConditionNotMet = "FF409" "resume_condition_not_met" "reread" "—" "not needed: an operator's resume ignores the condition";
    WaitpointNotPending = "FF410" "waitpoint_not_pending" "reread" "E" "waitpoint is no longer pending";
    PendingWaitpointExpired = "FF411" "pending_waitpoint_expired" "reread" "E" "pending waitpoint aged out";
    WaitpointNotOpen = "FF412" "waitpoint_not_open" "benign" "O" "already_closed";
    ExecutionNotTerminal = "FF413" "execution_not_terminal" "reread" "E" "replay of something unfinished";
    MaxReplaysExhausted = "FF414" "max_replays_exhausted" "fix" "E" "replay limit reached"
        => "Create a new execution, or give it a policy with a higher max_replay_count.";
    StreamClosed = "FF415" "stream_closed" "stop" "E" "the attempt has ended, or its lease is marked expired or revoked";
    StaleOwnerCannotAppend = "FF416" "stale_owner_cannot_append" "stop" "E" "append with a superseded or elapsed lease, or with a handle of kind suspended";
    GrantAlreadyExists = "FF417" "grant_already_exists" "retry" "O" "grant_exists";
    ExecutionNotInFlow = "FF418" "execution_not_in_flow" "fix" "E" "not a member of that flow";
    FlowAlreadyTerminal = "FF419" "flow_already_terminal" "reread" "E" "the flow has ended";
    DepsNotSatisfied = "FF420" "deps_not_satisfied" "reread" "O" "dependencies still open";
    NotBlockedByDeps = "FF421" "not_blocked_by_deps" "benign" "O" "nothing to promote";
    NotRunnable = "FF422" "not_runnable" "reread" "O" "rejected_not_eligible, not_runnable";
    ExecutionTerminal = "FF423" "execution_terminal" "reread" "O" "rejected_terminal";
    BudgetExceeded = "FF424" "budget_exceeded" "stop" "O" "hard limit reached: report, then fail the execution";
    BudgetSoftExceeded = "FF425" "budget_soft_exceeded" "benign" "O" "soft limit reached: continue";
    AlreadyApplied = "FF426" "already_applied" "benign" "O" "usage report seen before";
    AttemptNotStarted = "FF427" "attempt_not_started" "stop" "—" "not needed: execution_not_active";
    AttemptAlreadyTerminal = "FF428" "attempt_already_terminal" "benign" "—" "not needed: execution_not_active or stale_lease";
    ExecutionNotEligibleForAttempt = "FF429" "execution_not_eligible_for_attempt" "reread" "—" "not needed: execution_not_leaseable";
    ReplayNotAllowed = "FF430" "replay_not_allowed" "fix" "—" "not needed: max_replays_exhausted or flow_already_terminal";
    MaxRetriesExhausted = "FF431" "max_retries_exhausted" "stop" "O" "terminal_failed, reclaim_cap_exceeded";
    StreamAlreadyClosed = "FF432" "stream_already_closed" "benign" "—" "not needed: the first close stands";
    AlreadySatisfied = "FF433" "already_satisfied" "benign" "O" "what was asked for already holds";
    LaneNotAccepting = "FF434" "lane_not_accepting" "retry" "E" "lane is draining or disabled"
        => "Retry after the lane has been set to active, or use another lane.";
    FlowSealed = "FF435" "flow_sealed" "reread" "E" "the flow takes no further members or edges";
    // FF5xx availability
    Unavailable = "FF501" "unavailable" "fix" "—" "not needed: without preload every feature works by polling";
    ResourceExhausted = "FF502" "resource_exhausted" "retry" "E" "an engine-owned limit is full; pool, max, retry_after_ms"
        => "Retry after the time named in the detail, or have the limit raised.";
    Timeout = "FF503" "timeout" "retry" "O" "a bounded wait ended; functions return what they have";
    StreamDisconnected = "FF504" "stream_disconnected" "retry" "—" "not needed: a subscription is polled and has no connection of its own";
    StreamBackpressure = "FF505" "stream_backpressure" "reread" "E" "events a slow consumer had not read are purged; read authoritative state"
        => "Read the authoritative state and continue from the oldest event still present.";
    SigningKeyNotInitialized = "FF506" "signing_key_not_initialized" "fix" "E" "no signing key installed"
        => "Install a signing key first.";
    SchemaVersionMismatch = "FF507" "schema_version_mismatch" "alert" "E" "library and installed SQL differ; raised by every function until the extension is updated"
        => "Update the extension with ALTER EXTENSION ff_engine UPDATE.";
    // FF9xx internal
    AttemptNotInCreatedState = "FF901" "attempt_not_in_created_state" "alert" "—" "reserved";
    InvariantViolation = "FF902" "invariant_violation" "alert" "E" "an engine invariant does not hold";
}

impl Kind {
    /// The five-character SQLSTATE, `FFnnn`.
    pub const fn sqlstate(self) -> &'static str {
        self.row().sqlstate
    }

    /// The kind word that starts every message and stands in every DETAIL.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What a caller should do: `fix`, `gone`, `retry`, `reread`, `stop`, `benign`, `alert`, or `—`
    /// for the two reserved kinds that carry no advice.
    pub const fn advice(self) -> &'static str {
        self.row().advice
    }

    /// Where the condition shows: `E` raised, `O` normally an outcome word, `—` reserved.
    #[cfg(test)]
    pub const fn surface(self) -> &'static str {
        self.row().surface
    }

    /// The meaning as §10.24 states it; also the message where a call site has no better sentence.
    pub const fn summary(self) -> &'static str {
        self.row().summary
    }

    /// The word of the group that the third character of the SQLSTATE names.
    pub const fn group(self) -> &'static str {
        match self.row().sqlstate.as_bytes() {
            [_, _, b'0', ..] => "not_found",
            [_, _, b'1', ..] => "validation",
            [_, _, b'2', ..] => "contention",
            [_, _, b'3', ..] => "conflict",
            [_, _, b'4', ..] => "state",
            [_, _, b'5', ..] => "availability",
            _ => "internal",
        }
    }

    /// The default HINT, a full sentence saying what to do next.
    pub const fn hint(self) -> &'static str {
        let row = self.row();
        if !row.hint.is_empty() {
            return row.hint;
        }
        // Const code cannot compare texts; the first letters tell the advice words apart.
        match row.advice.as_bytes() {
            [b'f', ..] => "Correct the call; the same call fails again.",
            [b'g', ..] => "Check the id: the object does not exist or has been removed.",
            [b'r', b'e', b't', ..] => "Retry the same call after a short back-off.",
            [b'r', ..] => "Another party moved the object; read it again and decide.",
            [b's', ..] => "Stop this work: the right to continue it has been lost.",
            [b'b', ..] => "Nothing needs to be done: what was wanted already holds.",
            [b'a', ..] => "Tell an operator: this points to a defect or to damage.",
            _ => "This condition is reserved and calls for no action.",
        }
    }

    /// Whether the same call may be repeated automatically (§10.24: only advice `retry`).
    #[cfg(test)]
    pub fn is_retryable(self) -> bool {
        self.advice() == "retry"
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::Kind;
    use std::collections::HashSet;

    const CONTRACT: &str = include_str!("../../tests/contract/errors.tsv");

    #[test]
    fn e_115_kinds_equal_the_contract() {
        let rows: Vec<Vec<&str>> = CONTRACT
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect())
            .collect();
        assert_eq!(rows.len(), Kind::ALL.len());
        for (row, kind) in rows.iter().zip(Kind::ALL) {
            let meaning = match (kind.surface(), kind.summary()) {
                ("E", summary) => summary.to_owned(),
                ("O", summary) => format!("normally an outcome: {summary}"),
                (_, "reserved") => "reserved, never raised".to_owned(),
                (_, summary) => format!("reserved, never raised; {summary}"),
            };
            let retryable = if kind.is_retryable() { "yes" } else { "no" };
            assert_eq!(row[..], [kind.name(), kind.sqlstate(), retryable, &meaning]);
        }
    }

    #[test]
    fn e_115_codes_and_kinds_are_unique() {
        let codes: HashSet<_> = Kind::ALL.iter().map(|k| k.sqlstate()).collect();
        let names: HashSet<_> = Kind::ALL.iter().map(|k| k.name()).collect();
        assert_eq!((codes.len(), names.len()), (119, 119));
        assert!(Kind::ALL.is_sorted_by_key(|k| k.sqlstate()));
    }

    #[test]
    fn every_kind_has_a_group_and_a_sentence_of_a_hint() {
        for kind in Kind::ALL {
            let hint = kind.hint();
            assert!(
                hint.starts_with(char::is_uppercase) && hint.ends_with('.'),
                "{kind:?}"
            );
            assert!(kind.sqlstate().starts_with("FF") && kind.sqlstate() != "FF000");
        }
        assert_eq!(Kind::LeaseConflict.group(), "contention");
        assert_eq!(Kind::InvariantViolation.group(), "internal");
    }
}
