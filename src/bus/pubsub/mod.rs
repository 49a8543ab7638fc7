//! Google Pub/Sub, by Google's own client.
//!
//! A subscription is what a consumer group is elsewhere: [`Subscribe::group`] names it, and it has to be there. There are no partitions and no
//! positions: everything is partition 0, a message's offset is its id, and each message is acknowledged by itself. Until
//! then its lease is extended, for as long as this process lives; what is not acknowledged when it ends is handed back at once.
//!
//! Topics are read outside of subscriptions (`browse`, [`Bus::reread`]) through a subscription that is made for it and deleted afterwards,
//! set back in time. That reaches as far back as the topic keeps messages (`message_retention_duration`), which is nothing by Google's default.
//!
//! # Why
//! Acknowledgements are confirmed where the subscription delivers exactly once. Elsewhere they may be lost, as every other may be, and a
//! message comes again, which stores recognise by its id.

mod browse;
mod client;
mod confirm;
mod errors;
mod fold;
mod group;
mod inspect;
mod limits;
mod message;
mod openings;
mod publisher;
mod pull;
mod question;
mod source;
mod streams;
mod temporary;
mod topics;
mod troubles;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::inspect::Inspect;
use super::{
    Browse, BrowseFrom, Bus, BusError, GroupPosition, Hold, Publisher, Step, Stepped, Stretch, Subscribe, Subscription,
    Subscriptions, TopicInfo, Waits,
};
use crate::config::settings::BusSettings;
use client::Clients;

/// Why commands that move positions do nothing here.
const NO_POSITIONS: &str =
    "Pub/Sub has no positions of a group: each message of a subscription is acknowledged by itself";

/// Pub/Sub, where the settings name it.
pub fn open(settings: &BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>> {
    let BusSettings::Pubsub(settings) = settings else { return None };
    Some(Ok(Arc::new(PubsubBus { clients: Arc::new(Clients::new(settings.clone())) })))
}

/// The same, to be asked about itself.
pub fn inspect(settings: &BusSettings) -> Option<Arc<dyn Inspect>> {
    let BusSettings::Pubsub(settings) = settings else { return None };
    Some(Arc::new(PubsubBus { clients: Arc::new(Clients::new(settings.clone())) }))
}

/// How long it waits for a consumer, where the settings name it.
pub fn waits(settings: &BusSettings) -> Option<Waits> {
    let BusSettings::Pubsub(_) = settings else { return None };
    Some(Waits {
        session: Some(pull::LEASE),
        session_by: None,
        // Nothing is ever handed over.
        handover: Duration::MAX,
        handover_by: "",
    })
}

/// A connection to the topics and subscriptions of a project. Nothing is contacted before a method is called.
struct PubsubBus {
    clients: Arc<Clients>,
}

#[async_trait]
impl Bus for PubsubBus {
    async fn subscribe(&self, subscription: Subscribe) -> Result<Subscription, BusError> {
        source::subscribe(&self.clients, subscription).await
    }

    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        Ok(Arc::new(publisher::PubsubPublisher::new(Arc::clone(&self.clients))))
    }

    async fn browse(&self, topic: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
        browse::browse(&self.clients, topic, from).await
    }

    async fn topic(&self, name: &str) -> Result<TopicInfo, BusError> {
        topics::topic(&self.clients, name).await
    }

    fn subscriptions(&self) -> Option<&dyn Subscriptions> {
        Some(self)
    }

    fn addressed_by(&self) -> Option<String> {
        self.clients.settings.emulator.as_ref().map(|_| "the emulator is from `pubsub_emulator_host`".to_owned())
    }

    async fn create_topic(&self, name: &str, _partitions: u32) -> Result<(), BusError> {
        topics::create(&self.clients, name).await
    }

    async fn stretch(&self, topic: &str, from_ms: i64, until_ms: Option<i64>) -> Result<Vec<Stretch>, BusError> {
        browse::stretch(&self.clients, topic, from_ms, until_ms).await
    }

    async fn positions(&self, _: &str, _: &str) -> Result<Vec<GroupPosition>, BusError> {
        Err(BusError::Settings(NO_POSITIONS.to_owned()))
    }

    async fn reads(&self, group: &str, topic: &str) -> Result<bool, BusError> {
        topics::reads(&self.clients, topic, group).await
    }

    async fn reread(&self, topic: &str, stretches: &[Stretch], hold: Hold) -> Option<Result<Subscription, BusError>> {
        let stretch = *stretches.first()?;
        Some(browse::reread(&self.clients, topic, stretch, hold).await)
    }

    async fn step(&self, _: &Step) -> Result<Stepped, BusError> {
        Err(BusError::Settings(NO_POSITIONS.to_owned()))
    }
}

#[async_trait]
impl Subscriptions for PubsubBus {
    async fn topic_of(&self, subscription: &str) -> Result<String, BusError> {
        Ok(topics::described(&self.clients, subscription).await?.topic)
    }

    async fn info(&self, subscription: &str) -> Result<TopicInfo, BusError> {
        topics::subscription(&self.clients, subscription).await
    }

    async fn is_filtered(&self, subscription: &str) -> Result<bool, BusError> {
        Ok(!topics::described(&self.clients, subscription).await?.settings.filter.is_empty())
    }

    async fn create(&self, subscription: &str, topic: &str) -> Result<(), BusError> {
        topics::create_subscription(&self.clients, subscription, topic).await
    }
}
