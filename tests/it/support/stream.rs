//! Output streams as tests use them.

use postgres::Row;
use uuid::Uuid;

use super::{Cells, Session};

impl Session {
    /// Appends a frame; `arguments` follows the payload.
    #[track_caller]
    pub fn append(&mut self, handle: &str, payload: &[u8], arguments: &str) -> Row {
        self.one(&append_call(arguments), &[&handle, &payload])
    }

    /// Appends a frame and returns its id.
    #[track_caller]
    pub fn frame(&mut self, handle: &str, payload: &[u8], arguments: &str) -> String {
        self.append(handle, payload, arguments).text("frame_id")
    }

    /// An append that is to fail.
    #[track_caller]
    pub fn unappendable(
        &mut self,
        sqlstate: &str,
        handle: &str,
        payload: &[u8],
        arguments: &str,
    ) -> super::failure::Failure {
        self.refused(sqlstate, &append_call(arguments), &[&handle, &payload])
    }

    /// Appends many equal frames in one call.
    #[track_caller]
    pub fn append_many(&mut self, handle: &str, frames: i32, arguments: &str) -> Row {
        let sql = format!(
            "SELECT * FROM ff_append_frames($1, array_fill('\\x78'::bytea, ARRAY[{frames}]){})",
            continued(arguments)
        );
        self.one(&sql, &[&handle])
    }

    /// Reads a stream; `arguments` follows the execution.
    #[track_caller]
    pub fn read_stream(&mut self, id: Uuid, arguments: &str) -> Vec<Row> {
        let sql = format!("SELECT * FROM ff_read_stream($1{})", continued(arguments));
        self.rows(&sql, &[&id])
    }

    /// What a reader of the whole stream sees: the payloads as text, and at its end why it is closed.
    #[track_caller]
    pub fn output(&mut self, id: Uuid, arguments: &str) -> Vec<String> {
        let with_limit = if arguments.contains("max_items") {
            arguments.to_string()
        } else {
            format!("max_items => 10000{}", continued(arguments))
        };
        said(&self.read_stream(id, &with_limit))
    }

    /// Tails a stream; `arguments` follows the execution.
    #[track_caller]
    pub fn tail_stream(&mut self, id: Uuid, arguments: &str) -> Vec<Row> {
        let sql = format!("SELECT * FROM ff_tail_stream($1{})", continued(arguments));
        self.rows(&sql, &[&id])
    }

    /// Why the stream of an attempt is closed.
    #[track_caller]
    pub fn closed(&mut self, id: Uuid, attempt: i32) -> Option<String> {
        let status = self.one("SELECT * FROM ff_stream_status($1, $2)", &[&id, &attempt]);
        let reason = status.maybe_text("closed_reason");
        assert_eq!(
            reason.is_some(),
            status.maybe_instant("closed_at").is_some()
        );
        let marker = self.read_stream(
            id,
            &format!("attempt_index => {attempt}, max_items => 10000"),
        );
        let marker = marker
            .last()
            .and_then(|row| row.maybe_text("closed_reason"));
        assert_eq!(reason, marker, "status and end marker agree");
        reason
    }

    /// Counters of a stream.
    #[track_caller]
    pub fn stream_status(&mut self, id: Uuid) -> Row {
        self.one("SELECT * FROM ff_stream_status($1)", &[&id])
    }

    /// Version and document of the summary.
    #[track_caller]
    pub fn summary(&mut self, id: Uuid) -> Option<(i64, serde_json::Value)> {
        self.rows("SELECT * FROM ff_read_summary($1)", &[&id])
            .first()
            .map(|row| (row.big("version"), row.json("document")))
    }
}

/// Payloads as text; an end marker as `. reason`.
pub fn said(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| match row.maybe_text("frame_id") {
            Some(_) => {
                let payload = row.bytes("payload").expect("a payload");
                String::from_utf8_lossy(&payload).into_owned()
            }
            None => format!(". {}", row.text("closed_reason")),
        })
        .collect()
}

/// Ids of the frames among the rows.
pub fn ids(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .filter_map(|row| row.maybe_text("frame_id"))
        .collect()
}

/// A frame id as numbers that compare as ids do.
pub fn place(id: &str) -> (i64, i64) {
    let (ms, seq) = id.split_once('-').expect("<ms>-<seq>");
    (ms.parse().expect("ms"), seq.parse().expect("seq"))
}

/// Whether ids strictly ascend.
pub fn ascend(ids: &[String]) -> bool {
    ids.windows(2).all(|pair| place(&pair[0]) < place(&pair[1]))
}

/// Best-effort mode with this life.
pub fn best(ttl: &str) -> String {
    format!("mode => 'best_effort_live', ttl => '{ttl}'")
}

fn append_call(arguments: &str) -> String {
    format!(
        "SELECT * FROM ff_append_frame($1, $2{})",
        continued(arguments)
    )
}

fn continued(arguments: &str) -> String {
    if arguments.is_empty() {
        String::new()
    } else {
        format!(", {arguments}")
    }
}
