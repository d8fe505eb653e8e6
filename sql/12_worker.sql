-- Workers that have announced themselves. A registration past `expires_at` counts as absent even before it is swept.
-- No index but the key, so a heartbeat is a HOT update; registrations are few, and the sweep reads them all.
CREATE TABLE ff_engine.worker (
    namespace_id    int         NOT NULL,
    worker_instance text        COLLATE "C" NOT NULL,
    worker          text        NOT NULL,
    lanes           text[]      NOT NULL,  -- sorted, as are capabilities
    capabilities    text[]      NOT NULL,
    registered_at   timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,  -- the last heartbeat and liveness_ttl_ms
    liveness_ttl_ms int         NOT NULL,
    PRIMARY KEY (namespace_id, worker_instance)
) WITH (fillfactor = 50);

-- Executions that were found to need a worker that is not there, in claim order of their queue: what the engine
-- unblocks by itself. Derived from the execution, as `ready` is.
CREATE TABLE ff_engine.unrouted (
    queue_id     int         NOT NULL,
    rank         smallint    NOT NULL,
    created_at   timestamptz NOT NULL,
    execution_id uuid        NOT NULL,
    recheck_at   timestamptz             -- not to be looked at earlier
);
CREATE UNIQUE INDEX unrouted_order ON ff_engine.unrouted (queue_id, rank, created_at, execution_id);
