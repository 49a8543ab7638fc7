//! Connections, publishing, and reading until something is seen, each with a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::{Bus, BusError, Hold, OnGap, Received, Subscribe, Subscription};
use chalk_writer::config::secret::SecretRef;
use chalk_writer::config::settings::{BusSettings, KafkaSettings};
use chalk_writer::message::Outgoing;

/// The longest that one wait may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a cluster with a user name and password.
pub(crate) fn open_as(servers: &str, password: &str) -> Arc<dyn Bus> {
    let settings = KafkaSettings {
        bootstrap_servers: vec![servers.to_owned()],
        security_protocol: "SASL_PLAINTEXT".to_owned(),
        sasl_mechanism: Some("SCRAM-SHA-512".to_owned()),
        sasl_secret: Some(SecretRef::plain(format!(r#"{{"username": "writer", "password": "{password}"}}"#))),
        properties: BTreeMap::new(),
    };
    chalk_writer::bus::open(&BusSettings::Kafka(settings)).expect("the settings are right")
}

/// A connection to a cluster.
pub(crate) fn open(servers: &str, properties: &[(&str, &str)]) -> Arc<dyn Bus> {
    // Silent unless RUST_LOG says otherwise.
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
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

/// What to subscribe with; the group has the topic's name.
pub(crate) fn subscribe(topic: &str, drain: bool, on_gap: OnGap) -> Subscribe {
    let group = format!("of-{topic}");
    let hold = Hold { bytes: 12 << 20, messages: 1_000 };
    Subscribe { topic: topic.to_owned(), group, drain, fetch_bytes: 4 << 20, hold, on_gap, transactional: false }
}

/// A name that no other run used.
pub(crate) fn unique(hint: &str) -> String {
    format!("{hint}-{}", uuid::Uuid::new_v4().simple())
}

/// Numbered messages, spread over partitions by key; each batch is sent again until it is taken.
pub(crate) async fn publish(bus: &Arc<dyn Bus>, topic: &str, numbers: std::ops::Range<usize>) {
    let publisher = bus.publisher().await.expect("a publisher");
    for start in numbers.clone().step_by(500) {
        let batch: Vec<Outgoing> = (start..numbers.end.min(start + 500))
            .map(|number| Outgoing {
                topic: topic.to_owned(),
                key: Some(Bytes::from(number.to_string())),
                payload: Some(Bytes::from(number.to_string())),
                ..Outgoing::default()
            })
            .collect();
        let sending = async {
            while let Err(error) = publisher.publish(&batch).await {
                assert!(error.reason().is_transient(), "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, sending).await.expect("the batch is taken");
    }
}

/// Reads and acknowledges until `wanted` numbers were seen; returns the transient errors on the way.
pub(crate) async fn read(subscription: &mut Subscription, seen: &mut BTreeSet<usize>, wanted: usize) -> Vec<BusError> {
    let mut errors = Vec::new();
    let reading = async {
        while seen.len() < wanted {
            tokio::select! {
                handover = subscription.handovers.recv() => drop(handover),
                received = subscription.source.next() => match received {
                    Ok(Received::Messages(messages)) => {
                        let last = messages.last().expect("never empty").delivery;
                        seen.extend(messages.iter().map(|message| number(message.body())));
                        subscription.source.acknowledge(last);
                    }
                    Ok(Received::CaughtUp) => {}
                    Ok(Received::End) => panic!("an end that nobody asked for"),
                    Err(error) if error.is_transient() => errors.push(error),
                    Err(error) => panic!("{error}"),
                },
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, reading).await;
    assert!(outcome.is_ok(), "{} of {wanted} came; errors {errors:?}", seen.len());
    errors
}

/// Reads and acknowledges to the end of a drain; returns the numbers.
pub(crate) async fn drain(bus: &Arc<dyn Bus>, topic: &str) -> BTreeSet<usize> {
    let mut subscription = bus.subscribe(subscribe(topic, true, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    let draining = async {
        loop {
            match subscription.source.next().await {
                Ok(Received::Messages(messages)) => {
                    let last = messages.last().expect("never empty").delivery;
                    seen.extend(messages.iter().map(|message| number(message.body())));
                    subscription.source.acknowledge(last);
                }
                Ok(Received::CaughtUp) => {}
                Ok(Received::End) => break,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.expect("the drain ends");
    subscription.source.close().await.expect("closed");
    seen
}

/// The number that a message is.
pub(crate) fn number(body: &[u8]) -> usize {
    std::str::from_utf8(body).expect("text").parse().expect("a number")
}
