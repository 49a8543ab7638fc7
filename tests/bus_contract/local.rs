//! The embedded bus under the suite: one SQLite file in a temporary folder.

use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::Bus;
use chalk_writer::bus::local::{LocalBus, Options};
use tempfile::TempDir;

use super::harness::{Capabilities, Capability, Harness, Lacks};

/// Acknowledging each message by itself is the other way of a bus.
pub const LACKS: Lacks = &[(Capability::EachByItself, "a group has a position")];

/// The embedded bus.
pub struct Local {
    folder: TempDir,
}

impl Local {
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }
}

impl Harness for Local {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    fn bus(&self) -> Arc<dyn Bus> {
        let options =
            Options { session_timeout: Duration::from_secs(2), max_message_bytes: 1 << 20, ..Options::default() };
        Arc::new(LocalBus::new(self.folder.path().join("bus.sqlite"), options))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { patience: Duration::from_secs(20), cases_at_once: 4, lacks: LACKS }
    }
}
