//! Deliveries from outside: tokens first, then locks in ascending id, then each signal on its own.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::execution::Execution;
use crate::model::fence;
use crate::pg::spi::Db;
use crate::store;
use crate::store::waitpoint::Waitpoint;

use super::super::clock;
use super::deliver::{self, Delivered, Delivery};
use super::token;

/// A signal with the token that comes with it.
pub struct Signed<'a> {
    /// The signal.
    pub delivery: Delivery<'a>,
    /// Its token.
    pub token: Option<&'a str>,
    /// The execution that the sender means.
    pub execution: Option<Uuid>,
}

/// Delivers every signal whose token holds; each gets its own answer, in order.
pub fn deliver(db: &Db, items: Vec<Result<Signed>>) -> Vec<Result<Delivered>> {
    let checked: Vec<Result<(Delivery, Waitpoint)>> = items
        .into_iter()
        .map(|item| {
            let item = item?;
            deliver::check(&item.delivery)?;
            let waitpoint = item.delivery.waitpoint;
            let w = token::verify(db, waitpoint, item.token, item.execution)?;
            Ok((item.delivery, w))
        })
        .collect();
    let mut ids: Vec<Uuid> = checked
        .iter()
        .flatten()
        .map(|(_, w)| w.subject.execution_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut executions: BTreeMap<Uuid, Execution> = store::execution::lock_all(db, &ids)
        .into_iter()
        .map(|e| (e.place.id, e))
        .collect();
    let now = clock::now();
    checked
        .into_iter()
        .map(|checked| {
            let (delivery, w) = checked?;
            token::still_verifies(db, &w, now)?;
            match executions.get_mut(&w.subject.execution_id) {
                Some(e) => deliver::locked(db, e, &w, &delivery, now),
                // Purged since its token was checked: as if it had never been.
                None => Err(Error::new(Kind::InvalidToken)),
            }
        })
        .collect()
}

/// An approval by somebody whose right to call is the authorisation.
pub struct Approval<'a> {
    /// Execution.
    pub execution: Uuid,
    /// The lane it must be in.
    pub lane: Option<&'a str>,
    /// The signal.
    pub delivery: Delivery<'a>,
}

/// Delivers an approval.
///
/// # Errors
/// Those of a delivery, `execution_not_found`, `waitpoint_not_found`, `invalid_waitpoint_for_execution`,
/// `invalid_input`.
pub fn approve(db: &Db, a: &Approval) -> Result<Delivered> {
    deliver::check(&a.delivery)?;
    let mut e =
        store::execution::lock(db, a.execution).ok_or_else(|| fence::not_found(a.execution))?;
    let now = clock::now();
    if let Some(lane) = a.lane {
        let own = store::lane::name(db, e.place.lane).unwrap_or_default();
        if own != lane {
            return Err(Error::invalid_input("lane", "lane_mismatch")
                .with("lane", lane)
                .with("execution_lane", own));
        }
    }
    let id = a.delivery.waitpoint;
    let w = store::waitpoint::load(db, &[id])
        .pop()
        .ok_or_else(|| deliver::not_found(id))?;
    if w.subject.execution_id != a.execution {
        return Err(Error::new(Kind::InvalidWaitpointForExecution)
            .with("waitpoint_id", id.to_string())
            .with("execution_id", a.execution.to_string()));
    }
    deliver::locked(db, &mut e, &w, &a.delivery, now)
}
