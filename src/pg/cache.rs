//! What a backend remembers of rows that never change once committed.

use std::cell::RefCell;

use pgrx::pg_sys;

use super::xact;

const MOST: usize = 1024;

/// Values by key, of one table. Forgotten when a transaction aborts, because what it read may have been its own,
/// and when the table is another one, because the extension was created anew.
pub struct Cache<K, V>(RefCell<(u64, pg_sys::Oid, Vec<(K, V)>)>);

impl<K: PartialEq, V: Clone> Cache<K, V> {
    /// Nothing is remembered.
    pub const fn new() -> Self {
        Cache(RefCell::new((0, pg_sys::Oid::INVALID, Vec::new())))
    }

    /// The remembered value, or the one that `read` finds.
    pub fn get_or(&self, table: pg_sys::Oid, key: K, read: impl FnOnce() -> V) -> V {
        let aborts = xact::aborts();
        {
            let mut cache = self.0.borrow_mut();
            if cache.0 != aborts || cache.1 != table || cache.2.len() >= MOST {
                *cache = (aborts, table, Vec::new());
            }
            if let Some((_, value)) = cache.2.iter().find(|(known, _)| *known == key) {
                return value.clone();
            }
        }
        let value = read();
        self.0.borrow_mut().2.push((key, value.clone()));
        value
    }
}
