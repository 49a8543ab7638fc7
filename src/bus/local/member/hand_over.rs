//! Letting partitions go: announce, wait within bounds, commit, and give them up in the same transaction.
//! Those that were lost are announced too, with nothing left to wait for.

use std::time::Instant;

use tokio::sync::oneshot;

use super::Member;
use crate::bus::{BusError, Handover};
use crate::message::Partition;

/// A handover that was announced.
pub(super) struct Leaving {
    /// Dropped with the rest, once no acknowledgement counts for them any more.
    _not_gone: oneshot::Sender<()>,
    /// `None` once it was released.
    pub(super) released: Option<oneshot::Receiver<()>>,
    deadline: Instant,
}

impl Member {
    /// Announces what shall go to others, and lets go what was released.
    pub(super) fn hand_over(&mut self) -> Result<(), BusError> {
        if let Some(leaving) = &mut self.leaving {
            if let Some(released) = &mut leaving.released {
                let held = released.try_recv() == Err(oneshot::error::TryRecvError::Empty);
                if held && Instant::now() < leaving.deadline {
                    return Ok(());
                }
                if held {
                    tracing::warn!(topic = %self.topic, "a handover was not released in time; its partitions go");
                }
                leaving.released = None;
            }
            return self.let_go();
        }
        let going: Vec<i32> = self
            .shares
            .iter()
            .filter(|share| share.owned.is_some() && !share.wanted)
            .map(|share| share.log.number)
            .filter(|number| self.owned.contains_key(number))
            .collect();
        if going.is_empty() {
            return Ok(());
        }
        for number in &going {
            if let Some(owned) = self.owned.get_mut(number) {
                owned.leaving = true;
            }
        }
        self.publish_ownership();
        let (release, released) = oneshot::channel();
        let (not_gone, gone) = oneshot::channel();
        let partitions = going.iter().map(|number| Partition { topic: self.topic.clone(), number: *number }).collect();
        // Where nobody listens, the handover is dropped here, which releases it.
        drop(self.handovers.try_send(Handover { partitions, release, gone }));
        self.leaving = Some(Leaving {
            released: Some(released),
            _not_gone: not_gone,
            deadline: Instant::now() + self.plan.options.handover_timeout,
        });
        Ok(())
    }

    /// Announces partitions that others have already: no acknowledgement counts for them any more.
    pub(super) fn tell_lost(&self, lost: &[i32]) {
        if lost.is_empty() {
            return;
        }
        let (release, _) = oneshot::channel();
        let (_, gone) = oneshot::channel();
        let partitions = lost.iter().map(|number| Partition { topic: self.topic.clone(), number: *number }).collect();
        // Where nobody takes it, messages are written that count for nothing: wasted, not wrong.
        drop(self.handovers.try_send(Handover { partitions, release, gone }));
    }

    /// Commits what is acknowledged and gives up the partitions that are leaving, in one transaction.
    fn let_go(&mut self) -> Result<(), BusError> {
        // What was acknowledged before the release must count.
        self.take_acknowledgements();
        let commits = self.commits();
        let going: Vec<(i64, i64)> =
            self.owned.values().filter(|owned| owned.leaving).map(|owned| (owned.log.id, owned.generation)).collect();
        self.file.write(|transaction| {
            self.membership.commit(transaction, &commits)?;
            self.membership.let_go(transaction, &going)
        })?;
        self.leaving = None;
        self.owned.retain(|_, owned| !owned.leaving);
        self.committed();
        self.last_status = None;
        self.look()
    }
}
