//! Black-box tests: every file is a topic, every test a behaviour seen through SQL.
//!
//! They talk to the server of the `PG*` environment, or to a private cluster of their own, and
//! to further private clusters where a scenario needs one (`scripts/cluster.sh`).

mod architecture;
mod background;
mod bad_input;
mod blocking;
mod claim;
mod complete_and_claim;
mod coverage;
mod create;
mod dump;
mod errors;
mod event_cursor;
mod event_log;
mod examples;
mod fence;
mod finish;
mod grants;
mod history;
mod idempotency;
mod identity;
mod isolation;
mod lanes;
mod lease;
mod many_queues;
mod names;
mod one_by_one;
mod operator;
mod pause;
mod plans;
mod policy;
mod random_walk;
mod readme;
mod reads;
mod reconcilers;
mod registry;
mod registry_events;
mod replay;
mod retry;
mod roles;
mod rollback;
mod routing;
mod service;
mod several_lanes;
mod signatures;
mod single_facts;
mod standby;
mod state_vector;
mod support;
mod surface;
mod tags;
mod timeouts;
mod torture;
mod wait;
