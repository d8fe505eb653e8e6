//! The event log as the tests look at it.

use postgres::Row;
use serde_json::Value;
use uuid::Uuid;

use super::{Cells, Session};

/// One event, in the form `family.type(reason)` and with what it carries.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: i64,
    pub family: String,
    pub event_type: String,
    pub execution: Option<Uuid>,
    pub details: Value,
}

impl Event {
    pub fn of(row: &Row) -> Self {
        Self {
            id: row.big("event_id"),
            family: row.text("family"),
            event_type: row.text("event_type"),
            execution: row.maybe_uuid("execution_id"),
            details: row.json("details"),
        }
    }

    /// `lease.released(completed)`, `completion.success`: what §30.11 lists.
    pub fn word(&self) -> String {
        match self.details["reason"].as_str() {
            Some(reason) => format!("{}.{}({reason})", self.family, self.event_type),
            None => format!("{}.{}", self.family, self.event_type),
        }
    }
}

impl Session {
    /// All retained events in the order of their ids.
    #[track_caller]
    pub fn all_events(&mut self) -> Vec<Event> {
        let rows = self.rows(
            "SELECT * FROM ff_read_events('start', max_items => 10000) ORDER BY event_id",
            &[],
        );
        assert!(rows.len() < 10000, "more events than one page");
        rows.iter().map(Event::of).collect()
    }

    /// The events of one execution.
    #[track_caller]
    pub fn events_of(&mut self, id: Uuid) -> Vec<Event> {
        self.all_events()
            .into_iter()
            .filter(|event| event.execution == Some(id))
            .collect()
    }

    /// The events of one execution as words.
    #[track_caller]
    pub fn event_words(&mut self, id: Uuid) -> Vec<String> {
        self.events_of(id).iter().map(Event::word).collect()
    }

    /// What a step appended, as words in order, and what it returned.
    #[track_caller]
    pub fn events_by<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> (T, Vec<String>) {
        let before = self.all_events().last().map_or(0, |event| event.id);
        let value = step(self);
        let words = self
            .all_events()
            .iter()
            .filter(|event| event.id > before)
            .map(Event::word)
            .collect();
        (value, words)
    }
}
