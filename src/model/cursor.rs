//! Positions in the event log (§30.12): snapshots, not ids, because ids are drawn before their transaction commits.
//!
//! A position says "everything committed as of this snapshot has been delivered". A page is the set of events
//! outside the position and inside a later snapshot, in the order of their ids; while such a window is being read
//! page by page, the position carries its end and the last id delivered.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};

/// Starts every cursor; the digit is the version of the format.
const PREFIX: &str = "ffc1.";
/// Bytes at the end that tell a mangled cursor from a whole one.
const CHECK: usize = 4;
/// Flag: the position lies inside a window.
const INSIDE: u8 = 1;

/// Which transactions had committed at an instant: those below `next` that are not listed as running.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// No transaction from here on had committed.
    next: u64,
    /// Ascending, all below `next`.
    running: Vec<u64>,
}

impl Snapshot {
    /// A snapshot of running transactions in any order; those from `next` on need no mention.
    pub fn new(next: u64, mut running: Vec<u64>) -> Snapshot {
        running.retain(|xid| *xid < next);
        running.sort_unstable();
        running.dedup();
        Snapshot { next, running }
    }

    /// Before everything: the position `start`.
    pub fn nothing() -> Snapshot {
        Snapshot::default()
    }

    /// The upper bound.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Transactions below the bound that had not committed, ascending.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Whether a transaction had committed.
    pub fn shows(&self, xid: u64) -> bool {
        xid < self.next && self.running.binary_search(&xid).is_err()
    }

    /// Whether whatever `other` shows is shown here too.
    pub fn contains(&self, other: &Snapshot) -> bool {
        other.next <= self.next && !self.running.iter().any(|xid| other.shows(*xid))
    }
}

/// Where a reader stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What has been delivered.
    pub from: Snapshot,
    /// The window being read, if the reader stands inside one.
    pub inside: Option<Inside>,
}

/// Where a reader stands inside a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// End of the window.
    pub upto: Snapshot,
    /// Events of the window up to this id have been delivered.
    pub last: i64,
}

impl Position {
    /// Behind everything that a snapshot shows.
    pub fn behind(snapshot: Snapshot) -> Position {
        Position {
            from: snapshot,
            inside: None,
        }
    }

    /// Inside a window, moves behind an event.
    pub fn delivered(&mut self, id: i64) {
        if let Some(inside) = &mut self.inside {
            inside.last = id;
        }
    }

    /// Whether a reader with this snapshot sees at least what the position is about.
    pub fn is_within(&self, snapshot: &Snapshot) -> bool {
        snapshot.contains(&self.from)
            && self
                .inside
                .as_ref()
                .is_none_or(|i| snapshot.contains(&i.upto))
    }

    /// The text form, valid at this installation only.
    pub fn encode(&self, installation: [u8; 4]) -> String {
        let mut packed = installation.to_vec();
        packed.push(if self.inside.is_some() { INSIDE } else { 0 });
        put_snapshot(&mut packed, &self.from);
        if let Some(inside) = &self.inside {
            put_snapshot(&mut packed, &inside.upto);
            put(&mut packed, inside.last.unsigned_abs());
        }
        let check = check(&packed);
        packed.extend_from_slice(&check);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(packed))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `invalid_cursor` with rule `not_a_cursor`, or `other_installation` for a cursor that is whole but was
    /// made elsewhere. The text itself is not repeated.
    pub fn decode(text: &str, installation: [u8; 4]) -> Result<Position> {
        let (home, position) =
            unpack(text).ok_or_else(|| invalid("not_a_cursor", "the text is not a cursor"))?;
        if home == installation {
            Ok(position)
        } else {
            Err(invalid(
                "other_installation",
                "the cursor was made by another installation",
            ))
        }
    }
}

/// A position as a caller gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Only what commits after the read's snapshot.
    Now,
    /// Everything retained.
    Start,
    /// Where an earlier read ended.
    At(Position),
}

impl Asked {
    /// Reads `now`, `start` or a cursor.
    ///
    /// # Errors
    /// Those of [`Position::decode`].
    pub fn parse(text: &str, installation: [u8; 4]) -> Result<Asked> {
        match text {
            "now" => Ok(Asked::Now),
            "start" => Ok(Asked::Start),
            text => Position::decode(text, installation).map(Asked::At),
        }
    }

    /// The position meant by a reader with this snapshot.
    pub fn position(self, snapshot: &Snapshot) -> Position {
        match self {
            Asked::Now => Position::behind(snapshot.clone()),
            Asked::Start => Position::behind(Snapshot::nothing()),
            Asked::At(position) => position,
        }
    }
}

fn invalid(rule: &str, sentence: &str) -> Error {
    Error::new(Kind::InvalidCursor)
        .say(sentence)
        .with("rule", rule)
}

fn check(packed: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check
        .iter_mut()
        .zip(Sha256::digest(packed))
        .for_each(|(to, from)| *to = from);
    check
}

/// A number, seven bits a byte, lowest first.
fn put(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

/// The bound, then each running transaction as its distance from the one above it.
fn put_snapshot(packed: &mut Vec<u8>, snapshot: &Snapshot) {
    put(packed, snapshot.next);
    put(packed, snapshot.running.len() as u64);
    let mut above = snapshot.next;
    for xid in snapshot.running.iter().rev() {
        put(packed, above - xid);
        above = *xid;
    }
}

/// Installation and position of a whole cursor.
fn unpack(text: &str) -> Option<([u8; 4], Position)> {
    let packed = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    let (packed, given) = packed.split_last_chunk::<CHECK>()?;
    if *given != check(packed) {
        return None;
    }
    let (installation, rest) = packed.split_first_chunk::<4>()?;
    let (flags, rest) = rest.split_first()?;
    let mut rest = rest;
    let from = take_snapshot(&mut rest)?;
    let inside = match *flags {
        0 => None,
        INSIDE => {
            let upto = take_snapshot(&mut rest)?;
            Some(Inside {
                upto,
                last: i64::try_from(take(&mut rest)?).ok()?,
            })
        }
        _ => return None,
    };
    rest.is_empty()
        .then_some((*installation, Position { from, inside }))
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_snapshot(rest: &mut &[u8]) -> Option<Snapshot> {
    let next = take(rest)?;
    let count = take(rest)?;
    let mut above = next;
    let mut running = Vec::new();
    for _ in 0..count {
        let distance = take(rest).filter(|d| *d > 0)?;
        above = above.checked_sub(distance)?;
        running.push(above);
    }
    running.reverse();
    Some(Snapshot { next, running })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{Asked, Inside, Position, Snapshot};
    use proptest::prelude::*;

    const HOME: [u8; 4] = [1, 2, 3, 4];

    fn any_snapshot() -> impl Strategy<Value = Snapshot> {
        (
            0u64..1_000_000_000_000,
            prop::collection::vec(0u64..1_000_000_000_000, 0..20),
        )
            .prop_map(|(next, running)| Snapshot::new(next, running))
    }

    fn any_position() -> impl Strategy<Value = Position> {
        let inside = prop::option::of((any_snapshot(), 0i64..));
        (any_snapshot(), inside).prop_map(|(from, inside)| Position {
            from,
            inside: inside.map(|(upto, last)| Inside { upto, last }),
        })
    }

    fn rule(text: &str) -> String {
        let error = Asked::parse(text, HOME).unwrap_err();
        assert_eq!(error.kind().sqlstate(), "FF132");
        error
            .detail_value("rule")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_snapshot_shows_what_had_committed() {
        let s = Snapshot::new(10, vec![7, 5, 7, 12]);
        assert_eq!(s.running(), [5, 7]);
        let shown: Vec<u64> = (3..12).filter(|xid| s.shows(*xid)).collect();
        assert_eq!(shown, [3, 4, 6, 8, 9]);
    }

    #[test]
    fn a_later_snapshot_contains_an_earlier_one() {
        let early = Snapshot::new(10, vec![5, 7]);
        let later = Snapshot::new(12, vec![7, 11]);
        assert!(later.contains(&early) && !early.contains(&later));
        assert!(early.contains(&early) && early.contains(&Snapshot::nothing()));
        // 4 has committed for one and is running for the other: neither contains the other.
        assert!(!Snapshot::new(20, vec![4]).contains(&early));
    }

    #[test]
    fn v_37_texts_that_are_no_cursors() {
        let text = Position::behind(Snapshot::new(1000, vec![990])).encode(HOME);
        assert!(text.starts_with("ffc1.") && text.len() < 40);
        for bad in ["", "zzz", "ffc1.", "NOW", "now ", "17-0", "ffc1.AAAA"] {
            assert_eq!(rule(bad), "not_a_cursor", "{bad}");
        }
        assert_eq!(rule(&text.replace("ffc1", "ffc2")), "not_a_cursor");
        assert_eq!(rule(&format!("{text}A")), "not_a_cursor");
        for end in 0..text.len() {
            assert_eq!(rule(&text[..end]), "not_a_cursor");
        }
    }

    #[test]
    fn v_37_cursor_of_another_installation() {
        let text = Position::behind(Snapshot::nothing()).encode([9, 9, 9, 9]);
        assert_eq!(rule(&text), "other_installation");
    }

    #[test]
    fn words_are_positions() {
        let here = Snapshot::new(8, vec![3]);
        let at = |text| Asked::parse(text, HOME).unwrap().position(&here);
        assert_eq!(at("now"), Position::behind(here.clone()));
        assert_eq!(at("start"), Position::behind(Snapshot::nothing()));
    }

    #[test]
    fn a_position_ahead_of_the_reader_is_not_within_its_snapshot() {
        let reader = Snapshot::new(10, vec![]);
        let ahead = Snapshot::new(11, vec![]);
        let inside = |upto: &Snapshot| Position {
            from: Snapshot::nothing(),
            inside: Some(Inside {
                upto: upto.clone(),
                last: 4,
            }),
        };
        assert!(inside(&reader).is_within(&reader) && !inside(&ahead).is_within(&reader));
        assert!(!Position::behind(ahead).is_within(&reader));
    }

    proptest! {
        #[test]
        fn round_trip(position in any_position()) {
            let text = position.encode(HOME);
            prop_assert_eq!(Position::decode(&text, HOME).unwrap(), position);
        }

        #[test]
        fn a_changed_character_is_no_cursor(position in any_position(), at in 5usize..40, other in "[A-Za-z0-9_-]") {
            let text = position.encode(HOME);
            let mut tampered = text.clone();
            prop_assume!(at < text.len());
            tampered.replace_range(at..=at, &other);
            prop_assume!(tampered != text);
            prop_assert!(Position::decode(&tampered, HOME).is_err());
        }

        #[test]
        fn containment_is_set_inclusion(a in small(), b in small()) {
            let included = (0..14).all(|xid| !b.shows(xid) || a.shows(xid));
            // The bound itself takes part: a snapshot with a higher bound may know more than it shows.
            prop_assert_eq!(a.contains(&b), b.next() <= a.next() && included);
        }

        #[test]
        fn any_text_is_answered(text in "(ffc1\\.)?\\PC*") {
            let _ = Asked::parse(&text, HOME);
        }
    }

    fn small() -> impl Strategy<Value = Snapshot> {
        (0u64..14, prop::collection::vec(0u64..14, 0..6))
            .prop_map(|(next, running)| Snapshot::new(next, running))
    }
}
