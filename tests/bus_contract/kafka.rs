//! A real Apache Kafka under the suite, which the test command installs and starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::Bus;
use chalk_writer::config::settings::{BusSettings, KafkaSettings};

use super::harness::{Capabilities, Capability, Harness, Lacks};

/// The environment variable that holds the broker's address.
const ADDRESS: &str = "CHALK_WRITER_TEST_KAFKA";

/// With assignment that moves only what has to move.
pub const LACKS: Lacks = &[(Capability::EachByItself, "a group has a position")];

/// With assignment that takes everything from everybody first.
pub const EAGER_LACKS: Lacks = &[
    (Capability::EachByItself, "a group has a position"),
    (Capability::PartialHandover, "a rebalance takes every partition, and gives some back"),
];

/// Apache Kafka with given librdkafka properties.
pub struct Kafka {
    name: &'static str,
    servers: String,
    properties: &'static [(&'static str, &'static str)],
    lacks: Lacks,
}

impl Kafka {
    /// Cooperative assignment, the default.
    pub fn cooperative() -> Self {
        Self::with("KAFKA", &[], LACKS)
    }

    /// Eager assignment.
    pub fn eager() -> Self {
        Self::with("KAFKA (eager)", &[("partition.assignment.strategy", "range")], EAGER_LACKS)
    }

    /// Assignment by the broker (KIP-848).
    pub fn by_broker() -> Self {
        Self::with("KAFKA (group.protocol=consumer)", &[("group.protocol", "consumer")], LACKS)
    }

    fn with(name: &'static str, properties: &'static [(&'static str, &'static str)], lacks: Lacks) -> Self {
        let servers = std::env::var(ADDRESS).unwrap_or_else(|_| {
            panic!(
                "{ADDRESS} is not set: this test needs a real Kafka; `./dev test` installs and starts one and sets it"
            )
        });
        Self { name, servers, properties, lacks }
    }
}

impl Harness for Kafka {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bus(&self) -> Arc<dyn Bus> {
        open(&self.servers, self.properties)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { patience: Duration::from_secs(40), cases_at_once: 4, lacks: self.lacks }
    }
}

/// A connection to a cluster.
pub fn open(servers: &str, properties: &[(&str, &str)]) -> Arc<dyn Bus> {
    let properties: BTreeMap<String, String> =
        properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = KafkaSettings {
        bootstrap_servers: vec![servers.to_owned()],
        security_protocol: "PLAINTEXT".to_owned(),
        sasl_mechanism: None,
        sasl_secret: None,
        properties,
    };
    chalk_writer::bus::open(&BusSettings::Kafka(settings)).expect("the settings are right")
}
