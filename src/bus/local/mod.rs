//! Placeholder while the bus is being written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Browse, BrowseFrom, Bus, BusError, Publisher, Subscribe, Subscription, TopicInfo};
use crate::config::settings::BusSettings;

/// Opens it.
pub fn open(settings: &BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>> {
    let BusSettings::Local(local) = settings else { return None };
    Some(Ok(Arc::new(LocalBus::new(local.path.clone(), Options::default()))))
}

/// Times and limits of the embedded bus.
#[derive(Clone, Debug)]
pub struct Options {
    /// A member that was silent for so long loses its partitions.
    pub session_timeout: Duration,
    /// Largest message, key and headers included.
    pub max_message_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { session_timeout: Duration::from_secs(6), max_message_bytes: 64 << 20 }
    }
}

/// The embedded bus.
pub struct LocalBus {
    path: PathBuf,
    #[allow(dead_code)]
    options: Options,
}

impl LocalBus {
    /// A connection to the bus in a file.
    pub fn new(path: PathBuf, options: Options) -> Self {
        Self { path, options }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn subscribe(&self, _: Subscribe) -> Result<Subscription, BusError> {
        Err(BusError::Failed(format!("{} is being written", self.path.display())))
    }
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        Err(BusError::Failed("being written".to_owned()))
    }
    async fn browse(&self, _: &str, _: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
        Err(BusError::Failed("being written".to_owned()))
    }
    async fn topic(&self, _: &str) -> Result<TopicInfo, BusError> {
        Err(BusError::Failed("being written".to_owned()))
    }
    async fn create_topic(&self, _: &str, _: u32) -> Result<(), BusError> {
        Err(BusError::Failed("being written".to_owned()))
    }
}
