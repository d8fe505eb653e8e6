//! Ids minted by the engine and the partition they carry (§10.5.1).

use crate::error::{Error, Result};
use uuid::Uuid;

/// The largest partition an interop id may name; foreign systems use more of them than the 256
/// the engine has.
const MAX_INTEROP_PARTITION: i32 = 65_535;

/// Mints a version-8 uuid: 48 bits of Unix milliseconds, the version, sixteenths of the
/// millisecond, the partition in byte 7, the variant, and 62 bits of `random`.
///
/// `unix_micros` is the server's wall clock in microseconds since 1970, without `clock_offset`;
/// an instant before 1970 counts as 1970. `random` must come from a strong generator; its first
/// two bits are not used.
pub fn mint(unix_micros: i64, partition: u8, random: [u8; 8]) -> Uuid {
    // Never negative after `max`, so the conversion keeps the value.
    let micros = unix_micros.max(0).unsigned_abs();
    let sixteenth = micros % 1_000 * 16 / 1_000;
    let high = (micros / 1_000) << 16 | 0x8 << 12 | sixteenth << 8 | u64::from(partition);
    let low = 0b10 << 62 | (u64::from_be_bytes(random) & (u64::MAX >> 2));
    Uuid::from_u64_pair(high, low)
}

/// The partition an id says: byte 7 of a version-8 id, whoever made it, and
/// `crc16_xmodem(16 bytes) mod 256` of any other.
pub fn partition_of(id: Uuid) -> u8 {
    let bytes = id.as_bytes();
    if bytes[6] >> 4 == 8 {
        return bytes[7];
    }
    // The remainder by 256 is the low byte.
    crc16_xmodem(bytes).to_be_bytes()[1]
}

/// Reads the interop text form; `N` may be anything in 0–65535.
///
/// # Errors
/// `invalid_input` with rule `missing_tag`, `bad_partition` or `bad_uuid`.
pub fn parse(text: &str) -> Result<(Uuid, i32)> {
    let refused = |rule| Error::invalid_input("id", rule);
    let (partition, id) = text
        .strip_prefix("{fp:")
        .and_then(|rest| rest.split_once("}:"))
        .ok_or_else(|| refused("missing_tag"))?;
    // `parse` alone would also take a sign.
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let partition = partition
        .parse::<i32>()
        .ok()
        .filter(|n| digits && *n <= MAX_INTEROP_PARTITION)
        .ok_or_else(|| refused("bad_partition"))?;
    // The length keeps to the hyphenated form; the parser would take three others as well.
    let id = Some(id)
        .filter(|id| id.len() == 36)
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| refused("bad_uuid"))?;
    Ok((id, partition))
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected.
fn crc16_xmodem(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{crc16_xmodem, mint, parse, partition_of};
    use proptest::prelude::*;
    use uuid::Uuid;

    const NOW: i64 = 1_795_264_496_123_456;

    #[test]
    fn e_119_bits_stand_where_the_table_says() {
        let id = mint(NOW, 7, [0xff; 8]);
        let bytes = id.as_bytes();
        let ms = u64::from_be_bytes([
            0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5],
        ]);
        assert_eq!(ms, 1_795_264_496_123);
        assert_eq!(
            (id.get_version_num(), bytes[8] >> 6, bytes[7]),
            (8, 0b10, 7)
        );
        assert_eq!(bytes[6] & 0x0f, 7); // 456 µs are 7.296 sixteenths
        assert_eq!(bytes[8..], [0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(partition_of(id), 7);
        assert_eq!(mint(NOW, 0, [0; 8]).as_bytes()[8], 0x80);
        assert_eq!(mint(-5, 1, [0; 8]).as_bytes()[..6], [0; 6]);
    }

    #[test]
    fn e_119_ids_one_millisecond_apart_ascend() {
        // The bits below the time fall from id to id, so that only the time can make them ascend.
        let ids: Vec<Uuid> = (0u8..250)
            .cycle()
            .take(1000)
            .zip(0i64..)
            .map(|(i, ms)| mint(NOW + ms * 1_000, 255 - i, [255 - i; 8]))
            .collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn e_119_other_versions_are_hashed() {
        assert_eq!(crc16_xmodem(b"123456789"), 0x31c3);
        let id = Uuid::parse_str("f47ac10b-58cc-4372-a567-0e02b2c3d479").unwrap();
        assert_eq!(
            u16::from(partition_of(id)),
            crc16_xmodem(id.as_bytes()) % 256
        );
    }

    #[test]
    fn e_104_interop_text_form() {
        let id = mint(NOW, 9, [1; 8]);
        assert_eq!(parse(&format!("{{fp:999}}:{id}")).unwrap(), (id, 999));
        for (text, rule) in [
            (id.to_string(), "missing_tag"),
            (String::new(), "missing_tag"),
            ("{fp:1}".to_owned(), "missing_tag"),
            (format!("{{fp:x}}:{id}"), "bad_partition"),
            (format!("{{fp:}}:{id}"), "bad_partition"),
            (format!("{{fp:+1}}:{id}"), "bad_partition"),
            (format!("{{fp:65536}}:{id}"), "bad_partition"),
            (format!("{{fp:99999999999}}:{id}"), "bad_partition"),
            ("{fp:1}:nope".to_owned(), "bad_uuid"),
            (format!("{{fp:1}}:{}", id.simple()), "bad_uuid"),
            (format!("{{fp:1}}:{id}0"), "bad_uuid"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.detail_value("rule").unwrap(), rule, "{text}");
            assert_eq!(error.kind().sqlstate(), "FF101");
        }
    }

    proptest! {
        #[test]
        fn minted_ids_carry_their_partition(now in 0i64..=i64::MAX, partition: u8, random: [u8; 8]) {
            let id = mint(now, partition, random);
            prop_assert_eq!(partition_of(id), partition);
            prop_assert_eq!((id.get_version_num(), id.as_bytes()[8] >> 6), (8, 0b10));
            prop_assert_eq!(parse(&format!("{{fp:{partition}}}:{id}")).unwrap(), (id, i32::from(partition)));
        }

        #[test]
        fn later_ids_sort_later(now in 0i64..4_000_000_000_000_000, gap in 63i64..10_000_000, random: [u8; 8]) {
            prop_assert!(mint(now, 255, [0xff; 8]) < mint(now + gap, 0, random));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
