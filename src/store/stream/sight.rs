//! A stream as a reader sees it, with what its execution says of it: everything on the active snapshot.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::packed::Packed;
use crate::model::stream::closing::{Closed, Signs};
use crate::model::stream::{Final, Logged, StreamKey};
use crate::model::time::Instant;
use crate::model::words::CloseReason;
use crate::pg::composite::Composite;
use crate::pg::spi::{Db, Row, Stmt};

use super::super::binding;

static SIGHT: Stmt<3> = Stmt::new(
    c"SELECT i.attempt_index, e.state, e.attempt_ended_at, (e.rare ->> 'lease_expired_at')::bigint,
             (e.rare ->> 'lease_revoked_at')::bigint, (e.rare #>> '{stream_closed,0}')::bigint,
             (e.rare #>> '{stream_closed,1}')::\"char\", a.execution_id IS NOT NULL, a.stream_closed_at, a.stream_close_reason,
             s, n
        FROM ff_engine.execution AS e
       CROSS JOIN LATERAL (SELECT coalesce($2, e.total_attempt_count - 1) AS attempt_index) AS i
        LEFT JOIN ff_engine.attempt AS a ON a.execution_id = e.execution_id AND a.attempt_index = i.attempt_index
        LEFT JOIN ff_engine.stream AS s ON s.execution_id = e.execution_id AND s.attempt_index = i.attempt_index
        LEFT JOIN ff_engine.stream_end AS n ON n.execution_id = e.execution_id AND n.attempt_index = i.attempt_index
       WHERE e.execution_id = $1 AND i.attempt_index BETWEEN 0 AND e.total_attempt_count - 1
         AND ($3 IS NULL OR e.namespace_id = ANY ($3))",
    [UUIDOID, INT4OID, INT4ARRAYOID],
);

/// The stream of an attempt that exists.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Which.
    pub stream: StreamKey,
    /// Its end.
    pub closed: Option<Closed>,
    /// Its frames; none if there never was one, or they are gone.
    pub logged: Option<Logged>,
    /// Its frames when it ended; none if there were none to be seen.
    pub last: Option<Final>,
}

/// Sees the stream of an attempt, of the current one without an index.
pub fn see(db: &Db, execution: Uuid, attempt: Option<i32>) -> Option<Sight> {
    let rows = SIGHT.read(db, [execution.into(), attempt.into(), binding::only()]);
    rows.first().map(|row| decode(execution, &row))
}

/// As [`see`], as it stands now, whoever calls.
pub fn see_now(db: &Db, stream: StreamKey) -> Option<Sight> {
    let args = [
        stream.execution.into(),
        stream.attempt.into(),
        crate::pg::spi::Arg::NULL,
    ];
    let rows = SIGHT.run(db, args);
    rows.first().map(|row| decode(stream.execution, &row))
}

fn decode(execution: Uuid, row: &Row) -> Sight {
    let superseded: bool = row.get(8);
    let closed = if superseded {
        said(row.get(9), row.get(10))
    } else {
        said(row.get(6), row.get(7)).or_else(|| told(row))
    };
    Sight {
        stream: StreamKey {
            execution,
            attempt: row.get(1),
        },
        closed,
        logged: row
            .get::<Option<Composite>>(11)
            .map(|row| super::decode(&row)),
        last: row
            .get::<Option<Composite>>(12)
            .map(|row| super::end::decode(&row)),
    }
}

fn said(at: Option<i64>, letter: Option<i8>) -> Option<Closed> {
    Some(Closed {
        at: Instant(at?),
        reason: CloseReason::from_letter(letter? as u8)?,
    })
}

/// What the execution's row tells of the end of its latest attempt's stream.
fn told(row: &Row) -> Option<Closed> {
    let packed = Packed::from_number(row.get(2))?;
    let at = |ordinal| row.get::<Option<i64>>(ordinal).map(Instant);
    let signs = Signs {
        ownership: packed.vector.ownership,
        record: packed.record,
        end_op: packed.end_op,
        ended_at: at(3),
        expired_at: at(4),
        revoked_at: at(5),
    };
    signs.told()
}
