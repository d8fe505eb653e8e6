//! `ff_engine.namespace_role`: which roles are bound to which namespaces (§70.5), and what that leaves to see.
//!
//! A role that is bound to none sees all, and pays nothing here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys::BuiltinOid::*;
use pgrx::pg_sys::Oid;
use uuid::Uuid;

use crate::pg::array;
use crate::pg::cache::Cache;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::{binding, session};

const SCHEMA: &CStr = c"ff_engine";
const TABLE: &CStr = c"namespace_role";

static VISIBLE: Stmt<2> = Stmt::new(
    c"SELECT e.execution_id FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1) AND e.namespace_id = ANY ($2)",
    [UUIDARRAYOID, INT4ARRAYOID],
);

static NAME: Stmt<1> = Stmt::new(
    c"SELECT n.name FROM ff_engine.namespace AS n WHERE n.namespace_id = $1",
    [INT4OID],
);

/// What is bound to roles that are gone is nobody's; a later role may get the number.
static FORGET: Stmt<0> = Stmt::new(
    c"DELETE FROM ff_engine.namespace_role AS b WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = b.role)",
    [],
);

static BIND: Stmt<2> = Stmt::new(
    c"INSERT INTO ff_engine.namespace_role (role, namespace_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [OIDOID, INT4OID],
);

static UNBIND: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.namespace_role AS b WHERE b.role = $1 AND b.namespace_id = $2",
    [OIDOID, INT4OID],
);

static BOUND: Stmt<1> = Stmt::new(
    c"SELECT FROM ff_engine.namespace_role AS b WHERE b.role = $1 LIMIT 1",
    [OIDOID],
);

thread_local! {
    static NAMES: Cache<i32, Option<String>> = const { Cache::new() };
}

/// The namespaces that the calling roles are bound to; `None` if they see all.
pub fn mine() -> Option<Rc<BTreeSet<i32>>> {
    binding::numbers(SCHEMA, TABLE)
}

/// Whether the calling roles may see a namespace.
pub fn admits(namespace: i32) -> bool {
    mine().is_none_or(|mine| mine.contains(&namespace))
}

/// Those of the executions that the calling roles may see. An execution never changes its namespace, so this needs
/// no lock, and leaves the others untouched.
pub fn visible<'a>(db: &Db, ids: &'a [Uuid]) -> Cow<'a, [Uuid]> {
    match mine() {
        None => Cow::Borrowed(ids),
        Some(mine) => {
            let args = [array::uuids(ids.iter().copied()), numbers(&mine)];
            Cow::Owned(VISIBLE.run(db, args).iter().map(|r| r.get(1)).collect())
        }
    }
}

/// The numbers to keep to, as an argument: NULL for all.
pub fn only() -> Arg {
    mine().map_or(Arg::NULL, |mine| numbers(&mine))
}

/// The numbers that a caller restricts itself to, else those to keep to, as an argument.
pub fn among(namespaces: Option<&[i32]>) -> Arg {
    namespaces.map_or_else(only, |some| array::ints(some.iter().copied()))
}

fn numbers(namespaces: &BTreeSet<i32>) -> Arg {
    array::ints(namespaces.iter().copied())
}

/// The names to keep to; `None` for all.
pub fn names(db: &Db) -> Option<Vec<String>> {
    let mine = mine()?;
    let table = session::table(SCHEMA, c"namespace");
    let name = |id: &i32| {
        let read = || NAME.run(db, [(*id).into()]).first().map(|r| r.get(1));
        NAMES.with(|known| known.get_or(table, id, read))
    };
    Some(mine.iter().filter_map(name).collect())
}

/// Tells every backend that a row of the table has changed.
pub fn changed() {
    binding::changed(session::table(SCHEMA, TABLE));
}

/// Binds a role; whether it was not bound to this namespace yet.
pub fn bind(db: &Db, role: Oid, namespace: i32) -> bool {
    FORGET.run(db, []);
    !BIND.run(db, [role.into(), namespace.into()]).is_empty()
}

/// Unbinds a role; whether it was bound to this namespace.
pub fn unbind(db: &Db, role: Oid, namespace: i32) -> bool {
    FORGET.run(db, []);
    !UNBIND.run(db, [role.into(), namespace.into()]).is_empty()
}

/// Whether a role itself is bound to any namespace.
pub fn is_bound(db: &Db, role: Oid) -> bool {
    !BOUND.run(db, [role.into()]).is_empty()
}
