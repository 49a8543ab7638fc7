//! The memory of a writer against what it may hold.

use std::path::Path;

use super::report::Report;
use crate::config;
use crate::config::settings::WriterSettings;
use crate::config::units::show_size;
use crate::store::examine::Finding;

/// Compares the settings with what the container or the machine has.
pub(super) fn examine(settings: &WriterSettings, report: &mut Report) {
    let (tuning, in_flight) = (&settings.tuning, settings.writer_type.info().in_flight);
    let limit = tuning.memory_limit as u64;
    // A compressed message and the window that it is unpacked in come on top.
    let unpacking = (tuning.max_message_bytes as u64).saturating_mul(2);
    let batches = (tuning.batch_max_bytes as u64).saturating_mul(in_flight as u64 + 2);
    let held = format!(
        "`memory_limit` {} for fetching ahead, batches and files (batches up to {}), and {} for unpacking one message",
        show_size(limit),
        show_size(batches.min(limit)),
        show_size(unpacking)
    );
    let Some(machine) = config::memory_limit(Path::new("/sys/fs/cgroup"), Path::new("/proc")) else {
        report.add("memory", Finding::ok("buffers", format!("{held}; how much there is cannot be read here")));
        return;
    };
    let found = format!("{held}, of {} MiB", machine >> 20);
    report.add(
        "memory",
        if limit >= machine {
            Finding::fail("buffers", found, "lower `memory_limit`, or give the container more: it would be killed")
        } else if limit.saturating_add(unpacking) > machine {
            Finding::warn("buffers", found, "lower `max_message_bytes` or `memory_limit`, or give the container more")
        } else {
            Finding::ok("buffers", found)
        },
    );
}
