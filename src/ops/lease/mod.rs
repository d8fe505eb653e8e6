//! Operations on a lease.

pub mod fenced;
pub mod renew;
