//! ff_engine: durable execution inside PostgreSQL.

::pgrx::pg_module_magic!();
