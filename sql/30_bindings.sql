-- What roles that are bound to namespaces may see (§70.5): ff_engine.admits() is the condition of every view and read.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sessions read the table once. Whoever writes it, a restored dump too, makes them read it again.
CREATE TRIGGER rebound AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ff_engine.namespace_role
    FOR EACH STATEMENT EXECUTE FUNCTION ff_engine.rebound();

-- Lanes belong to no namespace. A bound role sees those in which one of its namespaces has ever had an execution.
CREATE FUNCTION ff_engine.admits_lane(lane_id int) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN ff_engine.admits(NULL) THEN true
                ELSE EXISTS (SELECT FROM ff_engine.queue AS q
                              WHERE q.lane_id = admits_lane.lane_id AND ff_engine.admits(q.namespace_id)) END;
END;

SET LOCAL search_path = @extschema@, pg_temp;
