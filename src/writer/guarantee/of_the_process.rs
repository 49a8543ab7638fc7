//! The writer itself: killed, stopped, drained, beside others.

use super::Change;
use super::circumstances::{Circumstances, lasting, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, anywhere, keys};
use super::may::May;
use crate::config::units::show_duration;
use crate::writer::Stands;
use crate::writer::doubles::Repetition;

pub(super) fn of_the_process(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let (policy, waits) = (around.policy, &around.waits);
    let drain = show_duration(policy.drain_within);
    let again = |may| around.repeated(may, Repetition::Delivery);
    match fault {
        Fault::WriterKilled => {
            let mut changes: Vec<Change> = keys(around).collect();
            changes.push(stronger("batch.max_age", lasting(policy.max_age), "shorter: less is read again"));
            changes.extend(waits.session.zip(waits.session_by).map(|(session, by)| {
                stronger(by, lasting(session), "shorter: another member goes on sooner")
            }));
            let because = "a position is committed only once everything before it is stored or buried; what is not \
                           is delivered again"
                .to_owned();
            let because = if around.facts.sheds { format!("{because}, and asked again") } else { because };
            Judged { because, there: again(DELAYED), changes }
        }
        Fault::WriterPaused => Judged {
            because: "its partitions go to another member; once awake its positions are refused, and what it still \
                      writes is what the other has written or will write"
                .to_owned(),
            there: again(DELAYED),
            changes: keys(around).collect(),
        },
        Fault::Rebalance => {
            let mut changes = vec![weaker("drain_timeout", lasting(policy.drain_within), "0s: nothing is written before partitions go")];
            if around.is_kafka() {
                let now = around.property("group.instance.id").map(str::to_owned);
                let change = "`${HOSTNAME}`, where pods keep their names: a restart within the session moves nothing";
                changes.push(stronger("kafka.group.instance.id", now, change));
                let now = around.property("partition.assignment.strategy").unwrap_or("cooperative-sticky");
                let change = "`range` or `roundrobin`: every move stops all members";
                changes.push(weaker("kafka.partition.assignment.strategy", Some(now.to_owned()), change));
            }
            let because = format!(
                "partitions go once what is in hand of them is written and its positions are committed, within {drain}"
            );
            Judged { because, there: anywhere(around, May::NOTHING), changes }
        }
        Fault::DrainOverLimit => {
            let mut changes: Vec<Change> = keys(around).collect();
            let change = "longer than the slowest batch takes, and five seconds shorter than `terminationGracePeriodSeconds`";
            changes.push(stronger("drain_timeout", lasting(policy.drain_within), change));
            let because = format!(
                "after {drain} partitions go with what is in hand unwritten, and at SIGTERM the writer ends with code 1; \
                 their next owner reads it again, whether it was still written or not"
            );
            Judged { because, there: again(DELAYED), changes }
        }
        _ => Judged {
            because: match around.facts.stands {
                Stands::Newest => {
                    "they share the partitions; which value stands is decided in the store by observed time, whoever writes"
                        .to_owned()
                }
                Stands::First | Stands::Both => {
                    "they share the partitions: each message is of one of them, and a position of who lost its partition \
                     is refused"
                        .to_owned()
                }
            },
            there: anywhere(around, May::NOTHING),
            changes: vec![weaker(
                "kafka_consumer_group_override",
                Some(policy.group.clone()),
                "the group of another type of writer: each would miss what the other reads (refused)",
            )],
        },
    }
}
