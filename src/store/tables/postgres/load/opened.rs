//! What a load is copied with: a connection, and the files that are open.

use std::time::Duration;

use super::super::table::Name;
use crate::insert::rows::FileRows;
use crate::insert::stored::Stored;
use crate::store::postgres::connection;

/// For what the server does at the end of a load: writing an index of all of its rows, say.
pub(super) const LONG: Duration = Duration::from_hours(1);

pub(super) type Connection = connection::Connection<()>;

/// A file that was opened.
pub(super) struct File {
    /// Its load.
    pub(super) load: usize,
    /// Which file of that it is.
    pub(super) file: usize,
    pub(super) stored: Stored,
    pub(super) rows: FileRows,
    pub(super) name: Name,
}
