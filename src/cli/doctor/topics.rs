//! Topics that a writer sends to: what it publishes, dead letters, and what it parks.

use super::group::Group;
use super::report::Report;
use super::subscription;
use crate::bus::inspect::{Inspect, Takes};
use crate::bus::{Bus, BusError, TopicInfo};
use crate::cli::output::count;
use crate::config::settings::WriterSettings;
use crate::config::units::show_size;
use crate::dead_letter::SMALLEST_LIMIT;
use crate::store::examine::Finding;
use crate::writer;
use crate::writer::plan::ParkingTopic;

/// What a parked message has more than it had: `docs/parking.md`.
const PARKED_BEYOND: usize = 1024;

/// A topic that messages are sent to; `None` where it is not there, or cannot be asked.
pub(super) async fn written_to(
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
    let size = info.max_message_bytes.map_or_else(|| unknown(&info), |bytes| format!("{bytes} bytes"));
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

/// A limit that nobody tells, and why.
pub(super) fn unknown(info: &TopicInfo) -> String {
    info.untold.map_or_else(|| "a size that is not told".to_owned(), |why| format!("a size that is not told: {why}"))
}

/// Where dead letters go.
pub(super) async fn dead_letters(
    settings: &WriterSettings,
    bus: &dyn Bus,
    inspect: Option<&dyn Inspect>,
    topic: &str,
    report: &mut Report,
) {
    let of = format!("dead letters {topic}");
    if is_made_later(settings, bus, topic).await {
        report.add(&of, Finding::ok("there", "not yet: on LOCAL the writer makes it when it starts"));
        return;
    }
    let Some(info) = written_to(bus, inspect, topic, &of, report).await else { return };
    if let Some(limit) = info.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
        let found = format!("{} is too little for a letter", show_size(limit as u64));
        let fix = match info.size_setting {
            Some(setting) => format!("set its `{setting}` to {SMALLEST_LIMIT} or more"),
            None => format!("take a bus that takes messages of {SMALLEST_LIMIT} bytes"),
        };
        report.add(&of, Finding::fail("sizes", found, fix));
    }
    if let Some(why) = info.untold {
        let fix = "look with the broker's own tools; docs/dead-letters.md has the settings that it should have";
        report.add(&of, Finding::warn("keeping", format!("not known: {why}"), fix));
        return;
    }
    let worries = writer::start::worries(&info.keeping);
    if worries.is_empty() {
        report.add(&of, Finding::ok("keeping", "long enough, and nothing is compacted"));
    }
    for worry in worries {
        report.add(&of, Finding::warn("keeping", worry, "docs/dead-letters.md has the settings that it should have"));
    }
}

/// Where messages wait whose store is away; `read` is the topic that they come from.
pub(super) async fn parking(
    settings: &WriterSettings,
    bus: &dyn Bus,
    inspect: Option<&dyn Inspect>,
    read: Option<&TopicInfo>,
    report: &mut Report,
) {
    let Some(ParkingTopic { topic, .. }) = ParkingTopic::of(settings) else { return };
    let of = format!("parking topic {topic}");
    if is_made_later(settings, bus, &topic).await {
        report.add(&of, Finding::ok("there", "not yet: on LOCAL the writer makes it when it starts"));
        return;
    }
    let Some(info) = written_to(bus, inspect, &topic, &of, report).await else { return };
    // What is larger is buried, and never parked.
    let largest = read.and_then(|read| read.max_message_bytes).map(|most| most.min(settings.tuning.max_message_bytes));
    report.add(&of, match (largest, info.max_message_bytes) {
        (Some(ours), Some(takes)) if takes < ours.saturating_add(PARKED_BEYOND) => Finding::warn(
            "sizes",
            format!(
                "it takes {takes} bytes, and the writer reads messages of up to {ours}: one that does not fit when it is \
                 parked waits, and all others with it"
            ),
            match info.size_setting {
                Some(setting) => format!("set its `{setting}` to {} or more", ours.saturating_add(PARKED_BEYOND)),
                // Nobody can make it take more, so the writer has to take less.
                None => format!(
                    "set the writer's `max_message_bytes` to {} or less: what is larger is buried, and nothing waits for it",
                    takes.saturating_sub(PARKED_BEYOND)
                ),
            },
        ),
        (Some(_), Some(_)) => Finding::ok("sizes", "what the writer reads fits when it is parked"),
        _ => Finding::warn(
            "sizes",
            format!("not known: {}", info.untold.unwrap_or("the limits are not told")),
            "let it take messages 1 KiB larger than the writer's own topic does",
        ),
    });
    report.add(
        &of,
        match (writer::start::unfit_for_parking(&info.keeping), info.untold) {
            (Some(why), _) => {
                Finding::fail("keeping", why, "set it right before the start, which refuses the topic so")
            }
            (None, Some(why)) => Finding::warn(
                "keeping",
                format!("not known: {why}"),
                "look with the broker's own tools (`retention.ms`)",
            ),
            (None, None) => match writer::start::worry_of_parking(&info.keeping) {
                Some(worry) => Finding::warn("keeping", worry, "raise `retention.ms`"),
                None => Finding::ok("keeping", "long enough, and nothing is compacted"),
            },
        },
    );
    let group = ParkingTopic::group(&settings.group);
    if let Some(inspect) = inspect {
        if bus.subscriptions().is_some() {
            return subscription::of_parked(&group, &topic, bus, inspect, report).await;
        }
        let of = format!("group {group}");
        let partitions = info.partitions;
        Group { name: &group, topic: &topic, partitions }.examine(inspect, bus, &of, report).await;
    }
}

/// Nobody makes topics on the embedded bus beforehand.
async fn is_made_later(settings: &WriterSettings, bus: &dyn Bus, topic: &str) -> bool {
    settings.bus.is_embedded() && matches!(bus.topic(topic).await, Err(BusError::NotFound(_)))
}
