//! Files that are to be loaded into a table, as one message names them.

use std::convert::Infallible;
use std::sync::Arc;

use bytestring::ByteString;

use crate::sink::Row;

/// A load on its way to a store.
#[derive(Clone, Debug)]
pub struct FileLoad {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// The load.
    pub load: Arc<Load>,
}

/// Files that go into one table together. Its id lands once.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The environment that it is of.
    pub environment: Arc<str>,
    /// Unique in its environment.
    pub id: ByteString,
    /// The table.
    pub target: Target,
    /// Its files; at least one, and each uri once.
    pub files: Vec<LoadFile>,
    /// What becomes of rows that are there already.
    pub mode: Mode,
    /// Whether the table is made where it is missing.
    pub create: bool,
    /// When the load was asked for, in microseconds since 1970: the time of rows that have none.
    pub time: i64,
    /// Whether the sound files of a load with bad ones are loaded all the same.
    pub skips_bad_files: bool,
}

/// The name of a table as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The database, which must then be the store's.
    pub database: Option<ByteString>,
    /// The schema; else it is the store's to say.
    pub schema: Option<ByteString>,
    /// The table.
    pub table: ByteString,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFile {
    /// Where it is: `file://`, `s3://`, `gs://`.
    pub uri: ByteString,
    /// Rows that it must have, where the message says it.
    pub rows: Option<u64>,
    /// Bytes that it must have, where the message says it.
    pub bytes: Option<u64>,
    /// Which object of that name is meant.
    pub which: Which,
}

/// Which of the objects that were ever under a name is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that is there now.
    Newest,
    /// The version, or generation, of a bucket that keeps several.
    Version(ByteString),
    /// The one with this tag, in a bucket that keeps one.
    Tag(ByteString),
}

/// What becomes of rows that are there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rows are added.
    Append,
    /// The newest row of each key stands.
    Upsert {
        /// The columns of the key; at least one.
        keys: Vec<ByteString>,
        /// The column with times that says which row is newer, where the message names it.
        order: Option<ByteString>,
    },
}

impl LoadFile {
    /// Its uri as others may see it: in a letter, a log, a table.
    pub fn shown(&self) -> String {
        shown(&self.uri)
    }
}

/// A uri without what is secret in many: name and password before its host, and everything from its `?` on.
///
/// A password may hold a `/` or an `@`: where there is one, nothing is shown up to the last `@`.
pub fn shown(uri: &str) -> String {
    let (plain, rest) = match uri.split_once('?') {
        Some((plain, _)) => (plain, "?…"),
        None => (uri, ""),
    };
    let (scheme, place) = match plain.split_once("://") {
        Some((scheme, place)) => (format!("{scheme}://"), place),
        None => (String::new(), plain),
    };
    let host = place.split('/').next().unwrap_or_default();
    let port = |after: &str| !after.is_empty() && after.bytes().all(|digit| digit.is_ascii_digit());
    let is_secret = host.contains('@') || host.split_once(':').is_some_and(|(_, after)| !port(after));
    let place = if is_secret { place.rsplit_once('@').map_or("…", |(_, place)| place) } else { place };
    format!("{scheme}{place}{rest}")
}

impl Row for FileLoad {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        self.load.files.len()
    }

    fn size(&self) -> usize {
        let file = |file: &LoadFile| size_of::<LoadFile>() + file.uri.len();
        size_of::<Self>() + size_of::<Load>() + self.load.files.iter().map(file).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_shown_without_secrets_and_otherwise_as_it_is() {
        for plain in ["s3://b/a/x y%20@1.parquet", "file:///data/a:b@c.parquet", "https://h:443/b/a@b", "gs://b", ""] {
            assert_eq!(shown(plain), plain);
        }
        for (uri, expected) in [
            ("s3://KEY:SECRET@b/a.parquet", "s3://b/a.parquet"),
            ("s3://KEY:SEC/RET@b/a.parquet", "s3://b/a.parquet"),
            ("s3://KEY:SEC@/RET@b/a.parquet", "s3://b/a.parquet"),
            ("s3://KEY:SEC/RET", "s3://…"),
            ("KEY:SECRET@b/a.parquet", "b/a.parquet"),
            ("https://h/b/a?X-Amz-Signature=SECRET", "https://h/b/a?…"),
            ("https://KEY:SECRET@h/b/a?x=SECRET@y", "https://h/b/a?…"),
        ] {
            assert_eq!(shown(uri), expected, "{uri}");
        }
    }
}
