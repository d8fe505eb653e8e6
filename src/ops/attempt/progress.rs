//! Reports progress (§10.14.2): scalar, last write wins, no event.

use crate::error::{Error, Result};
use crate::model::handle::Handle;
use crate::model::text;
use crate::model::transition::Change;
use crate::pg::spi::Db;

use super::super::lease::fenced;
use super::super::save;

/// Sets percent and message; what is not given stays.
///
/// # Errors
/// Those of the fence; `invalid_input` for a percentage outside 0–100.
pub fn progress(
    db: &Db,
    handle: &Handle,
    percent: Option<i32>,
    message: Option<&str>,
) -> Result<()> {
    if percent.is_some_and(|p| !(0..=100).contains(&p)) {
        return Err(Error::invalid_input("percent", "out_of_range"));
    }
    let (execution, now) = fenced::live(db, handle)?;
    let change = Change::touch(execution, now, |e| {
        if let Some(percent) = percent {
            e.progress.percent = Some(percent as i16);
        }
        if let Some(message) = message {
            e.progress.message = Some(text::cut(message).to_owned());
        }
        e.progress.updated_at = Some(now);
    });
    save::apply(db, &[change], now);
    Ok(())
}
