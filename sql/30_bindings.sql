-- What roles that are bound to namespaces may see (§70.5): ff_engine.admits() is the condition of every view and read.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sessions read the table once. Whoever writes it, a restored dump too, makes them read it again.
CREATE TRIGGER rebound AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ff_engine.namespace_role
    FOR EACH STATEMENT EXECUTE FUNCTION ff_engine.rebound();

-- As admits(), where only the execution's id is at hand.
CREATE FUNCTION ff_engine.admits_execution(id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN ff_engine.admits(NULL) THEN true
                ELSE (SELECT ff_engine.admits(e.namespace_id) FROM ff_engine.execution AS e
                       WHERE e.execution_id = admits_execution.id) END;
END;

SET LOCAL search_path = @extschema@, pg_temp;
