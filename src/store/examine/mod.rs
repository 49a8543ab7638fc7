//! A store examined for `doctor`: whether it is reached, what it is, and whether a writer may do there what it will.
//!
//! Each is named by the description of its store. Nothing is changed that anybody else would notice; how
//! a right was found out is part of the finding.

pub(super) mod lake;
pub(super) mod postgres;
pub(super) mod sqlite;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use crate::sink::SinkError;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warn,
    /// It will not work.
    Fail,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where nothing is to be done.
    pub fix: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), grade: Grade::Ok, found: found.into(), fix: String::new() }
    }

    /// It works, and somebody should know.
    pub fn warn(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), grade: Grade::Warn, found: found.into(), fix: fix.into() }
    }

    /// It will not work.
    pub fn fail(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, ..Self::warn(check, found, fix) }
    }
}

/// What comes of an examination.
pub type Findings<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Differences beyond this are no longer those of the way.
const CLOCKS_AGREE_WITHIN_MS: i64 = 1_000;

/// How far another clock is from ours, by an answer that was asked for and came at these times, in microseconds.
pub(super) fn clock(theirs: i64, asked: i64, came: i64) -> Finding {
    let skew = (theirs - i64::midpoint(asked, came)) / 1_000;
    let way = (came - asked) / 1_000;
    let found = format!("{} ms {} ours, ±{} ms", skew.abs(), if skew < 0 { "behind" } else { "ahead of" }, way / 2 + 1);
    if skew.abs() <= CLOCKS_AGREE_WITHIN_MS + way {
        return Finding::ok("clock", found);
    }
    Finding::warn("clock", found, "set both by NTP: expiry and times of the future are judged by these clocks")
}

/// A store that could not be asked.
pub(super) fn unreachable(error: SinkError) -> Finding {
    let (reason, fix) = match error {
        SinkError::Denied { reason } => {
            (reason, "put the credentials or rights right; a running writer waits for that")
        }
        SinkError::Transient { reason } | SinkError::Throttled { reason, .. } | SinkError::Bug { reason } => {
            (reason, "start it, or put host, port and network right; a running writer waits for that")
        }
        SinkError::Poisoned(refusal) => (refusal.message, "see what the server says"),
    };
    Finding::fail("reached", reason, fix)
}

/// Whether files can be made in a folder, by making one and removing it.
pub(super) fn can_make_files(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!("_doctor-{}", uuid::Uuid::new_v4().simple()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_way() {
        assert_eq!(clock(1_000_000, 900_000, 1_100_000), Finding::ok("clock", "0 ms ahead of ours, ±101 ms"));
        let behind = clock(0, 60_000_000, 60_002_000);
        assert_eq!((behind.grade, &*behind.found), (Grade::Warn, "60001 ms behind ours, ±2 ms"));
        // A long way says little.
        assert_eq!(clock(3_000_000, 0, 3_000_000).grade, Grade::Ok);
    }
}
