-- Layout C: append-only. Ready and lease rows exist only while they hold; the outcome is appended, and the
-- deletion of the lease is the fence.
CREATE SCHEMA c;

CREATE TABLE c.execution (
    execution_id uuid PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    place        bigint      NOT NULL,
    lane_id      int         NOT NULL,
    priority     smallint    NOT NULL,
    kind         text        NOT NULL,
    creator      text        NOT NULL,
    payload      bytea,
    policy       jsonb
);
CREATE TABLE c.ready (
    lane_id      int    NOT NULL,
    place        bigint NOT NULL,
    execution_id uuid   NOT NULL,
    attempts     int    NOT NULL,
    lease_epoch  bigint NOT NULL
);
CREATE UNIQUE INDEX ready_order ON c.ready (lane_id, place);
CREATE TABLE c.lease (
    execution_id uuid PRIMARY KEY,
    lease_id     uuid        NOT NULL,
    lease_epoch  bigint      NOT NULL,
    claimer_id   int         NOT NULL,
    attempts     int         NOT NULL,
    acquired_at  timestamptz NOT NULL,
    renewed_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX lease_expiry ON c.lease (expires_at);
CREATE TABLE c.outcome (
    execution_id uuid        NOT NULL,
    attempt      int         NOT NULL,
    lease_id     uuid        NOT NULL,
    lease_epoch  bigint      NOT NULL,
    claimer_id   int         NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    purge_at     timestamptz,
    state        int         NOT NULL,
    result       bytea,
    PRIMARY KEY (execution_id, attempt)
);
CREATE INDEX outcome_purge ON c.outcome (purge_at) WHERE purge_at IS NOT NULL;

CREATE FUNCTION c.make(n int, bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH new AS (
        INSERT INTO c.execution (execution_id, created_at, place, lane_id, priority, kind, creator, payload)
        SELECT gen_random_uuid(), clock_timestamp(), nextval('common.place'), 1, 0, 'mail', 'postgres', convert_to(repeat('x', bytes), 'UTF8')
          FROM generate_series(1, n)
        RETURNING execution_id, place)
    INSERT INTO c.ready (lane_id, place, execution_id, attempts, lease_epoch) SELECT 1, place, execution_id, 0, 0 FROM new;
END $$;

CREATE FUNCTION c.claim(worker int) RETURNS common.lease LANGUAGE plpgsql AS $$
DECLARE
    taken record;
    given common.lease;
    instant timestamptz;
BEGIN
    SELECT r.execution_id, r.place, r.attempts, r.lease_epoch, e.payload INTO taken
      FROM c.ready AS r JOIN c.execution AS e ON e.execution_id = r.execution_id
     WHERE r.lane_id = 1 AND r.place >= common.mark()
     ORDER BY r.place LIMIT 1 FOR UPDATE OF r SKIP LOCKED;
    IF taken.execution_id IS NULL THEN RETURN NULL; END IF;
    DELETE FROM c.ready AS r WHERE r.lane_id = 1 AND r.place = taken.place;
    instant := clock_timestamp();
    given := (taken.execution_id, gen_random_uuid(), taken.lease_epoch + 1, taken.payload)::common.lease;
    INSERT INTO c.lease (execution_id, lease_id, lease_epoch, claimer_id, attempts, acquired_at, renewed_at, expires_at)
    VALUES (given.execution_id, given.lease_id, given.lease_epoch, worker, taken.attempts + 1, instant, instant, instant + interval '30 s');
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, claimer_id, code)
    VALUES (given.execution_id, given.lease_id, given.lease_epoch, 1, worker, 1);
    PERFORM common.remember(taken.place);
    RETURN given;
END $$;

CREATE FUNCTION c.renew(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    UPDATE c.lease AS l SET renewed_at = instant, expires_at = instant + interval '30 s'
     WHERE l.execution_id = id AND l.lease_id = lease AND l.lease_epoch = epoch;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 2);
END $$;

CREATE FUNCTION c.complete(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ended record;
    instant timestamptz := clock_timestamp();
BEGIN
    DELETE FROM c.lease AS l WHERE l.execution_id = id AND l.lease_id = lease AND l.lease_epoch = epoch
    RETURNING l.attempts, l.claimer_id, l.acquired_at INTO ended;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO c.outcome (execution_id, attempt, lease_id, lease_epoch, claimer_id, started_at, ended_at, purge_at, state, result)
    VALUES (id, ended.attempts, lease, epoch, ended.claimer_id, ended.acquired_at, instant, instant + interval '7 days', 2, 'done');
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 3);
END $$;
