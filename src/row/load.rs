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
