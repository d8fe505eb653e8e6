//! Events (§30.10): what a transition announces.

use uuid::Uuid;

use super::execution::Execution;

/// Family and type of an event, stored as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
#[allow(missing_docs)]
pub enum Code {
    LeaseAcquired = 1,
    LeaseRenewed = 2,
    LeaseReleased = 3,
    LeaseExpired = 4,
    LeaseRevoked = 5,
    LeaseReclaimed = 6,
    CompletionSuccess = 11,
    CompletionFailed = 12,
    CompletionCancelled = 13,
    CompletionExpired = 14,
    CompletionSkipped = 15,
    OperatorPriorityChanged = 21,
    OperatorReplayed = 22,
    OperatorLaneStateChanged = 23,
    OperatorSuspensionResumed = 24,
    OperatorWaitpointClosed = 25,
    OperatorSigningKeySeeded = 26,
    OperatorSigningKeyRotated = 27,
    OperatorSigningKeyRevoked = 28,
    OperatorFlowSealed = 29,
    OperatorFlowCompleted = 30,
    OperatorFlowFailed = 31,
    OperatorFlowReopened = 32,
    OperatorFlowCancelRequested = 33,
    OperatorFlowCancelDrained = 34,
    OperatorBudgetHardBreach = 36,
    OperatorBudgetSoftBreach = 37,
    OperatorBudgetReset = 38,
    WorkerRegistered = 41,
    WorkerRefreshed = 42,
    WorkerMarkedDead = 43,
    WorkerTtlSwept = 44,
    TagAttached = 51,
    TagCleared = 52,
    SignalSatisfied = 61,
    SignalAppended = 62,
    SignalDuplicate = 63,
    SignalIgnored = 64,
    SignalBuffered = 65,
    SignalTimeout = 66,
    SuspensionWaitpointCreated = 71,
    SuspensionSuspended = 72,
    SuspensionAlreadySatisfied = 73,
    SuspensionResumed = 74,
    SuspensionEscalated = 75,
    SuspensionClosed = 76,
    SuspensionWaitpointClosed = 77,
    SuspensionWaitpointExpired = 78,
}

/// The families of the log.
pub const FAMILIES: [&str; 7] = [
    "lease",
    "completion",
    "signal",
    "suspension",
    "operator",
    "worker",
    "tag",
];

impl Code {
    /// Every code.
    pub const ALL: [Code; 48] = [
        Code::LeaseAcquired,
        Code::LeaseRenewed,
        Code::LeaseReleased,
        Code::LeaseExpired,
        Code::LeaseRevoked,
        Code::LeaseReclaimed,
        Code::CompletionSuccess,
        Code::CompletionFailed,
        Code::CompletionCancelled,
        Code::CompletionExpired,
        Code::CompletionSkipped,
        Code::OperatorPriorityChanged,
        Code::OperatorReplayed,
        Code::OperatorLaneStateChanged,
        Code::OperatorSuspensionResumed,
        Code::OperatorWaitpointClosed,
        Code::OperatorSigningKeySeeded,
        Code::OperatorSigningKeyRotated,
        Code::OperatorSigningKeyRevoked,
        Code::OperatorFlowSealed,
        Code::OperatorFlowCompleted,
        Code::OperatorFlowFailed,
        Code::OperatorFlowReopened,
        Code::OperatorFlowCancelRequested,
        Code::OperatorFlowCancelDrained,
        Code::OperatorBudgetHardBreach,
        Code::OperatorBudgetSoftBreach,
        Code::OperatorBudgetReset,
        Code::WorkerRegistered,
        Code::WorkerRefreshed,
        Code::WorkerMarkedDead,
        Code::WorkerTtlSwept,
        Code::TagAttached,
        Code::TagCleared,
        Code::SignalSatisfied,
        Code::SignalAppended,
        Code::SignalDuplicate,
        Code::SignalIgnored,
        Code::SignalBuffered,
        Code::SignalTimeout,
        Code::SuspensionWaitpointCreated,
        Code::SuspensionSuspended,
        Code::SuspensionAlreadySatisfied,
        Code::SuspensionResumed,
        Code::SuspensionEscalated,
        Code::SuspensionClosed,
        Code::SuspensionWaitpointClosed,
        Code::SuspensionWaitpointExpired,
    ];

    /// Family and type words.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Code::LeaseAcquired => ("lease", "acquired"),
            Code::LeaseRenewed => ("lease", "renewed"),
            Code::LeaseReleased => ("lease", "released"),
            Code::LeaseExpired => ("lease", "expired"),
            Code::LeaseRevoked => ("lease", "revoked"),
            Code::LeaseReclaimed => ("lease", "reclaimed"),
            Code::CompletionSuccess => ("completion", "success"),
            Code::CompletionFailed => ("completion", "failed"),
            Code::CompletionCancelled => ("completion", "cancelled"),
            Code::CompletionExpired => ("completion", "expired"),
            Code::CompletionSkipped => ("completion", "skipped"),
            Code::OperatorPriorityChanged => ("operator", "priority_changed"),
            Code::OperatorReplayed => ("operator", "replayed"),
            Code::OperatorLaneStateChanged => ("operator", "lane_state_changed"),
            Code::OperatorSuspensionResumed => ("operator", "suspension_resumed"),
            Code::OperatorWaitpointClosed => ("operator", "waitpoint_closed"),
            Code::OperatorSigningKeySeeded => ("operator", "signing_key_seeded"),
            Code::OperatorSigningKeyRotated => ("operator", "signing_key_rotated"),
            Code::OperatorSigningKeyRevoked => ("operator", "signing_key_revoked"),
            Code::OperatorFlowSealed => ("operator", "flow_sealed"),
            Code::OperatorFlowCompleted => ("operator", "flow_completed"),
            Code::OperatorFlowFailed => ("operator", "flow_failed"),
            Code::OperatorFlowReopened => ("operator", "flow_reopened"),
            Code::OperatorFlowCancelRequested => ("operator", "flow_cancel_requested"),
            Code::OperatorFlowCancelDrained => ("operator", "flow_cancel_drained"),
            Code::OperatorBudgetHardBreach => ("operator", "budget_hard_breach"),
            Code::OperatorBudgetSoftBreach => ("operator", "budget_soft_breach"),
            Code::OperatorBudgetReset => ("operator", "budget_reset"),
            Code::WorkerRegistered => ("worker", "registered"),
            Code::WorkerRefreshed => ("worker", "refreshed"),
            Code::WorkerMarkedDead => ("worker", "marked_dead"),
            Code::WorkerTtlSwept => ("worker", "ttl_swept"),
            Code::TagAttached => ("tag", "attached"),
            Code::TagCleared => ("tag", "cleared"),
            Code::SignalSatisfied => ("signal", "satisfied"),
            Code::SignalAppended => ("signal", "appended"),
            Code::SignalDuplicate => ("signal", "duplicate"),
            Code::SignalIgnored => ("signal", "ignored"),
            Code::SignalBuffered => ("signal", "buffered"),
            Code::SignalTimeout => ("signal", "timeout"),
            Code::SuspensionWaitpointCreated => ("suspension", "waitpoint_created"),
            Code::SuspensionSuspended => ("suspension", "suspended"),
            Code::SuspensionAlreadySatisfied => ("suspension", "already_satisfied"),
            Code::SuspensionResumed => ("suspension", "resumed"),
            Code::SuspensionEscalated => ("suspension", "escalated"),
            Code::SuspensionClosed => ("suspension", "closed"),
            Code::SuspensionWaitpointClosed => ("suspension", "waitpoint_closed"),
            Code::SuspensionWaitpointExpired => ("suspension", "waitpoint_expired"),
        }
    }

    /// The code of a stored number.
    pub fn from_number(number: i16) -> Option<Code> {
        Code::ALL.into_iter().find(|code| *code as i16 == number)
    }
}

/// One row of the log, about one execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub code: Code,
    /// The row also reads as `lease.released`, before its own event.
    pub released: bool,
    /// Reason of the lease event.
    pub reason: Option<String>,
    /// Lease concerned.
    pub lease_id: Option<Uuid>,
    /// Its epoch.
    pub lease_epoch: Option<i64>,
    /// Its holder.
    pub claimer: Option<i32>,
    /// What the typed columns do not say.
    pub details: Option<serde_json::Value>,
}

impl Event {
    /// An event about the execution's present lease.
    pub fn lease(e: &Execution, code: Code, reason: Option<&str>) -> Event {
        Event {
            code,
            released: false,
            reason: reason.map(str::to_owned),
            lease_id: e.lease.id,
            lease_epoch: Some(e.lease.epoch),
            claimer: e.lease.claimer,
            details: None,
        }
    }

    /// An event that is not about a lease.
    pub fn plain(code: Code, details: Option<serde_json::Value>) -> Event {
        Event {
            code,
            released: false,
            reason: None,
            lease_id: None,
            lease_epoch: None,
            claimer: None,
            details,
        }
    }
}
