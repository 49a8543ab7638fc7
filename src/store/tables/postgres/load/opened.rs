//! What a load is copied with: a connection, and the files that were opened.

use std::sync::Arc;
use std::time::Duration;

use super::super::table::Name;
use crate::insert::rows::FileRows;
use crate::insert::stored::Closed;
use crate::store::postgres::connection;

/// For what the server does at the end of a load: writing an index of all of its rows, say.
pub(super) const LONG: Duration = Duration::from_hours(1);

pub(super) type Connection = connection::Connection<()>;

/// A file that was opened, and is opened again when it is copied: a load has up to thousands, and the footers of all of
/// them are more than there is memory for.
pub(super) struct File {
    /// Its load.
    pub(super) load: usize,
    /// Which file of that it is.
    pub(super) file: usize,
    pub(super) closed: Closed,
    /// The same for all files of a load with the same columns.
    pub(super) rows: Arc<FileRows>,
    pub(super) name: Name,
}
