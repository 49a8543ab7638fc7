//! The types of writers, known by name whether or not this version has them: what is fixed about each is
//! data, so that nothing else in the program has to tell them apart.

mod nine;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::message::EventType;
use crate::nearest::hint;

/// One of the nine jobs (`bus_subscriber_type`): all that is fixed about it, at hand wherever its name is.
///
/// What differs between them is data in [`TypeInfo`]; only what shows or configures one job alone asks which one it is.
#[derive(Clone, Copy)]
pub struct WriterType(&'static TypeInfo);

/// What is fixed about a type of writer.
#[derive(Debug, Serialize)]
pub struct TypeInfo {
    /// Its name in the configuration; no other type has it.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// Other names, besides the prefixes `GO_`, `PYTHON_` and `RUST_` before any name.
    pub aliases: &'static [&'static str],
    /// What it does, in one line.
    pub summary: &'static str,
    /// The types of messages that it reads; one without a type is taken for the first.
    pub messages: &'static [EventType],
    /// Field of `common_persistence_specs` with the subscription that it reads.
    pub reads: &'static str,
    /// Field with the topic of that subscription, where there is one: on Kafka and LOCAL the two are one name.
    pub reads_topic: Option<&'static str>,
    /// Field with the topic that it publishes to.
    pub publishes: Option<&'static str>,
    /// Field with the topic that it publishes to in the mode in which it publishes (`offline_mode: republish`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republishes: Option<&'static str>,
    /// Whether it may publish to the topic that it reads, because it passes over what it published: Chalk's own
    /// sample has logged queries and what came of them on one topic.
    #[serde(skip)]
    pub passes_over_its_own: bool,
    /// Field of an environment with the store that it writes to.
    pub store: Option<&'static str>,
    /// Which column of the table of defaults is its own.
    #[serde(skip)]
    pub pace: Pace,
    /// Batches that are being written at once. Where rows overwrite one another one keeps their order, and a
    /// transaction is one at a time.
    #[serde(skip)]
    pub in_flight: usize,
    /// Largest `memory_limit` that `auto` gives, in bytes: a large machine is no reason to take more of it.
    #[serde(skip)]
    pub auto_memory_most: u64,
}

/// What a writer's batches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Small and soon: somebody waits for what is in them.
    Fresh,
    /// Large and later: fewer files, fewer transactions.
    Bulk,
}

/// Prefixes of Chalk's names for the same jobs in one language or another.
const PREFIXES: [&str; 3] = ["GO_", "PYTHON_", "RUST_"];

/// In Chalk's list of writers, but no writer.
const CLUSTER_MANAGER: &str = "CLUSTER_MANAGER";

/// Why a text is not a type of writer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAType {
    /// Chalk's cluster manager, which is deployed through the same list.
    #[error(
        "CLUSTER_MANAGER is Chalk's cluster manager, which watches nodes and pods; it is not a writer and is not run \
         from here"
    )]
    ClusterManager,
    /// A word that nobody knows.
    #[error("unknown writer type `{0}`; {known}", known = hint(&plain(.0), &WriterType::ALL.map(WriterType::as_str)))]
    Unknown(String),
}

impl TypeInfo {
    /// The type that this describes.
    pub const fn writer_type(&'static self) -> WriterType {
        WriterType(self)
    }
}

impl WriterType {
    /// The type of a description.
    pub const fn new(info: &'static TypeInfo) -> Self {
        Self(info)
    }

    /// What is fixed about it.
    pub const fn info(self) -> &'static TypeInfo {
        self.0
    }

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// What a message without a type is taken for.
    pub const fn usual_message(self) -> EventType {
        self.0.messages[0]
    }
}

impl PartialEq for WriterType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for WriterType {}

impl PartialOrd for WriterType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WriterType {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for WriterType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for WriterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for WriterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WriterType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for WriterType {
    type Err = NotAType;

    /// Reads a type's name or alias as the configuration or the command line has it, in any letter case.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let name = plain(given);
        let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
        if bare == CLUSTER_MANAGER {
            return Err(NotAType::ClusterManager);
        }
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == bare || known.info().aliases.contains(&bare))
            .ok_or_else(|| NotAType::Unknown(given.to_owned()))
    }
}

fn plain(given: &str) -> String {
    given.trim().to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_spelling_of_a_type_is_read() {
        for known in WriterType::ALL {
            assert_eq!(known.as_str().parse(), Ok(known));
            assert_eq!(known.as_str().to_lowercase().replace('_', "-").parse(), Ok(known));
            assert_eq!(format!("GO_{known}").parse(), Ok(known));
        }
        assert_eq!("GO_RESULT_BUS_METRICS_WRITER".parse(), Ok(WriterType::METRICS));
        assert_eq!("RUST_OFFLINE_WRITER".parse(), Ok(WriterType::OFFLINE));
        assert_eq!("PYTHON_QUERY_MIRROR_CONSUMER".parse(), Ok(WriterType::QUERY_MIRROR));
    }

    #[test]
    fn a_type_is_its_name_and_no_two_have_one() {
        let names: BTreeSet<WriterType> = WriterType::ALL.into_iter().collect();
        assert_eq!(names.len(), WriterType::ALL.len());
        let mut spelled: Vec<&str> = WriterType::ALL.iter().flat_map(|known| known.info().aliases).copied().collect();
        spelled.extend(WriterType::ALL.map(WriterType::as_str));
        assert_eq!(spelled.len(), spelled.iter().collect::<BTreeSet<_>>().len(), "{spelled:?}");
        assert_eq!(WriterType::new(WriterType::ONLINE.info()), WriterType::ONLINE);
        assert_ne!(WriterType::ONLINE, WriterType::OFFLINE);
    }

    #[test]
    fn every_published_message_but_what_is_for_people_has_its_readers() {
        let read = |message: &EventType| WriterType::ALL.iter().any(|known| known.info().messages.contains(message));
        let unread: Vec<_> = EventType::ALL.into_iter().filter(|message| !read(message)).collect();
        assert_eq!(unread, [EventType::QueryMirror]);
        assert_eq!(WriterType::METRICS_BUS.usual_message(), EventType::MetricsV1);
    }

    #[test]
    fn what_is_not_a_type_is_said_in_a_sentence() {
        let said = |given: &str| given.parse::<WriterType>().expect_err("no type").to_string();
        assert_eq!(
            said("ONLIN_WRITER"),
            "unknown writer type `ONLIN_WRITER`; did you mean `ONLINE_WRITER`? known are ONLINE_WRITER, METRICS_WRITER, \
             METRICS_BUS_WRITER, OFFLINE_WRITER, OFFLINE_STORE_BULK_INSERT_WRITER, \
             OFFLINE_STORE_STREAMING_INSERT_WRITER, USAGE_BUS_WRITER, QUERY_MIRROR_CONSUMER, \
             ONLINE_VECTOR_STORE_WRITER"
        );
        assert!(said("cluster_manager").contains("is not a writer"));
    }
}
