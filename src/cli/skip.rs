//! `skip`: passes over the one message at which a writer's group stands, because a person says so.
//!
//! The message is not lost: it becomes a dead letter of class SKIPPED, and only once the bus has that
//! for good the group's position moves behind it. Nobody may be in the group meanwhile: a member
//! would read on from a position of its own.
//!
//! A writer that stops at a message has acknowledged nothing of the batch that it was in, and its group
//! stands at the batch's first. So what lies before the message may have to be written first, by a
//! writer of its own that reads just that; nothing else is passed over.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::bus::{self, BrowseFrom, Bus, BusError, GroupPosition, Step, Stepped, Stretch};
use crate::config::settings::WriterSettings;
use crate::dead_letter::headers::TARGET_GROUP;
use crate::dead_letter::{Fit, Note};
use crate::message::Message;
use crate::runtime::{Health, unparked};
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::now;
use crate::writer::doubles::Repetition;
use crate::writer::plan::ParkingTopic;
use crate::writer::{self, Again, Start};

use super::deployment::Selection;
use super::dlq::position;
use super::exit::{Exit, Failure};
use super::output;
use super::topic::make_topic;

/// Pass over the one message that a writer cannot get past; it is kept as a dead letter of class SKIPPED
///
/// For a writer that has stopped at a message, of its topic or of its parking topic. Its group must have no member while this runs, and must
/// stand at that very message, or with `--write-before` somewhere before it. `dlq replay` brings the
/// message back.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The message
    #[arg(value_name = "TOPIC/PARTITION/OFFSET", value_parser = place)]
    place: (String, i32, i64),
    #[command(flatten)]
    selection: Selection,
    /// Why, for whoever finds the dead letter
    #[arg(long, value_name = "TEXT", default_value = "passed over by hand")]
    reason: String,
    /// Write the messages first that lie between the group's position and this one, as the writer would
    #[arg(long)]
    write_before: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `skip --json` prints.
#[derive(Debug, Serialize)]
struct Skipped {
    /// The group.
    group: String,
    /// Where it is now, in the message's partition.
    position: i64,
    /// Messages before it that were written first, those that went to the dead letters among them.
    written_before: u64,
    /// Where the dead letter landed, `topic/partition/offset`; `None` where the group was past the
    /// message already.
    dead_letter: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.selection.load()?;
    let (topic, partition, offset) = arguments.place.clone();
    let WriterSettings { name, subscription, .. } = &settings;
    let parking = ParkingTopic::of(&settings).map(|parking| parking.topic);
    let group = if topic == *subscription {
        settings.group.clone()
    } else if parking.as_ref() == Some(&topic) {
        ParkingTopic::group(&settings.group)
    } else {
        let parked = parking.map_or_else(String::new, |parking| format!(" and `{parking}`"));
        let text = format!("writer `{name}` reads `{subscription}`{parked}, not `{topic}`");
        return Err(Failure::new(Exit::Usage, text));
    };
    let Some(dead_letters) = &settings.dlq_topic else {
        let text = format!(
            "without a dead letter topic `{topic}/{partition}/{offset}` would be gone for good; set `kafka_dlq_topic` \
             and make that topic"
        );
        return Err(Failure::new(Exit::Configuration, text));
    };
    let bus = bus::open(&settings.bus)?;
    let skip = Skip { bus: Arc::clone(&bus), topic, group, partition, offset, settings: &settings };
    let group = &skip.group;

    if settings.bus.is_embedded() {
        make_topic(&*bus, &settings.bus, dead_letters, Some(1)).await?;
    }
    let positions = bus.positions(&skip.topic, group).await?;
    let at = positions.iter().find(|position| position.partition == partition).ok_or_else(|| {
        Failure::new(Exit::Failed, format_args!("`{}` has {} partitions, no {partition}", skip.topic, positions.len()))
    })?;
    if offset < at.next() {
        let position = at.next();
        let text = format!("group `{group}` is past {}: it stands at {position}; nothing to do", skip.place());
        let skipped = Skipped { group: group.clone(), position, written_before: 0, dead_letter: None };
        return arguments.tell(&skipped, &text);
    }
    let message = skip.message(at).await?;
    let before = skip.before(at, arguments.write_before).await?;
    // A rehearsal first: a dead letter of what is not passed over would say something untrue.
    skip.step(at.next(), at.next()).await?;
    let written_before = match before {
        Some(stretch) => skip.write(stretch).await?,
        None => 0,
    };
    let letter = skip.bury(&message, &arguments.reason, dead_letters).await?;
    skip.step(at.next(), offset + 1).await.map_err(|failure| {
        let text = format!("{}: it is kept as the dead letter {letter}, and not passed over: {failure}", skip.place());
        Failure::new(failure.exit, text)
    })?;
    let written = match written_before {
        0 => String::new(),
        many => format!("wrote {} before it; ", output::count(many, "message")),
    };
    let place = skip.place();
    let text = format!("{written}passed over {place}: group `{group}` goes on at {}; kept as {letter}", offset + 1);
    let skipped = Skipped { group: group.clone(), position: offset + 1, written_before, dead_letter: Some(letter) };
    arguments.tell(&skipped, &text)
}

impl Arguments {
    fn tell(&self, skipped: &Skipped, text: &str) -> Result<(), Failure> {
        let told = if self.json { output::json(skipped) } else { output::line(text) };
        Ok(told?)
    }
}

/// A message that is to be passed over.
struct Skip<'a> {
    bus: Arc<dyn Bus>,
    topic: String,
    /// The group that reads it there.
    group: String,
    partition: i32,
    offset: i64,
    settings: &'a WriterSettings,
}

impl Skip<'_> {
    fn place(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    fn failed<T>(&self, text: impl std::fmt::Display) -> Result<T, Failure> {
        Err(Failure::new(Exit::Failed, text))
    }

    /// The message itself.
    async fn message(&self, at: &GroupPosition) -> Result<Message, Failure> {
        if self.offset >= at.end {
            return self.failed(format_args!("there is no {} yet: the partition ends at {}", self.place(), at.end));
        }
        let Some(message) = self.first(self.offset, self.offset + 1).await? else {
            return self.failed(format_args!("there is no message at {}", self.place()));
        };
        let target = message.headers.get_str(TARGET_GROUP);
        match target.filter(|target| *target != self.settings.group) {
            Some(other) => self.failed(format_args!(
                "{} is for group `{other}` alone: `{}` passes it over by itself",
                self.place(),
                self.settings.name
            )),
            None => Ok(message),
        }
    }

    /// What lies between the group's position and the message; a failure where it may not be written.
    async fn before(&self, at: &GroupPosition, may_write: bool) -> Result<Option<Stretch>, Failure> {
        let group = &self.group;
        // Offsets without a message (markers of transactions, gaps of a compacted topic) are none to be lost.
        let Some(first) = self.first(at.next().max(at.earliest), self.offset).await? else { return Ok(None) };
        let (from, until) = (first.offset, self.offset);
        if may_write {
            return Ok(Some(Stretch { partition: self.partition, from, until, earliest: at.earliest }));
        }
        self.failed(format_args!(
            "group `{group}` stands at {from}, {} before {}: nothing of a batch is acknowledged when a writer stops at \
             one of its messages; `--write-before` writes those first, and then passes over this one",
            output::count(until.abs_diff(from), "offset"),
            self.place()
        ))
    }

    /// Writes what lies before, to its end. The position has not moved, so whatever ends this on the
    /// way, the group's writer reads it again.
    async fn write(&self, stretch: Stretch) -> Result<u64, Failure> {
        // What is parked is read where it is.
        let settings = WriterSettings { subscription: self.topic.clone(), ..self.settings.clone() };
        let doubling = writer::plan(&settings)?.doubling(Repetition::Delivery).await;
        if !doubling.is_empty() {
            tracing::warn!(
                "{}: rows of what lies before {} that were written when the writer stopped are there twice then, with the \
                 same {}",
                doubling.join(", "),
                self.place(),
                writer::known_by(self.settings.writer_type)
            );
        }
        let health = Arc::new(Health::default());
        let (bus, shutdown) = (Arc::clone(&self.bus), CancellationToken::new());
        let again = Some(Again::These(vec![stretch]));
        let start =
            Start { bus, health: Arc::clone(&health), drain: false, again, shutdown: shutdown.clone(), may_come: None };
        let written = async {
            let pipeline = writer::plan(&settings)?.start(start).await?;
            Ok(pipeline.run(shutdown).await?)
        };
        written.await.map_err(|failure: Failure| {
            let text =
                format!("{} is not passed over, since what lies before it was not written: {failure}", self.place());
            Failure::new(failure.exit, text)
        })?;
        Ok(health.state().acknowledged)
    }

    /// The first message between two offsets.
    async fn first(&self, from: i64, until: i64) -> Result<Option<Message>, Failure> {
        if from >= until {
            return Ok(None);
        }
        let stretch = Stretch { partition: self.partition, from, until, earliest: from };
        let mut browse = self.bus.browse(&self.topic, BrowseFrom::Stretches(vec![stretch])).await?;
        Ok(browse.next().await?.into_iter().next())
    }

    async fn step(&self, from: i64, to: i64) -> Result<(), Failure> {
        let group = &self.group;
        let step = Step { topic: self.topic.clone(), partition: self.partition, group: group.clone(), from, to };
        match self.bus.step(&step).await? {
            Stepped::Done => Ok(()),
            Stepped::InUse => self.failed(format_args!(
                "group `{group}` has members: stop its writers first, also those that are started again and again; one \
                 that was killed, or has a `group.instance.id`, counts until its session runs out"
            )),
            Stepped::Elsewhere(position) => {
                self.failed(format_args!("group `{group}` has just moved, from {from} to {position}"))
            }
        }
    }

    /// Publishes the dead letter; returns where it landed.
    async fn bury(&self, message: &Message, reason: &str, topic: &str) -> Result<String, Failure> {
        let preview = writer::plan(self.settings)?.preview(unparked(message).as_ref().unwrap_or(message));
        let mut text = reason.to_owned();
        for refused in &preview.refused {
            text += &format!("; refused as {}: {}", refused.class, refused.message);
        }
        let note = Note {
            writer_type: self.settings.writer_type.as_str(),
            group: self.settings.group.clone(),
            environment: preview.environment,
            sink: None,
            refusal: Refusal::new(ErrorClass::Skipped, text),
            failed_at_ms: now() / 1_000,
            attempts: 0,
            batch_id: format!("skip-{}", uuid::Uuid::now_v7()),
        };
        let info = self.bus.topic(topic).await?;
        let publisher = self.bus.publisher().await?;
        let mut fit = Fit::of(info.max_message_bytes, info.max_header_bytes);
        let placed = loop {
            match publisher.publish(&fit.letter(message, &note, topic)).await {
                Err(BusError::TooLarge(_)) if fit.halve() => {}
                other => break other?,
            }
        };
        // Of a letter in parts the last is where it is known by.
        let last = placed.last().map(|placed| (placed.partition.number, placed.offset));
        let (partition, offset) = last.unwrap_or_default();
        Ok(format!("{topic}/{partition}/{offset}"))
    }
}

/// `TOPIC/PARTITION/OFFSET`
fn place(text: &str) -> Result<(String, i32, i64), String> {
    let parsed = text.match_indices('/').rev().nth(1).and_then(|(at, _)| {
        let (partition, offset) = position(&text[at + 1..]).ok()?;
        Some((text[..at].to_owned(), partition, offset))
    });
    let parsed = parsed.filter(|(topic, ..)| !topic.is_empty());
    parsed.ok_or_else(|| "expected TOPIC/PARTITION/OFFSET, as in results/0/17".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_three_parts() {
        assert_eq!(place("results/0/17"), Ok(("results".to_owned(), 0, 17)));
        for wrong in ["results", "0/17", "/0/17", "results/x/17", "results/0/-1", "results/0/"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
