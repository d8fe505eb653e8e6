-- Flows: members joined by edges, and the work that follows from a member's end.
--
-- A flow's row is locked by what builds, seals, closes, cancels and replays, never by workers. A child's group and its
-- inbound edges are written under the lock of the child's row in ff_engine.execution, and by nobody else.

CREATE TABLE ff_engine.flow (
    flow_id             uuid        PRIMARY KEY,
    partition_key       smallint    NOT NULL,
    namespace_id        int         NOT NULL,
    flow_kind           text        NOT NULL,
    public_flow_state   text        NOT NULL CHECK (public_flow_state IN ('open', 'completed', 'failed', 'cancelled')),
    sealed              boolean     NOT NULL,
    graph_revision      bigint      NOT NULL,
    node_count          int         NOT NULL,
    edge_count          int         NOT NULL,
    created_at          timestamptz NOT NULL,
    last_mutation_at    timestamptz NOT NULL,
    terminal_at         timestamptz,
    cancelled_at        timestamptz,
    cancel_reason       text,
    cancellation_policy text CHECK (cancellation_policy IN ('cancel_flow_only', 'cancel_pending', 'cancel_all')),
    cancel_requester    text,
    tags                jsonb,                  -- NULL: none
    definition_digest   bytea
) WITH (fillfactor = 70);
CREATE INDEX flow_open ON ff_engine.flow (flow_id) WHERE public_flow_state = 'open';
CREATE INDEX flow_terminal ON ff_engine.flow (terminal_at, flow_id) WHERE terminal_at IS NOT NULL;

-- Which executions belong to a flow: the execution's own row has no index to be found by.
CREATE TABLE ff_engine.flow_member (
    execution_id uuid PRIMARY KEY,
    flow_id      uuid NOT NULL,
    node_name    text COLLATE "C"
);
CREATE UNIQUE INDEX flow_member_flow ON ff_engine.flow_member (flow_id, execution_id);
CREATE UNIQUE INDEX flow_member_node ON ff_engine.flow_member (flow_id, node_name) WHERE node_name IS NOT NULL;

-- From upstream to downstream. No column that changes is indexed, so resolving an edge touches no index.
CREATE TABLE ff_engine.edge (
    edge_id          uuid        PRIMARY KEY,
    flow_id          uuid        NOT NULL,
    ordinal          bigint      NOT NULL,       -- order of staging
    upstream_id      uuid        NOT NULL,
    downstream_id    uuid        NOT NULL,
    dependency_kind  text        NOT NULL CHECK (dependency_kind IN ('success_only', 'any_terminal', 'failure_only')),
    data_passing_ref text,
    edge_state       text        NOT NULL CHECK (edge_state IN ('pending', 'unsatisfied', 'satisfied', 'impossible')),
    created_at       timestamptz NOT NULL,
    applied_at       timestamptz,
    resolved_at      timestamptz,
    resolved_outcome text,
    consumed_life    int                         -- the life of the upstream that was counted last
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX edge_out ON ff_engine.edge (upstream_id, downstream_id);
CREATE UNIQUE INDEX edge_in ON ff_engine.edge (downstream_id, ordinal);
CREATE UNIQUE INDEX edge_flow ON ff_engine.edge (flow_id, ordinal);

-- All applied edges into one child, counted. Open ones are what is left of the total.
CREATE TABLE ff_engine.edge_group (
    downstream_id           uuid    PRIMARY KEY,
    flow_id                 uuid    NOT NULL,
    policy                  text    NOT NULL CHECK (policy IN ('all_of', 'any_of', 'quorum')),
    k                       int     CHECK ((k IS NOT NULL) = (policy = 'quorum')),
    on_satisfied            text    CHECK (on_satisfied IN ('cancel_remaining', 'let_run')),
    total_deps              int     NOT NULL,
    satisfied_count         int     NOT NULL,
    failed_count            int     NOT NULL,
    skipped_count           int     NOT NULL,
    group_state             text    NOT NULL CHECK (group_state IN ('pending', 'satisfied', 'impossible')),
    satisfied_at            timestamptz,
    cancel_siblings_pending boolean NOT NULL,
    cancel_siblings_reason  text,
    passes_data             boolean NOT NULL     -- an applied edge asks for its upstream's result
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX edge_group_flow ON ff_engine.edge_group (flow_id, downstream_id);

-- Members that have ended and whose outgoing edges are still to be resolved. Not unique: a second entry finds nothing
-- left to do, and two sessions never wait for each other to store one.
CREATE TABLE ff_engine.cascade (
    cascade_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id  uuid        NOT NULL,
    partition_key smallint    NOT NULL,
    namespace_id  int         NOT NULL,
    due_at        timestamptz NOT NULL,
    tries         int         NOT NULL DEFAULT 0,
    deferred      boolean     NOT NULL DEFAULT false  -- looked at, and left because a child was busy
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX cascade_due ON ff_engine.cascade (deferred, due_at, cascade_id);
CREATE INDEX cascade_execution ON ff_engine.cascade (execution_id);

-- Fired groups whose remaining upstreams nobody needs any more.
CREATE TABLE ff_engine.sibling_cancel (
    downstream_id uuid        PRIMARY KEY,
    flow_id       uuid        NOT NULL,
    queued_at     timestamptz NOT NULL
);
CREATE INDEX sibling_cancel_due ON ff_engine.sibling_cancel (queued_at, downstream_id);

-- Members that a cancelled flow still owes.
CREATE TABLE ff_engine.cancel_backlog (
    flow_id       uuid        PRIMARY KEY,
    grace_ends_at timestamptz NOT NULL,
    queued_at     timestamptz NOT NULL
);
CREATE INDEX cancel_backlog_due ON ff_engine.cancel_backlog (grace_ends_at, flow_id);
CREATE TABLE ff_engine.cancel_backlog_member (
    flow_id      uuid        NOT NULL,
    execution_id uuid        NOT NULL,
    due_at       timestamptz NOT NULL,
    tries        int         NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_id, execution_id)
);

-- Flows whose members have ended since they were projected. Append-only: nobody who completes waits for another.
CREATE TABLE ff_engine.flow_touch (
    touched_at timestamptz NOT NULL,
    flow_id    uuid        NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX flow_touch_order ON ff_engine.flow_touch (touched_at, flow_id);

-- The summary of a flow as it was last projected.
CREATE TABLE ff_engine.flow_summary (
    flow_id          uuid        PRIMARY KEY,
    projected_at     timestamptz NOT NULL,
    members          jsonb       NOT NULL,  -- members by public state
    derived_state    text        NOT NULL
) WITH (fillfactor = 70);
