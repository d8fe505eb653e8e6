//! Creates the roles of the engine and grants them their functions (§10.23). Repeating it grants what is new.

use crate::error::Result;
use crate::model::privilege::{ROLES, roles_of};
use crate::pg::spi::Db;
use crate::store;

use super::namespace::unbound;

/// Creates what is missing; returns each role with its outcome word.
///
/// # Errors
/// `unauthorized` for a role bound to namespaces.
pub fn create(db: &Db) -> Result<Vec<(&'static str, &'static str)>> {
    unbound()?;
    let names = ROLES.map(|role| role.name);
    store::role::alone(db);
    let existing = store::role::existing(db, &names);
    let outcomes = names
        .iter()
        .map(|name| {
            let exists = existing.iter().any(|known| known == name);
            if !exists {
                store::role::create(db, name);
            }
            (*name, if exists { "exists" } else { "created" })
        })
        .collect();
    let members = store::role::members(db, &names);
    for role in &ROLES {
        for group in role.includes {
            if !members.iter().any(|(g, m)| g == group && m == role.name) {
                store::role::include(db, group, role.name);
            }
        }
    }
    store::role::open_schema(db, &names);
    grant(db, &names);
    store::role::grant_views(db, "ff_reader");
    Ok(outcomes)
}

/// Every role may call exactly the functions of its classes; what holds already is left alone.
fn grant(db: &Db, names: &[&'static str]) {
    let routines = store::role::routines(db, names);
    for role in names {
        let (mut missing, mut surplus) = (Vec::new(), Vec::new());
        for routine in &routines {
            let wanted = roles_of(&routine.name).any(|name| name == *role);
            let granted = routine.granted.iter().any(|name| name == role);
            match (wanted, granted) {
                (true, false) => missing.push(routine.signature.as_str()),
                (false, true) => surplus.push(routine.signature.as_str()),
                _ => {}
            }
        }
        store::role::grant(db, &missing, role);
        store::role::revoke(db, &surplus, role);
    }
}
