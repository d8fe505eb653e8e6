//! Who may do what (§10.23, §70.5): rights and namespaces.

mod namespaces;
mod privileges;
