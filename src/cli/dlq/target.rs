//! For which consumer group a letter is sent again, and whether anybody would read it there.
//!
//! A message for a group that nobody is in is passed over by everyone: it would be lost as quietly
//! as if it had been deleted. So a group has to be one of the configuration that reads the topic, or
//! one that has read it; of the latter nobody here knows what its writer would refuse.

use std::collections::{BTreeMap, BTreeSet};

use crate::bus::{Bus, BusError};
use crate::config::settings::WriterSettings;
use crate::dead_letter::read::Notes;
use crate::message::{Delivery, Message, Outgoing, Partition};
use crate::writer::doubles::Repetition;
use crate::writer::{self, AnyPlan};

use super::super::exit::{Exit, Failure};

/// The groups that letters may be for.
pub(super) struct Targets {
    writers: Vec<WriterSettings>,
    /// `--group`
    given: Option<String>,
    /// Decoders of those that were asked for, by group and topic.
    plans: BTreeMap<(String, String), Option<Box<dyn AnyPlan>>>,
}

impl Targets {
    pub(super) fn new(writers: Vec<WriterSettings>, given: Option<String>) -> Self {
        Self { writers, given, plans: BTreeMap::new() }
    }

    /// The group that a letter is for; an error is a reason for people.
    pub(super) fn group(&self, notes: &Notes) -> Result<String, String> {
        if notes.topic.is_empty() {
            return Err("it does not say which topic it came from".to_owned());
        }
        if let Some(group) = self.given.as_ref().or(notes.group.as_ref()) {
            return Ok(group.clone());
        }
        let of_type = |writer: &&WriterSettings| {
            writer.writer_type.as_str() == notes.writer_type && writer.subscription == notes.topic
        };
        let groups: BTreeSet<&str> = self.writers.iter().filter(of_type).map(|writer| writer.group.as_str()).collect();
        match groups.iter().collect::<Vec<_>>().as_slice() {
            [one] => Ok((**one).to_owned()),
            [] => Err(format!(
                "it does not name the group that it is for, and the configuration has no {} that reads `{}`; `--group` \
                 names one",
                notes.writer_type, notes.topic
            )),
            several => Err(format!(
                "it does not name the group that it is for, and {several:?} may be meant; `--group` names one"
            )),
        }
    }

    /// Whether what is sent to a topic for a group is read by anyone: a warning where only the bus
    /// has heard of the group, or where a store holds twice what it has already; a failure where nobody has, or where the topic is gone.
    pub(super) async fn check(&self, bus: &dyn Bus, topic: &str, group: &str) -> Result<Option<String>, Failure> {
        match bus.topic(topic).await {
            Ok(_) => {}
            Err(BusError::NotFound(found)) => {
                let text = format!("the topic that letters came from is not there any more: {found}; nothing was sent");
                return Err(Failure::new(Exit::Configuration, text));
            }
            Err(error) => return Err(error.into()),
        }
        let configured: Vec<_> = self.writers.iter().filter(|writer| writer.group == group).collect();
        if let Some(settings) = configured.iter().find(|writer| writer.subscription == topic) {
            let plan = match writer::plan(settings) {
                Ok(plan) => plan,
                Err(error) => {
                    return Ok(Some(format!(
                        "what the writer of group `{group}` would refuse is not known, and nobody asks it: {error}"
                    )));
                }
            };
            let doubling = plan.doubling(Repetition::Replay).await;
            return Ok((!doubling.is_empty()).then(|| {
                format!(
                    "{}: of a message of which only some rows were bad, the sound ones were written when it was buried; \
                     sent again they are there twice, with the same {}",
                    doubling.join(", "),
                    writer::known_by(settings.writer_type)
                )
            }));
        }
        let unknown = |why: String| {
            let known: Vec<_> = self.writers.iter().filter(|writer| writer.subscription == topic).collect();
            let known: Vec<_> = known.iter().map(|writer| format!("`{}`", writer.group)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!(
                "{why}, so nobody would read what is sent there; nothing was sent. `--group` names another; of the \
                 configuration these read `{topic}`: {known}"
            );
            Failure::new(Exit::Usage, text)
        };
        if let Some(writer) = configured.first() {
            return Err(unknown(format!("group `{group}` reads `{}`, not `{topic}`", writer.subscription)));
        }
        if !bus.reads(group, topic).await? {
            return Err(unknown(format!("group `{group}` is unknown: no writer has it, and it never read `{topic}`")));
        }
        Ok(Some(format!(
            "group `{group}` is not of this configuration; it has read `{topic}`, and has to read it still; what is for it \
             goes without asking its writer, edited or not"
        )))
    }

    /// What a body for a group may come to unpacked: as much as its writer takes, and where the configuration
    /// does not have that one, as any of its writers does.
    pub(super) fn largest_body(&self, group: &str, topic: &str) -> usize {
        let limit = |writer: &WriterSettings| writer.tuning.max_message_bytes;
        let reads = |writer: &&WriterSettings| writer.group == group && writer.subscription == topic;
        let of_it = self.writers.iter().find(reads).map(limit);
        of_it.or_else(|| self.writers.iter().map(limit).max()).unwrap_or(usize::MAX)
    }

    /// What the writer of a group would refuse of a message; empty where it takes all of it, `None`
    /// where the configuration does not have the writer.
    pub(super) fn refusals(&mut self, group: &str, message: &Outgoing) -> Option<Vec<String>> {
        let writers = &self.writers;
        let plan = self.plans.entry((group.to_owned(), message.topic.clone())).or_insert_with(|| {
            let reads = |writer: &&WriterSettings| writer.group == group && writer.subscription == message.topic;
            writers.iter().find(reads).and_then(|settings| writer::plan(settings).ok())
        });
        let preview = plan.as_ref()?.preview(&delivered(message));
        let refused = preview.refused.iter().map(|refusal| format!("{}: {}", refusal.class, refusal.message));
        Some(refused.collect())
    }
}

/// The message as it will come from the bus.
fn delivered(message: &Outgoing) -> Message {
    Message {
        delivery: Delivery(0),
        partition: Partition { topic: message.topic.as_str().into(), number: 0 },
        offset: 0,
        timestamp_ms: message.timestamp_ms,
        key: message.key.clone(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
    }
}
