//! The configuration of a run.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::api::Api;
use super::role::{ENVIRONMENTS, Role};
use super::run::Run;
use super::stores::Stores;
use super::{ROLES, Type, republish};
use crate::bus::{LETTERS, TestBus, Topic};

/// Messages for a store that is away are moved aside after so long, where that is dealt.
const PARKED_AFTER: &str = "1s";

/// Where they go.
pub const PARKED: Topic = ("parked", 3);

/// What a run is made of.
pub struct Given<'a> {
    pub bus: &'a dyn TestBus,
    pub stores: &'a Stores,
    pub roles: &'a [&'static Role],
    pub types: &'a [Type],
    pub parks: bool,
    pub api: &'a Api,
    pub rate: u64,
}

/// Writes the configuration that every process of a run reads.
pub fn write(folder: &Path, given: &Given<'_>) -> PathBuf {
    let Given { bus, rate, .. } = given;
    let topic = |name: &str| bus.named(ROLES.iter().find(|role| role.name == name).expect("a role").topic.0);
    let mut config = json!({
        "common_persistence_specs": {
            "result_bus_topic_id": topic("republished"),
            "result_bus_online_store_subscription_id": topic("features"),
            "result_bus_offline_store_subscription_id": topic("republished"),
            "result_bus_metrics_subscription_id": topic("metrics"),
            "metrics_bus_topic_id": topic("metrics bus"),
            "usage_bus_topic_id": topic("usage"),
            "bigquery_streaming_write_topic": bus.named("inserts"),
            "bq_upload_topic": topic("loads"),
            "vector_store_subscription_id": topic("vectors"),
            "query_log_subscription_id": topic("mirror"),
            "query_log_result_topic": bus.named("outcomes"),
            "kafka_dlq_topic": bus.named(LETTERS.0),
        },
        "metadata_provider": "CONFIG",
        "api_server_host": given.api.url(),
        "environments": {},
        // As in the other runs: small batches (of a second where there are many messages in one), short pauses, a drain that is shorter than stores are away.
        "batch": {"max_age": "300ms", "max_rows": rate.max(&200)},
        "retry": {"first_pause": "20ms", "max_pause": "200ms"},
        "drain_timeout": "2s",
        "dlq": {"max_ratio": 0.5},
        // What is deleted at a time long ago is to stay so.
        "tombstone_retention": "36500d",
        "writers": given.types.iter().map(|of| writer(*of, given)).collect::<Vec<_>>(),
    });
    for (environment, fields) in ENVIRONMENTS.into_iter().zip(given.stores.fields()) {
        if !fields.is_empty() {
            config["environments"][environment] = json!({"default_max_staleness": "infinity"});
            for (field, store) in fields {
                config["environments"][environment][field] = store;
            }
        }
    }
    bus.configure(&mut config);
    if config["kafka"].is_object() {
        // What a killed writer leaves open is ended soon.
        config["kafka"]["transaction.timeout.ms"] = "6000".into();
        config["kafka"]["message.timeout.ms"] = "6000".into();
    }
    let path = folder.join("config.json");
    // Somebody's credentials may be in it.
    let file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.unwrap().write_all(&serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    path
}

/// Whether an `OFFLINE_WRITER` publishes.
fn republishes<'a>(roles: impl IntoIterator<Item = &'a Role>) -> bool {
    roles.into_iter().any(|role| role.name == republish::ROLE.name)
}

impl Run {
    /// Those that move messages aside.
    pub fn writers_that_park(&self) -> Vec<Type> {
        let republishes = republishes(self.dealt.iter().map(|dealt| dealt.role));
        let parks = |of: &Type| self.parks && !publishes(*of, republishes);
        self.types.iter().copied().filter(parks).collect()
    }
}

/// Whether it does, and so waits for the bus and parks nothing.
fn publishes(of: Type, republishes: bool) -> bool {
    ["METRICS_WRITER", "QUERY_MIRROR_CONSUMER"].contains(&of.0) || (republishes && of.0 == "OFFLINE_WRITER")
}

fn writer(of: Type, given: &Given<'_>) -> Value {
    let mut entry = json!({"bus_subscriber_type": of.0, "name": given.bus.named(&of.name())});
    let republishes = republishes(given.roles.iter().copied());
    match of.0 {
        "OFFLINE_WRITER" if republishes => entry["offline_mode"] = "republish".into(),
        // Longer than any clock jumps.
        "QUERY_MIRROR_CONSUMER" => entry["mirror"] = json!({"max_age": "1000d", "deadline": "10s"}),
        _ => {}
    }
    if given.parks && !publishes(of, republishes) {
        entry["park_after"] = PARKED_AFTER.into();
        entry["parking_topic"] = given.bus.named(PARKED.0).into();
    }
    entry
}
