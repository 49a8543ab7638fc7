//! Google's emulator of Pub/Sub, of this run alone, with a proxy before it for the writers. It tells no positions: what is not
//! acknowledged is known to nobody, so that a run looks at everything in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::{self, BrowseFrom, Bus, Publisher};
use chalk_writer::config::settings::{BusSettings, PubsubSettings};
use chalk_writer::google::Identity;
use chalk_writer::message::{Headers, Message, Outgoing};
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::client::{SubscriptionAdmin, TopicAdmin};

use super::{LETTERS, Parked, Place, Record, Sending, TestBus, Topic, parked, record};
use crate::proxy::Proxy;

const SCRIPT: &str = "tests/services/pubsub/pubsub.sh";

const PROJECT: &str = "torture";

/// A killed writer's messages come back when their lease ends, which is after 10 s on the emulator: a drain is not to end before.
const DRAINED_AFTER: &str = "12s";

/// How long nothing comes before the checker has read a topic.
const READ_AFTER: Duration = Duration::from_secs(2);

/// What writers read, each a subscription that is called as its topic.
const READ: [(&str, &str); 9] = [
    ("result_bus_online_store_subscription_id", "online"),
    ("result_bus_offline_store_subscription_id", "results"),
    ("result_bus_metrics_subscription_id", "counted"),
    ("vector_store_subscription_id", "vectors"),
    ("metrics_bus_subscription_id", "metrics"),
    ("bigquery_streaming_write_subscription_id", "inserts"),
    ("bigquery_parquet_upload_subscription_id", "uploads"),
    ("usage_events_subscription_id", "usage"),
    ("query_log_subscription_id", "query-log"),
];

pub struct Pubsub {
    folder: PathBuf,
    address: String,
    proxy: Proxy,
    runtime: tokio::runtime::Runtime,
    bus: Arc<dyn Bus>,
    publisher: Arc<dyn Publisher>,
    /// Of each topic the messages that were sent to it.
    sent: BTreeMap<&'static str, i64>,
    /// Dead letters that were read.
    read: BTreeSet<i64>,
}

impl Pubsub {
    pub fn start(folder: &Path, topics: &[Topic]) -> Self {
        let folder = folder.join("emulator");
        let address = script("start", &folder);
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it ends with a port");
        let settings = PubsubSettings {
            project: PROJECT.to_owned(),
            emulator: Some(address.clone()),
            endpoint: None,
            streams: 1,
            stale_after: None,
            drain_idle: READ_AFTER,
            browse_idle: READ_AFTER,
            identity: Identity::default(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bus = bus::open(&BusSettings::Pubsub(settings)).unwrap();
        let publisher = runtime.block_on(async {
            let credentials = anonymous::Builder::new().build();
            let endpoint = format!("http://{address}");
            let admin =
                SubscriptionAdmin::builder().with_endpoint(endpoint).with_credentials(credentials).build().await;
            let admin = admin.unwrap();
            for (topic, _) in topics.iter().chain([&LETTERS]) {
                bus.create_topic(topic, 1).await.unwrap();
                let [name, of] = ["subscriptions", "topics"].map(|kind| format!("projects/{PROJECT}/{kind}/{topic}"));
                admin.create_subscription().set_name(name).set_topic(of).send().await.unwrap();
            }
            bus.publisher().await.unwrap()
        });
        let proxy = Proxy::of(port);
        Self { folder, address, proxy, runtime, bus, publisher, sent: BTreeMap::new(), read: BTreeSet::new() }
    }

    fn browse(&self, topic: &str) -> Vec<Message> {
        self.runtime.block_on(async {
            let mut browse = self.bus.browse(topic, BrowseFrom::Earliest).await.unwrap();
            let mut all = Vec::new();
            loop {
                let messages = browse.next().await.unwrap();
                if messages.is_empty() {
                    return all;
                }
                all.extend(messages);
            }
        })
    }
}

fn script(command: &str, folder: &Path) -> String {
    let output = Command::new(SCRIPT).arg(command).arg(folder).output().unwrap();
    assert!(output.status.success(), "{SCRIPT} {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for Pubsub {
    fn drop(&mut self) {
        script("kill", &self.folder);
    }
}

impl TestBus for Pubsub {
    fn name(&self) -> &'static str {
        "Pub/Sub"
    }

    fn has_positions(&self) -> bool {
        false
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn configure(&self, config: &mut serde_json::Value) {
        let common = &mut config["common_persistence_specs"];
        common["bus_backend"] = "PUBSUB".into();
        common["google_cloud_project"] = PROJECT.into();
        for (field, name) in READ {
            common[field] = name.into();
        }
        config["pubsub_emulator_host"] = format!("127.0.0.1:{}", self.proxy.port()).into();
        config["pubsub"] = serde_json::json!({"drain_idle": DRAINED_AFTER});
    }

    fn publish(&mut self, messages: &[&Sending]) -> Option<Vec<Place>> {
        let all: Vec<Outgoing> = messages
            .iter()
            .map(|message| Outgoing {
                topic: message.topic.to_owned(),
                key: Some(message.key.clone().into()),
                payload: Some(message.packed.body.clone().into()),
                headers: message.headers().collect::<Headers>(),
                ..Outgoing::default()
            })
            .collect();
        let placed = self.runtime.block_on(self.publisher.publish(&all)).unwrap();
        assert_eq!(placed.len(), messages.len());
        // Ids have no order, and where a message is does not matter: they are numbered here.
        let number = |message: &&Sending| {
            let sent = self.sent.entry(message.topic).or_default();
            *sent += 1;
            Place { partition: 0, offset: *sent - 1 }
        };
        Some(messages.iter().map(number).collect())
    }

    fn restart(&mut self) -> bool {
        false
    }

    fn lose_one(&mut self) -> bool {
        false
    }

    fn regain_one(&mut self) {}

    fn ends(&mut self, _topic: &str) -> BTreeMap<i32, i64> {
        panic!("Pub/Sub tells no positions")
    }

    fn committed(&mut self, _group: &str, _topic: &str) -> BTreeMap<i32, i64> {
        panic!("Pub/Sub tells no positions")
    }

    fn new_records(&mut self) -> Vec<Record> {
        let mut messages = self.browse(LETTERS.0);
        messages.retain(|message| self.read.insert(message.offset));
        let one = |message: &Message| record(message.offset, message.body(), |name| message.headers.get_str(name));
        messages.iter().map(one).collect()
    }

    fn bodies(&mut self, topic: &str) -> Vec<Vec<u8>> {
        self.browse(topic).iter().map(|message| message.body().to_vec()).collect()
    }

    fn parked(&mut self, topic: &str) -> Vec<Parked> {
        let one = |message: &Message| {
            let at = (message.partition.number, message.offset);
            parked(at, message.key.as_deref(), |name| message.headers.get_str(name))
        };
        self.browse(topic).iter().map(one).collect()
    }

    fn delete_letters(&mut self) -> bool {
        let topic = format!("projects/{PROJECT}/topics/{}", LETTERS.0);
        let endpoint = format!("http://{}", self.address);
        self.runtime.block_on(async {
            let credentials = anonymous::Builder::new().build();
            let admin = TopicAdmin::builder().with_endpoint(endpoint).with_credentials(credentials).build().await;
            admin.unwrap().delete_topic().set_topic(topic).send().await.unwrap();
        });
        true
    }

    fn create_letters(&mut self) {
        self.runtime.block_on(self.bus.create_topic(LETTERS.0, 1)).unwrap();
    }
}
