//! What is otherwise on Pub/Sub, where each message is acknowledged by itself and nothing has a position.

use super::circumstances::{Circumstances, lasting, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, LOST, anywhere, keys};
use super::may::May;
use crate::writer::doubles::Repetition;

/// A fault that comes to something else than on a log; `None` of all others.
pub(super) fn of_pub_sub(fault: Fault, around: &Circumstances<'_>) -> Option<Judged> {
    if !around.is_pub_sub() {
        return None;
    }
    let again = |may| around.repeated(may, Repetition::Delivery);
    let lease = lasting(around.waits.session.unwrap_or_default()).unwrap_or_default();
    let judged = match fault {
        Fault::WriterKilled => Judged {
            because: format!(
                "a message is acknowledged only once everything of it is stored or buried; what is not is delivered again, to \
                 whoever reads the subscription, {lease} after the last sign of life"
            ),
            there: again(DELAYED),
            changes: keys(around)
                .chain([stronger("batch.max_age", lasting(around.policy.max_age), "shorter: less is read again")])
                .collect(),
        },
        Fault::WriterPaused => Judged {
            because: format!(
                "what it holds goes to another reader after {lease}; once awake it writes what the other has written or will \
                 write"
            ),
            there: again(DELAYED),
            changes: keys(around).collect(),
        },
        Fault::Rebalance | Fault::TwoWritersOfOneGroup => Judged {
            because: "there are no partitions that could move: readers of a subscription share its messages, and each message \
                      is one reader's until it is acknowledged or its lease ends"
                .to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: vec![weaker(
                "subscription",
                None,
                "the subscription of another type of writer: each would miss what the other reads (refused)",
            )],
        },
        Fault::DrainOverLimit => Judged {
            because: "what is not written at SIGTERM within the limit is handed back, and the writer ends with code 1; another \
                      reader has it at once, whether it was still written or not"
                .to_owned(),
            there: again(DELAYED),
            changes: keys(around)
                .chain([stronger(
                    "drain_timeout",
                    lasting(around.policy.drain_within),
                    "longer than the slowest batch takes, and shorter than `terminationGracePeriodSeconds`",
                )])
                .collect(),
        },
        Fault::PositionLost => Judged {
            because: "a subscription that is deleted, or expires because nobody reads it, takes with it what was not read; one \
                      that is made anew begins with new messages"
                .to_owned(),
            there: anywhere(around, LOST),
            changes: vec![
                stronger("expiration policy (subscription)", None, "never"),
                stronger(
                    "message_retention_duration (topic)",
                    None,
                    "longer than a writer is ever away: a new subscription can be set back in time",
                ),
            ],
        },
        Fault::BusAway => Judged {
            because: format!(
                "nothing is read, and what is held is kept; asked again without end. Leases that could not be renewed within \
                 {lease} end, and their messages are delivered again"
            ),
            there: again(DELAYED),
            changes: keys(around).collect(),
        },
        Fault::BusRestarted => Judged {
            because: "a message that is published counts once Google has it in two zones or more; an acknowledgement that was \
                      lost is a message that comes again"
                .to_owned(),
            there: again(DELAYED),
            changes: keys(around)
                .chain([stronger(
                    "enable_exactly_once_delivery (subscription)",
                    None,
                    "acknowledgements are confirmed, and counted where they are lost",
                )])
                .collect(),
        },
        Fault::MessagesExpired => Judged {
            because: "Google deletes what nobody has read in time, and says so to nobody but its own metrics".to_owned(),
            there: anywhere(around, LOST),
            changes: vec![stronger(
                "message_retention_duration (subscription)",
                None,
                "7 days, or up to 31: longer than a writer or its stores are ever away",
            )],
        },
        _ => return None,
    };
    Some(judged)
}
