//! What every connection of one deployment is opened with, and how many were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::uri::Address;

/// What every connection of one deployment is opened with.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Address,
    pub(super) prefix: Arc<str>,
    opened: AtomicU64,
    /// Whether it was said that the server evicts.
    pub(super) said_evicts: AtomicBool,
}

impl Link {
    pub(super) fn new(address: Address, prefix: Arc<str>) -> Self {
        Self { address, prefix, opened: AtomicU64::new(0), said_evicts: AtomicBool::new(false) }
    }

    /// Connections opened so far. Another number than before: a server may have been started anew, and empty.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// One more was opened.
    pub(super) fn count(&self) {
        self.opened.fetch_add(1, Ordering::AcqRel);
    }
}
