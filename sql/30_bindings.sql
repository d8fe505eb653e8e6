-- What roles that are bound to namespaces may see (§70.5): ff_engine.admits() is the condition of every view and read.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sessions read the table once. Whoever writes it, a restored dump too, makes them read it again.
CREATE TRIGGER rebound AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ff_engine.namespace_role
    FOR EACH STATEMENT EXECUTE FUNCTION ff_engine.rebound();

SET LOCAL search_path = @extschema@, pg_temp;
