-- Every public function and procedure: arguments, result, and how it is declared.
\pset format unaligned
\pset tuples_only on
SELECT format(E'%s %s(%s)%s\n    %s%s%s', CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, p.proname,
              pg_get_function_arguments(p.oid), E'\n    returns ' || pg_get_function_result(p.oid),
              CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
              CASE WHEN p.prosecdef THEN ', security definer' END, ', set ' || array_to_string(p.proconfig, ', '))
  FROM pg_proc AS p
  JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
 WHERE p.pronamespace = 'public'::regnamespace
 ORDER BY p.proname COLLATE "C";
