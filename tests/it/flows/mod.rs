//! Flows and dependencies (chapter 40).

mod all_of;
mod cancel;
mod cancelled;
mod create;
mod document;
mod drawing;
mod edges;
mod groups;
mod holds;
mod lists;
mod owed;
mod propagation;
mod races;
mod random;
mod replay;
mod siblings;
mod state;
