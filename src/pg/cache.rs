//! What a backend remembers of rows that never change once committed.

use std::cell::RefCell;

use pgrx::pg_sys;

use super::xact;

const MOST: usize = 1024;

/// Values by key, of one table. Forgotten when a transaction aborts, because what it read may have been its own,
/// and when the table is another one, because the extension was created anew.
pub struct Cache<K, V>(RefCell<Known<K, V>>);

/// Number of aborts and table for which the values hold, and the values.
type Known<K, V> = (u64, pg_sys::Oid, Vec<(K, V)>);

impl<K: PartialEq + Clone, V: Clone> Cache<K, V> {
    /// Nothing is remembered.
    pub const fn new() -> Self {
        Cache(RefCell::new((0, pg_sys::Oid::INVALID, Vec::new())))
    }

    /// The remembered value, or the one that `read` finds.
    pub fn get_or(&self, table: pg_sys::Oid, key: &K, read: impl FnOnce() -> V) -> V {
        self.peek(table, key).unwrap_or_else(|| {
            let value = read();
            self.put(table, key.clone(), value.clone());
            value
        })
    }

    fn peek(&self, table: pg_sys::Oid, key: &K) -> Option<V> {
        let cache = self.0.borrow();
        let valid = cache.0 == xact::aborts() && cache.1 == table;
        cache
            .2
            .iter()
            .filter(|_| valid)
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.clone())
    }

    fn put(&self, table: pg_sys::Oid, key: K, value: V) {
        let mut cache = self.0.borrow_mut();
        if cache.0 != xact::aborts() || cache.1 != table || cache.2.len() >= MOST {
            *cache = (xact::aborts(), table, Vec::new());
        }
        cache.2.retain(|(known, _)| *known != key);
        cache.2.push((key, value));
    }
}

/// What a backend remembers of rows that seldom change: valid until a transaction that changed any of them commits,
/// which every backend learns from a number in shared memory. Without preload nothing is remembered.
pub struct Shared<K, V>(Cache<K, (u64, V)>);

impl<K: PartialEq + Clone, V: Clone> Shared<K, V> {
    /// Nothing is remembered.
    pub const fn new() -> Self {
        Shared(Cache::new())
    }

    /// The remembered value, or the one that `read` finds; nothing found is not remembered.
    pub fn get_or(&self, key: K, read: impl Fn() -> Option<V>) -> Option<V> {
        // A transaction sees its own changes, and one with a fixed snapshot sees old ones: neither is for others.
        if !super::shared::remembers_names() || xact::renamed() || !super::session::read_committed()
        {
            return read();
        }
        let generation = super::shared::generation();
        let table = super::session::table(c"ff_engine", c"lane");
        if let Some((known, value)) = self.0.peek(table, &key)
            && known == generation
        {
            return Some(value);
        }
        let value = read()?;
        self.0.put(table, key, (generation, value.clone()));
        Some(value)
    }
}
