//! The engine's mind: types and pure functions. No server, no clock, no randomness: all of it is passed in.
//!
//! May import std, serde, serde_json, uuid, hmac, sha2, base64 and `error`; nothing else.
#![forbid(unsafe_code)]

pub mod budget;
pub mod capability;
pub mod condition;
pub mod cursor;
pub mod due;
pub mod edge_group;
pub mod event;
pub mod event_filter;
pub mod execution;
pub mod fence;
pub mod flow;
pub mod grant;
pub mod handle;
pub mod id;
pub mod keyring;
pub mod lane_name;
pub mod moved;
pub mod packed;
pub mod policy;
pub mod privilege;
pub mod quota;
pub mod registration;
pub mod reset;
pub mod retry;
pub mod stream;
pub mod suspension;
pub mod tags;
pub mod text;
pub mod time;
pub mod token;
pub mod transition;
pub mod words;
