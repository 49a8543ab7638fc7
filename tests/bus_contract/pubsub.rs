//! Google's own emulator of Pub/Sub under the suite, which the test command starts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::Bus;
use chalk_writer::config::settings::{BusSettings, PubsubSettings};
use chalk_writer::google::Identity;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::SubscriptionAdmin;
use google_cloud_wkt::Timestamp;

use super::harness::{Capabilities, Capability, Harness, Lacks};

/// The environment variable that holds the emulator's address.
const ADDRESS: &str = "CHALK_WRITER_TEST_PUBSUB";

/// What Pub/Sub has not.
pub const LACKS: Lacks = &[
    (Capability::Positions, "a subscription has no position: each message is acknowledged by itself"),
    (Capability::AnyBytes, "attributes and ordering keys are text, and a message without a body has an empty one"),
    (Capability::Transactions, "Pub/Sub has none"),
    (Capability::KeepsTimestamps, "the service gives every message its own"),
];

/// A project of its own on the emulator.
pub struct Pubsub {
    settings: PubsubSettings,
    exactly_once: bool,
}

impl Pubsub {
    /// Subscriptions that deliver exactly once, as far as the emulator goes: it confirms acknowledgements, also late ones.
    pub fn exactly_once() -> Self {
        Self { exactly_once: true, ..Self::new() }
    }

    pub fn new() -> Self {
        let address = std::env::var(ADDRESS).unwrap_or_else(|_| {
            panic!("{ADDRESS} is not set: this test needs the emulator of Pub/Sub; `./dev test` starts one and sets it")
        });
        let settings = PubsubSettings {
            project: format!("contract-{}", fastrand::u32(..)),
            emulator: Some(address),
            endpoint: None,
            streams: 2,
            drain_idle: Duration::from_secs(3),
            browse_idle: Duration::from_secs(2),
            stale_after: None,
            identity: Identity::default(),
        };
        Self { settings, exactly_once: false }
    }
}

#[async_trait]
impl Harness for Pubsub {
    fn name(&self) -> &'static str {
        if self.exactly_once { "PUBSUB (exactly once)" } else { "PUBSUB" }
    }

    fn bus(&self) -> Arc<dyn Bus> {
        chalk_writer::bus::open(&BusSettings::Pubsub(self.settings.clone())).expect("the settings are right")
    }

    async fn make_group(&self, topic: &str, group: &str) {
        let address = self.settings.emulator.as_ref().expect("it is one");
        let admin = SubscriptionAdmin::builder()
            .with_endpoint(format!("http://{address}"))
            .with_credentials(anonymous::Builder::new().build())
            .build()
            .await
            .expect("a client");
        let name = format!("projects/{}/subscriptions/{group}", self.settings.project);
        let topic = format!("projects/{}/topics/{topic}", self.settings.project);
        // Not in order: the emulator cannot set such a one back. The next member finds it as it is.
        let create = admin.create_subscription().set_name(&name).set_topic(topic);
        if create.set_enable_exactly_once_delivery(self.exactly_once).send().await.is_ok() {
            let earliest = Timestamp::clamp(0, 0);
            admin.seek().set_subscription(name).set_time(earliest).send().await.expect("set back");
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { patience: Duration::from_secs(60), cases_at_once: 4, lacks: LACKS }
    }
}
