//! The bus of a writer: whether it answers, and the topic that is read.

use std::time::Duration;

use super::group::Group;
use super::report::Report;
use super::{subscription, topics};
use crate::bus::inspect::{HeldUpBy, Inspect};
use crate::bus::{self, Bus, BusError, Keeping, TopicInfo};
use crate::cli::exit::Failure;
use crate::cli::output::count;
use crate::config::settings::{BusSettings, WriterSettings};
use crate::config::units::{show_duration, show_size};
use crate::store::examine::Finding;
use crate::writer::plan::Reads;
use crate::writer::{self, Stands};

/// Who publishes in transactions ends them sooner.
const OPEN_FOR: Duration = Duration::from_secs(300);

/// Examines the bus for one writer of a file.
pub(super) async fn examine(
    settings: &WriterSettings,
    all: &[WriterSettings],
    report: &mut Report,
) -> Result<(), Failure> {
    let bus = bus::open(&settings.bus)?;
    let inspect = bus::inspect(&settings.bus);
    let name = format!("bus {}", settings.bus.name());
    let read = &settings.subscription;
    let of_read = format!("{} {read}", settings.bus.readable());
    let found = bus.readable(read).await;
    match &found {
        Err(error @ (BusError::Unavailable(_) | BusError::Failed(_) | BusError::Settings(_))) => {
            report.add(
                &name,
                Finding::fail("reached", error.to_string(), "start it, or put its address and the network right"),
            );
            return Ok(());
        }
        Err(error @ BusError::Denied(_)) => {
            let fix = "put user name, password and the rights on it right (Describe and Read)";
            report.add(&name, Finding::fail("let in", error.to_string(), fix));
            return Ok(());
        }
        _ => report.add(&name, reached(&settings.bus)),
    }
    let info = match found {
        Ok(info) => {
            is_read(settings, &info, &of_read, report);
            if bus.subscriptions().is_some() {
                subscription::comes_back(&Reads::new(settings), &*bus, &of_read, report).await;
            }
            if let Some(inspect) = &inspect {
                standing(inspect.held_up(read).await, &of_read, report);
            }
            Some(info)
        }
        Err(error) => {
            let fix = match settings.bus {
                BusSettings::Local(_) => {
                    format!("`chalk-writer publish --topic {read}` makes it; or correct its name")
                }
                _ => format!("make it, or correct its name: the writer makes no {}s", settings.bus.readable()),
            };
            let found = match error {
                BusError::NotFound(which) => format!("no such {}: {which}", settings.bus.readable()),
                other => other.to_string(),
            };
            report.add(&of_read, Finding::fail("there", found, fix));
            None
        }
    };
    if let (Some(inspect), Some(info)) = (&inspect, &info) {
        group(settings, all, &**inspect, &*bus, info, report).await;
    }
    if let Some(publishes) = &settings.publishes {
        let of = format!("topic {}", publishes.topic);
        let info = topics::written_to(&*bus, inspect.as_deref(), &publishes.topic, &of, report).await;
        if let Some(why) = info.and_then(|info| writer::start::unfit_for_publishing(&info.keeping)) {
            report.add(&of, Finding::fail("keeping", why, "set it right before the start, which refuses the topic so"));
        }
    }
    match &settings.dlq_topic {
        Some(topic) => topics::dead_letters(settings, &*bus, inspect.as_deref(), topic, report).await,
        None => report.add(
            "dead letters",
            Finding::warn(
                "there",
                "no topic is named: the first bad message stops the writer",
                "set `common_persistence_specs.kafka_dlq_topic`",
            ),
        ),
    }
    topics::parking(settings, &*bus, inspect.as_deref(), info.as_ref(), report).await;
    Ok(())
}

fn reached(bus: &BusSettings) -> Finding {
    match bus {
        BusSettings::Local(local) if !local.path.exists() => {
            let found = format!("{} is not there yet; it is made with its first topic", local.path.display());
            Finding::warn("reached", found, "publish something, or correct `local_bus_path`")
        }
        bus => Finding::ok("reached", bus.place()),
    }
}

fn is_read(settings: &WriterSettings, info: &TopicInfo, of: &str, report: &mut Report) {
    report.add(
        of,
        Finding::ok(
            "there",
            match info.messages {
                Some(messages) => {
                    format!("{}, {}", count(info.partitions.into(), "partition"), count(messages, "message"))
                }
                None => "how many messages it has is not told".to_owned(),
            },
        ),
    );
    let ours = settings.tuning.max_message_bytes;
    report.add(
        of,
        match info.max_message_bytes {
            Some(theirs) if theirs > ours => Finding::warn(
                "sizes",
                format!(
                    "it takes messages of {theirs} bytes, and the writer buries what is above {} (`max_message_bytes`)",
                    show_size(ours as u64)
                ),
                "raise `max_message_bytes`, or lower `max.message.bytes` of the topic",
            ),
            Some(theirs) => Finding::ok(
                "sizes",
                format!("up to {theirs} bytes, and the writer takes {} unpacked", show_size(ours as u64)),
            ),
            None => Finding::warn(
                "sizes",
                format!("up to {}; the writer takes {} unpacked", topics::unknown(info), show_size(ours as u64)),
                "look with the broker's own tools (`max.message.bytes`, `retention.ms`, `cleanup.policy`)",
            ),
        },
    );
    let Keeping { compacts, for_ms, .. } = info.keeping;
    if compacts {
        report.add(
            of,
            Finding::warn(
                "keeping",
                "it is compacted (`cleanup.policy`): of the messages with one key only the last is sure to be read",
                "set `cleanup.policy` to `delete`",
            ),
        );
    }
    let kept = for_ms.map(Duration::from_millis);
    let tombstones = settings.tuning.tombstone_retention;
    let newest = writer::find(settings.writer_type).is_some_and(|known| known.facts().stands == Stands::Newest);
    report.add(of, match kept {
        Some(kept) if newest && kept > tombstones => Finding::warn(
            "retention",
            format!(
                "{}, longer than `tombstone_retention` ({}): what was evicted can come back when the topic is read again",
                show_duration(kept),
                show_duration(tombstones)
            ),
            "raise `tombstone_retention`, where features are evicted or vectors deleted",
        ),
        Some(kept) => Finding::ok("retention", show_duration(kept)),
        None => Finding::ok("retention", "for ever, or not told"),
    });
}

/// Partitions of which nothing comes, though the bus answers.
fn standing(found: Result<Vec<(i32, HeldUpBy)>, BusError>, of: &str, report: &mut Report) {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let fix = "ask again; a running writer tells it in `/status.json`";
            return report.add(of, Finding::warn("partitions", format!("not known: {error}"), fix));
        }
    };
    if found.is_empty() {
        report.add(of, Finding::ok("partitions", "all of them can be read, up to their ends"));
    }
    for (partition, by) in found {
        report.add(
            of,
            match by {
                HeldUpBy::Away(why) => Finding::fail(
                    "partitions",
                    format!("partition {partition} cannot be read: {why}"),
                    "start the brokers that have it, or give it another leader; the others are read on",
                ),
                HeldUpBy::Transaction { messages, age } => {
                    let began = age.map_or_else(
                        || "at a time that is not known".to_owned(),
                        |age| format!("{} ago", show_duration(Duration::from_secs(age.as_secs()))),
                    );
                    let text = format!(
                        "partition {partition}: a transaction is open that began {began}; {} behind its beginning may not be \
                         read before it is ended",
                        count(messages, "message")
                    );
                    if age.is_some_and(|age| age < OPEN_FOR) {
                        Finding::ok("partitions", text)
                    } else {
                        let fix = "`kafka-transactions.sh find-hanging` tells whose it is, and `abort` ends it";
                        Finding::warn("partitions", text, fix)
                    }
                }
            },
        );
    }
}

/// The group of the writer, and whether the file has others of it.
async fn group(
    settings: &WriterSettings,
    all: &[WriterSettings],
    inspect: &dyn Inspect,
    bus: &dyn Bus,
    info: &TopicInfo,
    report: &mut Report,
) {
    let of = format!("group {}", settings.group);
    let shared: Vec<&str> = all
        .iter()
        .filter(|other| other.group == settings.group && other.writer_type != settings.writer_type)
        .map(|other| other.writer_type.as_str())
        .collect();
    if !shared.is_empty() {
        report.add(
            &of,
            Finding::warn(
                "shared",
                format!("also of {}: each of them joining stops the others", shared.join(", ")),
                "leave `kafka_consumer_group_override` out, or give each type its own",
            ),
        );
    }
    if bus.subscriptions().is_some() {
        return subscription::set_up(&settings.subscription, inspect, report).await;
    }
    let (name, topic, partitions) = (&settings.group, &settings.subscription, info.partitions);
    Group { name, topic, partitions }.examine(inspect, bus, &of, report).await;
}
