-- Run as the attacker, whose name stands for @attacker@: objects with the names the engine uses.
CREATE SCHEMA evil;

-- Tells the client when it is run by anybody but the attacker.
CREATE FUNCTION evil.sprung(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF current_user <> '@attacker@' THEN
        RAISE WARNING 'planted % runs as %', what, current_user;
    END IF;
END $$;

-- The plain functions of the server under their own names and argument types.
DO $do$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS result
          FROM pg_catalog.pg_proc AS p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.pronargs <= 4
           AND p.provariadic = 0 AND p.proargmodes IS NULL AND p.prorettype NOT IN ('record'::regtype)
           AND (SELECT bool_and(t.typtype <> 'p') FROM unnest(array_append(p.proargtypes::oid[], p.prorettype)) AS u (id)
                  JOIN pg_catalog.pg_type AS t ON t.oid = u.id)
           AND p.proname ~ '^(now|clock_timestamp|statement_timestamp|transaction_timestamp|date_part|extract|format|lower|upper|length|octet_length|left|right|substring|btrim|quote_ident|quote_literal|coalesce|md5|hashtext|nextval|current_setting|set_config|pg_backend_pid|pg_notify|pg_advisory.*|jsonb_.*|json_.*|to_jsonb|array_.*|int4.*|int8.*|int2.*|text.*|uuid.*|timestamptz.*|interval.*|bool.*|bytea.*|has_.*_privilege|pg_current_xact_id.*|row_number|count|min|max|sum|unnest|gen_random_uuid|pg_stat_.*|pg_terminate_backend|starts_with|regexp_.*|obj_description|xid.*|current_database|version)$'
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
                       format('BEGIN PERFORM evil.sprung(%L); RETURN NULL; END', f.proname));
    END LOOP;
END $do$;

-- One that the server has with any arguments, here with those that fit better.
CREATE FUNCTION evil.jsonb_build_object(VARIADIC text[]) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.sprung('jsonb_build_object'); RETURN '{}'; END $$;
CREATE FUNCTION evil.jsonb_build_object(text, uuid) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.sprung('jsonb_build_object'); RETURN '{}'; END $$;
CREATE FUNCTION evil.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.sprung('unnest'); END $$;

-- The operators of the types the engine stores.
DO $do$
DECLARE
    o record;
BEGIN
    FOR o IN
        SELECT x.oprname, x.oprleft::regtype AS l, x.oprright::regtype AS r, x.oprresult::regtype AS result
          FROM pg_catalog.pg_operator AS x
         WHERE x.oprnamespace = 'pg_catalog'::regnamespace AND x.oprkind = 'b'
           AND x.oprleft = ANY ('{text,uuid,int2,int4,int8,jsonb,timestamptz,interval,bool,bytea,xid8,name,oid}'::regtype[])
           AND x.oprright = ANY ('{text,uuid,int2,int4,int8,jsonb,timestamptz,interval,bool,bytea,xid8,name,oid,text[]}'::regtype[])
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                       pg_catalog.md5(o.oprname), o.l, o.r, o.result,
                       format('BEGIN PERFORM evil.sprung(%L); RETURN NULL; END', 'operator ' || o.oprname));
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)',
                       o.oprname, o.l, o.r, pg_catalog.md5(o.oprname));
    END LOOP;
END $do$;

-- Operators that fit better than the server's, which take a type of the caller's own or of another width.
CREATE DOMAIN evil.text AS pg_catalog.text;
CREATE FUNCTION evil.same(pg_catalog.text, varchar) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.sprung('operator = of varchar'); RETURN true; END $$;
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.text, RIGHTARG = varchar, FUNCTION = evil.same);

-- Tables and views with the names of the engine's and of the catalog's.
DO $do$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY '{execution,execution_row,execution_input,attempt,ready,timer,event,lane,namespace,queue,claimer,idempotency,installation,namespace_role,worker,ff_executions,ff_attempts,ff_leases,ff_lanes,ff_workers,pg_class,pg_proc,pg_extension,pg_depend,pg_namespace,pg_roles,pg_database,pg_settings}'::text[]
    LOOP
        EXECUTE format('CREATE TABLE evil.%I (planted int)', t);
        EXECUTE format('CREATE TEMP TABLE %I (planted int)', t);
    END LOOP;
END $do$;
CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN PERFORM evil.sprung('pg_temp.now'); RETURN NULL; END $$;
