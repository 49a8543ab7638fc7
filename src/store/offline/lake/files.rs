//! The lake's files: seen only when whole, and on the disk before anyone is told so.
//!
//! A file is written under `_staging` and moved to its place. Beside its place a half-written file
//! would be read: pyarrow, pandas and Spark take whatever lies in a table's folder, and DuckDB and
//! Polars take hidden names too.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hashbrown::HashSet;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::sink::SinkError;

use super::kept::Kept;
use super::layout;

/// What lies in `_staging` for longer belongs to a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(3_600);
/// How often what a load has in `_staging` is touched: so often that a few times may fail.
const TOUCHED: Duration = Duration::from_secs(LEFT_BEHIND.as_secs() / 6);
/// Folders that are remembered as durable; forgetting one costs a few `fsync`.
const REMEMBERED: usize = 10_000;

/// The files under one root. Nothing is touched before the first call.
pub(super) struct Files {
    root: PathBuf,
    store: OnceCell<Opened>,
    durable: Mutex<HashSet<Path>>,
    swept: Mutex<Option<Instant>>,
}

/// A lake that was opened once.
struct Opened {
    store: Arc<dyn ObjectStore>,
    /// The file system that its root was on then.
    device: u64,
}

impl Files {
    /// The lake at an absolute path.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, store: OnceCell::new(), durable: Mutex::default(), swept: Mutex::default() }
    }

    /// Puts a whole file in its place, over one of the same name; durable with its folders on return.
    pub(super) async fn publish(&self, folder: &Path, name: &str, content: PutPayload) -> Result<(), SinkError> {
        let staged = self.stage(&layout::file(folder, name), content).await?;
        let placed = self.place(&staged, folder, name).await;
        if placed.is_err() {
            // What could not be moved is of no use: the next attempt writes it again.
            self.discard(&staged).await;
        }
        placed
    }

    /// Writes a whole file beside its place; where it lies until it is moved there.
    pub(super) async fn stage(&self, place: &Path, content: PutPayload) -> Result<Path, SinkError> {
        let store = self.store().await?;
        self.still_there()?;
        self.sweep().await;
        let staged = Path::from_iter([layout::STAGING.to_owned(), Uuid::new_v4().to_string()]);
        store.put(&staged, content).await.map_err(|error| self.failed("writing", place, &error))?;
        Ok(staged)
    }

    /// Moves a staged file into its place, over one of the same name; durable with its folders on return.
    pub(super) async fn place(&self, staged: &Path, folder: &Path, name: &str) -> Result<(), SinkError> {
        self.make_durable(folder).await?;
        let place = layout::file(folder, name);
        let moved = self.store().await?.rename(staged, &place).await;
        moved.map_err(|error| self.failed("moving into place", &place, &error))
    }

    /// Keeps staged files from being swept, for as long as what is returned is there.
    pub(super) fn keep(&self) -> Kept {
        Kept::new(self.root.clone(), TOUCHED)
    }

    /// Removes a staged file. One that cannot be removed does no harm, and is swept later.
    pub(super) async fn discard(&self, staged: &Path) {
        let staged = self.root.join(staged.as_ref());
        blocking(move || fs::remove_file(staged)).await.ok();
    }

    /// Makes a file that is not there yet; `false` where it is.
    pub(super) async fn create(&self, folder: &Path, name: &str, content: Bytes) -> Result<bool, SinkError> {
        let store = self.store().await?;
        self.make_durable(folder).await?;
        let place = layout::file(folder, name);
        match store.put_opts(&place, content.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("making", &place, &error)),
        }
    }

    /// A file's content; `None` where there is no such file.
    pub(super) async fn read(&self, place: &Path) -> Result<Option<Bytes>, SinkError> {
        let found = match self.store().await?.get(place).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading", place, &error)),
        }
    }

    /// Names of the files in a folder; none where there is no folder.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<String>, SinkError> {
        match self.store().await?.list_with_delimiter(Some(folder)).await {
            Ok(listed) => {
                Ok(listed.objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect())
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.failed("listing", folder, &error)),
        }
    }

    /// Forgets which folders are durable: someone has removed them.
    pub(super) fn forget_durable(&self) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn store(&self) -> Result<&Arc<dyn ObjectStore>, SinkError> {
        let open = || async {
            let root = self.root.clone();
            let opened = blocking(move || {
                let new = !root.join(layout::SCHEMAS).is_dir();
                make_folders(&root, None)?;
                let store = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?;
                Ok((store, fs::metadata(&root)?.dev(), new))
            });
            let (store, device, new) = opened.await.map_err(|error| classify("opening", &self.root, &error))?;
            if new {
                tracing::warn!(
                    "no lake at {}, making a new one: right at the very first start; otherwise its disk may not be \
                     mounted",
                    self.root.display()
                );
            }
            Ok(Opened { store: Arc::new(store.with_fsync(true)), device })
        };
        self.store.get_or_try_init(open).await.map(|opened| &opened.store)
    }

    /// Opens the lake, where it is not open, and sees whether it is still there.
    pub(super) async fn probe(&self) -> Result<(), SinkError> {
        self.store().await?;
        self.still_there()
    }

    /// A root that went away under a running writer is not made again: it was mounted, most likely, and what is
    /// written beside the mount is lost with the container.
    fn still_there(&self) -> Result<(), SinkError> {
        let Some(Opened { device, .. }) = self.store.get() else { return Ok(()) };
        let root = self.root.display();
        let reason = match fs::metadata(&self.root) {
            Ok(found) if found.dev() == *device => return Ok(()),
            Ok(_) => format!(
                "{root} is on another file system than when it was opened: is its disk mounted? Where it was moved on \
                 purpose, restart the writer"
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => format!(
                "{root} is gone, and it is not made again under a running writer: is its disk mounted? Where it was \
                 removed on purpose, make the folder or restart the writer"
            ),
            Err(error) => return Err(classify("looking at", &self.root, &error)),
        };
        Err(SinkError::Denied { reason })
    }

    /// Makes a folder and sees to it that a power cut does not take it away.
    ///
    /// A folder that is there already may have been made by a process that was killed before its
    /// `fsync`, so the first use by this process repeats it.
    async fn make_durable(&self, folder: &Path) -> Result<(), SinkError> {
        let (root, path) = (self.root.clone(), self.root.join(folder.as_ref()));
        self.still_there()?;
        // Old dates may be removed under a running writer, and a late row brings them back.
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) && path.is_dir() {
            return Ok(());
        }
        let made = blocking(move || make_folders(&path, Some(&root))).await;
        made.map_err(|error| classify("making", &self.root.join(folder.as_ref()), &error))?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.clone());
        Ok(())
    }

    /// Removes what killed processes left in `_staging`, at the first write and then once an hour.
    async fn sweep(&self) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.is_some_and(|last| last.elapsed() < LEFT_BEHIND) {
                return;
            }
            *swept = Some(Instant::now());
        }
        let root = self.root.clone();
        match blocking(move || Ok(remove_left_behind(&root, SystemTime::now()))).await {
            Ok(0) => {}
            Ok(removed) => {
                metrics::counter!("chalk_writer_lake_leftovers_removed_total").increment(removed);
                tracing::info!(removed, "removed unfinished files of killed writers");
            }
            Err(error) => tracing::warn!(%error, "unfinished files of killed writers could not be looked for"),
        }
    }

    fn failed(&self, doing: &str, place: &Path, error: &object_store::Error) -> SinkError {
        classify(doing, &self.root.join(place.as_ref()), error)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Makes a folder, and flushes it and every folder above it up to `root`, or to the first that was there
/// where there is no `root` (yet).
fn make_folders(path: &FilePath, root: Option<&FilePath>) -> io::Result<()> {
    let last = match root {
        Some(root) if root.exists() => root,
        _ => path.ancestors().find(|folder| folder.exists()).unwrap_or(path),
    };
    fs::create_dir_all(path)?;
    for folder in path.ancestors() {
        File::open(folder)?.sync_all()?;
        if folder == last {
            break;
        }
    }
    Ok(())
}

/// Removes staged files of long ago, and counts them. One that cannot be removed does no harm.
fn remove_left_behind(root: &FilePath, now: SystemTime) -> u64 {
    let mut folders = vec![root.join(layout::STAGING)];
    folders.extend(entries(&root.join(layout::SCHEMAS)));
    let old = |path: &PathBuf| {
        let age = fs::metadata(path).and_then(|file| file.modified()).map(|made| now.duration_since(made));
        matches!(age, Ok(Ok(age)) if age > LEFT_BEHIND)
    };
    let staged = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.parent() == folders.first().map(PathBuf::as_path) || name.contains('#')
    };
    let left = folders.iter().flat_map(|folder| entries(folder)).filter(|path| staged(path) && old(path));
    left.filter(|path| fs::remove_file(path).is_ok()).count() as u64
}

fn entries(folder: &FilePath) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

/// What a failure means for the write: rights, or anything else that may be over later.
fn classify(doing: &str, place: &FilePath, error: &(dyn StdError + 'static)) -> SinkError {
    let mut cause = Some(error);
    let mut found: Option<&io::Error> = None;
    while let Some(error) = cause {
        // `io::Error` hides what it wraps from `source`, so the innermost one is looked for by hand.
        let inner = error.downcast_ref::<io::Error>();
        found = inner.filter(|error| error.raw_os_error().is_some()).or(found);
        cause = match inner.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    let place = place.display();
    let cause = found.map_or_else(|| error.to_string(), ToString::to_string);
    let reason = format!("{doing} {place}: {cause}");
    match found.map(io::Error::kind) {
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => SinkError::Denied { reason },
        _ => SinkError::Transient { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_writer_left_long_ago_is_removed() {
        let root = tempfile::tempdir().expect("temporary folder");
        let staged = root.path().join(layout::STAGING).join("a");
        let half = root.path().join(layout::SCHEMAS).join("user/v000001.json#1");
        let whole = root.path().join(layout::SCHEMAS).join("user/v000001.json");
        for path in [&staged, &half, &whole] {
            fs::create_dir_all(path.parent().expect("has a parent")).expect("folder is made");
            fs::write(path, b"x").expect("file is written");
        }
        assert_eq!(remove_left_behind(root.path(), SystemTime::now()), 0);
        assert_eq!(remove_left_behind(root.path(), SystemTime::now() + LEFT_BEHIND * 2), 2);
        assert!(!staged.exists() && !half.exists() && whole.exists());
    }

    #[tokio::test]
    async fn what_a_load_stages_is_not_swept_however_long_it_takes() {
        let root = tempfile::tempdir().expect("temporary folder");
        let staged = Path::from_iter([layout::STAGING, "a"]);
        let path = root.path().join(staged.as_ref());
        fs::create_dir_all(path.parent().expect("has a parent")).expect("folder is made");
        fs::write(&path, b"x").expect("file is written");
        let long_ago = SystemTime::now() - LEFT_BEHIND * 2;
        File::open(&path).and_then(|file| file.set_modified(long_ago)).expect("an old file");
        let kept = Kept::new(root.path().to_owned(), Duration::from_millis(1));
        kept.add(&staged);
        let modified = || fs::metadata(&path).and_then(|file| file.modified()).expect("it is there");
        while modified() <= long_ago + LEFT_BEHIND {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(remove_left_behind(root.path(), SystemTime::now()), 0);
    }

    #[test]
    fn rights_are_told_from_what_passes() {
        let place = FilePath::new("/lake");
        let wrapped = io::Error::other(io::Error::from_raw_os_error(13));
        assert!(matches!(classify("making", place, &wrapped), SinkError::Denied { .. }));
        let full = io::Error::from_raw_os_error(28);
        let SinkError::Transient { reason } = classify("writing", place, &full) else { panic!("a full disk passes") };
        assert!(reason.contains("No space left"), "{reason}");
    }
}
