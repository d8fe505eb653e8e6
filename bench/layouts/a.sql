-- Layout A: one row per execution, found through partial indexes.
CREATE SCHEMA a;

CREATE TABLE a.execution (
    execution_id uuid PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    place        bigint      NOT NULL,
    lane_id      int         NOT NULL,
    priority     smallint    NOT NULL,
    state        int         NOT NULL,   -- 0 ready, 1 active, 2 done
    attempts     int         NOT NULL,
    changed_at   timestamptz NOT NULL,
    lease_epoch  bigint      NOT NULL,
    claimer_id   int,
    lease_id     uuid,
    acquired_at  timestamptz,
    renewed_at   timestamptz,
    expires_at   timestamptz,
    due_at       timestamptz,            -- end of the lease, then the purge
    started_at   timestamptz,
    completed_at timestamptz,
    kind         text        NOT NULL,
    creator      text        NOT NULL,
    payload      bytea,
    policy       jsonb,
    result       bytea
) WITH (fillfactor = 70);
CREATE INDEX execution_ready ON a.execution (lane_id, place) WHERE state = 0;
CREATE INDEX execution_due ON a.execution (due_at) WHERE due_at IS NOT NULL;

CREATE FUNCTION a.make(n int, bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO a.execution (execution_id, created_at, place, lane_id, priority, state, attempts, changed_at, lease_epoch, kind, creator, payload)
    SELECT gen_random_uuid(), clock_timestamp(), nextval('common.place'), 1, 0, 0, 0, clock_timestamp(), 0, 'mail', 'postgres', convert_to(repeat('x', bytes), 'UTF8')
      FROM generate_series(1, n);
END $$;

CREATE FUNCTION a.claim(worker int) RETURNS common.lease LANGUAGE plpgsql AS $$
DECLARE
    found_id uuid;
    found_place bigint;
    given common.lease;
    instant timestamptz;
BEGIN
    SELECT e.execution_id, e.place INTO found_id, found_place FROM a.execution AS e
     WHERE e.state = 0 AND e.lane_id = 1 AND e.place >= common.mark()
     ORDER BY e.place LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF found_id IS NULL THEN RETURN NULL; END IF;
    instant := clock_timestamp();
    UPDATE a.execution AS e
       SET state = 1, attempts = e.attempts + 1, changed_at = instant, lease_epoch = e.lease_epoch + 1, claimer_id = worker,
           lease_id = gen_random_uuid(), acquired_at = instant, renewed_at = instant, started_at = instant,
           expires_at = instant + interval '30 s', due_at = instant + interval '30 s'
     WHERE e.execution_id = found_id
    RETURNING e.execution_id, e.lease_id, e.lease_epoch, e.payload INTO given;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, claimer_id, code)
    VALUES (given.execution_id, given.lease_id, given.lease_epoch, 1, worker, 1);
    PERFORM common.remember(found_place);
    RETURN given;
END $$;

CREATE FUNCTION a.renew(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    UPDATE a.execution AS e
       SET renewed_at = instant, expires_at = instant + interval '30 s', due_at = instant + interval '30 s'
     WHERE e.execution_id = id AND e.state = 1 AND e.lease_id = lease AND e.lease_epoch = epoch;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 2);
END $$;

CREATE FUNCTION a.complete(id uuid, lease uuid, epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    UPDATE a.execution AS e
       SET state = 2, changed_at = instant, completed_at = instant, due_at = instant + interval '7 days', result = 'done'
     WHERE e.execution_id = id AND e.state = 1 AND e.lease_id = lease AND e.lease_epoch = epoch;
    IF NOT FOUND THEN RAISE 'stale lease'; END IF;
    INSERT INTO common.event (execution_id, lease_id, lease_epoch, lane_id, code) VALUES (id, lease, epoch, 1, 3);
END $$;
