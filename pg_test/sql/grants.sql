-- Nothing is granted to anybody by itself: no function, no table, no view, no schema.
CREATE ROLE ff_regress_nobody;

SELECT p.oid::regprocedure AS executable
  FROM pg_proc AS p
  JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension AS x ON x.oid = d.refobjid AND x.extname = 'ff_engine'
 WHERE has_function_privilege('ff_regress_nobody', p.oid, 'EXECUTE');

SELECT c.oid::regclass AS accessible
  FROM pg_class AS c
  JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension AS x ON x.oid = d.refobjid AND x.extname = 'ff_engine'
 WHERE c.relkind IN ('r', 'p', 'v', 'm')
   AND has_table_privilege('ff_regress_nobody', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');

SELECT c.oid::regclass AS accessible
  FROM pg_class AS c
  JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension AS x ON x.oid = d.refobjid AND x.extname = 'ff_engine'
 WHERE CASE c.relkind WHEN 'S' THEN has_sequence_privilege('ff_regress_nobody', c.oid, 'USAGE, SELECT, UPDATE') END;

SELECT has_schema_privilege('ff_regress_nobody', 'ff_engine', 'USAGE') AS may_enter;

-- A single right is enough for a single function: it runs with its owner's rights.
GRANT EXECUTE ON FUNCTION ff_ping() TO ff_regress_nobody;
SET ROLE ff_regress_nobody;
SELECT ff_ping();
SELECT * FROM ff_claim('lane', 'worker');
SELECT * FROM ff_executions;
SELECT * FROM ff_engine.execution;
RESET ROLE;

DROP OWNED BY ff_regress_nobody;
DROP ROLE ff_regress_nobody;
