-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- A dump of the database holds the engine's rows: every table and every sequence of the schema, those behind
-- identity columns too. A table made later is covered without a line of its own. The counts stay behind, as
-- 31_tally.sql says, and so does what a crash would lose. Signing keys are left out: they are installed again after
-- a restore, so that no dump gives them away.
DO $$
DECLARE
    storage regclass;
BEGIN
    FOR storage IN
        SELECT c.oid FROM pg_class AS c
         WHERE c.relnamespace = 'ff_engine'::regnamespace AND c.relkind IN ('r', 'S') AND c.relpersistence = 'p'
           AND c.relname NOT IN ('tally', 'tally_position', 'moved', 'waitpoint_secret')
         ORDER BY c.relname
    LOOP
        PERFORM pg_extension_config_dump(storage, '');
    END LOOP;
END;
$$;

SET LOCAL search_path = @extschema@, pg_temp;
