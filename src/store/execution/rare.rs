//! What few executions have, in one jsonb column that is NULL for the others.
//!
//! Instants are microseconds since 2000-01-01 UTC; `ff_engine.instant` shows them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::execution::{End, Execution, Grant};
use crate::model::stream::closing::{self, Closed};
use crate::model::time::Instant;
use crate::model::words::{CloseReason, GrantKind};

macro_rules! rare {
    ($($name:ident: $type:ty,)*) => {
        /// The rare facts of an execution, each absent unless it has one.
        #[derive(Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs)]
        pub struct Rare {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }
    };
}

rare! {
    retries: i32,
    replays: i32,
    reclaims: i32,
    lease_expired_at: i64,
    lease_revoked_at: i64,
    lease_revoke_reason: String,
    recheck_at: i64,
    blocked_by_policy: Uuid,
    blocking_detail: String,
    pending_reason: String,
    failure_reason: String,
    failure_category: String,
    cancellation_reason: String,
    cancelled_by: String,
    attempt_suspended_at: i64,
    time_remaining_ms: i64,
    attempt_reason: String,
    pause_kind: String,
    attempt_failure_reason: String,
    attempt_failure_category: String,
    attempt_failure_class: String,
    end_lease: (Uuid, i64),
    end_values: serde_json::Value,
    progress_pct: i16,
    progress_message: String,
    progress_updated_at: i64,
    last_capability_mismatch_at: i64,
    suspension: Uuid,
    waitpoint: Uuid,
    suspension_timeout: i64,
    pending_waitpoints: i32,
    limited: bool,
    slots: Vec<Uuid>,
    offered: (Uuid, i64),
    stream_closed: (i64, char),
    grant: RareGrant,
}

/// A grant.
#[derive(PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RareGrant {
    pub id: Uuid,
    pub kind: char,
    pub claimer: i32,
    pub expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_snapshot: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_summary: Option<String>,
}

impl From<&Grant> for RareGrant {
    fn from(g: &Grant) -> RareGrant {
        RareGrant {
            id: g.id,
            kind: g.kind.letter() as char,
            claimer: g.claimer,
            expires_at: g.expires_at.0,
            route_snapshot: g.route_snapshot.clone(),
            admission_summary: g.admission_summary.clone(),
        }
    }
}

impl RareGrant {
    /// The grant it stands for.
    pub fn grant(self) -> Option<Grant> {
        Some(Grant {
            id: self.id,
            kind: GrantKind::from_letter(u8::try_from(self.kind).ok()?)?,
            claimer: self.claimer,
            expires_at: Instant(self.expires_at),
            route_snapshot: self.route_snapshot,
            admission_summary: self.admission_summary,
        })
    }
}

/// The end of a stream as it is stored where nothing else tells of it.
pub fn closed((at, letter): (i64, char)) -> Option<Closed> {
    Some(Closed {
        at: Instant(at),
        reason: CloseReason::from_letter(u8::try_from(letter).ok()?)?,
    })
}

impl Rare {
    /// The rare facts of an execution, if it has any.
    pub fn of(e: &Execution) -> Option<Rare> {
        let a = e.attempt.as_ref();
        let count = |n: i32| (n != 0).then_some(n);
        let at = |i: Option<Instant>| i.map(|i| i.0);
        // Most attempts are ended by the latest lease, which the row keeps.
        let other_lease = |end: &End| {
            (e.lease.id != Some(end.lease_id) || e.lease.epoch != end.lease_epoch)
                .then_some((end.lease_id, end.lease_epoch))
        };
        let end = a.and_then(|a| a.end.as_ref());
        let rare = Rare {
            retries: count(e.retries),
            replays: count(e.replays),
            reclaims: count(e.reclaims),
            lease_expired_at: at(e.lease.expired_at),
            lease_revoked_at: at(e.lease.revoked_at),
            lease_revoke_reason: e.lease.revoke_reason.clone(),
            recheck_at: at(e.recheck_at),
            blocked_by_policy: e.blocked_by_policy,
            blocking_detail: e.blocking_detail.clone(),
            pending_reason: e.pending_reason.clone(),
            failure_reason: e.failure_reason.clone(),
            failure_category: e.failure_category.clone(),
            cancellation_reason: e.cancellation_reason.clone(),
            cancelled_by: e.cancelled_by.clone(),
            attempt_suspended_at: at(a.and_then(|a| a.suspended_at)),
            time_remaining_ms: a.and_then(|a| a.time_remaining_ms),
            attempt_reason: a.and_then(|a| a.reason.clone()),
            pause_kind: a.and_then(|a| a.pause_kind.clone()),
            attempt_failure_reason: a.and_then(|a| a.failure_reason.clone()),
            attempt_failure_category: a.and_then(|a| a.failure_category.clone()),
            attempt_failure_class: a.and_then(|a| a.failure_class.clone()),
            end_lease: end.and_then(other_lease),
            end_values: end.and_then(|end| end.values.clone()),
            progress_pct: e.progress.percent,
            progress_message: e.progress.message.clone(),
            progress_updated_at: at(e.progress.updated_at),
            last_capability_mismatch_at: at(e.last_capability_mismatch_at),
            suspension: e.suspension,
            waitpoint: e.waitpoint,
            suspension_timeout: at(e.suspension_timeout),
            pending_waitpoints: count(e.pending_waitpoints),
            limited: e.limited.then_some(true),
            offered: e.offered.map(|(quota, until)| (quota, until.0)),
            slots: (!e.slots.is_empty()).then(|| e.slots.clone()),
            stream_closed: a
                .and_then(|a| a.closed)
                .filter(|closed| closing::told(e) != Some(*closed))
                .map(|closed| (closed.at.0, closed.reason.letter() as char)),
            grant: e.grant.as_ref().map(RareGrant::from),
        };
        (rare != Rare::default()).then_some(rare)
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
