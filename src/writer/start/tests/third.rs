//! A writer of another message than a result, whose sinks publish: what those to come are made of.

use std::convert::Infallible;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::settings::WriterSettings;
use crate::decode::{Decoded, Decoder};
use crate::message::{Headers, Message};
use crate::proto::writer::v1::UsageBatch;
use crate::sink::{ErrorClass, Refusal};
use crate::store::StoreError;
use crate::writer::body::{self, Read};
use crate::writer::catalog::{Catalog, Prepared};
use crate::writer::destinations::{Opener, PlannedDestination, To};
use crate::writer::doubles::Repetition;
use crate::writer::open::{Gate, Unopened};
use crate::writer::outlet::{Outlet, Publishes};
use crate::writer::preview::{Preview, Shown, ShownRow};
use crate::writer::testing::{self, message};

/// A usage event that is passed on.
struct Note {
    destination: usize,
    text: String,
}

impl Row for Note {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        self.text.len()
    }
}

impl Shown for Note {
    fn shown(&self) -> Vec<ShownRow> {
        vec![ShownRow::Other { what: "message", fields: vec![("text".to_owned(), json!(self.text))] }]
    }
}

struct Entry(Option<usize>);

impl Prepared for Entry {
    fn destination(&self) -> Option<usize> {
        self.0
    }
}

struct Notes {
    gate: Gate,
    catalog: Catalog<Entry>,
}

impl Notes {
    fn read<'a>(&self, message: &'a Message, decoded: &mut Decoded<Note>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        let Read { message: batch, unpacked } = body::read::<UsageBatch>(&admitted)?;
        decoded.event_time = admitted.event_time(None);
        decoded.unpacked = unpacked;
        for event in batch.events {
            admitted.is_of(&event.environment_id)?;
            if let Some((_, destination)) = self.catalog.place(&event.environment_id, || 1, decoded) {
                decoded.rows.push(Note { destination, text: event.event_id });
            }
        }
        Ok(())
    }
}

impl Decoder<Note> for Notes {
    fn decode(&self, message: &Message, decoded: &mut Decoded<Note>) {
        if let Err(unopened) = self.read(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

/// Publishes every note, and refuses those that the topic does not take.
struct PassOn(Outlet);

#[async_trait]
impl Sink<Note> for PassOn {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, write: Write<'_, Note>) -> Result<Outcome, SinkError> {
        let (headers, mut outcome, mut messages) = (Headers::new(), Outcome::default(), Vec::new());
        for (at, note) in write.rows.iter().enumerate() {
            if note.text.len() > self.0.room(None, &headers) {
                outcome.refused.push((at, Refusal::new(ErrorClass::TooLarge, "more than the topic takes")));
            } else {
                messages.push(self.0.message(None, headers.clone(), Bytes::from(note.text.clone())));
            }
        }
        self.0.publish(&messages).await.into_iter().collect::<Result<(), _>>()?;
        Ok(outcome)
    }

    fn collapse(&self, key: &Infallible, _: &[&Note]) -> Note {
        match *key {}
    }
}

const STORE: Stores<Note> = Stores {
    name: "offline store",
    kind: StoreKind::Offline,
    uri: "uri",
    open: Opener::Publishing(|_, outlet| Ok(Arc::new(PassOn(outlet.clone())))),
    absorbs_repeats: |uri| {
        if uri.starts_with("any:") { Ok(true) } else { Err(StoreError("it is no store".to_owned())) }
    },
    has_keyless_rows: false,
};

fn of_usage() -> WriterSettings {
    let with_store = Environment { offline_store: Some(store("any:x")), ..Environment::default() };
    let usage = "USAGE_BUS_WRITER".parse().expect("a writer");
    settings(usage, &[("prod", with_store), ("dev", Environment::default())])
}

fn third(publishes: Option<&str>) -> Plan<Note> {
    let settings = of_usage();
    let destinations = Destinations::plan(&settings.environments, &STORE).expect("a store");
    let catalog = Catalog::new(&settings.environments, |id, _| Entry(destinations.index(id)));
    let decoder = Notes { gate: Gate::new(&settings), catalog };
    let publishes =
        publishes.map(|topic| Publishes { named_by: "`usage_bus_topic_id`".to_owned(), ..testing::publishes(topic) });
    Plan { publishes, ..Plan::new(&settings, destinations, decoder) }
}

/// The same with nothing but a topic to write to; its outlet is put down for the test.
fn to_a_topic(seen: &Arc<Mutex<Option<Outlet>>>) -> Plan<Note> {
    let seen = Arc::clone(seen);
    let open = move |outlet: &Outlet| {
        *seen.lock().expect("no panic") = Some(outlet.clone());
        Ok(Arc::new(PassOn(outlet.clone())) as Arc<dyn Sink<Note>>)
    };
    let destination = PlannedDestination { name: "topic notes".to_owned(), to: To::Topic(Box::new(open)) };
    Plan { destinations: vec![destination], ..third(Some("notes")) }
}

fn preview(body: &str, headers: &[(&str, &str)]) -> Preview {
    let mut message = message(headers);
    message.payload = Some(Bytes::copy_from_slice(body.as_bytes()));
    third(None).preview(&message)
}

#[test]
fn what_it_would_write_is_shown_and_environments_are_placed_one_by_one() {
    let event = |environment: &str| format!(r#"{{"event_id": "e", "environmentId": "{environment}"}}"#);
    let body = format!(r#"{{"events": [{}, {}, {}]}}"#, event("prod"), event("dev"), event("other"));
    let shown: Json = serde_json::to_value(preview(&body, &[])).expect("plain data");
    assert_eq!(
        shown["rows"],
        json!([{"destination": "offline store of prod", "what": "message", "fields": [["text", "e"]]}])
    );
    assert_eq!(
        (&shown["skipped"], &shown["event_time"]),
        (&json!({"no_store": 1}), &json!("2026-11-22T18:32:00.000000Z"))
    );
    assert_eq!(shown["refused"][0]["class"], "UNKNOWN_ENVIRONMENT");
}

#[test]
fn what_is_not_for_it_or_not_its_message_is_told_as_by_every_writer() {
    let result = preview("{}", &[("ce_type", "chalk.result.v1")]);
    assert_eq!(result.skipped.into_keys().collect::<Vec<_>>(), [skip::OTHER_TYPE]);
    let empty = preview("{}", &[("ce_environmentid", "prod")]);
    assert_eq!((empty.refused[0].class, empty.environment.as_deref()), ("DECODE", Some("prod")));
    let other = preview(r#"{"events": [{"environment_id": "dev"}]}"#, &[("ce_environmentid", "prod")]);
    assert_eq!(other.refused[0].class, "ENVIRONMENT_MISMATCH");
}

#[tokio::test]
async fn a_sink_publishes_to_the_topic_of_its_writer_what_that_takes() {
    let seen = Arc::default();
    let (start, bus) = with(vec![there(Some(20_000))]);
    Box::new(to_a_topic(&seen)).start(start).await.map(drop).expect("everything is there");
    let outlet = seen.lock().expect("no panic").clone().expect("it was opened");
    let room = outlet.room(None, &Headers::new());
    assert!((19_000..20_000).contains(&room), "less what a bus adds to a body: {room}");
    let notes = [room, room + 1].map(|length| Note { destination: 0, text: "x".repeat(length) });
    let rows: Vec<_> = notes.iter().collect();
    let written = PassOn(outlet).write(Write { id: "batch", rows: &rows, concurrency: 1 }).await.expect("it lands");
    assert_eq!(written.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
    let published = bus.published.lock().expect("no panic");
    let bodies: Vec<_> = published.iter().map(|sent| (&*sent.topic, sent.payload.as_ref().map(Bytes::len))).collect();
    assert_eq!(bodies, [("notes", Some(room))]);
}

#[tokio::test]
async fn a_topic_to_publish_to_that_is_missing_or_not_named_is_a_configuration_that_cannot_work() {
    let reason = |started: Result<Box<dyn Run>, StartError>| match started.err() {
        Some(StartError::Configuration(reason)) => reason,
        other => panic!("a configuration that cannot work, not {other:?}"),
    };
    let (start, _) = with(vec![Err(BusError::NotFound("notes".to_owned()))]);
    let missing = reason(Box::new(third(Some("notes"))).start(start).await);
    assert!(missing.starts_with("topic `notes`, which `usage_bus_topic_id` names, is not there"), "{missing}");
    let (start, bus) = with(vec![there(None)]);
    let unnamed = reason(Box::new(third(None)).start(start).await);
    assert_eq!(unnamed, "offline store of prod: publishes, and no topic to publish to is named");
    assert!(bus.subscribed.lock().expect("no panic").is_none());
    let (start, _) = with(vec![there(None)]);
    Box::new(third(Some("notes"))).start(start).await.map(drop).expect("it is there");
}

#[tokio::test]
async fn reading_again_into_a_topic_would_publish_twice_whatever_the_store_absorbs() {
    for plan in [third(Some("notes")), to_a_topic(&Arc::default())] {
        let name = plan.destinations[0].name.clone();
        assert_eq!(plan.doubling(Repetition::Delivery).await.join(", "), name);
        let (mut start, bus) = with(vec![there(None)]);
        start.again = again(now() / 1_000, false);
        let Some(StartError::Harmful(reason)) = Box::new(plan).start(start).await.err() else { panic!("refused") };
        assert!(reason.contains(&format!("{name} would publish everything of that stretch once more")), "{reason}");
        assert!(bus.stretched.lock().expect("no panic").is_none(), "nothing was read");
    }
}

#[test]
fn only_a_store_has_settings_to_look_into_and_only_its_uri_is_checked_beforehand() {
    let with_store = third(None);
    assert!(AnyPlan::destinations(&with_store)[0].1.is_some());
    assert!(AnyPlan::destinations(&to_a_topic(&Arc::default()))[0].1.is_none());
    let elsewhere = Environment { offline_store: Some(store("none:x")), ..Environment::default() };
    let settings = settings(WriterType::OFFLINE, &[("prod", elsewhere)]);
    let Err(error) = Destinations::plan(&settings.environments, &STORE) else { panic!("it was planned") };
    assert_eq!(error.to_string(), "`environments.prod.offline_store.uri`: it is no store");
}
