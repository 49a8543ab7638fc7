//! What may come of each fault.

use super::circumstances::{Circumstances, lasting, stronger, weaker};
use super::fault::Fault;
use super::may::{Effect, May};
use super::{Change, Guarantee, There};
use crate::config::settings::OnGap;
use crate::config::units::show_duration;
use crate::store::durability::Durability;
use crate::writer::Stands;
use crate::writer::doubles::Repetition;

const DELAYED: May = May::only(Effect::Delayed);
const LOST: May = May::only(Effect::Lost);

/// What may come of one fault, before it is put together.
struct Judged {
    because: String,
    there: Vec<There>,
    changes: Vec<Change>,
}

/// What may come of a fault.
pub(super) fn judge(fault: Fault, around: &Circumstances<'_>) -> Guarantee {
    let Judged { because, there, changes } = match fault {
        Fault::WriterKilled
        | Fault::WriterPaused
        | Fault::Rebalance
        | Fault::DrainOverLimit
        | Fault::TwoWritersOfOneGroup => of_the_process(fault, around),
        Fault::PositionLost
        | Fault::BusAway
        | Fault::BusRestarted
        | Fault::MessagesExpired
        | Fault::Redelivered
        | Fault::SentTwice
        | Fault::ReadAgain => of_the_bus(fault, around),
        Fault::OutOfOrder | Fault::EqualTimes | Fault::FarFuture | Fault::OlderThanTombstone | Fault::ClockWrong => {
            of_times(fault, around)
        }
        Fault::BadRow
        | Fault::RefusedMessage
        | Fault::TooManyBad
        | Fault::DeadLetterTopicAway
        | Fault::DeadLettersReplayed
        | Fault::DeadLettersLeft
        | Fault::MessageSkipped => of_bad_messages(fault, around),
        Fault::StoreAway
        | Fault::OneStoreAway
        | Fault::StoreSlow
        | Fault::StoreUnsure
        | Fault::StoreRestarted
        | Fault::StoreFailover
        | Fault::StoreFull
        | Fault::CredentialsChanged => of_stores(fault, around),
    };
    let may = there.iter().fold(May::NOTHING, |may, one| may.or(one.may));
    Guarantee { fault, title: fault.title(), may, because, destinations: there, changes }
}

/// The same anywhere.
fn anywhere(around: &Circumstances<'_>, may: May) -> Vec<There> {
    around.there(|_| (may, String::new()))
}

/// What makes it stronger that something is read again.
fn keys(around: &Circumstances<'_>) -> impl Iterator<Item = Change> {
    around.with_keys().into_iter()
}

fn of_the_process(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let (policy, waits) = (around.policy, &around.waits);
    let drain = show_duration(policy.drain_within);
    let again = |may| around.repeated(may, Repetition::Delivery);
    match fault {
        Fault::WriterKilled => {
            let mut changes: Vec<Change> = keys(around).collect();
            changes.push(stronger("batch.max_age", lasting(policy.max_age), "shorter: less is read again"));
            changes.extend(waits.session.map(|session| {
                stronger(waits.session_by, lasting(session), "shorter: another member goes on sooner")
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
                let change = "a name of each pod: a restart within the session moves nothing";
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
            let change = "longer than the slowest batch takes, and shorter than `terminationGracePeriodSeconds`";
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

fn of_the_bus(fault: Fault, around: &Circumstances<'_>) -> Judged {
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

fn of_times(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let tuning = around.tuning;
    let tombstones = show_duration(tuning.tombstone_retention);
    let skew = show_duration(tuning.max_future_skew);
    match (fault, around.facts.stands) {
        (Fault::OutOfOrder, Stands::Newest) => Judged {
            because:
                "the newest observed time stands, compared in the store and atomically; what is older changes nothing"
                    .to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: around
                .expires
                .then(|| {
                    weaker(
                        "max_staleness",
                        None,
                        "shortened later: a value that expired is gone with its time, and a \
                     still older one that was to last longer is stored",
                    )
                })
                .into_iter()
                .collect(),
        },
        (Fault::EqualTimes, Stands::Newest) => Judged {
            because: "the larger value stands, in the store's own encoding, whichever came first".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::OutOfOrder | Fault::EqualTimes, stands) => Judged {
            because: match stands {
                Stands::First => "the first row of a key stands, and times decide nothing",
                Stands::Newest | Stands::Both => {
                    "every row is kept; of rows with one key the one with the later time stands"
                }
            }
            .to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::FarFuture, _) if around.facts.judges_times => Judged {
            because: format!(
                "beyond {skew} ahead of this machine's clock it is a verdict, TIME_IN_FUTURE: the message is buried, \
                 because such a value would stand for ever"
            ),
            there: buried(around),
            changes: vec![weaker("max_future_skew", Some(skew), "longer: a wrong time stands until it is reached")],
        },
        (Fault::FarFuture, _) => Judged {
            because: "no time of a message decides anything here".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::OlderThanTombstone, _) if around.evicts => Judged {
            because: format!(
                "what is evicted leaves its time behind for {tombstones}; an older value that comes later than that is \
                 stored"
            ),
            there: around.there(|kept| (May::NOTHING.with(Effect::OlderOnTop, kept.has_tombstones), String::new())),
            changes: vec![stronger("tombstone_retention", Some(tombstones), "longer than the topic keeps messages")],
        },
        (Fault::OlderThanTombstone, _) => Judged {
            because: "nothing is evicted".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (_, _) if around.expires => Judged {
            because: "ahead, it takes values for expired, which are not stored and are counted \
                      (`chalk_writer_values_skipped_total`); behind by more than `max_future_skew`, it buries"
                .to_owned(),
            there: anywhere(around, LOST.or(buried_may(around))),
            changes: vec![stronger("max_staleness", None, "`infinity`: nothing expires")],
        },
        (_, _) if around.facts.judges_times => Judged {
            because: format!(
                "behind by more than {skew} (`max_future_skew`) it takes every time for one of the future and buries, \
                 until the budget stops it"
            ),
            there: anywhere(around, DELAYED),
            changes: Vec::new(),
        },
        _ => Judged {
            because: "nothing is decided by it".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
    }
}

/// What may come of a message that is to be buried: without a topic for it the writer stops.
fn buried_may(around: &Circumstances<'_>) -> May {
    May::NOTHING.with(Effect::Delayed, around.dead_letter_topic.is_none())
}

fn buried(around: &Circumstances<'_>) -> Vec<There> {
    anywhere(around, buried_may(around))
}

fn of_bad_messages(fault: Fault, around: &Circumstances<'_>) -> Judged {
    const TOPIC: &str = "common_persistence_specs.kafka_dlq_topic";
    let budget = around.policy.budget;
    let stops = "there is no dead letter topic: the writer stops at it (exit code 65), and goes on once there is one";
    let name = || {
        if around.dead_letter_topic.is_some() {
            weaker(
                TOPIC,
                around.dead_letter_topic.map(str::to_owned),
                "left out: the first bad message stops the writer",
            )
        } else {
            stronger(TOPIC, None, "a topic: bad messages are kept there, and the writer goes on")
        }
    };
    match (fault, around.dead_letter_topic) {
        (Fault::BadRow | Fault::RefusedMessage, None) => {
            Judged { because: stops.to_owned(), there: buried(around), changes: vec![name()] }
        }
        (Fault::BadRow, Some(topic)) => Judged {
            because: format!(
                "only a verdict on the row buries its message: it is kept in `{topic}`, confirmed before its position is \
                 committed; all other rows are written"
            ),
            there: buried(around),
            changes: vec![name()],
        },
        (Fault::RefusedMessage, Some(topic)) => Judged {
            because: format!(
                "it is kept in `{topic}` as it came, with the reason, confirmed before its position is committed"
            ),
            there: buried(around),
            changes: vec![name()],
        },
        (Fault::TooManyBad, _) => Judged {
            because: format!(
                "more than {} of the last 100 or more, or more than {} in a row, are no longer about the messages: the \
                 writer stops (exit code 65) before it buries them",
                budget.max_ratio, budget.max_consecutive
            ),
            there: anywhere(around, DELAYED),
            changes: vec![
                weaker(
                    "dlq.max_ratio",
                    Some(budget.max_ratio.to_string()),
                    "1: a wrong producer moves the whole topic",
                ),
                weaker("dlq.max_consecutive", Some(budget.max_consecutive.to_string()), "more: the same"),
            ],
        },
        (Fault::DeadLetterTopicAway, None) => {
            Judged { because: "there is none".to_owned(), there: anywhere(around, May::NOTHING), changes: vec![name()] }
        }
        (Fault::DeadLetterTopicAway, Some(_)) => Judged {
            because: "a batch with a burial is acknowledged only once the letter is confirmed; until then it is sent \
                      again, and a letter may be there twice"
                .to_owned(),
            there: anywhere(around, DELAYED),
            changes: Vec::new(),
        },
        (Fault::DeadLettersReplayed, _) => Judged {
            because: "a letter goes back under its id, to the group that buried it and no other, and is marked; of a \
                      message of which only some rows were bad the others are written again"
                .to_owned(),
            there: around.repeated(May::NOTHING, Repetition::Replay),
            changes: keys(around).collect(),
        },
        (Fault::DeadLettersLeft, topic) => Judged {
            because: "a letter is kept for its topic's retention, counted from its burial".to_owned(),
            there: anywhere(around, if topic.is_some() { LOST } else { May::NOTHING }),
            changes: vec![stronger(
                "retention.ms (dead letter topic)",
                None,
                "longer than it may take until somebody looks",
            )],
        },
        _ => Judged {
            because: "`skip` keeps it as a dead letter (SKIPPED) before it moves the group behind it; with \
                      `--write-before` what lies before is written once more"
                .to_owned(),
            there: around.repeated(May::NOTHING, Repetition::Delivery),
            changes: keys(around).collect(),
        },
    }
}

fn of_stores(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let (policy, tuning) = (around.policy, around.tuning);
    if around.facts.sheds {
        return sheds(fault, around);
    }
    let unsure = || around.repeated(DELAYED, Repetition::Write);
    match fault {
        Fault::StoreAway => Judged {
            because: around.retries(),
            there: unsure(),
            changes: vec![stronger("retry.max_pause", lasting(tuning.retry_max_pause), "shorter: it is found sooner")],
        },
        Fault::OneStoreAway if around.kept.len() < 2 => Judged {
            because: "there is one destination".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        Fault::OneStoreAway => Judged {
            because: format!(
                "a batch is acknowledged when each destination has its rows, so the others wait as well, at the latest \
                 after {} batches",
                policy.in_flight + 1
            ),
            there: unsure(),
            changes: vec![stronger(
                "name, environments",
                None,
                "a file of its own for an environment, in which the others have no store, and a writer of another name: \
                 they wait for one another no longer",
            )],
        },
        Fault::StoreSlow => Judged {
            because: format!(
                "up to {} requests at a time, halved whenever it asks for less; memory stays bounded, because reading \
                 waits",
                policy.concurrency
            ),
            there: anywhere(around, DELAYED),
            changes: vec![stronger(
                "message_processing_concurrency",
                Some(policy.concurrency.to_string()),
                "more: hides round trips, where the store has room",
            )],
        },
        Fault::StoreUnsure => Judged {
            because:
                "the same rows are sent under the same id until it is known what became of them; a time-out never \
                      buries"
                    .to_owned(),
            there: unsure(),
            changes: keys_of_rows(around).into_iter().collect(),
        },
        Fault::StoreRestarted => Judged {
            because: "what was not acknowledged is sent again; what was acknowledged is where the store keeps it"
                .to_owned(),
            there: around.there(|kept| keeps(around, kept, false)),
            changes: memory(around, "appendfsync (Redis)", "`always`: a crash of the server loses nothing"),
        },
        Fault::StoreFailover => Judged {
            because: "what was acknowledged is there when the replica had it".to_owned(),
            there: around.there(|kept| keeps(around, kept, true)),
            changes: failover(around),
        },
        Fault::StoreFull => Judged {
            because: around.retries(),
            there: around.there(|kept| match kept.durability {
                Some(Durability::ServersMemory) => (
                    DELAYED.or(LOST),
                    "with a `maxmemory-policy` other than `noeviction` it removes entities instead (`doctor` tells)"
                        .to_owned(),
                ),
                _ => (DELAYED, String::new()),
            }),
            changes: memory(around, "maxmemory-policy (Redis)", "`noeviction`: it refuses, and the writer waits"),
        },
        _ => {
            let stuck: Vec<&str> = around
                .kept
                .iter()
                .filter(|kept| kept.is_store && !kept.reads_credentials_again)
                .map(|kept| kept.name.as_str())
                .collect();
            let because = "what is denied is tried again without end, with credentials read again; it is never dropped \
                           and never buried";
            let because = if stuck.is_empty() {
                because.to_owned()
            } else {
                format!(
                    "{because}. Those of {} stand in the file or in the environment: a restart reads them",
                    stuck.join(", ")
                )
            };
            let change = "`FILE`, and `secret:NAME` for URIs: a rotation needs no restart";
            Judged {
                because,
                there: unsure(),
                changes: (!stuck.is_empty())
                    .then(|| stronger("common_persistence_specs.secret_client", None, change))
                    .into_iter()
                    .collect(),
            }
        }
    }
}

/// Trouble of a server that is never waited for.
fn sheds(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let none = |because: &str| Judged {
        because: because.to_owned(),
        there: anywhere(around, May::NOTHING),
        changes: Vec::new(),
    };
    match fault {
        Fault::OneStoreAway => none("there is one destination"),
        Fault::StoreRestarted | Fault::StoreFailover | Fault::StoreFull => none("nothing is stored there"),
        _ => Judged {
            because:
                "a query that the server has no room for now, or does not answer, is shed: counted, never queued, \
                      never asked twice"
                    .to_owned(),
            there: anywhere(around, LOST),
            changes: vec![stronger(
                "mirror.max_per_second, mirror.sample_ratio",
                None,
                "less: the server has room for it",
            )],
        },
    }
}

/// Where some rows have nothing that they are known by.
fn keys_of_rows(around: &Circumstances<'_>) -> Option<Change> {
    let some = around.kept.iter().any(|kept| kept.doubles.as_ref().is_ok_and(|doubles| doubles.only_some()));
    let change = "a column `__observation_id__` or `observation_id`, or `writemode: upsert`: a row is there once";
    some.then(|| stronger("streaming inserts (messages)", None, change))
}

/// What becomes of acknowledged rows when a server ends, or is replaced.
fn keeps(around: &Circumstances<'_>, kept: &super::Kept, replaced: bool) -> (May, String) {
    let there = around.repeated(DELAYED, Repetition::Write);
    let may = there.iter().find(|one| one.destination == kept.name).map_or(DELAYED, |one| one.may);
    let (lost, because) = match (kept.durability, replaced) {
        _ if !kept.is_store => (false, "it is on the bus, see there".to_owned()),
        (Some(Durability::OwnDisk), false) => (false, "rows are on the disk before they are acknowledged".to_owned()),
        (Some(Durability::OwnDisk), true) => return (May::NOTHING, "it has no replica".to_owned()),
        (Some(Durability::ServersDisk), false) => {
            (false, "a commit waits for the server's disk (`synchronous_commit`, which the writer turns on)".to_owned())
        }
        (Some(Durability::ServersDisk), true) => {
            (true, "unless `synchronous_standby_names` of the server has the replica".to_owned())
        }
        (Some(Durability::ServersMemory), false) => {
            (true, "the server has them in memory: what `appendfsync` had not brought to the disk is gone".to_owned())
        }
        (Some(Durability::ServersMemory), true) => match kept.wait_replicas {
            0 => (true, "what the replica had not got yet is gone".to_owned()),
            wanted => (false, format!("where the new one is among the {wanted} that had each write (`wait_replicas`)")),
        },
        (Some(Durability::Nowhere), _) => (true, String::new()),
        (None, _) => (true, "it is not known which store it is".to_owned()),
    };
    (may.with(Effect::Lost, lost), because)
}

/// A change of servers that keep rows in memory, where there are some.
fn memory(around: &Circumstances<'_>, setting: &str, change: &str) -> Vec<Change> {
    let some = around.kept.iter().any(|kept| kept.durability == Some(Durability::ServersMemory));
    some.then(|| stronger(setting, None, change)).into_iter().collect()
}

fn failover(around: &Circumstances<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for kept in around.kept {
        changes.extend(match kept.durability {
            Some(Durability::ServersMemory) => Some(stronger(
                "environments.<id>.online_store.wait_replicas",
                Some(kept.wait_replicas.to_string()),
                "1 or more: a write counts when so many replicas have it",
            )),
            Some(Durability::ServersDisk) => {
                Some(stronger("synchronous_standby_names (Postgres)", None, "names the standby: a commit waits for it"))
            }
            _ => None,
        });
    }
    changes.dedup();
    changes
}
