//! Every setting of the engine: name, range, default, meaning. Durations are integers with a unit.

use std::ffi::CStr;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// An integer setting as it is registered and as `ff_config()` shows it.
pub struct Int {
    /// Name without the prefix.
    pub name: &'static CStr,
    /// Value of this session.
    pub value: GucSetting<i32>,
    /// Value at start.
    pub default: i32,
    /// Least value.
    pub min: i32,
    /// Greatest value.
    pub max: i32,
    /// Unit.
    pub unit: Unit,
    /// Chapter of the specification.
    pub chapter: i32,
    /// What it does.
    pub meaning: &'static CStr,
}

/// Unit of a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    None,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// Bytes.
    B,
}

impl Unit {
    fn flags(self) -> GucFlags {
        match self {
            Unit::None => GucFlags::empty(),
            Unit::Ms => GucFlags::UNIT_MS,
            Unit::S => GucFlags::UNIT_S,
            Unit::B => GucFlags::UNIT_BYTE,
        }
    }
}

const DAY_MS: i32 = 86_400_000;
const DAY_S: i32 = 86_400;

macro_rules! ints {
    ($($id:ident = $name:literal, $default:expr, $min:expr, $max:expr, $unit:ident, $chapter:literal, $meaning:literal;)*) => {
        $(
            #[doc = stringify!($id)]
            pub static $id: Int = Int {
                name: $name,
                value: GucSetting::<i32>::new($default),
                default: $default,
                min: $min,
                max: $max,
                unit: Unit::$unit,
                chapter: $chapter,
                meaning: $meaning,
            };
        )*
        /// Every integer setting.
        pub static INTS: &[&Int] = &[$(&$id,)*];
    };
}

ints! {
    DEFAULT_LEASE_TTL = c"ff_engine.default_lease_ttl", 30_000, 1, DAY_MS, Ms, 10, c"Length of a lease when the claim gives none.";
    MAX_LEASE_TTL = c"ff_engine.max_lease_ttl", DAY_MS, 1, i32::MAX, Ms, 10, c"Longest lease a claim or renewal may ask for.";
    DEFAULT_GRANT_TTL = c"ff_engine.default_grant_ttl", 5_000, 1, DAY_MS, Ms, 10, c"Length of a grant when none is given.";
    MAX_GRANT_TTL = c"ff_engine.max_grant_ttl", 600_000, 1, DAY_MS, Ms, 10, c"Longest grant.";
    MAX_CLAIM_ITEMS = c"ff_engine.max_claim_items", 1000, 1, 100_000, None, 10, c"Most items of one claim, renew, complete or create call.";
    MAX_FUNCTION_WAIT = c"ff_engine.max_function_wait", 5_000, 0, 600_000, Ms, 10, c"Longest wait inside a function.";
    MAX_CALL_WAIT = c"ff_engine.max_call_wait", 600_000, 0, DAY_MS, Ms, 10, c"Longest wait inside a procedure.";
    WAIT_POLL_INTERVAL = c"ff_engine.wait_poll_interval", 250, 10, 60_000, Ms, 10, c"How often a waiter looks when the library is not preloaded.";
    CLAIM_DENY_LIMIT = c"ff_engine.claim_deny_limit", 256, 1, 100_000, None, 10, c"Candidates one claim may block for admission before it stops looking.";
    INLINE_PROMOTE_LIMIT = c"ff_engine.inline_promote_limit", 64, 0, 10_000, None, 10, c"Due executions of a lane that one claim promotes before it selects.";
    DEFAULT_MAX_RECLAIM_COUNT = c"ff_engine.default_max_reclaim_count", 100, 0, i32::MAX, None, 10, c"Reclaims of one execution when its policy is silent.";
    DEFAULT_MAX_REPLAY_COUNT = c"ff_engine.default_max_replay_count", 10, 0, i32::MAX, None, 10, c"Replays of one execution when its policy is silent.";
    DEFAULT_RETENTION = c"ff_engine.default_retention", DAY_S, -1, i32::MAX, S, 10, c"How long a terminal execution is kept; -1 means for ever.";
    DEFAULT_DEDUP_WINDOW = c"ff_engine.default_dedup_window", DAY_S, 1, i32::MAX, S, 10, c"Lifetime of an idempotency key.";
    MAX_PAYLOAD_BYTES = c"ff_engine.max_payload_bytes", 67_108_864, 0, 1_000_000_000, B, 10, c"Limit on a payload and on a result.";
    MAX_SIGNAL_PAYLOAD_BYTES = c"ff_engine.max_signal_payload_bytes", 65_536, 0, 1_048_576, B, 20, c"Limit on the payload of a signal.";
    DEFAULT_SIGNAL_DEDUP_TTL = c"ff_engine.default_signal_dedup_ttl", DAY_S, 0, i32::MAX, S, 20, c"Lifetime of a signal's idempotency key when none is given.";
    MAX_SIGNAL_DEDUP_TTL = c"ff_engine.max_signal_dedup_ttl", 30 * DAY_S, 0, i32::MAX, S, 20, c"Longest lifetime of a signal's idempotency key.";
    MAX_PENDING_WAITPOINT_TTL = c"ff_engine.max_pending_waitpoint_ttl", 30 * DAY_S, 1, i32::MAX, S, 20, c"Longest life of a waitpoint that no suspension uses.";
    MAX_WAITPOINTS_PER_SUSPENSION = c"ff_engine.max_waitpoints_per_suspension", 64, 1, 1000, None, 20, c"Most waitpoints of one suspension.";
    MAX_OPEN_WAITPOINTS = c"ff_engine.max_open_waitpoints", 1000, 1, 100_000, None, 20, c"Most open waitpoints of one execution.";
    SUSPEND_DEDUP_GRACE = c"ff_engine.suspend_dedup_grace", 60_000, 0, DAY_MS, Ms, 20, c"How long beyond its timeout the key of a suspend is remembered.";
    SUSPEND_DEDUP_MAX = c"ff_engine.suspend_dedup_max", 7 * DAY_S, 0, i32::MAX, S, 20, c"How long the key of a suspend is remembered at most.";
    DEFAULT_ROTATION_GRACE = c"ff_engine.default_rotation_grace", DAY_S, 0, i32::MAX, S, 20, c"How long a retired signing key goes on verifying when none is given.";
    USAGE_DEDUP_TTL = c"ff_engine.usage_dedup_ttl", DAY_S, 1, i32::MAX, S, 50, c"Lifetime of the deduplication key of a usage report.";
    BUDGET_ENFORCE_BATCH = c"ff_engine.budget_enforce_batch", 500, 1, 100_000, None, 50, c"Executions that one pass of budget enforcement acts on.";
    ADMISSION_GRACE = c"ff_engine.admission_grace", 60_000, 0, DAY_MS, Ms, 50, c"Age after which an admission slot without a running execution is freed.";
    MAX_FRAME_BYTES = c"ff_engine.max_frame_bytes", 65_536, 0, 1_048_576, B, 30, c"Limit on the payload of a frame.";
    MAX_SUMMARY_BYTES = c"ff_engine.max_summary_bytes", 1_048_576, 2, 67_108_864, B, 30, c"Limit on a summary document.";
    STREAM_DURABLE_MAXLEN = c"ff_engine.stream_durable_maxlen", 10_000, 0, i32::MAX, None, 30, c"Durable frames a stream keeps when nothing else is said; 0 means all.";
    STREAM_SUMMARY_WINDOW = c"ff_engine.stream_summary_window", 64, 1, 100_000, None, 30, c"Patches a stream keeps beside its summary document.";
    MAX_TAIL_WAIT = c"ff_engine.max_tail_wait", 30_000, 0, 600_000, Ms, 30, c"Longest wait of a stream's tail.";
    MAX_WAITING_TAILS = c"ff_engine.max_waiting_tails", 64, 0, 2_048, None, 30, c"Tails that may wait at a time.";
    INLINE_EDGE_LIMIT = c"ff_engine.inline_edge_limit", 64, 0, 100_000, None, 40, c"Edges resolved inside one terminal transition, and widest group touched there; 0 means none.";
    CASCADE_EDGE_BATCH = c"ff_engine.cascade_edge_batch", 500, 1, 100_000, None, 40, c"Edges resolved in one transaction of the cascade reconciler.";
    SIBLING_CANCEL_BATCH = c"ff_engine.sibling_cancel_batch", 1000, 1, 100_000, None, 40, c"Siblings of one group handled in one transaction.";
    CANCEL_INLINE_LIMIT = c"ff_engine.cancel_inline_limit", 200, 0, 100_000, None, 40, c"Members cancelled inside a call that does not wait.";
    CANCEL_MEMBER_BATCH = c"ff_engine.cancel_member_batch", 500, 1, 100_000, None, 40, c"Members of one flow that one pass over the cancel backlog handles.";
    CANCEL_GRACE = c"ff_engine.cancel_grace", 30_000, 0, DAY_MS, Ms, 40, c"Head start of an external canceller.";
    CANCEL_WAIT_CEILING = c"ff_engine.cancel_wait_ceiling", 300_000, 1, DAY_MS, Ms, 40, c"Longest wait of ff_cancel_flow for busy members.";
    MAX_FLOW_NODES = c"ff_engine.max_flow_nodes", 20_000, 1, 10_000_000, None, 40, c"Most members of a flow.";
    MAX_FLOW_EDGES = c"ff_engine.max_flow_edges", 100_000, 1, 10_000_000, None, 40, c"Most edges of a flow.";
    MAX_GRAPH_WALK = c"ff_engine.max_graph_walk", 100_000, 1, 10_000_000, None, 40, c"Most members that one check for a cycle visits.";
    FLOW_AUTO_SEAL = c"ff_engine.flow_auto_seal", DAY_S, 0, i32::MAX, S, 40, c"Idle time after which an unsealed flow with only terminal members is sealed; 0 means never.";
    RECONCILE_BATCH = c"ff_engine.reconcile_batch", 1000, 1, 100_000, None, 10, c"Default batch of a reconciler.";
    CLOCK_OFFSET = c"ff_engine.clock_offset", 0, i32::MIN, i32::MAX, Ms, 10, c"Added to the clock of this session, for tests.";
}

/// Whether renewals append a lease event.
pub static EMIT_LEASE_RENEWED: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Registers every setting; called once from `_PG_init`.
pub fn init() {
    for s in INTS {
        GucRegistry::define_int_guc(
            s.name,
            s.meaning,
            c"",
            &s.value,
            s.min,
            s.max,
            GucContext::Suset,
            s.unit.flags(),
        );
    }
    GucRegistry::define_bool_guc(
        c"ff_engine.emit_lease_renewed",
        c"Whether renewals append a lease event.",
        c"",
        &EMIT_LEASE_RENEWED,
        GucContext::Suset,
        GucFlags::empty(),
    );
    crate::pg::session::reserve_settings(c"ff_engine");
}
