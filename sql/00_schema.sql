-- The schema of the engine. Nothing in it is granted to anybody: clients call functions.
CREATE SCHEMA ff_engine;
REVOKE ALL ON SCHEMA ff_engine FROM PUBLIC;
COMMENT ON SCHEMA ff_engine IS 'storage of the ff_engine extension';

-- The engine reaches its tables without the executor and knows how a heap keeps versions of rows (src/pg/table/).
SET LOCAL default_table_access_method = heap;

-- One row, drawn on first use and part of every dump: handles and cursors name their installation by it.
CREATE TABLE ff_engine.installation (
    singleton       boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    installation_id bytea       NOT NULL CHECK (octet_length(installation_id) = 4),
    installed_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Names that executions carry as small integers. Lanes and namespaces are unique;
-- the others may hold a content twice, because two sessions meeting it first must not wait for each other.
CREATE TABLE ff_engine.lane (
    lane_id       int         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text        COLLATE "C" NOT NULL UNIQUE,
    state         text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'draining', 'disabled')),
    reason        text,
    registered_at timestamptz NOT NULL,
    registered_by text        NOT NULL,
    retention_ms  bigint
);

CREATE TABLE ff_engine.namespace (
    namespace_id int  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE
);

-- Roles that see and act on some namespaces only; one without a row here sees all. The second column may not move:
-- pg/binding.rs reads the first two by their place.
CREATE TABLE ff_engine.namespace_role (
    role         regrole NOT NULL,
    namespace_id int     NOT NULL,
    PRIMARY KEY (role, namespace_id)
);

-- A queue is what a claim reads in order: one lane, one namespace, one set of required capabilities.
CREATE TABLE ff_engine.queue (
    queue_id     int    GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane_id      int    NOT NULL,
    namespace_id int    NOT NULL,
    required     text[] NOT NULL
);
CREATE INDEX queue_lane ON ff_engine.queue (lane_id, namespace_id);

-- Who claims: worker, instance, capabilities and the namespace filter of its claims.
CREATE TABLE ff_engine.claimer (
    claimer_id       int    GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint      uuid   NOT NULL,
    worker           text   NOT NULL,
    worker_instance  text   NOT NULL,
    capabilities     text[] NOT NULL,
    namespace_filter text
);
CREATE INDEX claimer_fingerprint ON ff_engine.claimer (fingerprint);
CREATE INDEX claimer_instance ON ff_engine.claimer (worker_instance);
