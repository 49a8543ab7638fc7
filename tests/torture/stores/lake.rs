//! The lake on a disk of its own. Away, that disk is full.

use std::path::Path;

use super::{Disk, Offline, Store, Trouble, look};
use crate::keepers::Keeper;

/// A folder that is a disk.
pub struct Lake {
    disk: Disk,
}

impl Lake {
    pub fn mount(folder: &Path) -> Self {
        let disk = Disk::mount(folder.join("lake"));
        Self { disk: disk.expect("a tmpfs can be mounted, which this test needs root for") }
    }
}

impl Store for Lake {
    fn name(&self) -> &'static str {
        Keeper::Lake.name()
    }

    fn uri(&self) -> String {
        format!("file://{}", self.disk.root().display())
    }

    fn stall(&mut self) {
        self.disk.fill();
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.disk.free();
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
        Box::new(look::Lake::new(self.disk.root().to_owned()))
    }
}
