//! Where values came from, while a row is read: gathered first, given to the cells at its end.

use bytestring::ByteString;

use super::{Cell, Source};
use crate::value::Value;

/// What a row says of one column.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) column: usize,
    pub(super) source: Source,
    pub(super) source_id: Option<Box<ByteString>>,
}

/// The name of a resolver; an empty one says nothing.
pub(super) fn source_id(name: ByteString) -> Option<Box<ByteString>> {
    (!name.is_empty()).then(|| Box::new(name))
}

/// The meta of the row in hand.
#[derive(Debug, Default)]
pub(super) struct Metas {
    /// In the order in which they came.
    pub(super) named: Vec<Meta>,
    /// How many there were if they came as a list.
    pub(super) aligned: usize,
    /// For each column the last row that had meta for it.
    last: Vec<u32>,
}

impl Metas {
    pub(super) fn clear(&mut self) {
        self.named.clear();
        self.aligned = 0;
    }

    /// Notes that a row has meta for a column; false if it had before.
    pub(super) fn note(&mut self, column: usize, row: u32) -> bool {
        if self.last.len() <= column {
            self.last.resize(column + 1, 0);
        }
        std::mem::replace(&mut self.last[column], row) != row
    }

    /// Gives each cell its meta; `find` knows the cell of a column.
    ///
    /// Meta without a value says nothing, but for `MISSING`: that is how a row has the feature as null.
    pub(super) fn apply(&mut self, cells: &mut Vec<Cell>, find: impl Fn(usize) -> Option<usize>) {
        for (at, meta) in self.named.drain(..).enumerate() {
            let cell = match cells.get(at) {
                Some(cell) if cell.column == meta.column => Some(at),
                _ => find(meta.column),
            };
            give(cells, cell, meta);
        }
    }

    /// The same where both are in the order of the columns.
    pub(super) fn apply_in_order(&mut self, cells: &mut Vec<Cell>) {
        let given = cells.len();
        let mut at = 0;
        for meta in self.named.drain(..) {
            while at < given && cells[at].column < meta.column {
                at += 1;
            }
            let cell = (at < given && cells[at].column == meta.column).then_some(at);
            give(cells, cell, meta);
        }
    }
}

fn give(cells: &mut Vec<Cell>, cell: Option<usize>, meta: Meta) {
    let Meta { column, source, source_id } = meta;
    match cell {
        Some(cell) => (cells[cell].source, cells[cell].source_id) = (source, source_id),
        None if source == Source::Missing => cells.push(Cell { column, value: Value::Null, source, source_id }),
        None => {}
    }
}

impl Source {
    const NAMES: [(&'static str, Self); 7] = [
        ("UNSPECIFIED", Self::Unknown),
        ("RESOLVER", Self::Resolver),
        ("ONLINE_STORE", Self::OnlineStore),
        ("OFFLINE_STORE", Self::OfflineStore),
        ("DEFAULT", Self::Default),
        ("GIVEN", Self::Given),
        ("MISSING", Self::Missing),
    ];

    /// The source of a number of `SourceType`; one that this version does not know is [`Source::Unknown`].
    pub fn numbered(number: i32) -> Self {
        usize::try_from(number).ok().and_then(|at| Self::NAMES.get(at)).map_or(Self::Unknown, |(_, source)| *source)
    }

    /// Its number in `SourceType`.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// The source of a name in any case, with or without the prefix of the enum.
pub(super) fn source_named(name: &str) -> Source {
    let short = match name.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("SOURCE_TYPE_") => &name[12..],
        _ => name,
    };
    let found = Source::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(short));
    found.map_or(Source::Unknown, |(_, source)| *source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_by_name_and_by_number() {
        for (number, (name, source)) in Source::NAMES.into_iter().enumerate() {
            assert_eq!(Source::numbered(number as i32), source);
            assert_eq!((source.number(), source.as_str()), (number as i32, name));
            for name in [name.to_owned(), name.to_lowercase(), format!("SOURCE_TYPE_{name}")] {
                assert_eq!(source_named(&name), source);
            }
        }
        assert_eq!((Source::numbered(7), Source::numbered(-1)), (Source::Unknown, Source::Unknown));
        assert_eq!(source_named("ORACLE"), Source::Unknown);
    }
}
