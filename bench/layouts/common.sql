-- What the candidate layouts share: the event log, places in claim order, the clock of a lease.
CREATE SCHEMA common;

CREATE SEQUENCE common.place CACHE 100;

CREATE TABLE common.event (
    event_id     bigint GENERATED ALWAYS AS IDENTITY,
    txid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id uuid        NOT NULL,
    lease_id     uuid,
    lease_epoch  bigint,
    lane_id      int         NOT NULL,
    claimer_id   int,
    code         smallint    NOT NULL,
    details      jsonb
);
CREATE INDEX event_window ON common.event (txid, event_id);
CREATE INDEX event_execution ON common.event (execution_id, event_id);

-- What a claim hands out.
CREATE TYPE common.lease AS (execution_id uuid, lease_id uuid, lease_epoch bigint, payload bytea);

-- Where the next claim of this session starts: 200 places before its last one, or at the head.
CREATE FUNCTION common.mark() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('layouts.mark', true), '')::bigint, 0);
END $$;

CREATE FUNCTION common.remember(place bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('layouts.remember', true) = 'on' THEN
        PERFORM set_config('layouts.mark', (place - 200)::text, false);
    END IF;
END $$;
