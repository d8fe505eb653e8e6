//! Flows and dependencies (chapter 40).

mod all_of;
mod create;
mod edges;
mod groups;
mod propagation;
mod random;
mod state;
