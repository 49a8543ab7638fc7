//! What the embedded stores share: a SQLite file by its URI, opened once for the process and noticed when it goes,
//! and what SQLite's errors mean for a writer.

mod database;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

pub(super) use self::database::Database;
use super::StoreError;
use crate::sink::SinkError;

/// A file that one task at a time works on: SQLite has one writer at a time in any case.
pub(super) struct File<T> {
    path: PathBuf,
    open: fn(Database) -> rusqlite::Result<T>,
    slot: Arc<Mutex<Option<T>>>,
}

/// What is kept of an open file.
pub(super) trait Opened: Send + 'static {
    fn database(&self) -> &Database;
}

impl<T: Opened> File<T> {
    /// That of a path; it is opened when something is first done with it, and `open` makes ready what it needs.
    pub(super) fn new(path: PathBuf, open: fn(Database) -> rusqlite::Result<T>) -> Self {
        Self { path, open, slot: Arc::default() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Works on the file where blocking is allowed, and opens it first where that is still to be done.
    ///
    /// One that was deleted or replaced since is opened anew: what is written to it is found by nobody.
    pub(super) async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, SinkError> + Send + 'static,
    ) -> Result<R, SinkError> {
        let mut slot = self.slot.clone().lock_owned().await;
        let (path, open) = (self.path.clone(), self.open);
        tokio::task::spawn_blocking(move || {
            let done = opened(&path, open, &mut slot).and_then(work);
            if done.is_err() {
                // A connection that met an error may be in any state; the next one starts afresh.
                *slot = None;
            }
            done
        })
        .await
        .map_err(|error| SinkError::Bug { reason: format!("working on SQLite: {error}") })?
    }
}

fn opened<'a, T: Opened>(
    path: &Path,
    open: fn(Database) -> rusqlite::Result<T>,
    slot: &'a mut Option<T>,
) -> Result<&'a mut T, SinkError> {
    if slot.as_ref().is_some_and(|file| file.database().is_elsewhere()) {
        tracing::warn!(path = %path.display(), "the SQLite file was removed or replaced; opening the path again");
        *slot = None;
    }
    let file = match slot.take() {
        Some(file) => file,
        None => Database::open(path).and_then(open).map_err(|error| database::failure(path, &error))?,
    };
    Ok(slot.insert(file))
}

/// The path in a URI `sqlite:relative/path.db` or `sqlite:///absolute/path.db`; `store` is how the store is called.
pub(super) fn path(store: &str, uri: &str) -> Result<PathBuf, StoreError> {
    let wrong = |what: &str| {
        Err(StoreError(format!(
            "{store} `{uri}`: {what}; expected `sqlite:relative/path.db` or `sqlite:///absolute/path.db`"
        )))
    };
    let Some((_, rest)) = uri.split_once(':') else { return wrong("no scheme") };
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return wrong("a host, where a file has none"),
        None => rest,
    };
    match path {
        "" => wrong("no path"),
        ":memory:" => wrong("a database in memory, which would be lost with the process"),
        // The bundled SQLite reads parameters out of such a name, `mode=memory` among them.
        _ if path.starts_with("file:") => wrong("a URI of SQLite in place of a path"),
        _ if path.ends_with('/') => wrong("a folder"),
        _ => Ok(Path::new(path).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_file_or_says_what_is_wrong() {
        let path = |uri| path("online store", uri);
        assert_eq!(path("sqlite:a/b.db"), Ok("a/b.db".into()));
        assert_eq!(path("sqlite:///a/b.db"), Ok("/a/b.db".into()));
        assert_eq!(path("sqlite:/a/b.db"), Ok("/a/b.db".into()));
        for (uri, what) in [
            ("sqlite:", "no path"),
            ("sqlite://a/b.db", "a host"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:a/", "a folder"),
            ("sqlite:file:a?mode=memory", "a URI of SQLite"),
        ] {
            assert!(path(uri).expect_err(uri).0.contains(what), "{uri}");
        }
    }
}
