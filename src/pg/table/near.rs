//! Entries of an index that stand together: many keys that are close to one another cost one search.
//!
//! The ids of a batch were mostly minted one after the other, so their entries fill a page or two of the index. These
//! are read once, and keys are looked up among them; where keys turn out to be far apart, they are searched one by one.

use std::ops::Range;

use pgrx::pg_sys;

use super::search::Search;

/// With fewer keys to come, searching for each is cheaper than reading a page whole.
const MANY: usize = 16;

/// A stretch that answered fewer keys than this was not worth reading.
const WORTHWHILE: usize = 8;

/// All entries of a stretch of an index by one uuid, in ascending order.
pub(super) struct Near {
    entries: Vec<([u8; 16], pg_sys::ItemPointerData)>,
    /// From the first key to before the second; to the end of the index if there is none.
    stretch: ([u8; 16], Option<[u8; 16]>),
    /// About so many entries are read at a time.
    stride: usize,
    /// How many keys the stretch has answered.
    answered: usize,
    /// The entries of the key asked for that have not been visited yet.
    asked: Range<usize>,
    /// How the index finds the first entry that is not before a key.
    from: pg_sys::ScanKeyData,
}

impl Near {
    /// Prepares for so many keys; none if they are too few.
    pub(super) fn new(keys: usize, from: pg_sys::ScanKeyData) -> Option<Box<Near>> {
        (keys >= MANY).then(|| {
            Box::new(Near {
                entries: Vec::with_capacity(2 * keys),
                // Covers nothing yet.
                stretch: ([0; 16], Some([0; 16])),
                stride: 2 * keys,
                answered: WORTHWHILE,
                asked: 0..0,
                from,
            })
        })
    }

    /// Asks for the entries of a key, which are read if they do not stand here; false if that is not worth it.
    ///
    /// # Safety
    /// The search is one by a uuid alone, on a snapshot that no later row is visible to.
    pub(super) unsafe fn ask(&mut self, key: &[u8; 16], search: &mut Search) -> bool {
        if !self.covers(key) {
            if self.answered < WORTHWHILE {
                return false;
            }
            // SAFETY: as the caller promises.
            unsafe { self.read(key, search) };
        }
        let start = self.entries.partition_point(|(k, _)| k < key);
        let same = self.entries.iter().skip(start);
        self.asked = start..start + same.take_while(|(k, _)| k == key).count();
        self.answered += 1;
        true
    }

    /// Where a row of the key asked for may stand.
    pub(super) fn next(&mut self) -> Option<pg_sys::ItemPointerData> {
        let at = self.asked.next()?;
        self.entries.get(at).map(|(_, place)| *place)
    }

    fn covers(&self, key: &[u8; 16]) -> bool {
        let (from, upto) = &self.stretch;
        key >= from && upto.as_ref().is_none_or(|upto| key < upto)
    }

    /// Reads the stretch that begins with a key.
    ///
    /// # Safety
    /// As for `ask`.
    unsafe fn read(&mut self, key: &[u8; 16], search: &mut Search) {
        self.answered = 0;
        self.stretch = (*key, None);
        self.entries.clear();
        self.from.sk_argument = pg_sys::Datum::from(key.as_ptr());
        // SAFETY: as the caller promises; the key outlives the scan.
        unsafe {
            search.read_entries(&mut self.from, |found, place| {
                let last = self.entries.last();
                let beyond = self.entries.len() >= self.stride
                    && last.is_some_and(|(last, _)| *last != found);
                if beyond {
                    self.stretch.1 = Some(found);
                } else {
                    self.entries.push((found, place));
                }
                !beyond
            });
        }
    }
}
