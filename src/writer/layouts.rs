//! What a writer does with each column of a table, worked out once for all tables alike.
//!
//! Messages of one query have the same columns in the same order. Hashing the names once and
//! comparing them once is several times cheaper than looking each of them up for every message.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use bytestring::ByteString;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::result::ListId;

/// Bytes of names that are remembered. A producer whose every message has other columns makes this
/// start over, and costs time, not memory.
const LARGEST: usize = 8 * 1024 * 1024;

/// Layouts by namespace and columns.
#[derive(Debug)]
pub struct Layouts<L> {
    hasher: DefaultHashBuilder,
    known: Mutex<Entries<L>>,
}

#[derive(Debug)]
struct Entries<L> {
    table: HashTable<Arc<Entry<L>>>,
    /// The one that was asked for last: results of one query come one after another.
    latest: Option<(Arc<Entry<L>>, Option<ListId>)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<L> {
    hash: u64,
    namespace: Box<str>,
    columns: Box<[Box<str>]>,
    layout: Arc<L>,
}

impl<L> Default for Layouts<L> {
    fn default() -> Self {
        let entries = Entries { table: HashTable::new(), latest: None, bytes: 0 };
        Self { hasher: DefaultHashBuilder::default(), known: Mutex::new(entries) }
    }
}

impl<L> Layouts<L> {
    /// The layout of a table with these columns in this order, made by `make` where it is new. `list` tells
    /// whether the columns are those of the last time without comparing them.
    pub fn get(
        &self,
        namespace: &str,
        columns: &[ByteString],
        list: Option<ListId>,
        make: impl FnOnce() -> L,
    ) -> Arc<L> {
        let same = |entry: &Entry<L>| {
            &*entry.namespace == namespace
                && entry.columns.len() == columns.len()
                && entry.columns.iter().zip(columns).all(|(known, column)| **known == **column)
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((latest, latest_list)) = &mut known.latest {
            if list.is_some() && *latest_list == list && *latest.namespace == *namespace {
                return latest.layout.clone();
            }
            if same(latest) {
                *latest_list = list;
                return latest.layout.clone();
            }
        }
        let mut hasher = self.hasher.build_hasher();
        namespace.hash(&mut hasher);
        for column in columns {
            column.as_bytes().hash(&mut hasher);
        }
        let hash = hasher.finish();
        if let Some(entry) = known.table.find(hash, |entry| same(entry)).cloned() {
            known.latest = Some((entry.clone(), list));
            return entry.layout.clone();
        }
        let layout = Arc::new(make());
        let entry = Arc::new(Entry {
            hash,
            namespace: namespace.into(),
            columns: columns.iter().map(|column| Box::from(&**column)).collect(),
            layout: layout.clone(),
        });
        let bytes = 200 + namespace.len() + columns.iter().map(|column| column.len() + 100).sum::<usize>();
        if known.bytes + bytes > LARGEST {
            known.table.clear();
            known.bytes = 0;
        }
        known.bytes += bytes;
        known.latest = Some((entry.clone(), list));
        known.table.insert_unique(hash, entry, |entry| entry.hash);
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<ByteString> {
        names.iter().map(|name| ByteString::from(*name)).collect()
    }

    #[test]
    fn tables_alike_share_one_layout() {
        let layouts = Layouts::<u32>::default();
        let first = layouts.get("user", &columns(&["user.a", "user.b"]), None, || 1);
        let again = layouts.get("user", &columns(&["user.a", "user.b"]), None, || 2);
        assert!(Arc::ptr_eq(&first, &again));
        for (namespace, names) in
            [("card", &["user.a", "user.b"][..]), ("user", &["user.b", "user.a"]), ("user", &["user.a"])]
        {
            assert_eq!(*layouts.get(namespace, &columns(names), None, || 3), 3);
        }
    }

    #[test]
    fn ever_new_columns_do_not_fill_the_memory() {
        let layouts = Layouts::<usize>::default();
        let long = "x".repeat(100_000);
        for at in 0..1_000 {
            layouts.get(&long, &columns(&[&format!("user.{at}")]), None, || at);
            assert!(layouts.known.lock().expect("no panic").bytes <= LARGEST);
        }
    }
}
