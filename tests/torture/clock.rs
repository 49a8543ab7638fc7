//! The clock of the machine that the writers of a run are on, which jumps as one does that NTP sets.
//!
//! A client of Kafka (librdkafka) waits by the time of day: set back, it may stand still for as long as it was set back. So a writer of
//! Kafka has to end itself then ([`ENDS_WITHIN`]); the next one has the right time.
//!
//! `libfaketime` between a writer and its libc tells it another time of day, as a file says. Its monotonic clock goes on, as
//! that of a real machine does. Every other process that a run starts is told the right time.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where Debian's `libfaketime` is, below a folder that is named after the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// How long it takes a process to see what the file says.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// How long a writer whose clock was set back may take to end itself, on a busy machine. One that stands still does for minutes.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Clock {
    library: PathBuf,
    folder: PathBuf,
    /// Which of the files is that of processes that start now.
    file: Cell<usize>,
}

impl Clock {
    pub(crate) fn new(folder: &Path) -> Self {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
        let library = folders.map(|folder| folder.join(LIBRARY)).find(|library| library.exists());
        let clock = Self {
            library: library.unwrap_or_else(|| {
                panic!("/usr/lib/*/{LIBRARY} is missing; `./dev test` installs Debian's `faketime` for it")
            }),
            folder: folder.to_owned(),
            file: Cell::new(0),
        };
        clock.set(0);
        clock
    }

    /// Lets a process live by it.
    pub(crate) fn rules(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_CACHE_DURATION", SEEN_WITHIN.as_secs().to_string());
    }

    /// So many minutes before the right time, or behind it.
    pub(crate) fn set(&self, minutes: i64) {
        self.set_that(&self.file(), minutes);
    }

    /// The same for those who live by a file of before.
    pub(crate) fn set_that(&self, file: &Path, minutes: i64) {
        // Whoever reads it sees the old one or the new one.
        let new = self.folder.join("clock.new");
        std::fs::write(&new, format!("{minutes:+}m\n")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Who starts now has another one, which is right. Returns the file of the others.
    pub(crate) fn renew(&self) -> PathBuf {
        let old = self.file();
        self.file.set(self.file.get() + 1);
        self.set(0);
        old
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("clock-{}", self.file.get()))
    }
}
