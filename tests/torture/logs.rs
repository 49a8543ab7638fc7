//! What the writers say of themselves, read from their logs as these grow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The logs of a run.
pub struct Logs<J> {
    logs: BTreeMap<PathBuf, Log<J>>,
}

struct Log<J> {
    kind: J,
    read: u64,
    counts: Counts,
}

/// How many lines were of some kind.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Warnings, errors, and partitions that were lost; bad messages are nothing out of the ordinary here.
    pub complaints: usize,
    /// Partitions went before their rows were written.
    pub given_up: usize,
    /// Partitions that went without a word, as of one that stood still.
    pub lost: usize,
}

impl<J> Default for Logs<J> {
    fn default() -> Self {
        Self { logs: BTreeMap::new() }
    }
}

impl<J: Copy + Eq> Logs<J> {
    pub fn add(&mut self, kind: J, log: PathBuf) {
        self.logs.insert(log, Log { kind, read: 0, counts: Counts::default() });
    }

    /// What the writers of a kind have said so far.
    pub fn of(&mut self, kind: J) -> Counts {
        let mut sum = Counts::default();
        for (path, log) in self.logs.iter_mut().filter(|(_, log)| log.kind == kind) {
            log.read_on(path);
            sum.complaints += log.counts.complaints;
            sum.given_up += log.counts.given_up;
            sum.lost += log.counts.lost;
        }
        sum
    }
}

impl<J> Log<J> {
    fn read_on(&mut self, path: &Path) {
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // What is behind the last line break is being written, or its process was killed over it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let message = line["message"].as_str().unwrap_or_default();
            let is_loud = matches!(line["level"].as_str(), Some("WARN" | "ERROR"));
            let is_lost = line["lost"] == json!(true);
            let is_complaint = (is_loud && !message.starts_with("buried ")) || is_lost;
            self.counts.lost += usize::from(is_lost);
            self.counts.complaints += usize::from(is_complaint);
            self.counts.given_up += usize::from(message.starts_with("partitions went before"));
        }
    }
}
