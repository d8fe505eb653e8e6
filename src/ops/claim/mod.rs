//! Handing out work.

pub mod any;
mod merge;
pub mod next;
pub mod peek;
pub mod promote;
pub mod recover;
pub mod row;
pub mod wait;
