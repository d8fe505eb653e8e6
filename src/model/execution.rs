//! An execution as an operation sees it: everything that changes, and the placement that does not.

use uuid::Uuid;

use super::stream::closing::Closed;
use super::time::Instant;
use super::words::*;

/// A jsonb value the engine carries without reading it.
pub type Carried = Box<[u8]>;

/// Placement and identity, fixed at creation.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Identity.
    pub id: Uuid,
    /// Creation instant, part of the claim order.
    pub created_at: Instant,
    /// Queue it waits in.
    pub queue: i32,
    /// Lane of that queue.
    pub lane: i32,
    /// Namespace of that queue.
    pub namespace: i32,
    /// Partition, 0–255.
    pub partition: i16,
    /// Flow it belongs to.
    pub flow: Option<Uuid>,
    /// Retention after the end in milliseconds, negative for ever; none: the lane's.
    pub retention_ms: Option<i64>,
}

/// The latest lease; it holds only while the execution is owned.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Lease {
    /// Interned worker, instance, capabilities and claim filter.
    pub claimer: Option<i32>,
    /// Secret part of the handle.
    pub id: Option<Uuid>,
    /// Number of leases ever granted.
    pub epoch: i64,
    /// Length in milliseconds.
    pub ttl_ms: Option<i32>,
    /// When it was granted.
    pub acquired_at: Option<Instant>,
    /// When it was last renewed.
    pub last_renewed_at: Option<Instant>,
    /// When it ends; set exactly while the execution is owned.
    pub expires_at: Option<Instant>,
    /// When its expiry was marked.
    pub expired_at: Option<Instant>,
    /// When it was revoked.
    pub revoked_at: Option<Instant>,
    /// Why it was revoked.
    pub revoke_reason: Option<String>,
}

/// The latest attempt's record.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Identity.
    pub id: Uuid,
    /// Why it was made.
    pub kind: AttemptType,
    /// State of the record.
    pub record: AttemptRecord,
    /// First lease.
    pub started_at: Instant,
    /// End, if it has ended.
    pub ended_at: Option<Instant>,
    /// Start of the current pause.
    pub suspended_at: Option<Instant>,
    /// What it pauses for.
    pub pause_kind: Option<String>,
    /// Unspent attempt timeout while paused, milliseconds.
    pub time_remaining_ms: Option<i64>,
    /// The attempt before it.
    pub previous_index: Option<i32>,
    /// Lineage: why it was made, or how it was lost.
    pub reason: Option<String>,
    /// Failure as the worker or the engine stated it.
    pub failure_reason: Option<String>,
    /// Free category of the failure.
    pub failure_category: Option<String>,
    /// Failure class word.
    pub failure_class: Option<String>,
    /// Replay record of G6.
    pub end: Option<End>,
    /// The end of its output stream.
    pub closed: Option<Closed>,
}

/// What a repeated call gets back (G6).
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The operation that ended or paused the attempt.
    pub op: EndOp,
    /// The lease that did it.
    pub lease_id: Uuid,
    /// Its epoch.
    pub lease_epoch: i64,
    /// The returned values that the row does not keep elsewhere.
    pub values: Option<serde_json::Value>,
}

/// A reservation by an external scheduler (§10.12).
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Identity.
    pub id: Uuid,
    /// Claim or reclaim.
    pub kind: GrantKind,
    /// For whom: interned worker, instance, capabilities and claim filter.
    pub claimer: i32,
    /// Until when.
    pub expires_at: Instant,
    /// What the scheduler saw when it chose the worker, carried.
    pub route_snapshot: Option<serde_json::Value>,
    /// How it admitted the execution, carried.
    pub admission_summary: Option<String>,
}

/// Scalar progress of the running attempt.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Progress {
    /// Percent, 0–100.
    pub percent: Option<i16>,
    /// Free text.
    pub message: Option<String>,
    /// Last report.
    pub updated_at: Option<Instant>,
}

/// One execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Identity and placement.
    pub place: Place,
    /// Higher runs first, 0–9000.
    pub priority: i16,
    /// State vector.
    pub vector: Vector,
    /// Latest lease.
    pub lease: Lease,
    /// Latest attempt, none before the first claim.
    pub attempt: Option<Attempt>,
    /// Attempts ever made; the next one's index.
    pub total_attempts: i32,
    /// Retries used.
    pub retries: i32,
    /// Replays used; the number of the current life.
    pub replays: i32,
    /// Reclaims used.
    pub reclaims: i32,
    /// First claim ever.
    pub started_at: Option<Instant>,
    /// End.
    pub completed_at: Option<Instant>,
    /// When it may be deleted.
    pub purge_at: Option<Instant>,
    /// Not before.
    pub delay_until: Option<Instant>,
    /// Not after.
    pub deadline: Option<Instant>,
    /// End of the running attempt's time.
    pub attempt_deadline: Option<Instant>,
    /// Not to be unblocked earlier.
    pub recheck_at: Option<Instant>,
    /// The budget or quota that denied.
    pub blocked_by_policy: Option<Uuid>,
    /// Human text on what blocks, empty when nothing does.
    pub blocking_detail: Option<String>,
    /// Lineage for the next attempt (§10.18.3).
    pub pending_reason: Option<String>,
    /// Latest failure.
    pub failure_reason: Option<String>,
    /// Its category.
    pub failure_category: Option<String>,
    /// Why it was cancelled.
    pub cancellation_reason: Option<String>,
    /// By what source.
    pub cancelled_by: Option<String>,
    /// Reservation.
    pub grant: Option<Grant>,
    /// Progress.
    pub progress: Progress,
    /// Last time a scheduler's worker lacked a capability.
    pub last_capability_mismatch_at: Option<Instant>,
    /// Open suspension.
    pub suspension: Option<Uuid>,
    /// Its primary waitpoint.
    pub waitpoint: Option<Uuid>,
    /// When it times out.
    pub suspension_timeout: Option<Instant>,
    /// The attempt has at most so many waitpoints that no suspension uses.
    pub pending_waitpoints: i32,
    /// Budgets or quotas are attached to the execution itself.
    pub limited: bool,
    /// Quotas whose slots it holds while it runs or is reserved.
    pub slots: Vec<Uuid>,
    /// A quota that had room let it go, and counts it as on its way until then.
    pub offered: Option<(Uuid, Instant)>,
    /// Tags, carried.
    pub tags: Option<Carried>,
    /// Last change of the vector.
    pub last_transition_at: Instant,
    /// Last change at all.
    pub last_mutation_at: Instant,
}

impl Execution {
    /// Index of the latest attempt.
    pub fn attempt_index(&self) -> Option<i32> {
        (self.total_attempts > 0).then(|| self.total_attempts - 1)
    }

    /// Whether a lease is live at `now`: an instant equal to the clock has passed (G3).
    pub fn lease_live(&self, now: Instant) -> bool {
        self.vector.ownership == Ownership::Leased
            && self.lease.expires_at.is_some_and(|at| at > now)
    }

    /// Whether the execution has ended.
    pub fn is_terminal(&self) -> bool {
        self.vector.lifecycle == Lifecycle::Terminal
    }
}
