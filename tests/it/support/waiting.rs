//! Suspensions as tests use them: seeded keys, suspended executions, signals.

use postgres::Row;
use uuid::Uuid;

use super::{Cells, Claim, Session};

/// The secret of the key `k1` in tests: the bytes 0 to 31.
pub const SECRET: &str = r"'\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'";

/// One condition for most tests: the signal `ready` at the waitpoint `wpk:a`.
pub const READY: &str = "ff_cond_signal('wpk:a', 'ready')";

/// A waitpoint as its creator knows it.
#[derive(Clone, Debug)]
pub struct Point {
    pub id: Uuid,
    pub key: String,
    pub token: String,
}

impl Point {
    pub fn of(row: &Row) -> Self {
        Self {
            id: row.uuid("waitpoint_id"),
            key: row.text("waitpoint_key"),
            token: row.maybe_text("waitpoint_token").unwrap_or_default(),
        }
    }
}

/// A suspended execution.
#[derive(Debug)]
pub struct Waiting {
    pub id: Uuid,
    pub claim: Claim,
    pub suspension: Uuid,
    pub handle: String,
    pub points: Vec<Point>,
}

impl Waiting {
    /// Its primary waitpoint.
    pub fn point(&self) -> Point {
        self.points[0].clone()
    }
}

impl Session {
    /// Installs the key `k1`.
    #[track_caller]
    pub fn seed(&mut self) {
        self.rows(
            &format!("SELECT * FROM ff_seed_waitpoint_secret('k1', {SECRET})"),
            &[],
        );
    }

    /// Calls `ff_suspend`; `arguments` begins with the condition.
    #[track_caller]
    pub fn suspend(&mut self, handle: &str, arguments: &str) -> Vec<Row> {
        let sql = format!("SELECT * FROM ff_suspend($1, {arguments})");
        self.rows(&sql, &[&handle])
    }

    /// Creates, claims and suspends an execution, with the key `k1` installed.
    #[track_caller]
    pub fn waiting(&mut self, arguments: &str) -> Waiting {
        self.waiting_with("", arguments)
    }

    /// As [`Session::waiting`], with arguments of the create.
    #[track_caller]
    pub fn waiting_with(&mut self, create: &str, arguments: &str) -> Waiting {
        self.seed();
        let id = self.create(create);
        // What earlier steps have resumed may be handed out as well.
        let claims = self.claims("max_items => 1000, reclaim => false");
        let own = claims.into_iter().find(|claim| claim.id == id);
        self.suspended(own.expect("the execution just created"), arguments)
    }

    /// Suspends what is claimed.
    #[track_caller]
    pub fn suspended(&mut self, claim: Claim, arguments: &str) -> Waiting {
        let rows = self.suspend(&claim.handle, arguments);
        assert_eq!(rows[0].text("outcome"), "suspended");
        Waiting {
            id: claim.id,
            suspension: rows[0].uuid("suspension_id"),
            handle: rows[0].text("handle"),
            points: rows.iter().map(Point::of).collect(),
            claim,
        }
    }

    /// Delivers a signal; `arguments` follows the name.
    #[track_caller]
    pub fn deliver(&mut self, point: &Point, name: &str, arguments: &str) -> Row {
        let sql = delivery(arguments);
        self.one(&sql, &[&point.id, &point.token, &name])
    }

    /// Delivers a signal and returns what it did.
    #[track_caller]
    pub fn effect(&mut self, point: &Point, name: &str) -> String {
        self.deliver(point, name, "").text("effect")
    }

    /// Delivers from a source and returns what it did.
    #[track_caller]
    pub fn effect_from(&mut self, point: &Point, name: &str, source: &str) -> String {
        let arguments = format!("source_type => 'person', source_identity => '{source}'");
        self.deliver(point, name, &arguments).text("effect")
    }

    /// A delivery that is to fail.
    #[track_caller]
    pub fn undeliverable(
        &mut self,
        sqlstate: &str,
        point: &Point,
        arguments: &str,
    ) -> super::failure::Failure {
        let sql = delivery(arguments);
        self.refused(sqlstate, &sql, &[&point.id, &point.token, &"ready"])
    }

    /// A pending waitpoint of a held attempt.
    #[track_caller]
    pub fn create_waitpoint(&mut self, handle: &str, key: &str, arguments: &str) -> Point {
        let sql = format!("SELECT * FROM ff_create_waitpoint($1, $2, {arguments})");
        Point::of(&self.one(&sql, &[&handle, &key]))
    }

    /// The open suspension of an execution, or its latest.
    #[track_caller]
    pub fn suspension(&mut self, id: Uuid) -> Row {
        self.one("SELECT * FROM ff_describe_suspension($1)", &[&id])
    }

    /// `state close_reason` of a waitpoint, as it is stored.
    #[track_caller]
    pub fn waitpoint_state(&mut self, id: Uuid) -> String {
        self.value(
            "SELECT concat_ws(' ', state, close_reason) FROM ff_engine.waitpoint WHERE waitpoint_id = $1",
            &[&id],
        )
    }

    /// Claims again what has been resumed.
    #[track_caller]
    pub fn reclaimed(&mut self, waiting: &Waiting) -> Claim {
        let again = self.claim("max_items => 1");
        assert_eq!((again.id, again.kind.as_str()), (waiting.id, "resumed"));
        again
    }

    /// Names of the signals that `ff_observe_signals` shows.
    #[track_caller]
    pub fn observed(&mut self, handle: &str, unmatched: bool) -> Vec<String> {
        self.rows(
            "SELECT * FROM ff_observe_signals($1, $2)",
            &[&handle, &unmatched],
        )
        .iter()
        .map(|row| row.text("signal_name"))
        .collect()
    }

    #[track_caller]
    pub fn count(&mut self, table: &str) -> i64 {
        self.value(&format!("SELECT count(*) FROM ff_engine.{table}"), &[])
    }
}

fn delivery(arguments: &str) -> String {
    let more = if arguments.is_empty() {
        String::new()
    } else {
        format!(", {arguments}")
    };
    format!("SELECT * FROM ff_deliver_signal($1, $2, $3{more})")
}
