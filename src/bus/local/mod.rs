//! The embedded bus: topics, partitions and consumer groups in one SQLite file.
//!
//! Any number of processes of one machine share the file, which must not lie on a network drive. What is
//! published or committed is on disk when the call returns, also after a power cut (WAL with
//! `synchronous=FULL`). Consumer groups share partitions as they do on Kafka; `group.rs` says how.
//! A process that is stopped (not killed) in the very moment of a transaction keeps the file locked: the
//! others answer that the bus is not available until it goes on or ends.
//!
//! # Why
//! All of SQLite is called on threads of its own, never on an async one: a transaction waits for the disk and
//! for other processes. A consumer has one such thread (`member`), which renews its lease even while the
//! async side is busy; a publisher has one (`publisher`), which puts all that waits into one transaction.
//! Offsets start at 0 in each partition and have no holes; nothing expires.

mod append;
mod assign;
mod browse;
mod file;
mod group;
mod inspect;
mod log;
mod member;
mod partitioner;
mod publisher;
mod shared;
mod source;
mod step;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::inspect::Inspect;
use super::{
    Browse, BrowseFrom, Bus, BusError, GroupPosition, Keeping, Publisher, Step, Stepped, Stretch, Subscribe,
    Subscription, TopicInfo, Waits,
};
use crate::config::settings::BusSettings;
use crate::message::Outgoing;
use file::BusFile;

/// The embedded bus, where the settings name it.
pub fn open(settings: &BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>> {
    let BusSettings::Local(local) = settings else { return None };
    Some(Ok(Arc::new(LocalBus::new(local.path.clone(), Options::default()))))
}

/// The same, to be asked about itself.
pub fn inspect(settings: &BusSettings) -> Option<Arc<dyn Inspect>> {
    let BusSettings::Local(local) = settings else { return None };
    Some(Arc::new(LocalBus::new(local.path.clone(), Options::default())))
}

/// How long it waits for a member, where the settings name it.
pub fn waits(settings: &BusSettings) -> Option<Waits> {
    let BusSettings::Local(_) = settings else { return None };
    let Options { session_timeout, handover_timeout, .. } = Options::default();
    Some(Waits {
        session: Some(session_timeout),
        // Nothing sets it.
        session_by: None,
        handover: handover_timeout,
        handover_by: "the LOCAL bus's wait for a handover",
    })
}

/// Times and limits of the embedded bus.
#[derive(Clone, Debug)]
pub struct Options {
    /// A member that was silent for so long loses its partitions to the others of its group. It renews its
    /// lease four times as often. All members of a group should agree.
    pub session_timeout: Duration,
    /// The longest wait for a handover to be released; then the partitions go, and what was not acknowledged
    /// is delivered again to their new owner.
    pub handover_timeout: Duration,
    /// Largest message in bytes, key and headers included.
    pub max_message_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(6),
            handover_timeout: Duration::from_secs(60),
            max_message_bytes: 128 << 20,
        }
    }
}

/// The embedded bus in one file, which `create_topic` makes where it is missing.
#[derive(Clone, Debug)]
pub struct LocalBus {
    path: PathBuf,
    options: Options,
}

impl LocalBus {
    /// A connection to the bus in a file; nothing is opened before a method is called.
    pub fn new(path: PathBuf, options: Options) -> Self {
        Self { path, options }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn subscribe(&self, subscription: Subscribe) -> Result<Subscription, BusError> {
        source::subscribe(self.path.clone(), subscription, &self.options).await
    }

    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        let publisher = publisher::LocalPublisher::start(self.path.clone(), self.options.max_message_bytes)?;
        Ok(Arc::new(publisher))
    }

    async fn browse(&self, topic: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
        let (path, topic) = (self.path.clone(), topic.to_owned());
        let browse = blocking(move || browse::LocalBrowse::start(&path, &topic, &from)).await?;
        Ok(Box::new(browse))
    }

    async fn topic(&self, name: &str) -> Result<TopicInfo, BusError> {
        let (path, name) = (self.path.clone(), name.to_owned());
        let max_message_bytes = Some(self.options.max_message_bytes);
        blocking(move || {
            let file = BusFile::open(&path)?.ok_or_else(|| no_file(&name, &path))?;
            let topic = file.read(|connection| log::topic(connection, &name))?;
            Ok(TopicInfo {
                partitions: topic.partitions.len() as u32,
                max_message_bytes,
                size_setting: None,
                max_header_bytes: None,
                messages: Some(topic.partitions.iter().map(|log| log.end as u64).sum()),
                keeping: Keeping::default(),
                untold: None,
            })
        })
        .await
    }

    async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), BusError> {
        let (path, name) = (self.path.clone(), name.to_owned());
        blocking(move || BusFile::create(&path)?.write(|transaction| log::create_topic(transaction, &name, partitions)))
            .await
    }

    async fn stretch(&self, topic: &str, from_ms: i64, until_ms: Option<i64>) -> Result<Vec<Stretch>, BusError> {
        let (path, topic) = (self.path.clone(), topic.to_owned());
        blocking(move || {
            let file = BusFile::open(&path)?.ok_or_else(|| no_file(&topic, &path))?;
            file.read(|connection| browse::stretch(connection, &topic, from_ms, until_ms))
        })
        .await
    }

    async fn positions(&self, topic: &str, group: &str) -> Result<Vec<GroupPosition>, BusError> {
        let (path, topic, group) = (self.path.clone(), topic.to_owned(), group.to_owned());
        blocking(move || {
            let file = BusFile::open(&path)?.ok_or_else(|| no_file(&topic, &path))?;
            file.read(|connection| step::positions(connection, &topic, &group))
        })
        .await
    }

    async fn step(&self, step: &Step) -> Result<Stepped, BusError> {
        let (path, step) = (self.path.clone(), step.clone());
        blocking(move || {
            let mut file = BusFile::open(&path)?.ok_or_else(|| no_file(&step.topic, &path))?;
            file.write(|transaction| step::step(transaction, &step))
        })
        .await
    }
}

/// Runs what waits for the disk away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(BusError::Failed(format!("the embedded bus stopped in a call: {error}"))),
    }
}

/// The error for a topic of a bus whose file is not there.
fn no_file(topic: &str, path: &Path) -> BusError {
    BusError::NotFound(format!(
        "{topic}; the bus file {} is not there yet, and is made with its first topic",
        path.display()
    ))
}

/// Bytes of a message that count towards the limit.
fn size(message: &Outgoing) -> usize {
    message.key.as_ref().map_or(0, bytes::Bytes::len)
        + message.headers.size()
        + message.payload.as_ref().map_or(0, bytes::Bytes::len)
}
