-- Layout B: immutable input, narrow state row that is updated in place (HOT), ready queue, timers as lower bounds.
CREATE SCHEMA b;

CREATE TABLE b.input (
    execution_id uuid PRIMARY KEY,
    payload      bytea,
    policy       jsonb
);
CREATE TABLE b.execution (
    execution_id uuid PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    place        bigint      NOT NULL,
    lane_id      int         NOT NULL,
    priority     smallint    NOT NULL,
    state        int         NOT NULL,
    attempts     int         NOT NULL,
    changed_at   timestamptz NOT NULL,
    lease_epoch  bigint      NOT NULL,
    claimer_id   int,
    lease_id     uuid,
    acquired_at  timestamptz,
    renewed_at   timestamptz,
    expires_at   timestamptz,
    started_at   timestamptz,
    completed_at timestamptz,
    kind         text        NOT NULL,
    creator      text        NOT NULL,
    result       bytea
) WITH (fillfactor = 40);
CREATE TABLE b.ready (lane_id int NOT NULL, place bigint NOT NULL, execution_id uuid NOT NULL);
CREATE UNIQUE INDEX ready_order ON b.ready (lane_id, place);
CREATE TABLE b.timer (due_at timestamptz NOT NULL, execution_id uuid NOT NULL);
CREATE INDEX timer_due ON b.timer (due_at, execution_id);

CREATE FUNCTION b.make(n int, bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH new AS (
        INSERT INTO b.execution (execution_id, created_at, place, lane_id, priority, state, attempts, changed_at, lease_epoch, kind, creator)
        SELECT gen_random_uuid(), clock_timestamp(), nextval('common.place'), 1, 0, 0, 0, clock_timestamp(), 0, 'mail', 'postgres'
          FROM generate_series(1, n)
        RETURNING execution_id, place),
    input AS (
        INSERT INTO b.input (execution_id, payload) SELECT execution_id, convert_to(repeat('x', bytes), 'UTF8') FROM new)
    INSERT INTO b.ready (lane_id, place, execution_id) SELECT 1, place, execution_id FROM new;
END $$;

CREATE FUNCTION b.claim(worker int) RETURNS common.lease LANGUAGE plpgsql AS $$
DECLARE
    found_id uuid;
    found_place bigint;
    given common.lease;
    input bytea;
    instant timestamptz;
BEGIN
    SELECT e.execution_id, r.place, i.payload INTO found_id, found_place, input
      FROM b.ready AS r
      JOIN b.execution AS e ON e.execution_id = r.execution_id
      LEFT JOIN b.input AS i ON i.execution_id = r.execution_id
     WHERE r.lane_id = 1 AND r.place >= common.mark() AND e.state = 0
     ORDER BY r.place LIMIT 1 FOR UPDATE OF e SKIP LOCKED;
    IF found_id IS NULL THEN RETURN NULL; END IF;
    instant := clock_timestamp();
    UPDATE b.execution AS e
       SET state = 1, attempts = e.attempts + 1, changed_at = instant, lease_epoch = e.lease_epoch + 1, claimer_id = worker,
           lease_id = gen_random_uuid(), acquired_at = instant, renewed_at = instant, started_at = instant,
           expires_at = instant + interval '30 s'
     WHERE e.execution_id = found_id
    RETURNING e.execution_id, e.lease_id, e.lease_epoch, input INTO given;
    DELETE FROM b.ready AS r WHERE r.lane_id = 1 AND r.place = found_place;
    INSERT INTO b.timer (due_at, execution_id) VALUES (instant + interval '30 s', found_id);
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, claimer_id, code)
    VALUES (given.execution_id, given.lease_id, given.lease_epoch, 1, worker, 1);
    PERFORM common.remember(found_place);
    RETURN given;
END $$;

CREATE FUNCTION b.renew(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    UPDATE b.execution AS e SET renewed_at = instant, expires_at = instant + interval '30 s'
     WHERE e.execution_id = id AND e.state = 1 AND e.lease_id = lease AND e.lease_epoch = epoch;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 2);
END $$;

CREATE FUNCTION b.complete(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    UPDATE b.execution AS e SET state = 2, changed_at = instant, completed_at = instant, result = 'done'
     WHERE e.execution_id = id AND e.state = 1 AND e.lease_id = lease AND e.lease_epoch = epoch;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 3);
END $$;
