//! Apache Kafka and what speaks its protocol, through librdkafka.
//!
//! One thread owns a consumer from its first poll to its last ([`poll`]). What it fetches goes in
//! chunks through a small channel to [`source`], which numbers it; what is acknowledged comes back
//! through the [`ledger`], out of which the thread commits. Partitions come and go in [`rebalance`].
//! Where positions move in [`transactions`], the thread commits nothing: a [`transactor`] does.

mod access;
mod admin;
mod assignment;
mod browse;
mod chunk;
mod client;
mod contradictions;
mod credentials;
mod fetched;
mod group;
mod inspect;
mod ledger;
mod msk;
mod names;
mod oidc;
mod poll;
mod positions;
mod properties;
mod publisher;
mod rebalance;
mod source;
mod standing;
mod statistics;
mod tokens;
mod topics;
mod transactions;
mod transactor;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::inspect::Inspect;
use super::{
    Browse, BrowseFrom, Bus, BusError, GroupPosition, Publisher, Step, Stepped, Stretch, Subscribe, Subscription,
    TopicInfo, Waits,
};
use crate::config::settings::{BusSettings, KafkaSettings};

/// A Kafka cluster.
struct Kafka {
    settings: Arc<KafkaSettings>,
}

/// A connection for Kafka's settings, `None` for another bus's; nothing is contacted.
pub fn open(settings: &BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>> {
    let BusSettings::Kafka(settings) = settings else { return None };
    let checked = properties::check(settings).and_then(|()| contradictions::check(settings));
    Some(checked.map(|()| Arc::new(Kafka { settings: Arc::new(settings.clone()) }) as Arc<dyn Bus>))
}

/// A cluster to be asked about itself, `None` for another bus's settings.
pub fn inspect(settings: &BusSettings) -> Option<Arc<dyn Inspect>> {
    let BusSettings::Kafka(settings) = settings else { return None };
    Some(Arc::new(Kafka { settings: Arc::new(settings.clone()) }))
}

/// How long a cluster waits for a member, `None` for another bus's settings.
pub fn waits(settings: &BusSettings) -> Option<Waits> {
    let BusSettings::Kafka(settings) = settings else { return None };
    Some(Waits {
        session: properties::session(settings),
        session_by: Some("kafka.session.timeout.ms"),
        handover: Duration::from_millis(properties::patience_ms(settings)),
        handover_by: "four fifths of `kafka.max.poll.interval.ms`",
    })
}

#[async_trait]
impl Bus for Kafka {
    fn addressed_by(&self) -> Option<String> {
        let secret = self.settings.sasl_secret.as_ref().filter(|_| self.settings.bootstrap_servers.is_empty());
        Some(match secret {
            Some(secret) => format!("brokers are from the secret {}", secret.describe()),
            None => "brokers are from `kafka_bootstrap_servers`".to_owned(),
        })
    }

    /// librdkafka's `cnd_timedwait_ms` (2.12).
    fn waits_by_the_time_of_day(&self) -> bool {
        true
    }

    async fn subscribe(&self, subscription: Subscribe) -> Result<Subscription, BusError> {
        source::subscribe(Arc::clone(&self.settings), subscription).await
    }

    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        Ok(Arc::new(publisher::KafkaPublisher::connect(Arc::clone(&self.settings)).await?))
    }

    async fn browse(&self, topic: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
        browse::start(&self.settings, topic, from).await
    }

    async fn topic(&self, name: &str) -> Result<TopicInfo, BusError> {
        topics::describe(&self.settings, name).await
    }

    async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), BusError> {
        topics::create(&self.settings, name, partitions).await
    }

    async fn stretch(&self, topic: &str, from_ms: i64, until_ms: Option<i64>) -> Result<Vec<Stretch>, BusError> {
        group::stretch(&self.settings, topic, from_ms, until_ms).await
    }

    async fn positions(&self, topic: &str, group: &str) -> Result<Vec<GroupPosition>, BusError> {
        group::positions(&self.settings, topic, group).await
    }

    async fn step(&self, step: &Step) -> Result<Stepped, BusError> {
        group::step(&self.settings, step).await
    }
}
