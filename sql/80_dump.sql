-- A dump of the database holds the engine's rows: every table and every sequence of the schema, those behind
-- identity columns too. A table made later is covered without a line of its own.
DO $$
DECLARE
    storage regclass;
BEGIN
    FOR storage IN
        SELECT c.oid FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = 'ff_engine'::pg_catalog.regnamespace AND c.relkind IN ('r', 'S')
         ORDER BY c.relname
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(storage, '');
    END LOOP;
END;
$$;
