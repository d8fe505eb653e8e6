//! Ids, partitions and their text form (§10.5.1).

use uuid::Uuid;

use crate::support::{Cells, World};

/// The CRC of the specification, written here a second time on purpose.
fn crc16_xmodem(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

fn milliseconds(id: Uuid) -> i64 {
    id.as_bytes()[..6]
        .iter()
        .fold(0, |ms, byte| (ms << 8) | i64::from(*byte))
}

#[test]
fn e_119_a_minted_id_carries_version_instant_and_partition() {
    let mut w = World::new();
    let id: Uuid = w.value("SELECT ff_new_id(7)", &[]);
    let wall: i64 = w.value(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        &[],
    );
    assert_eq!(
        (
            id.get_version_num(),
            id.as_bytes()[8] >> 6,
            id.as_bytes()[7]
        ),
        (8, 0b10, 7)
    );
    assert!(
        (wall - milliseconds(id)).abs() < 1000,
        "minted by the wall clock, whatever the engine's"
    );
    assert_eq!(w.value::<i16>("SELECT ff_partition_of($1)", &[&id]), 7);
    for edge in [0, 255] {
        let id: Uuid = w.value("SELECT ff_new_id($1)", &[&edge]);
        assert_eq!(
            w.value::<i16>("SELECT ff_partition_of($1)", &[&id]),
            edge as i16
        );
    }
    for outside in [-1, 256] {
        w.refused("FF101", "SELECT ff_new_id($1)", &[&outside]);
    }
}

#[test]
fn e_119_ids_minted_a_millisecond_apart_ascend() {
    let mut w = World::new();
    let ids: Vec<Uuid> = w
        .rows(
            "SELECT ff_new_id() FROM generate_series(1, 1000) n, LATERAL pg_sleep(0.001 + 0 * n)",
            &[],
        )
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    let partitions: std::collections::BTreeSet<u8> =
        ids.iter().map(|id| id.as_bytes()[7]).collect();
    assert!(partitions.len() > 200, "the partition is drawn at random");
}

#[test]
fn e_119_other_versions_are_partitioned_by_their_checksum() {
    let mut w = World::new();
    assert_eq!(
        crc16_xmodem(b"123456789"),
        0x31c3,
        "the published check value"
    );
    for _ in 0..20 {
        let id = Uuid::new_v4();
        let expected = (crc16_xmodem(id.as_bytes()) % 256) as i16;
        assert_eq!(
            w.value::<i16>("SELECT ff_partition_of($1)", &[&id]),
            expected
        );
    }
}

#[test]
fn e_120_the_stored_partition_follows_the_id() {
    let mut w = World::new();
    let minted = w.create_row("");
    let id = minted.uuid("execution_id");
    assert_eq!((id.get_version_num(), id.as_bytes()[8] >> 6), (8, 0b10));
    assert_eq!(minted.small("partition_key"), i16::from(id.as_bytes()[7]));

    let own = Uuid::new_v4();
    let row = w.create_row(&format!("execution_id => '{own}'"));
    assert_eq!(
        row.small("partition_key"),
        (crc16_xmodem(own.as_bytes()) % 256) as i16
    );
    assert_eq!(
        w.describe(own).small("partition_key"),
        row.small("partition_key")
    );
    let listed = w.rows(
        "SELECT * FROM ff_list_executions(partition_key => $1)",
        &[&i32::from(row.small("partition_key"))],
    );
    assert!(listed.iter().any(|row| row.uuid("execution_id") == own));
}

#[test]
fn e_120_a_hundred_thousand_ids_fill_their_index_well() {
    let _machine = crate::support::pace::busy();
    let mut w = World::new();
    for _ in 0..100 {
        w.run("SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{1000}'))");
    }
    // An entry takes 28 bytes of the 8152 that a page has for entries; a handful of pages lie above the leaves.
    let pages: i64 = w.value(
        "SELECT pg_relation_size('ff_engine.execution_pkey') / 8192 - 4",
        &[],
    );
    let full = 100_000.0 * 28.0 / (pages as f64 * 8152.0);
    assert!(
        full >= 0.85,
        "the primary-key index is only {:.0} % full",
        full * 100.0
    );
}

#[test]
fn e_104_the_text_form_of_an_id() {
    let mut w = World::new();
    let row = w.create_row("");
    let id = row.uuid("execution_id");
    let text: String = w.value("SELECT ff_format_execution_id($1)", &[&id]);
    assert_eq!(text, format!("{{fp:{}}}:{id}", row.small("partition_key")));
    w.refused(
        "FF001",
        "SELECT ff_format_execution_id($1)",
        &[&Uuid::new_v4()],
    );

    let parse = "SELECT * FROM ff_parse_execution_id($1)";
    for n in [0, 999, 65535] {
        let parsed = w.one(parse, &[&format!("{{fp:{n}}}:{id}")]);
        assert_eq!(
            (parsed.uuid("execution_id"), parsed.int("partition_key")),
            (id, n)
        );
    }
    for (bad, rule) in [
        (id.to_string(), "missing_tag"),
        (String::new(), "missing_tag"),
        (format!("{{fp:x}}:{id}"), "bad_partition"),
        (format!("{{fp:65536}}:{id}"), "bad_partition"),
        (format!("{{fp:-1}}:{id}"), "bad_partition"),
        ("{fp:1}:not-a-uuid".into(), "bad_uuid"),
        (format!("{{fp:1}}:{id}0"), "bad_uuid"),
    ] {
        w.refused("FF101", parse, &[&bad]).mentions(rule);
    }
}

#[test]
fn nobody_waits_for_whoever_uses_an_installation_first() {
    let mut w = World::new();
    w.create_several(3, "");
    let mut first = w.session();
    first.run("BEGIN");
    let undone = first.claim("");
    w.run("SET lock_timeout = '1 s'");
    let second = w.claim("");
    let drawn = "SELECT count(*) FROM ff_engine.installation";
    assert_eq!(
        w.value::<i64>(drawn, &[]),
        0,
        "nobody has drawn it for good"
    );
    first.run("ROLLBACK");
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&undone.handle]);
    let third = w.session().claim("");
    assert_eq!(w.value::<i64>(drawn, &[]), 1);
    for claim in [second, third] {
        w.complete(&claim.handle, None);
    }
    let other = World::new().claimed("", "");
    w.refused("FF126", "SELECT * FROM ff_complete($1)", &[&other.handle]);
}
