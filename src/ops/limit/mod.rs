//! What budgets and quota policies have in common: targets they are attached to, and admission.

pub mod attach;
pub mod gate;
