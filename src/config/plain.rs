//! Settings of a writer that no file has an entry for.

use std::sync::Arc;

use serde_json::json;

use super::raw::RawWriter;
use super::settings::{BusSettings, Environments, TypeSettings, WriterSettings};
use super::tuning::{machine_memory, tune};
use crate::writer_type::WriterType;

impl WriterSettings {
    /// What a file gives that says no more of a writer than these: every default, no environment, no topic of
    /// dead letters.
    pub fn new(name: &str, writer_type: WriterType, bus: BusSettings, subscription: &str) -> Self {
        let nothing = json!({});
        let tuned = tune(writer_type, &nothing, &nothing, &RawWriter::default(), machine_memory());
        Self {
            name: name.to_owned(),
            writer_type,
            bus,
            subscription: subscription.to_owned(),
            publishes: None,
            group: format!("chalk-{name}"),
            dlq_topic: None,
            environments: Arc::new(Environments::default()),
            tuning: tuned.tuning,
            of_type: TypeSettings::default(),
            query_table_write_drop_ratio: 0.0,
            skip_offline_writes_for_online_cached_features: false,
            listen: None,
            metadata: None,
        }
    }
}
