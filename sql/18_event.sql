-- The event log: append-only, one row per transition. A row whose transition ended a lease in order and the
-- execution with it reads as two events: `released` with event_id, then its own with event_id + 1.
--
-- One value of the sequence numbers a thousand events, so that a batch asks for one.
CREATE SEQUENCE ff_engine.event_id AS bigint INCREMENT BY 2000;

CREATE TABLE ff_engine.event (
    event_id      bigint      NOT NULL DEFAULT nextval('ff_engine.event_id'),
    txid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at   timestamptz NOT NULL,
    execution_id  uuid,
    flow_id       uuid,
    attempt_id    uuid,
    lease_id      uuid,
    lease_epoch   bigint,
    lane_id       int,
    namespace_id  int,
    claimer_id    int,
    attempt_index int,
    partition_key smallint,
    code          smallint    NOT NULL,          -- words by ff_engine.event_family() and event_type()
    released      boolean     NOT NULL,          -- also reads as lease.released, first
    moved         smallint,                      -- from which public state to which: model/moved.rs
    reason        text,                          -- of the lease event
    tags          jsonb,
    details       jsonb                          -- what the typed columns do not say
);
-- No two entries are equal, so there is nothing to deduplicate.
CREATE INDEX event_window ON ff_engine.event (txid, event_id) WITH (deduplicate_items = off);
CREATE INDEX event_execution ON ff_engine.event (execution_id, event_id) WITH (deduplicate_items = off);
