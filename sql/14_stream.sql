-- Output streams of attempts. What survives a crash and what does not stand apart: a best-effort frame is to cost no WAL.
--
-- Appenders of one stream follow each other, by a lock of their own (src/pg/lock.rs). Whoever ends an attempt takes no
-- part in that: it writes stream_end, and appenders write the rest.

-- One row per stream with frames; none for an attempt that nothing was appended to.
CREATE TABLE ff_engine.stream (
    execution_id   uuid    NOT NULL,
    attempt_index  int     NOT NULL,
    last_seq       int     NOT NULL,  -- with last_ms: id of the latest frame that is not best-effort
    last_ms        bigint  NOT NULL,
    frames         bigint  NOT NULL,  -- ever appended, best-effort ones apart
    bytes          bigint  NOT NULL,
    durable_last   bigint  NOT NULL,  -- ordinals within the mode, from 1: the latest,
    durable_floor  bigint  NOT NULL,  -- the oldest that belongs to the stream,
    durable_stored bigint  NOT NULL,  -- and the oldest that may still be stored
    summary_last   bigint  NOT NULL,
    summary_floor  bigint  NOT NULL,
    summary_stored bigint  NOT NULL,
    last_at        timestamptz,
    maxlen         int,               -- durable frames to keep, by the policy
    ttl_ms         bigint,            -- life of the stream after its end, by the policy
    live           boolean NOT NULL,  -- there have been best-effort frames
    PRIMARY KEY (execution_id, attempt_index)
) WITH (fillfactor = 50);

-- What is counted of best-effort frames, as far back as the latest crash.
CREATE UNLOGGED TABLE ff_engine.stream_live (
    execution_id  uuid        NOT NULL,
    attempt_index int         NOT NULL,
    last_seq      int         NOT NULL,
    last_ms       bigint      NOT NULL,
    frames        bigint      NOT NULL,
    bytes         bigint      NOT NULL,
    kept_last     bigint      NOT NULL,
    kept_floor    bigint      NOT NULL,
    kept_stored   bigint      NOT NULL,
    rate          float8      NOT NULL,
    maxlen        int         NOT NULL,
    rated_at_ms   bigint      NOT NULL,
    last_at       timestamptz NOT NULL,
    PRIMARY KEY (execution_id, attempt_index)
) WITH (fillfactor = 50);

-- Durable frames and patches.
CREATE TABLE ff_engine.frame (
    execution_id   uuid        NOT NULL,
    attempt_index  int         NOT NULL,
    seq            int         NOT NULL,
    ms             bigint      NOT NULL,
    ordinal        bigint      NOT NULL,
    appended_at    timestamptz NOT NULL,
    mode           "char"      NOT NULL,
    frame_type     text        NOT NULL,
    encoding       text        NOT NULL,
    source         text        NOT NULL,
    correlation_id text,
    payload        bytea       NOT NULL,
    PRIMARY KEY (execution_id, attempt_index, ms, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX frame_ordinal ON ff_engine.frame (execution_id, attempt_index, mode, ordinal);

-- Best-effort frames.
CREATE UNLOGGED TABLE ff_engine.frame_live (
    execution_id   uuid        NOT NULL,
    attempt_index  int         NOT NULL,
    seq            int         NOT NULL,
    ms             bigint      NOT NULL,
    ordinal        bigint      NOT NULL,
    appended_at    timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    frame_type     text        NOT NULL,
    encoding       text        NOT NULL,
    source         text        NOT NULL,
    correlation_id text,
    payload        bytea       NOT NULL,
    PRIMARY KEY (execution_id, attempt_index, ms, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX frame_live_ordinal ON ff_engine.frame_live (execution_id, attempt_index, ordinal);

-- The document that the patches of a stream have made.
CREATE TABLE ff_engine.stream_summary (
    execution_id     uuid        NOT NULL,
    attempt_index    int         NOT NULL,
    document         jsonb       NOT NULL,
    version          bigint      NOT NULL,
    first_applied_at timestamptz NOT NULL,
    last_updated_at  timestamptz NOT NULL,
    PRIMARY KEY (execution_id, attempt_index)
) WITH (fillfactor = 70);

-- Streams as their ends found them. What was appended and not committed then lies behind final_ms, final_seq, and does
-- not belong to the stream; nor does any frame of an attempt that has ended without a row here.
CREATE TABLE ff_engine.stream_end (
    execution_id  uuid   NOT NULL,
    attempt_index int    NOT NULL,
    final_seq     int    NOT NULL,
    final_ms      bigint NOT NULL,
    frames        bigint NOT NULL,
    bytes         bigint NOT NULL,
    durable_last  bigint NOT NULL,
    summary_last  bigint NOT NULL,
    last_at       timestamptz,
    PRIMARY KEY (execution_id, attempt_index)
);

-- Where to look for what nobody needs any more. A stream that may have something has an entry no later than that; an
-- entry too many costs a look.
CREATE TABLE ff_engine.stream_watch (
    due_at        timestamptz NOT NULL,
    execution_id  uuid        NOT NULL,
    attempt_index int         NOT NULL
);
CREATE INDEX stream_watch_due ON ff_engine.stream_watch (due_at, execution_id, attempt_index);
