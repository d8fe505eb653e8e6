//! Roles and the namespaces they are bound to (§70.5).

use pgrx::prelude::*;

use crate::ops::role::{create, namespace};
use crate::pg::srf::TableIterator;
use crate::store;

use super::{entry, required};

/// Creates the roles of the engine and grants them their functions.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_create_roles()
-> TableIterator<'static, (name!(role, &'static str), name!(outcome, &'static str))> {
    TableIterator::new(entry(create::create))
}

/// Binds a role to a namespace.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_grant_namespace(role: Option<String>, namespace: Option<String>) -> &'static str {
    entry(|db| {
        let role = required(role, "role")?;
        namespace::grant(db, &role, &required(namespace, "namespace")?)
    })
}

/// Takes a namespace from a role.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_revoke_namespace(role: Option<String>, namespace: Option<String>) -> &'static str {
    entry(|db| {
        let role = required(role, "role")?;
        namespace::revoke(db, &role, &required(namespace, "namespace")?)
    })
}

#[pg_schema]
mod ff_engine {
    use super::*;

    /// Whether the calling roles may see a namespace: the condition in every view and read.
    #[pg_extern(stable, parallel_safe)]
    fn admits(namespace_id: Option<i32>) -> bool {
        match namespace_id {
            Some(id) => store::binding::admits(id),
            None => store::binding::mine().is_none(),
        }
    }

    /// Tells every session that roles have been bound or unbound, whoever has written the table.
    #[pg_extern(
        sql = "CREATE FUNCTION ff_engine.rebound() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
    )]
    fn rebound() {
        store::binding::changed();
    }
}
