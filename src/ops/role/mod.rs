//! Who may do what: roles with their grants, and the namespaces that roles are bound to (§70.5).

pub mod create;
pub mod namespace;
pub mod operator;
