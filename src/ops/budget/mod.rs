//! Budgets (§50.2–50.7): what may be used in a period, what is used, and what happens when it is used up.

mod charge;
pub mod define;
pub mod enforce;
mod escrow;
pub mod release;
pub mod repair;
pub mod report;
pub mod reset;
