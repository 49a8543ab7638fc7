//! A folder that is a disk of its own, which can be full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

use super::BACK_WITHIN;

/// Room for a long run.
const SIZE: &str = "size=8g";

/// A tmpfs. On a failure what is on it is kept.
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Takes root.
    pub fn mount(root: PathBuf) -> nix::Result<Self> {
        std::fs::create_dir_all(&root).unwrap();
        mount(Some("torture"), &root, Some("tmpfs"), MsFlags::empty(), Some(SIZE))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes nothing more.
    pub fn fill(&self) {
        // As small as what is in it; where it has just become more, once more.
        let begun = Instant::now();
        loop {
            let disk = statvfs(&self.root).unwrap();
            let used = (disk.blocks() - disk.blocks_free()).max(1) * disk.fragment_size();
            match self.resize(&format!("size={used}")) {
                Ok(()) => return,
                Err(error) => assert!(begun.elapsed() < BACK_WITHIN, "the disk cannot be filled: {error}"),
            }
        }
    }

    /// Has room again.
    pub fn free(&self) {
        self.resize(SIZE).unwrap();
    }

    fn resize(&self, options: &str) -> nix::Result<()> {
        mount(None::<&str>, &self.root, None::<&str>, MsFlags::MS_REMOUNT, Some(options))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Evidence, beside the logs.
            let _ = Command::new("cp").arg("-r").arg(&self.root).arg(self.root.with_extension("kept")).status();
        }
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
    }
}
