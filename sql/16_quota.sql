-- Quota policies: how many executions may start within a sliding window, and how many may run at once. Both are rows
-- that are free or not, so there is no counter that could drift or that everybody waits for.
CREATE TABLE ff_engine.quota (
    quota_policy_id         uuid        PRIMARY KEY,
    partition_key           smallint    NOT NULL,
    max_requests_per_window bigint      NOT NULL CHECK (max_requests_per_window BETWEEN 0 AND 100000),
    window_us               bigint      NOT NULL CHECK (window_us >= 0),
    max_concurrent          int         NOT NULL CHECK (max_concurrent BETWEEN 0 AND 10000),
    surplus                 int         NOT NULL DEFAULT 0 CHECK (surplus >= 0),  -- slots that go when they fall free
    jitter_us               bigint      NOT NULL CHECK (jitter_us BETWEEN 0 AND window_us),
    detached                boolean     NOT NULL DEFAULT false,  -- something may wait for it that it no longer concerns
    created_at              timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL
);

-- One row per start that the window allows. A start takes the token that has rested longest.
CREATE TABLE ff_engine.quota_token (
    quota_policy_id uuid        NOT NULL,
    dimension       text        COLLATE "C" NOT NULL,
    number          int         NOT NULL,
    last_used_at    timestamptz NOT NULL,
    execution_id    uuid,
    PRIMARY KEY (quota_policy_id, dimension, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX quota_token_rest ON ff_engine.quota_token (quota_policy_id, dimension, last_used_at);
CREATE INDEX quota_token_user ON ff_engine.quota_token (quota_policy_id, execution_id);

-- One row per execution that may run at once. A row numbered above the cap disappears when it falls free.
CREATE TABLE ff_engine.quota_slot (
    quota_policy_id uuid        NOT NULL,
    number          int         NOT NULL,
    execution_id    uuid,
    acquired_at     timestamptz,
    PRIMARY KEY (quota_policy_id, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX quota_slot_holder ON ff_engine.quota_slot (quota_policy_id, execution_id);
CREATE INDEX quota_slot_execution ON ff_engine.quota_slot (execution_id);
