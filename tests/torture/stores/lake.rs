//! The lake on a disk of its own. Away, that disk is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

use super::{BACK_WITHIN, Offline, Store, Trouble, look};

/// A folder that is a disk.
pub struct Lake {
    root: PathBuf,
}

impl Lake {
    pub fn mount(folder: &Path) -> Self {
        let root = folder.join("lake");
        std::fs::create_dir_all(&root).unwrap();
        mount(Some("torture"), &root, Some("tmpfs"), MsFlags::empty(), Some("size=4g"))
            .expect("a tmpfs can be mounted, which this test needs root for");
        Self { root }
    }

    fn resize(&self, options: &str) -> nix::Result<()> {
        mount(None::<&str>, &self.root, None::<&str>, MsFlags::MS_REMOUNT, Some(options))
    }
}

impl Store for Lake {
    fn name(&self) -> &'static str {
        "the lake"
    }

    fn uri(&self) -> String {
        format!("file://{}", self.root.display())
    }

    fn stall(&mut self) {
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

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.resize("size=4g").unwrap();
    }

    fn vanish(&mut self) {
        self.stall();
    }

    fn come_back(&mut self) {
        self.go_on();
    }

    fn begin_trouble(&mut self, _which: Trouble, _random: &mut fastrand::Rng) -> bool {
        false
    }

    fn end_trouble(&mut self) -> &'static str {
        "none"
    }
}

impl Offline for Lake {
    fn reader(&self) -> Box<dyn look::Offline> {
        Box::new(look::Lake::new(self.root.clone()))
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Evidence, beside the logs.
            let _ = Command::new("cp").arg("-r").arg(&self.root).arg(self.root.with_extension("kept")).status();
        }
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
    }
}
