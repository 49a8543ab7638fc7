//! Settings that cannot hold at the same time: refused, each with what and why.
//!
//! Each setting alone is sound. Whoever wrote both expects something that will not happen.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::errors::Problem;
use super::registry::{Registry, Twice};
use super::secret::SecretRef;
use super::settings::{BusSettings, Environments, Tuning};
use super::store_kind::StoreKind;
use super::units::{show_duration, show_size};
use super::writers::{COMMON, Outline};

/// Properties of librdkafka that say how much a client may hold, with how many bytes one of their units is.
const BUFFERS: [(&str, usize); 2] = [("queued.max.messages.kbytes", 1024), ("fetch.max.bytes", 1)];

/// What a writer's settings are held against.
pub(super) struct Around<'a> {
    /// All layers of the file, under the schema's names.
    pub(super) file: &'a Value,
    pub(super) bus: Option<&'a BusSettings>,
    pub(super) registry: &'a Registry,
    pub(super) dead_letters: Option<&'a str>,
}

/// Contradictions of one writer, by path; those of its tuning by the field below it.
pub(super) fn of_writer(around: &Around<'_>, writer: &Outline, tuning: &Tuning) -> Found {
    let mut found = Found::default();
    let name = &writer.name;
    // On Pub/Sub a writer reads a subscription, which may well be called like a topic; a start asks of which one it is.
    let reads = writer.subscription.as_deref().filter(|_| !around.bus.is_some_and(BusSettings::has_subscriptions));
    if let Some(topic) = around.dead_letters {
        let harm = if reads == Some(topic) {
            Some(format!("`{name}` reads `{topic}` too, so it would be given its own dead letters again"))
        } else if writer.publishes.as_deref() == Some(topic) {
            Some(format!("`{name}` publishes to `{topic}` too, and its readers would be given dead letters"))
        } else {
            None
        };
        let at = format!("{COMMON}.kafka_dlq_topic");
        found.elsewhere.extend(harm.map(|harm| (at, Problem::Rule(format!("{harm}; give it another topic")))));
    }
    if let Some(topic) = &tuning.parking_topic {
        let taken = [
            (reads, "which it reads"),
            (writer.publishes.as_deref(), "which it publishes to"),
            (around.dead_letters, "the topic of dead letters"),
        ];
        if let Some((_, what)) = taken.into_iter().find(|(other, _)| *other == Some(topic.as_str())) {
            let text = format!(
                "`{topic}` is {what} for `{name}`: what is parked there would be taken for something else; give it another topic"
            );
            found.of_tuning.push(("parking_topic", Problem::Rule(text)));
        }
    }
    let (Some(bus), Some(known)) = (around.bus, &around.registry.of_buses) else { return found };
    let (handover, by) = (known.handover)(bus);
    if tuning.drain_timeout > handover {
        let (drain, handover) = (show_duration(tuning.drain_timeout), show_duration(handover));
        let text = format!(
            "{drain} is longer than the bus waits for partitions that move ({by}: {handover}), so what is in hand would \
             go unwritten after that all the same; lower it, or raise the other"
        );
        found.of_tuning.push(("drain_timeout", Problem::Rule(text)));
    }
    if let BusSettings::Kafka(kafka) = bus {
        for (property, unit) in BUFFERS {
            let given = kafka.properties.get(property).and_then(|value| value.parse::<usize>().ok());
            let bytes = given.map(|value| value.saturating_mul(unit));
            if let Some(bytes) = bytes.filter(|bytes| *bytes > tuning.memory_limit) {
                let (bytes, limit) = (show_size(bytes as u64), show_size(tuning.memory_limit as u64));
                let text = format!(
                    "{bytes} of it alone are more than `memory_limit` allows `{name}` in all ({limit}); lower it, or raise the limit"
                );
                found.elsewhere.push((format!("kafka.{property}"), Problem::Rule(text)));
            }
        }
        let replicas = replicas(around.file, writer);
        // What is made of a variable (`${HOSTNAME}`) is another name in each pod.
        if kafka.properties.get("group.instance.id").is_some_and(|name| !name.contains("${"))
            && let Some((field, replicas)) = replicas.filter(|(_, replicas)| *replicas > 1)
        {
            let text = format!(
                "is one name, and `{name}` has {replicas} replicas (`{field}`): each that starts would throw out the one \
                 before it; make it of the pod's name (`${{HOSTNAME}}`), or leave it out"
            );
            found.elsewhere.push(("kafka.group.instance.id".to_owned(), Problem::Rule(text)));
        }
    }
    found
}

/// What is wrong with one writer.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By the field of its tuning.
    pub(super) of_tuning: Vec<(&'static str, Problem)>,
    /// By the path in the file.
    pub(super) elsewhere: Vec<(String, Problem)>,
}

/// Two writers of one type that are given the same messages and write the same place, where that is there twice then.
pub(super) fn between_writers(
    writers: &[Outline],
    registry: &Registry,
    environments: impl Fn(&Outline) -> Environments,
) -> Vec<(String, Problem)> {
    let Some(doubles) = registry.doubles else { return Vec::new() };
    let mut found = Vec::new();
    for (at, writer) in writers.iter().enumerate() {
        let same = |other: &&Outline| {
            other.info.writer_type() == writer.info.writer_type()
                && other.subscription.is_some()
                && other.subscription == writer.subscription
                && other.group != writer.group
        };
        let writer_type = writer.info.writer_type();
        let place = |other: &Outline| match &writer.publishes {
            Some(topic) if other.publishes.as_ref() == Some(topic) => {
                Some((format!("topic `{topic}`"), doubles(writer_type, None)))
            }
            Some(_) => None,
            None => doubled(&environments(writer), &environments(other), writer, |uri| doubles(writer_type, Some(uri))),
        };
        let others = writers[..at].iter().filter(same).filter_map(|other| Some((other, place(other)?)));
        let harm = others.filter_map(|(other, (place, twice))| {
            let what = match twice {
                Twice::Nothing => return None,
                Twice::Keyless => "every row without a key of its own",
                Twice::All => "all of it",
            };
            let text = format!(
                "`{}` and `{}` are two groups of one topic and write the same {place}, so {what} would be there twice; \
                 give them one group, which shares the work, or leave one out",
                other.name, writer.name
            );
            Some((writer.at.clone(), Problem::Rule(text)))
        });
        // One is enough to be told of.
        found.extend(harm.take(1));
    }
    found
}

/// The store that two writers of one type write to and in which most is there twice, of all environments; as far as
/// their URIs stand in the file.
fn doubled(
    ours: &Environments,
    theirs: &Environments,
    writer: &Outline,
    twice: impl Fn(&str) -> Twice,
) -> Option<(String, Twice)> {
    let kind = writer.info.store.and_then(StoreKind::of_field)?;
    let stores = |environments: &Environments| -> Vec<(String, SecretRef)> {
        let all = environments.entries.iter();
        let all = all.flat_map(|(id, entry)| entry.stores(kind).into_iter().map(move |(_, store)| (id.clone(), store)));
        all.map(|(id, store)| (id, store.uri.clone())).collect()
    };
    let theirs = stores(theirs);
    let shared = stores(ours).into_iter().filter(|(_, uri)| theirs.iter().any(|(_, other)| other == uri));
    let judged = shared.filter_map(|(id, uri)| match uri {
        SecretRef::Plain(uri) => Some((format!("{} of `{id}`", kind.field()), twice(uri.expose_secret()))),
        SecretRef::Named { .. } => None,
    });
    // The first of those in which most is doubled.
    judged.reduce(|most, next| if next.1 > most.1 { next } else { most })
}

/// How many processes a writer has at the most, as its entry says, and the field that does.
fn replicas(file: &Value, writer: &Outline) -> Option<(&'static str, u64)> {
    let entry = file.get("writers")?.get(writer.number?)?;
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let most = entry.pointer("/hpa_specs/hpa_max_replicas").and_then(number);
    let usual = entry.get("default_replica_count").and_then(number);
    let fields = [("hpa_specs.hpa_max_replicas", most), ("default_replica_count", usual)];
    fields.into_iter().filter_map(|(field, number)| Some((field, number?))).max_by_key(|(_, replicas)| *replicas)
}
