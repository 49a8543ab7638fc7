//! A disk that is full, and one that takes no writes, on a small file system of its own.

use std::path::Path;
use std::process::Command;

use chalk_writer::sink::SinkError;
use chalk_writer::value::Value;

use crate::logs::Logs;

use super::support::{NOON, open, read, read_once, row, shape, write};

/// A mounted tmpfs, unmounted when dropped.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub(crate) fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        run("mount", &["-t", "tmpfs", "-o", options, "lake-test"], folder.path());
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}")], self.0.path());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run("umount", &[], self.0.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program).args(arguments).arg(path).output().expect("mount and umount are installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program}` of a tmpfs, which this test needs root for: {error}");
}

#[tokio::test]
async fn a_lake_whose_disk_is_unmounted_is_not_made_anew_beside_it() {
    let logs = Logs::listen();
    let folder = tempfile::tempdir().expect("folder");
    run("mount", &["-t", "tmpfs", "-o", "size=3m", "lake-test"], folder.path());
    let store = open(folder.path());
    let shape = shape("user", &[("n", None)]);
    write(&store, "1", &[row(&shape, 1, NOON, [Value::Int(1)])]).await.expect("written");
    assert_eq!(logs.lines("making a new one").len(), 1, "it was not there");
    run("umount", &["-l"], folder.path());
    let denied = write(&store, "2", &[row(&shape, 2, NOON, [Value::Int(2)])]).await.expect_err("it is away");
    assert!(matches!(&denied, SinkError::Denied { reason } if reason.contains("another file system")), "{denied}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "nothing is made beside it");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_shows_nothing_half() {
    let disk = Tmpfs::mount("size=3m");
    let (filler, root) = (disk.0.path().join("filler"), disk.0.path().join("lake"));
    let store = open(&root);
    let shape = shape("user", &[("noise", None)]);
    let rows: Vec<_> =
        (0..20_000).map(|n| row(&shape, n, NOON, [Value::text(uuid::Uuid::new_v4().to_string())])).collect();
    write(&store, "before", &rows[..10]).await.expect("there is room");
    // Every amount of room that is too little: for the file, for a block of it, for a folder.
    for free in [64 << 10, 16 << 10, 4 << 10, 0] {
        fill(&filler, free);
        let error = write(&store, "unit", &rows).await.expect_err("the disk is full");
        assert!(matches!(&error, SinkError::Transient { reason } if reason.contains("No space left")), "{error}");
        assert_eq!(read(&root, "user").len(), 10);
        let staged: Vec<_> = std::fs::read_dir(root.join("_staging")).expect("readable").collect();
        assert!(staged.is_empty(), "room is taken by {staged:?}");
    }
    std::fs::remove_file(&filler).expect("removable");
    let outcome = write(&store, "unit", &rows).await.expect("there is room again");
    assert_eq!(outcome.stored, 20_000);
    assert_eq!(read_once(&root, "user").len(), 20_000);
}

/// Fills the disk but for so many bytes.
fn fill(filler: &Path, free: usize) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(filler).expect("made");
    let block = vec![1; 4 << 10];
    let mut written = 0;
    while file.write_all(&block).is_ok() {
        written += block.len();
    }
    file.set_len(written.saturating_sub(free) as u64).expect("shortened");
}

#[tokio::test]
async fn a_full_disk_before_the_first_row_is_waited_for() {
    let disk = Tmpfs::mount("size=256k,nr_inodes=2");
    let store = open(&disk.0.path().join("lake"));
    let rows = [row(&shape("user", &[]), 1, NOON, [])];
    let error = write(&store, "unit", &rows).await.expect_err("no room for a folder");
    assert!(matches!(error, SinkError::Transient { .. }), "{error}");
    disk.remount("nr_inodes=100");
    write(&store, "unit", &rows).await.expect("there is room again");
    assert_eq!(read_once(&disk.0.path().join("lake"), "user").len(), 1);
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_denies_and_is_asked_again() {
    let disk = Tmpfs::mount("size=1m");
    let store = open(&disk.0.path().join("lake"));
    let rows = [row(&shape("user", &[]), 1, NOON, [])];
    disk.remount("ro");
    let error = write(&store, "unit", &rows).await.expect_err("read-only");
    assert!(matches!(error, SinkError::Denied { .. }), "{error}");
    disk.remount("rw");
    write(&store, "unit", &rows).await.expect("writable again");
    disk.remount("ro");
    let error = write(&store, "other", &rows).await.expect_err("read-only");
    assert!(matches!(error, SinkError::Denied { .. }), "{error}");
    disk.remount("rw");
    write(&store, "other", &rows).await.expect("writable again");
    assert_eq!(read_once(&disk.0.path().join("lake"), "user").len(), 1);
}
