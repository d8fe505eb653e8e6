-- Budgets: what may be used, and what has been.
--
-- A budget's own row is written by definition changes, resets and the first breach of a period; what reports write is
-- in rows of their own. Counters of an earlier period count as nothing, so a reset writes one row and waits for nobody.
CREATE TABLE ff_engine.budget (
    budget_id        uuid        PRIMARY KEY,
    partition_key    smallint    NOT NULL,
    scope_type       text        NOT NULL,
    scope_id         text        NOT NULL,
    enforcement_mode text        NOT NULL CHECK (enforcement_mode IN ('strict', 'warn')),
    on_hard_limit    text        NOT NULL CHECK (on_hard_limit IN ('block', 'fail', 'suspend', 'cancel')),
    on_soft_limit    text        NOT NULL CHECK (on_soft_limit IN ('warn', 'none')),
    hard_limits      jsonb       NOT NULL,  -- dimension → limit above 0
    soft_limits      jsonb       NOT NULL,
    stripes          int         NOT NULL CHECK (stripes BETWEEN 1 AND 64),
    reset_months     int,                   -- of a period, and microseconds after them; NULL without periods
    reset_us         bigint,
    reset_anchor     timestamptz NOT NULL,
    next_reset_at    timestamptz,
    last_reset_at    timestamptz,
    reset_count      bigint      NOT NULL DEFAULT 0,
    period           bigint      NOT NULL DEFAULT 1,
    detached         boolean     NOT NULL DEFAULT false,  -- something may wait for it that it no longer concerns
    breached_at      timestamptz,
    soft_breached_at timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX budget_due ON ff_engine.budget (next_reset_at);
CREATE INDEX budget_breached ON ff_engine.budget (breached_at);

-- One counter per budget, dimension and stripe. `allotted` is set where a hard limit is spread over stripes: the part
-- of the limit that this row may use without asking. What belongs to an earlier period is zero, but for the counts.
CREATE TABLE ff_engine.budget_usage (
    budget_id         uuid        NOT NULL,
    dimension         text        COLLATE "C" NOT NULL,
    stripe            int         NOT NULL,
    period            bigint      NOT NULL,
    used              bigint      NOT NULL CHECK (used >= 0),
    allotted          bigint      CHECK (used <= allotted),
    breach_count      bigint      NOT NULL DEFAULT 0,
    soft_breach_count bigint      NOT NULL DEFAULT 0,
    last_breach_at    timestamptz,
    PRIMARY KEY (budget_id, dimension, stripe)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05);

-- What no stripe has been given of a spread hard limit: the sum of all `allotted` and this is the limit and the credit.
-- `credit` is usage that was taken back without touching the stripes that had counted it.
CREATE TABLE ff_engine.budget_pool (
    budget_id  uuid   NOT NULL,
    dimension  text   COLLATE "C" NOT NULL,
    period     bigint NOT NULL,
    unallotted bigint NOT NULL,
    credit     bigint NOT NULL CHECK (credit >= 0),
    PRIMARY KEY (budget_id, dimension)
) WITH (fillfactor = 50);

-- Spend by the execution that caused it, so that it can be taken back.
CREATE TABLE ff_engine.budget_ledger (
    budget_id    uuid   NOT NULL,
    execution_id uuid   NOT NULL,
    dimension    text   COLLATE "C" NOT NULL,
    period       bigint NOT NULL,
    amount       bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (budget_id, execution_id, dimension)
);
CREATE INDEX budget_ledger_execution ON ff_engine.budget_ledger (execution_id);

-- Keys of reports that were applied.
CREATE TABLE ff_engine.budget_dedup (
    budget_id  uuid        NOT NULL,
    key        text        COLLATE "C" NOT NULL,
    applied_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (budget_id, key)
);
CREATE INDEX budget_dedup_expiry ON ff_engine.budget_dedup (expires_at);

-- What a budget ('b') or a quota policy ('q') applies to.
CREATE TABLE ff_engine.attachment (
    target_type text        NOT NULL CHECK (target_type IN ('execution', 'flow', 'lane', 'namespace', 'global')),
    target_id   text        COLLATE "C" NOT NULL,
    kind        "char"      NOT NULL,
    policy_id   uuid        NOT NULL,
    attached_at timestamptz NOT NULL,
    PRIMARY KEY (target_type, target_id, kind, policy_id)
);
CREATE INDEX attachment_policy ON ff_engine.attachment (policy_id);

-- Executions that a budget or a quota holds back, by the policy that denied (all zeros: a caller blocked it), in claim
-- order: what the engine looks at again by itself. Derived from the execution, as `ready` is.
CREATE TABLE ff_engine.denied (
    policy_id    uuid        NOT NULL,
    rank         smallint    NOT NULL,
    created_at   timestamptz NOT NULL,
    execution_id uuid        NOT NULL,
    recheck_at   timestamptz,            -- not to be looked at earlier
    offered      boolean     NOT NULL    -- it was let go, and takes room until it is claimed, at most until recheck_at
);
CREATE UNIQUE INDEX denied_order ON ff_engine.denied (policy_id, rank, created_at, execution_id);

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a dimension of a budget has used in a period.
CREATE FUNCTION ff_engine.budget_used(budget uuid, dimension text, period bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT least(greatest(
               coalesce((SELECT sum(u.used) FROM ff_engine.budget_usage AS u
                          WHERE u.budget_id = budget_used.budget AND u.dimension = budget_used.dimension
                            AND u.period = budget_used.period), 0)
             - coalesce((SELECT p.credit FROM ff_engine.budget_pool AS p
                          WHERE p.budget_id = budget_used.budget AND p.dimension = budget_used.dimension
                            AND p.period = budget_used.period), 0), 0), 9223372036854775807)::bigint;
END;

SET LOCAL search_path = @extschema@, pg_temp;
