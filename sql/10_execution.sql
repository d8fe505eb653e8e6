-- One row per execution: identity, state vector, current lease and latest attempt.
--
-- The row is the only authority on an execution's state. Its only index is the key, so every change of
-- state is a HOT update; where the engine finds work (ready) and where it will look next (timer) are
-- tables of their own, kept in step by the one place that saves executions.
--
-- The row is narrow on purpose: the executor sets up every column for every statement, so each costs every
-- operation. Neighbours are claimed and completed within milliseconds, sooner than any version of them can be
-- pruned, so a page has room for three versions of each. What few executions have stands in `rare`, and the state vector with the words of the latest
-- attempt is one number. ff_engine.execution_row shows both taken apart.
CREATE TABLE ff_engine.execution (
    execution_id          uuid        NOT NULL,
    created_at            timestamptz NOT NULL,
    queue_id              int         NOT NULL,
    lane_id               int         NOT NULL,
    namespace_id          int         NOT NULL,
    partition_key         smallint    NOT NULL,
    priority              smallint    NOT NULL,

    -- the latest lease; it holds only while the state says so
    lease_epoch           bigint      NOT NULL,
    claimer_id            int,
    lease_ttl_ms          int,
    lease_id              uuid,
    lease_acquired_at     timestamptz,           -- NULL of a lease: when its attempt started

    -- the latest attempt; earlier ones are in ff_engine.attempt
    attempt_id            uuid,
    attempt_started_at    timestamptz,
    started_at            timestamptz,           -- NULL of a first attempt: when that started
    total_attempt_count   int         NOT NULL,

    -- what every change of state changes stands together: the WAL of an update holds all between its first and last
    state                 int         NOT NULL,  -- model/packed.rs
    last_transition_at    timestamptz NOT NULL,
    last_mutation_at      timestamptz,           -- NULL: at the last transition
    lease_last_renewed_at timestamptz,
    lease_expires_at      timestamptz,
    attempt_ended_at      timestamptz,
    completed_at          timestamptz,

    delay_until           timestamptz,
    execution_deadline    timestamptz,
    attempt_deadline      timestamptz,
    retention_ms          bigint,
    flow_id               uuid,
    rare                  jsonb,
    tags                  jsonb,
    attempt_failure_detail bytea,
    result                bytea,
    result_encoding       text,
    creator               text        NOT NULL,
    kind                  text        NOT NULL,

    CONSTRAINT execution_pkey PRIMARY KEY (execution_id)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);

-- What the caller handed in, written once and never touched again. Absent when there is neither.
CREATE TABLE ff_engine.execution_input (
    execution_id     uuid PRIMARY KEY,
    payload          bytea,
    payload_encoding text,
    policy           jsonb
);

-- Attempts that a later attempt has superseded, as they were at that moment.
CREATE TABLE ff_engine.attempt (
    execution_id           uuid        NOT NULL,
    attempt_index          int         NOT NULL,
    attempt_id             uuid        NOT NULL,
    attempt_type           "char"      NOT NULL,
    attempt_record         "char"      NOT NULL,
    attempt_started_at     timestamptz NOT NULL,
    attempt_ended_at       timestamptz,
    attempt_suspended_at   timestamptz,
    time_remaining_ms      bigint,
    lease_id               uuid        NOT NULL,
    lease_epoch            bigint      NOT NULL,
    claimer_id             int         NOT NULL,
    previous_attempt_index int,
    attempt_reason         text,
    pause_kind             text,
    attempt_failure_reason   text,
    attempt_failure_category text,
    attempt_failure_class    text,
    attempt_failure_detail   bytea,
    end_op                 "char",
    end_lease_id           uuid,
    end_lease_epoch        bigint,
    end_values             jsonb,
    stream_closed_at       timestamptz,
    stream_close_reason    "char",
    PRIMARY KEY (execution_id, attempt_index)
);

-- What a claim may hand out now: one row per claimable or reclaimable execution, in claim order.
CREATE TABLE ff_engine.ready (
    queue_id     int         NOT NULL,
    rank         smallint    NOT NULL,  -- 9000 - priority: ascending is claim order
    created_at   timestamptz NOT NULL,
    execution_id uuid        NOT NULL,
    reclaim      boolean     NOT NULL   -- the execution is active and its lease was lost
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
-- A scan reads all entries of a leaf, however few it needs: a claim is cheaper where leaves hold fewer.
CREATE UNIQUE INDEX ready_order ON ff_engine.ready (queue_id, rank, created_at, execution_id) WITH (fillfactor = 70);

-- Where the engine will look next: for every execution with something due in the future there is a row
-- no later than that instant. Too early, or twice, costs a look; too late cannot happen (docs/design/storage.md).
CREATE TABLE ff_engine.timer (
    kind         "char"      NOT NULL,  -- 'l' live, 'x' lost: src/store/timer.rs
    lane_id      int         NOT NULL,
    due_at       timestamptz NOT NULL,
    execution_id uuid        NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX timer_due ON ff_engine.timer (kind, lane_id, due_at, execution_id) WITH (deduplicate_items = off);

-- Ended executions by when they may be deleted. They stand in lots, because a row and an index entry for each would cost
-- more than its deletion, and would be kept as long as the history.
CREATE SEQUENCE ff_engine.purge_lot;
CREATE TABLE ff_engine.purge (
    due_at        timestamptz NOT NULL,  -- when the last of them may go
    lot           bigint      NOT NULL,  -- tells those of one instant apart
    execution_ids uuid[]      NOT NULL,
    PRIMARY KEY (due_at, lot)
);

-- Idempotency keys outlive the executions they created.
CREATE TABLE ff_engine.idempotency (
    namespace_id int         NOT NULL,
    key          text        COLLATE "C" NOT NULL,
    execution_id uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (namespace_id, key)
);
CREATE INDEX idempotency_expiry ON ff_engine.idempotency (expires_at);
