//! Binds roles to namespaces (§70.5): a bound role sees and acts on those only, an unbound one on all.

use crate::error::{Error, Kind, Result};
use crate::model::text;
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store;

use super::super::lane;

/// Refuses what concerns all namespaces to a role that is bound to some.
///
/// # Errors
/// `unauthorized`.
pub fn unbound() -> Result<()> {
    if store::binding::mine().is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::Unauthorized)
        .say("the role is bound to namespaces, and this concerns all of them")
        .with("rule", "bound_role")
        .hint("Let a role do this that is bound to no namespace."))
}

/// Refuses a namespace that the calling roles are not bound to.
///
/// # Errors
/// `unauthorized`.
pub fn admitted(db: &Db, namespace: &str) -> Result<()> {
    let Some(names) = store::binding::names(db) else {
        return Ok(());
    };
    if names.iter().any(|name| name == namespace) {
        return Ok(());
    }
    Err(Error::new(Kind::Unauthorized)
        .say("the role is bound to other namespaces")
        .with("rule", "namespace")
        .with("namespace", text::cut(namespace))
        .hint(
            "Name a namespace that the role is bound to, or let an administrator grant this one.",
        ))
}

/// Binds a role to a namespace, or to one more; returns the outcome word.
///
/// # Errors
/// `unauthorized`, `invalid_input`.
pub fn grant(db: &Db, role: &str, namespace: &str) -> Result<&'static str> {
    let role = bindable(role, namespace)?;
    let namespace = lane::ensure_namespace(db, namespace);
    Ok(if store::binding::bind(db, role, namespace) {
        "granted"
    } else {
        "unchanged"
    })
}

/// Takes a namespace from a role; returns the outcome word, which tells if the role sees all of them now.
///
/// # Errors
/// `unauthorized`, `invalid_input`.
pub fn revoke(db: &Db, role: &str, namespace: &str) -> Result<&'static str> {
    let role = bindable(role, namespace)?;
    let known = store::lane::namespace(db, namespace);
    Ok(
        match known.is_some_and(|known| store::binding::unbind(db, role, known)) {
            false => "unchanged",
            true if store::binding::is_bound(db, role) => "revoked",
            true => "unbound",
        },
    )
}

fn bindable(role: &str, namespace: &str) -> Result<pgrx::pg_sys::Oid> {
    unbound()?;
    text::identifier("namespace", namespace)?;
    let oid = session::role(role).ok_or_else(|| {
        Error::invalid_input("role", "unknown_role")
            .say("there is no such role")
            .with("role", text::cut(role))
            .hint("Create the role first; names are taken as they are, without folding to lower case.")
    })?;
    if session::is_superuser(oid) {
        return Err(Error::invalid_input("role", "superuser")
            .say("a superuser cannot be bound to namespaces")
            .hint("Bind a role without that right."));
    }
    Ok(oid)
}
