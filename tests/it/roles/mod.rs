//! Who may do what (§10.23, §70.5): rights, namespaces, and what a hostile caller may plant.

mod bindings;
mod hostile;
mod namespaces;
mod privileges;
mod sweep;

use uuid::Uuid;

use crate::support::{Cells, Session, World};

/// Binds a role.
#[track_caller]
fn bind(w: &mut World, role: &str, namespace: &str) -> String {
    w.value("SELECT ff_grant_namespace($1, $2)", &[&role, &namespace])
}

#[track_caller]
fn unbind(w: &mut World, role: &str, namespace: &str) -> String {
    w.value("SELECT ff_revoke_namespace($1, $2)", &[&role, &namespace])
}

/// Namespaces of the executions that a session sees.
fn seen(s: &mut Session) -> Vec<String> {
    s.rows(
        "SELECT DISTINCT namespace FROM ff_executions ORDER BY 1",
        &[],
    )
    .iter()
    .map(|row| row.text("namespace"))
    .collect()
}

/// An execution in each of the namespaces `a` and `b`, in that order.
fn two_tenants(w: &mut World) -> (Uuid, Uuid) {
    (w.create("namespace => 'a'"), w.create("namespace => 'b'"))
}
