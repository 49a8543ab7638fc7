//! The entries of `writers`: names, types, groups, what each reads; and whether they agree with one another.

use std::collections::BTreeMap;

use serde_json::Value;

use super::choice::BusBackend;
use super::errors::Problem;
use super::raw::{RawWriter, get};
use super::registry::Registry;
use super::settings::OfflineMode;
use crate::writer_type::{NotAType, TypeInfo, WriterType};

/// Where the fields of topics and subscriptions stand.
pub(super) const COMMON: &str = "common_persistence_specs";

/// One writer as far as its entry says.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// `writers[1]`; empty for a writer that the file does not list.
    pub(super) at: String,
    /// Its entry's number.
    pub(super) number: Option<usize>,
    pub(super) name: String,
    pub(super) info: &'static TypeInfo,
    pub(super) group: String,
    /// What it reads.
    pub(super) subscription: Option<String>,
    /// The field that names what it publishes to, where it publishes.
    pub(super) publishes_by: Option<&'static str>,
    /// What it publishes to.
    pub(super) publishes: Option<String>,
}

/// What is wrong with writers, by path under the schema's names.
#[derive(Debug, Default)]
pub(super) struct WriterFindings {
    pub(super) errors: Vec<(String, Problem)>,
    pub(super) warnings: Vec<(String, String)>,
}

/// The default name of a writer: its type as it is written, in lower case with `-`.
pub(super) fn default_name(type_as_written: &str) -> String {
    type_as_written.trim().to_lowercase().replace('_', "-")
}

/// The writers that the file lists, without those that cannot be told.
pub(super) fn outlines(
    raw: &[RawWriter],
    file: &Value,
    backend: Option<BusBackend>,
    registry: &Registry,
) -> (Vec<Outline>, WriterFindings) {
    let mut findings = WriterFindings::default();
    let mut writers: Vec<Outline> = Vec::new();
    for (number, entry) in raw.iter().enumerate() {
        let at = format!("writers[{number}]");
        if entry.pdb_min_available.is_some() && entry.pdb_max_unavailable.is_some() {
            let text = "excludes `pdb_max_unavailable`; keep one of them".to_owned();
            findings.errors.push((format!("{at}.pdb_min_available"), Problem::Rule(text)));
        }
        let Some(given) = get(entry.bus_subscriber_type.as_ref()) else {
            let text = "is missing; it says which of the nine jobs the writer does (`chalk-writer types` lists them)";
            findings.errors.push((format!("{at}.bus_subscriber_type"), Problem::Rule(text.to_owned())));
            continue;
        };
        let info = match given.parse::<WriterType>() {
            Ok(writer_type) => writer_type.info(),
            Err(NotAType::ClusterManager) => {
                findings.warnings.push((format!("{at}.bus_subscriber_type"), NotAType::ClusterManager.to_string()));
                continue;
            }
            Err(unknown) => {
                findings.errors.push((format!("{at}.bus_subscriber_type"), Problem::Rule(unknown.to_string())));
                continue;
            }
        };
        let outline = outline(at, Some(number), &given, info, entry, file, backend);
        if let Some(other) = writers.iter().find(|other| other.name == outline.name) {
            let text = format!("`{}` is also the name of {}; give one of them another", outline.name, other.at);
            findings.errors.push((format!("{}.name", outline.at), Problem::Rule(text)));
        }
        writers.push(outline);
    }
    for writer in &writers {
        if !registry.runs(writer.info.writer_type()) {
            let text = format!("{} is not in this version", writer.info.name);
            findings.warnings.push((format!("{}.bus_subscriber_type", writer.at), text));
        }
        if writer.subscription.is_none() {
            findings.errors.push(missing_subscription(writer, backend));
        }
    }
    clashes(&writers, backend, &mut findings);
    (writers, findings)
}

/// One writer from its entry.
pub(super) fn outline(
    at: String,
    number: Option<usize>,
    type_as_written: &str,
    info: &'static TypeInfo,
    entry: &RawWriter,
    file: &Value,
    backend: Option<BusBackend>,
) -> Outline {
    let name = get(entry.name.as_ref()).unwrap_or_else(|| default_name(type_as_written));
    let one_name = backend != Some(BusBackend::Pubsub); // a Pub/Sub subscription is not its topic
    let republishes = get(entry.offline_mode.as_ref()) == Some(OfflineMode::Republish);
    let publishes_by = info.publishes.or(info.republishes.filter(|_| republishes));
    let subscription =
        common(file, info.reads).or_else(|| if one_name { topic(file, info.reads_topic?) } else { None });
    let group = match &subscription {
        // What a group is elsewhere a subscription is here, and it has a name already.
        Some(subscription) if !one_name => subscription.clone(),
        _ => get(entry.kafka_consumer_group_override.as_ref()).unwrap_or_else(|| format!("chalk-{name}")),
    };
    Outline {
        group,
        subscription,
        publishes: publishes_by.and_then(|field| if one_name { topic(file, field) } else { common(file, field) }),
        publishes_by,
        at,
        number,
        name,
        info,
    }
}

/// A topic: its own field, else the one name that all subscriptions of its bus have.
pub(super) fn topic(file: &Value, field: &str) -> Option<String> {
    common(file, field).or_else(|| {
        let mut names = WriterType::ALL
            .into_iter()
            .map(WriterType::info)
            .filter(|info| info.reads_topic == Some(field))
            .filter_map(|info| common(file, info.reads));
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    })
}

/// A text field of `common_persistence_specs`.
pub(super) fn common(file: &Value, field: &str) -> Option<String> {
    file.get(COMMON)?.get(field)?.as_str().map(str::to_owned)
}

/// What a writer without a subscription lacks.
pub(super) fn missing_subscription(writer: &Outline, backend: Option<BusBackend>) -> (String, Problem) {
    let add = match writer.info.reads_topic {
        Some(topic) if backend != Some(BusBackend::Pubsub) => format!("add it or `{topic}` under `{COMMON}`"),
        _ => format!("add it under `{COMMON}`"),
    };
    let problem = Problem::Missing {
        writer: writer.name.clone(),
        writer_type: writer.info.name,
        field: writer.info.reads.to_owned(),
        add,
    };
    (format!("{COMMON}.{}", writer.info.reads), problem)
}

/// Writers that would take messages from one another: on Pub/Sub by one subscription, elsewhere by one group.
fn clashes(writers: &[Outline], backend: Option<BusBackend>, findings: &mut WriterFindings) {
    let pubsub = backend == Some(BusBackend::Pubsub);
    let mut first: BTreeMap<(&str, &str), &Outline> = BTreeMap::new();
    for writer in writers {
        let Some(subscription) = &writer.subscription else { continue };
        let group = if pubsub { "" } else { &*writer.group };
        let Some(other) = first.get(&(&**subscription, group)) else {
            first.insert((subscription, group), writer);
            continue;
        };
        let shared = if pubsub {
            format!("subscription `{subscription}`")
        } else {
            format!("topic `{subscription}` in group `{group}`")
        };
        let text =
            format!("`{}` and `{}` both read {shared}, so each gets a part of the messages", other.name, writer.name);
        if other.info.writer_type() == writer.info.writer_type() {
            findings.warnings.push((writer.at.clone(), text));
        } else {
            let text = format!("{text} and loses the rest; give each its own");
            findings.errors.push((writer.at.clone(), Problem::Rule(text)));
        }
    }
}
