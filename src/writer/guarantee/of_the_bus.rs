//! The bus and what it delivers: away, restarted, once more.

use super::circumstances::{Circumstances, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, LOST, anywhere, keys};
use super::may::{Effect, May};
use crate::config::settings::OnGap;
use crate::writer::doubles::Repetition;

pub(super) fn of_the_bus(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let again = |may, repetition| around.repeated(may, repetition);
    // What had been evicted can come back where its tombstone has expired.
    let anew = |may: May| {
        let mut there = again(may, Repetition::Anew);
        for (one, kept) in there.iter_mut().zip(around.kept).filter(|(_, kept)| kept.has_tombstones && around.evicts) {
            one.may = one.may.with(Effect::OlderOnTop, kept.is_store);
            one.because += "; but what was evicted comes back where its tombstone has expired";
        }
        there
    };
    match fault {
        Fault::PositionLost => Judged {
            because: "the group starts at the earliest message that is left, and the log warns of it".to_owned(),
            there: anew(DELAYED),
            changes: keys(around)
                .chain([
                    stronger("offsets.retention.minutes (broker)", None, "longer than a writer is ever stopped"),
                    weaker(
                        "name, kafka_consumer_group_override",
                        Some(around.policy.group.clone()),
                        "another one is a new group",
                    ),
                ])
                .collect(),
        },
        Fault::BusAway => Judged {
            because:
                "nothing is read and positions wait; asked again without end. Where the session runs out meanwhile, \
                      what was not committed is delivered again"
                    .to_owned(),
            there: again(DELAYED, Repetition::Delivery),
            changes: keys(around).collect(),
        },
        Fault::BusRestarted => Judged {
            because: "what is published counts once all replicas in sync have it (`acks=all`, not to be changed); a \
                      position that was not replicated is committed again, or read again"
                .to_owned(),
            there: again(DELAYED, Repetition::Delivery),
            changes: keys(around)
                .chain(around.is_kafka().then(|| {
                    stronger("min.insync.replicas (topics)", None, "2 or more: no message is lost with one broker")
                }))
                .collect(),
        },
        Fault::MessagesExpired => {
            let (now, because) = match around.on_gap {
                OnGap::Continue => {
                    ("continue", "the writer goes on at the earliest message left, says so in its log and counts them")
                }
                OnGap::Stop => ("stop", "the writer stops (exit code 65) before it passes over the gap"),
            };
            let change = "the writer stops where messages are missing, for a person to decide";
            let mut changes =
                vec![stronger("retention.ms (topic)", None, "longer than a writer or its stores are ever away")];
            changes.push(match around.on_gap {
                OnGap::Continue => stronger("on_gap", Some(now.to_owned()), &format!("`stop`: {change}")),
                OnGap::Stop => weaker("on_gap", Some(now.to_owned()), "`continue`: it goes on without them"),
            });
            let may = LOST.with(Effect::Delayed, around.on_gap == OnGap::Stop);
            Judged { because: because.to_owned(), there: anywhere(around, may), changes }
        }
        Fault::Redelivered => Judged {
            because: "it makes the same rows, under the same keys".to_owned(),
            there: again(May::NOTHING, Repetition::Delivery),
            changes: keys(around).collect(),
        },
        Fault::SentTwice => Judged {
            because:
                "a message is known by its `ce_id`; without one by its place, and then the second is another message"
                    .to_owned(),
            there: again(May::NOTHING, Repetition::Anew),
            changes: keys(around)
                .chain([stronger("enable.idempotence (producers)", None, "`true`, and a `ce_id` on every message")])
                .collect(),
        },
        _ => Judged {
            because:
                "`--from-time` reads outside the group; where it would double or bring back anything it is refused, \
                      and only `--force` does it"
                    .to_owned(),
            there: anew(May::NOTHING),
            changes: keys(around).collect(),
        },
    }
}
