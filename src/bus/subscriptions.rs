//! Buses on which what a writer reads has a name of its own, beside the topic's.

use async_trait::async_trait;

use super::{Bus, BusError, TopicInfo};

/// The subscriptions of such a bus.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// The topic of a subscription.
    async fn topic_of(&self, subscription: &str) -> Result<String, BusError>;

    /// What the bus knows of the messages of a subscription; [`BusError::NotFound`] where it does not exist.
    async fn info(&self, subscription: &str) -> Result<TopicInfo, BusError>;

    /// Whether it brings only some messages of its topic, by a filter of its own.
    async fn is_filtered(&self, subscription: &str) -> Result<bool, BusError>;

    /// Makes a subscription of a topic; one that exists is left as it is.
    async fn create(&self, subscription: &str, topic: &str) -> Result<(), BusError>;
}

/// What a writer reads, by its name: a subscription where the bus has them, else the topic itself.
impl dyn Bus + '_ {
    /// The topic of what a writer reads.
    pub async fn topic_of(&self, readable: &str) -> Result<String, BusError> {
        match self.subscriptions() {
            Some(subscriptions) => subscriptions.topic_of(readable).await,
            None => Ok(readable.to_owned()),
        }
    }

    /// What the bus knows of what a writer reads; [`BusError::NotFound`] where it does not exist.
    pub async fn readable(&self, name: &str) -> Result<TopicInfo, BusError> {
        match self.subscriptions() {
            Some(subscriptions) => subscriptions.info(name).await,
            None => self.topic(name).await,
        }
    }

    /// Makes a subscription of a topic, where the bus has both; one that exists is left as it is.
    pub async fn create_subscription(&self, name: &str, topic: &str) -> Result<(), BusError> {
        match self.subscriptions() {
            Some(subscriptions) => subscriptions.create(name, topic).await,
            None => Err(BusError::Settings(format!(
                "this bus has no subscriptions beside its topics: `{name}` of `{topic}` is the topic itself, read by a group"
            ))),
        }
    }
}
