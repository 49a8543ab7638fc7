//! Files of a load that is under way, which may lie in `_staging` for as long as it takes: they are touched now and then,
//! so that nobody takes them for a killed writer's.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use object_store::path::Path;
use tokio::task::JoinHandle;

/// Touches files for as long as it is there.
#[derive(Debug)]
pub(super) struct Kept {
    root: PathBuf,
    files: Arc<Mutex<Vec<PathBuf>>>,
    task: JoinHandle<()>,
}

impl Kept {
    /// Of a lake at this path, whose files are touched that often.
    pub(super) fn new(root: PathBuf, every: Duration) -> Self {
        let files: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
        let of_task = Arc::clone(&files);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let files = Arc::clone(&of_task);
                // Files that are not touched are removed, which the end of their load finds: it is tried again.
                tokio::task::spawn_blocking(move || touch(&files)).await.ok();
            }
        });
        Self { root, files, task }
    }

    /// One file more.
    pub(super) fn add(&self, file: &Path) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(self.root.join(file.as_ref()));
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes files as new as those of now. One that is gone was moved to its place, or removed.
fn touch(files: &Mutex<Vec<PathBuf>>) {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for file in files {
        File::open(file).and_then(|file| file.set_modified(SystemTime::now())).ok();
    }
}
