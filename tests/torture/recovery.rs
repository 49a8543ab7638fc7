//! How long it takes until a writer commits again: from the end of a fault to the first new position of its group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bus::TestBus;

/// A group, and the topic that it reads.
pub type Group = (String, &'static str);

#[derive(Default)]
pub struct Recovery {
    /// Fault, its end, and groups that have not committed since, with where they were.
    pending: Option<(&'static str, Instant, BTreeMap<Group, i64>)>,
    /// Of each fault and group the times in seconds; `None` where it did not come in time.
    took: BTreeMap<(&'static str, String), Vec<Option<f64>>>,
}

impl Recovery {
    /// A fault has ended now; whoever was waited for after another one is so no longer.
    pub fn begin(&mut self, fault: &'static str, groups: &[Group], bus: &mut dyn TestBus) {
        // The end is before the look, so that nothing that comes meanwhile counts as quicker than it is.
        let end = Instant::now();
        let at = groups.iter().map(|group| (group.clone(), position(group, bus))).collect();
        self.pending = Some((fault, end, at));
    }

    /// Looks who has committed since; whether all have.
    pub fn look(&mut self, bus: &mut dyn TestBus) -> bool {
        let Some((fault, end, groups)) = &mut self.pending else { return true };
        let took = &mut self.took;
        groups.retain(|group, at| {
            let is_waiting = position(group, bus) <= *at;
            if !is_waiting {
                took.entry((fault, group.0.clone())).or_default().push(Some(end.elapsed().as_secs_f64()));
            }
            is_waiting
        });
        groups.is_empty()
    }

    /// Waits for nobody.
    pub fn forget(&mut self) {
        self.pending = None;
    }

    /// Waits no longer for those that have not, which counts as too long.
    pub fn give_up(&mut self) {
        if let Some((fault, _, groups)) = self.pending.take() {
            for (group, _) in groups.into_keys() {
                self.took.entry((fault, group)).or_default().push(None);
            }
        }
    }

    /// Seconds of each fault, of one group.
    pub fn of(&self, group: &str) -> BTreeMap<&'static str, Vec<Option<f64>>> {
        let of_group = self.took.iter().filter(|((_, of), _)| of == group);
        of_group.map(|((fault, _), took)| (*fault, took.clone())).collect()
    }
}

fn position((group, topic): &Group, bus: &mut dyn TestBus) -> i64 {
    bus.committed(group, topic).values().sum()
}

/// How long a writer is waited for. It bounds a hang and nothing else.
pub const WITHIN: Duration = Duration::from_secs(30);
