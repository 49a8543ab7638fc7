//! Publishing with positions: one transaction of the file for both, if all of the partitions are ours in it.

use super::Member;
use crate::bus::BusError;
use crate::bus::local::append::{self, Topics};
use crate::bus::local::group::{Commit, now_ms};
use crate::bus::local::shared::{Landed, Moved, Request};
use crate::message::Outgoing;

impl Member {
    /// Makes the transactions that wait. What goes wrong with one is for whoever waits for it.
    pub(super) fn transact(&mut self) {
        // Looked for each time: a lock that is held while the disk is waited for would stop the async side.
        while let Some(request) = { self.shared.lock().requests.pop_front() } {
            let Request { messages, moved, reply } = request;
            if reply.is_closed() {
                continue;
            }
            let landed = self.land(&messages, &moved);
            // Where nobody waits any longer it has landed all the same, or not.
            drop(reply.send(landed));
        }
    }

    /// Owner and generation are looked at within the transaction, as with every commit.
    fn land(&mut self, messages: &[Outgoing], moved: &[Moved]) -> Result<Landed, BusError> {
        let Self { file, membership, turn, .. } = self;
        let lost = file.write(|transaction| {
            let shares = membership.look(transaction)?;
            let mut lost = Vec::new();
            let mut commits = Vec::with_capacity(moved.len());
            let mut reached = 0;
            for Moved { number, generation, next } in moved {
                match shares.iter().find(|share| share.log.number == *number && share.owned == Some(*generation)) {
                    Some(share) => {
                        reached += usize::from(share.committed >= *next);
                        commits.push(Commit { partition: share.log.id, generation: *generation, position: *next });
                    }
                    None => lost.push(*number),
                }
            }
            // In this generation only we move them, and all at once: an earlier attempt has landed, whatever
            // was said of it.
            if !lost.is_empty() || (reached > 0 && reached == moved.len()) {
                return Ok(lost);
            }
            let mut topics = Topics::new();
            // All are checked before the first is appended: nothing of it is written when one of them cannot be.
            for message in messages {
                append::check(transaction, &mut topics, message)?;
            }
            let now = now_ms();
            for message in messages {
                append::append(transaction, &mut topics, message, turn, now)?;
            }
            append::set_ends(transaction, &topics)?;
            membership.commit(transaction, &commits)?;
            Ok(lost)
        })?;
        if lost.is_empty() {
            for Moved { number, generation, next } in moved {
                if let Some(owned) = self.owned.get_mut(number).filter(|owned| owned.generation == *generation) {
                    owned.committed = owned.committed.max(*next);
                    owned.acknowledge(*next);
                }
            }
            self.committed();
        }
        Ok(lost)
    }
}
