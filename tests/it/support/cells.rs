//! Reading columns by name in few words.

use chrono::{DateTime, Utc};
use postgres::Row;
use serde_json::Value;
use uuid::Uuid;

pub trait Cells {
    fn text(&self, column: &str) -> String;
    fn maybe_text(&self, column: &str) -> Option<String>;
    fn uuid(&self, column: &str) -> Uuid;
    fn maybe_uuid(&self, column: &str) -> Option<Uuid>;
    fn int(&self, column: &str) -> i32;
    fn maybe_int(&self, column: &str) -> Option<i32>;
    fn small(&self, column: &str) -> i16;
    fn big(&self, column: &str) -> i64;
    fn flag(&self, column: &str) -> bool;
    fn maybe_flag(&self, column: &str) -> Option<bool>;
    fn instant(&self, column: &str) -> DateTime<Utc>;
    fn maybe_instant(&self, column: &str) -> Option<DateTime<Utc>>;
    fn json(&self, column: &str) -> Value;
    fn bytes(&self, column: &str) -> Option<Vec<u8>>;
}

impl Cells for Row {
    fn text(&self, column: &str) -> String {
        self.get(column)
    }
    fn maybe_text(&self, column: &str) -> Option<String> {
        self.get(column)
    }
    fn uuid(&self, column: &str) -> Uuid {
        self.get(column)
    }
    fn maybe_uuid(&self, column: &str) -> Option<Uuid> {
        self.get(column)
    }
    fn int(&self, column: &str) -> i32 {
        self.get(column)
    }
    fn maybe_int(&self, column: &str) -> Option<i32> {
        self.get(column)
    }
    fn small(&self, column: &str) -> i16 {
        self.get(column)
    }
    fn big(&self, column: &str) -> i64 {
        self.get(column)
    }
    fn flag(&self, column: &str) -> bool {
        self.get(column)
    }
    fn maybe_flag(&self, column: &str) -> Option<bool> {
        self.get(column)
    }
    fn instant(&self, column: &str) -> DateTime<Utc> {
        self.get(column)
    }
    fn maybe_instant(&self, column: &str) -> Option<DateTime<Utc>> {
        self.get(column)
    }
    fn json(&self, column: &str) -> Value {
        self.get(column)
    }
    fn bytes(&self, column: &str) -> Option<Vec<u8>> {
        self.get(column)
    }
}
