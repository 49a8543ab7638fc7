//! What the benches share: messages as the bus delivers them, and the decoders as the writers make them.

#![allow(dead_code, reason = "each bench uses the part that it needs")]

pub(crate) mod cpu_time;

use std::sync::Arc;

use bytes::Bytes;
use chalk_writer::config::settings::WriterSettings;
use chalk_writer::config::{Overrides, Selection, load};
use chalk_writer::message::{Delivery, Headers, Message, Partition};
use chalk_writer::row::feature::FeatureRow;
use chalk_writer::writer::destinations::{Destinations, OFFLINE, ONLINE};
use chalk_writer::writer::offline::OfflineDecoder;
use chalk_writer::writer::online::OnlineDecoder;
use chalk_writer::writer::time::system_clock;
use chalk_writer::writer::{offline, online, registry};

use crate::results::{Results, json, protobuf};

/// Messages in one round.
pub(crate) const COUNT: usize = 1_000;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
}

/// Messages that share one buffer, as those of one fetch do.
pub(crate) fn messages(encoding: Encoding) -> Vec<Message> {
    many(encoding, COUNT)
}

/// So many of them.
pub(crate) fn many(encoding: Encoding, count: usize) -> Vec<Message> {
    let mut results = Results::new();
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..count {
        let result = results.next();
        bytes.extend(match encoding {
            Encoding::Json => json(&result),
            Encoding::Protobuf => protobuf(&result),
        });
        ends.push(bytes.len());
    }
    let block = Bytes::from(bytes);
    let topic: Arc<str> = "results".into();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let messages = starts.zip(&ends).enumerate().map(|(number, (start, end))| Message {
        delivery: Delivery(number as u64),
        partition: Partition { topic: topic.clone(), number: 0 },
        offset: number as i64,
        timestamp_ms: Some(1_748_772_000_000),
        key: None,
        headers: Headers::new(),
        payload: Some(block.slice(start..*end)),
    });
    messages.collect()
}

/// Settings of a writer with a store at this URI and nothing else but defaults.
pub(crate) fn settings(writer: &str, store: &str, uri: &str) -> WriterSettings {
    let file = tempfile::NamedTempFile::with_suffix(".json").expect("a file");
    let text = format!(
        r#"{{
            "common_persistence_specs": {{"bus_backend": "LOCAL", "result_bus_topic_id": "results"}},
            "environments": {{"prod": {{"{store}": {{"uri": "{uri}"}}}}}},
            "writers": [{{"bus_subscriber_type": "{writer}"}}]
        }}"#
    );
    std::fs::write(file.path(), text).expect("written");
    let loaded = load(file.path(), &Overrides::default(), &registry()).expect("a sound configuration");
    loaded.writer(&Selection::Type(writer.to_owned())).expect("the writer")
}

pub(crate) fn online_settings() -> WriterSettings {
    settings("ONLINE_WRITER", "online_store", "blackhole:")
}

pub(crate) fn online() -> OnlineDecoder {
    let settings = online_settings();
    let destinations = Destinations::<FeatureRow>::plan(&settings.environments, &ONLINE).expect("a store");
    online::decoder(&settings, &destinations, system_clock()).expect("a decoder")
}

pub(crate) fn offline() -> OfflineDecoder {
    let settings = settings("OFFLINE_WRITER", "offline_store", "file:/tmp/chalk-writer-bench-lake");
    let destinations = Destinations::plan(&settings.environments, &OFFLINE).expect("a store");
    offline::decoder(&settings, &destinations, system_clock())
}
