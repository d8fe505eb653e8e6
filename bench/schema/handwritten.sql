-- R1: what an engineer writes on a Friday afternoon. No attempts, leases, fencing, events or retries.
CREATE TABLE job (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane     text        NOT NULL,
    priority int         NOT NULL DEFAULT 0,
    state    text        NOT NULL DEFAULT 'ready',
    payload  bytea,
    run_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_ready ON job (lane, priority DESC, id) WHERE state = 'ready';
