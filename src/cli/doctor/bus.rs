//! The bus of a writer: whether it answers, its topics, the group and who is in it.

use std::time::Duration;

use super::report::Report;
use crate::bus::inspect::{Inspect, Member, Members, Takes};
use crate::bus::{self, Bus, BusError, Keeping, TopicInfo};
use crate::cli::exit::Failure;
use crate::cli::output::count;
use crate::config::settings::{BusSettings, WriterSettings};
use crate::config::units::{show_duration, show_size};
use crate::dead_letter::SMALLEST_LIMIT;
use crate::store::examine::Finding;
use crate::writer::{self, Stands};

/// How often a question about a group is asked that the bus cannot answer yet, and how far apart.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Examines the bus for one writer of a file.
pub(super) async fn examine(
    settings: &WriterSettings,
    all: &[WriterSettings],
    report: &mut Report,
) -> Result<(), Failure> {
    let bus = bus::open(&settings.bus)?;
    let inspect = bus::inspect(&settings.bus);
    let name = format!("bus {}", settings.bus.name());
    let topic = &settings.subscription;
    let of_topic = format!("topic {topic}");
    let found = bus.topic(topic).await;
    match &found {
        Err(error @ (BusError::Unavailable(_) | BusError::Failed(_) | BusError::Settings(_))) => {
            report.add(
                &name,
                Finding::fail("reached", error.to_string(), "start it, or put its address and the network right"),
            );
            return Ok(());
        }
        Err(error @ BusError::Denied(_)) => {
            let fix = "put user name, password and the rights on the topic right (Describe and Read)";
            report.add(&name, Finding::fail("let in", error.to_string(), fix));
            return Ok(());
        }
        _ => report.add(&name, reached(&settings.bus)),
    }
    let info = match found {
        Ok(info) => {
            topic_read(settings, &info, &of_topic, report);
            Some(info)
        }
        Err(error) => {
            let fix = match settings.bus {
                BusSettings::Local(_) => {
                    format!("`chalk-writer publish --topic {topic}` makes it; or correct its name")
                }
                _ => "make it, or correct its name: the writer makes no topics".to_owned(),
            };
            report.add(&of_topic, Finding::fail("there", error.to_string(), fix));
            None
        }
    };
    if let (Some(inspect), Some(info)) = (&inspect, &info) {
        group(settings, all, &**inspect, &*bus, info, report).await;
    }
    if let Some(publishes) = &settings.publishes {
        let of = format!("topic {}", publishes.topic);
        written_to(&*bus, inspect.as_deref(), &publishes.topic, &of, report).await;
    }
    match &settings.dlq_topic {
        Some(topic) => dead_letters(settings, &*bus, inspect.as_deref(), topic, report).await,
        None => report.add(
            "dead letters",
            Finding::warn(
                "there",
                "no topic is named: the first bad message stops the writer",
                "set `common_persistence_specs.kafka_dlq_topic`",
            ),
        ),
    }
    Ok(())
}

fn reached(bus: &BusSettings) -> Finding {
    match bus {
        BusSettings::Local(local) if !local.path.exists() => {
            let found = format!("{} is not there yet; it is made with its first topic", local.path.display());
            Finding::warn("reached", found, "publish something, or correct `local_bus_path`")
        }
        bus => Finding::ok("reached", place(bus)),
    }
}

fn place(bus: &BusSettings) -> String {
    match bus {
        BusSettings::Local(local) => local.path.display().to_string(),
        BusSettings::Kafka(kafka) => {
            let signed = if kafka.sasl_mechanism.is_some() { ", signed in" } else { "" };
            format!("{} by {}{signed}", kafka.bootstrap_servers.join(", "), kafka.security_protocol)
        }
        BusSettings::Pubsub => "PUBSUB".to_owned(),
    }
}

fn topic_read(settings: &WriterSettings, info: &TopicInfo, of: &str, report: &mut Report) {
    report.add(
        of,
        Finding::ok(
            "there",
            format!("{}, {}", count(info.partitions.into(), "partition"), count(info.messages, "message")),
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
            None => Finding::ok(
                "sizes",
                format!("its limit is not told; the writer takes {} unpacked", show_size(ours as u64)),
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

/// Asks again for a while where the bus says that it cannot tell yet: a cluster has to find who looks after a group
/// first, and right after its start makes the topic for that.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, BusError>) -> Result<T, BusError> {
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(BusError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    ask().await
}

async fn group(
    settings: &WriterSettings,
    all: &[WriterSettings],
    inspect: &dyn Inspect,
    bus: &dyn Bus,
    info: &TopicInfo,
    report: &mut Report,
) {
    let (group, topic) = (&settings.group, &settings.subscription);
    let of = format!("group {group}");
    let shared: Vec<&str> = all
        .iter()
        .filter(|other| other.group == *group && other.writer_type != settings.writer_type)
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
    match patiently(async || bus.positions(topic, group).await).await {
        Ok(positions) => {
            let known = positions.iter().filter(|position| position.committed.is_some()).count();
            let left: u64 = positions.iter().map(|at| at.end.saturating_sub(at.next()).max(0).unsigned_abs()).sum();
            let expired: u64 =
                positions.iter().filter_map(|at| Some((at.earliest - at.committed?).max(0).unsigned_abs())).sum();
            let found = match known {
                0 => format!("none yet: it starts at the earliest, {}", count(left, "message")),
                _ => format!(
                    "in {known} of {}, {} to read",
                    count(positions.len() as u64, "partition"),
                    count(left, "message")
                ),
            };
            report.add(
                &of,
                if expired > 0 {
                    Finding::warn(
                        "position",
                        format!("{found}; up to {} expired before they were read", count(expired, "message")),
                        "raise the topic's retention; `on_gap` says whether the writer goes on",
                    )
                } else {
                    Finding::ok("position", found)
                },
            );
        }
        Err(error) => report.add(&of, position_untold(&error)),
    }
    match patiently(async || inspect.members(group).await).await {
        Ok(Members { members, state }) => members_of(&members, &state, topic, info.partitions, &of, report),
        Err(error) => report.add(&of, Finding::warn("members", error.to_string(), "allow Describe on the group")),
    }
}

fn position_untold(error: &BusError) -> Finding {
    let fix = match error {
        BusError::Denied(_) => "allow the group to this user (Read)",
        _ => "ask again once the cluster is whole; a running writer waits for it",
    };
    Finding::fail("position", error.to_string(), fix)
}

fn members_of(members: &[Member], state: &str, topic: &str, partitions: u32, of: &str, report: &mut Report) {
    let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
    if members.is_empty() {
        report.add(of, Finding::ok("members", format!("none now{state}")));
        return;
    }
    let shown: Vec<String> = members
        .iter()
        .map(|Member { id, host, .. }| host.as_ref().map_or_else(|| id.clone(), |host| format!("{id} at {host}")))
        .collect();
    report.add(of, Finding::ok("members", format!("{}{state}: {}", members.len(), shown.join(", "))));
    if members.len() > partitions as usize {
        report.add(
            of,
            Finding::warn(
                "members",
                format!(
                    "{} for {}: some have nothing to do",
                    count(members.len() as u64, "member"),
                    count(partitions.into(), "partition")
                ),
                "add partitions, or run fewer",
            ),
        );
    }
    let others =
        members.iter().filter(|member| !member.topics.is_empty() && !member.topics.iter().any(|one| one == topic));
    for Member { id, topics, .. } in others {
        report.add(
            of,
            Finding::warn(
                "shared",
                format!("{id} reads {}, and not `{topic}`: it is another writer's", topics.join(", ")),
                "give each type of writer a group of its own (`kafka_consumer_group_override`)",
            ),
        );
    }
}

/// A topic that messages are sent to; `None` where it is not there, or cannot be asked.
async fn written_to(
    bus: &dyn Bus,
    inspect: Option<&dyn Inspect>,
    topic: &str,
    of: &str,
    report: &mut Report,
) -> Option<TopicInfo> {
    let info = match bus.topic(topic).await {
        Ok(info) => info,
        Err(error) => {
            report.add(of, Finding::fail("there", error.to_string(), "make it, or correct its name"));
            return None;
        }
    };
    let size =
        info.max_message_bytes.map_or_else(|| "a size that is not told".to_owned(), |bytes| format!("{bytes} bytes"));
    report.add(
        of,
        Finding::ok("there", format!("{}, messages up to {size}", count(info.partitions.into(), "partition"))),
    );
    if let Some(inspect) = inspect {
        report.add(
            of,
            match inspect.takes(topic).await {
                Ok(Takes::Yes(how)) => Finding::ok("writable", how),
                Ok(Takes::Unknown(why)) => {
                    Finding::warn("writable", format!("not known: {why}"), "look at the rights by hand (Write)")
                }
                Err(error) => Finding::fail("writable", error.to_string(), "allow Write on it to this user"),
            },
        );
    }
    Some(info)
}

async fn dead_letters(
    settings: &WriterSettings,
    bus: &dyn Bus,
    inspect: Option<&dyn Inspect>,
    topic: &str,
    report: &mut Report,
) {
    let of = format!("dead letters {topic}");
    if matches!(settings.bus, BusSettings::Local(_)) && matches!(bus.topic(topic).await, Err(BusError::NotFound(_))) {
        report.add(&of, Finding::ok("there", "not yet: on LOCAL the writer makes it when it starts"));
        return;
    }
    let Some(info) = written_to(bus, inspect, topic, &of, report).await else { return };
    if let Some(limit) = info.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
        let found = format!("{} is too little for a letter", show_size(limit as u64));
        report.add(&of, Finding::fail("sizes", found, format!("set `max.message.bytes` to {SMALLEST_LIMIT} or more")));
    }
    let worries = writer::start::worries(&info.keeping);
    if worries.is_empty() {
        report.add(&of, Finding::ok("keeping", "long enough, and nothing is compacted"));
    }
    for worry in worries {
        report.add(&of, Finding::warn("keeping", worry, "docs/dead-letters.md has the settings that it should have"));
    }
}
