//! Roles of the cluster, and what they may do with the objects of the extension (§10.23).

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::array;
use crate::pg::session;
use crate::pg::spi::{Db, Stmt};

/// Roles belong to the whole cluster: one session at a time decides which are missing.
const ALONE: &str = "LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE";

static EXISTING: Stmt<1> = Stmt::new(
    c"SELECT r.rolname::text FROM pg_roles AS r WHERE r.rolname::text = ANY ($1)",
    [TEXTARRAYOID],
);

static MEMBERS: Stmt<1> = Stmt::new(
    c"SELECT g.rolname::text, m.rolname::text
        FROM pg_auth_members AS a
        JOIN pg_roles AS g ON g.oid = a.roleid
        JOIN pg_roles AS m ON m.oid = a.member
       WHERE g.rolname::text = ANY ($1) AND m.rolname::text = ANY ($1)",
    [TEXTARRAYOID],
);

static SCHEMA: Stmt<1> = Stmt::new(
    c"SELECT quote_ident(n.nspname), r.name
        FROM pg_extension AS x
        JOIN pg_namespace AS n ON n.oid = x.extnamespace
       CROSS JOIN unnest($1) AS r (name)
       WHERE x.extname = 'ff_engine' AND NOT has_schema_privilege(r.name, n.oid, 'USAGE')",
    [TEXTARRAYOID],
);

static ROUTINES: Stmt<1> = Stmt::new(
    c"SELECT p.oid::regprocedure::text, p.proname::text,
             ARRAY(SELECT r.rolname::text FROM aclexplode(p.proacl) AS a JOIN pg_roles AS r ON r.oid = a.grantee
                    WHERE a.privilege_type = 'EXECUTE' AND r.rolname::text = ANY ($1))
        FROM pg_extension AS x
        JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
                           AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        JOIN pg_proc AS p ON p.oid = d.objid AND p.pronamespace = x.extnamespace
       WHERE x.extname = 'ff_engine'
       ORDER BY 1",
    [TEXTARRAYOID],
);

/// A view's tables are read with its owner's rights, but its functions are called with those of the reader.
static VIEWS: Stmt<1> = Stmt::new(
    c"SELECT 'SELECT ON ' || v.oid::regclass::text
        FROM pg_extension AS x
        JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
                           AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
        JOIN pg_class AS v ON v.oid = d.objid AND v.relkind = 'v' AND v.relnamespace = x.extnamespace
       WHERE x.extname = 'ff_engine' AND NOT has_table_privilege($1, v.oid, 'SELECT')
      UNION
      SELECT 'EXECUTE ON ROUTINE ' || p.oid::regprocedure::text
        FROM pg_extension AS x
        JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
                           AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
        JOIN pg_rewrite AS w ON w.ev_class = d.objid
        JOIN pg_depend AS u ON u.classid = 'pg_rewrite'::regclass AND u.objid = w.oid AND u.refclassid = 'pg_proc'::regclass
        JOIN pg_proc AS p ON p.oid = u.refobjid AND NOT has_function_privilege($1, p.oid, 'EXECUTE')
       WHERE x.extname = 'ff_engine'",
    [TEXTOID],
);

/// Whether the role that calls, and not only its function's owner, may call what operators do to executions.
static INTERVENES: Stmt<1> = Stmt::new(
    c"SELECT has_function_privilege($1, p.oid, 'EXECUTE')
        FROM pg_extension AS x
        JOIN pg_proc AS p ON p.pronamespace = x.extnamespace AND p.proname = 'ff_cancel_execution'
       WHERE x.extname = 'ff_engine'",
    [OIDOID],
);

/// Whether the calling role has the rights of class operator.
pub fn may_intervene(db: &Db) -> bool {
    let [_, role] = session::callers();
    INTERVENES
        .run(db, [role.into()])
        .first()
        .is_some_and(|r| r.get(1))
}

/// Keeps other sessions from creating roles, or changing who is a member of what, until this transaction ends.
pub fn alone(db: &Db) {
    db.command(ALONE);
}

/// Those of the roles that exist.
pub fn existing(db: &Db, names: &[&str]) -> Vec<String> {
    let rows = EXISTING.run(db, [array::texts(names.iter().copied())]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Makes a role that nobody can log in as.
pub fn create(db: &Db, name: &str) {
    db.command(&format!("CREATE ROLE {name} NOLOGIN"));
}

/// Which of the roles is a member of which: the group, then the member.
pub fn members(db: &Db, names: &[&str]) -> Vec<(String, String)> {
    let rows = MEMBERS.run(db, [array::texts(names.iter().copied())]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}

/// Makes a role a member of a group.
pub fn include(db: &Db, group: &str, member: &str) {
    db.command(&format!("GRANT {group} TO {member}"));
}

/// Lets the roles use the schema of the functions, where not everybody may.
pub fn open_schema(db: &Db, names: &[&str]) {
    for row in SCHEMA.run(db, [array::texts(names.iter().copied())]).iter() {
        let (schema, role): (String, String) = (row.get(1), row.get(2));
        db.command(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    }
}

/// A public function or procedure of the extension.
pub struct Routine {
    /// Name and argument types, as commands take it.
    pub signature: String,
    /// Name.
    pub name: String,
    /// Those of the roles asked for that may call it by a grant of their own.
    pub granted: Vec<String>,
}

/// The public functions and procedures of the extension.
pub fn routines(db: &Db, names: &[&str]) -> Vec<Routine> {
    let rows = ROUTINES.run(db, [array::texts(names.iter().copied())]);
    rows.iter()
        .map(|r| Routine {
            signature: r.get(1),
            name: r.get(2),
            granted: r.get(3),
        })
        .collect()
}

/// Lets a role call functions.
pub fn grant(db: &Db, signatures: &[&str], role: &str) {
    if !signatures.is_empty() {
        let list = signatures.join(", ");
        db.command(&format!("GRANT EXECUTE ON ROUTINE {list} TO {role}"));
    }
}

/// Takes the right to call functions away.
pub fn revoke(db: &Db, signatures: &[&str], role: &str) {
    if !signatures.is_empty() {
        let list = signatures.join(", ");
        db.command(&format!("REVOKE EXECUTE ON ROUTINE {list} FROM {role}"));
    }
}

/// Lets a role read the views, which takes the functions in them too.
pub fn grant_views(db: &Db, role: &str) {
    for row in VIEWS.run(db, [role.into()]).iter() {
        let right: String = row.get(1);
        db.command(&format!("GRANT {right} TO {role}"));
    }
}
