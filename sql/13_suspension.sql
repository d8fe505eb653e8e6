-- Waiting for the outside: suspensions, the addresses signals are sent to, the signals, the keys that sign tokens.
--
-- All of an execution's rows here are written under the lock of its row in ff_engine.execution.

-- One episode of waiting. Open while closed_at is null; kept until its execution is purged.
CREATE TABLE ff_engine.suspension (
    suspension_id        uuid        PRIMARY KEY,
    execution_id         uuid        NOT NULL,
    attempt_index        int         NOT NULL,
    reason               text        NOT NULL,
    requested_by         text        NOT NULL,
    condition            jsonb       NOT NULL,  -- with explicit keys
    progress             jsonb       NOT NULL,  -- what its nodes have recorded, in tree order
    resume_policy        jsonb       NOT NULL,
    timeout_at           timestamptz,
    timeout_behavior     text        NOT NULL,
    continuation         text,
    idempotency_key      text        COLLATE "C",
    released_lease_id    uuid        NOT NULL,
    released_lease_epoch bigint      NOT NULL,
    waitpoint_ids        uuid[]      NOT NULL,  -- the primary first
    suspended_at         timestamptz NOT NULL,
    escalated_at         timestamptz,
    satisfied_at         timestamptz,
    closed_at            timestamptz,
    close_reason         text,
    resume_trigger       text,
    closer_signal_id     uuid
) WITH (fillfactor = 70);
CREATE INDEX suspension_execution ON ff_engine.suspension (execution_id, suspended_at);
CREATE INDEX suspension_open ON ff_engine.suspension (suspended_at, execution_id) WHERE closed_at IS NULL;

-- Keys of suspends, for as long as a repeated call is answered.
CREATE TABLE ff_engine.suspension_key (
    execution_id    uuid        NOT NULL,
    attempt_index   int         NOT NULL,
    idempotency_key text        COLLATE "C" NOT NULL,
    suspension_id   uuid        NOT NULL,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (execution_id, attempt_index, idempotency_key)
);
CREATE INDEX suspension_key_expiry ON ff_engine.suspension_key (expires_at);

-- An address for signals. Its token is never stored: it is computed from the columns that never change.
CREATE TABLE ff_engine.waitpoint (
    waitpoint_id          uuid        PRIMARY KEY,
    waitpoint_key         text        COLLATE "C" NOT NULL,
    execution_id          uuid        NOT NULL,
    attempt_index         int         NOT NULL,
    suspension_id         uuid,
    state                 text        NOT NULL CHECK (state IN ('pending', 'active', 'closed', 'expired')),
    required_signal_names jsonb       NOT NULL,
    token_kid             text        COLLATE "C" NOT NULL,
    token_fingerprint     text        NOT NULL,
    created_at            timestamptz NOT NULL,
    activated_at          timestamptz,
    expires_at            timestamptz,
    satisfied_at          timestamptz,
    closed_at             timestamptz,
    close_reason          text,
    signal_count          int         NOT NULL DEFAULT 0,
    matched_signal_count  int         NOT NULL DEFAULT 0,
    last_signal_at        timestamptz
) WITH (fillfactor = 70);
CREATE INDEX waitpoint_execution ON ff_engine.waitpoint (execution_id, waitpoint_id);

-- Where to look for pending waitpoints that nobody used in time. An entry outlives its waitpoint's wait until it is due.
CREATE TABLE ff_engine.waitpoint_expiry (
    expires_at   timestamptz NOT NULL,
    execution_id uuid        NOT NULL,
    waitpoint_id uuid        NOT NULL,
    PRIMARY KEY (expires_at, waitpoint_id)
);

-- A signal as it was accepted. Unconsumed signals of a pending waitpoint are its buffer.
CREATE TABLE ff_engine.signal (
    signal_id        uuid        PRIMARY KEY,
    execution_id     uuid        NOT NULL,
    signal_seq       bigint      NOT NULL,
    waitpoint_id     uuid        NOT NULL,
    suspension_id    uuid,
    signal_name      text        NOT NULL,
    signal_category  text        NOT NULL,
    source_type      text        NOT NULL,
    source_identity  text        NOT NULL,
    correlation_id   text,
    idempotency_key  text,
    target_scope     text        NOT NULL,
    payload          bytea,
    payload_encoding text        NOT NULL,
    occurred_at      timestamptz,
    accepted_at      timestamptz NOT NULL,
    effect           "char"      NOT NULL,
    matched          boolean     NOT NULL,
    consumed_at      timestamptz
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX signal_order ON ff_engine.signal (execution_id, signal_seq);

-- Keys of signals, for as long as a repeated delivery is a duplicate.
CREATE TABLE ff_engine.signal_key (
    waitpoint_id    uuid        NOT NULL,
    idempotency_key text        COLLATE "C" NOT NULL,
    signal_id       uuid        NOT NULL,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (waitpoint_id, idempotency_key)
);
CREATE INDEX signal_key_expiry ON ff_engine.signal_key (expires_at);

-- The sources that a node of a condition has counted, so that one more costs a look-up and not a scan.
CREATE TABLE ff_engine.satisfier (
    suspension_id   uuid NOT NULL,
    node            int  NOT NULL,
    source_type     text COLLATE "C" NOT NULL,
    source_identity text COLLATE "C" NOT NULL,
    PRIMARY KEY (suspension_id, source_type, source_identity, node)
);

-- The signing keys. Names are kept for ever, secrets until they are of no use; no dump contains this table.
CREATE TABLE ff_engine.waitpoint_secret (
    kid        text        COLLATE "C" PRIMARY KEY,
    secret     bytea       CHECK (octet_length(secret) BETWEEN 32 AND 128),
    alg        text        NOT NULL DEFAULT 'hmac-sha256',
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    expires_at timestamptz,
    CHECK ((retired_at IS NULL) = (expires_at IS NULL))
);
CREATE UNIQUE INDEX waitpoint_secret_current ON ff_engine.waitpoint_secret ((true)) WHERE retired_at IS NULL;

-- When a token was last refused at one of an execution's waitpoints. The refused call leaves no trace of its own, so
-- this comes later, from a background worker.
CREATE TABLE ff_engine.token_failure (
    execution_id uuid        PRIMARY KEY,
    last_at      timestamptz NOT NULL
);
