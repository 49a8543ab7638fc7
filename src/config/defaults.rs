//! Every default of the tuning, in one table, each with its reason.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::writer_type::{Pace, WriterType};

/// One default, spelled as in the file.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DefaultValue {
    /// JSON path of the field, below the top level or a writer.
    pub field: &'static str,
    /// For writers that somebody waits for (`ONLINE_WRITER`).
    pub online: &'static str,
    /// For writers of much at a time (`OFFLINE_WRITER`).
    pub offline: &'static str,
    /// Why this value.
    pub reason: &'static str,
}

static DEFAULTS: &[DefaultValue] = &[
    DefaultValue {
        field: "batch.max_rows",
        online: "10000",
        offline: "100000",
        reason: "online: some milliseconds of a store's work; offline: files of a useful size",
    },
    DefaultValue {
        field: "batch.max_bytes",
        online: "8MiB",
        offline: "48MiB",
        reason: "at most; less where the memory limit asks for it, and in Postgres, which gains nothing by more than 8 MiB of history. \
                 Keeps the process small whatever the rows weigh",
    },
    DefaultValue {
        field: "batch.max_age",
        online: "500ms",
        offline: "10s",
        reason: "online: freshness; offline: fewer and larger files",
    },
    DefaultValue {
        field: "message_processing_concurrency",
        online: "4",
        offline: "2",
        reason: "hides a store's round trips; more rarely helps one store and costs memory",
    },
    DefaultValue { field: "memory_limit", online: "auto", offline: "auto", reason: "half of what the container has" },
    DefaultValue {
        field: "retry.first_pause",
        online: "100ms",
        offline: "100ms",
        reason: "longer than a connection takes to come back",
    },
    DefaultValue {
        field: "retry.max_pause",
        online: "30s",
        offline: "30s",
        reason: "a store that is back is found within half a minute",
    },
    DefaultValue {
        field: "dlq.max_ratio",
        online: "0.1",
        offline: "0.1",
        reason: "one bad message in ten is no longer about the messages",
    },
    DefaultValue {
        field: "dlq.max_consecutive",
        online: "100",
        offline: "100",
        reason: "so many in a row have one cause, which a person should see",
    },
    DefaultValue {
        field: "drain_timeout",
        online: "25s",
        offline: "25s",
        reason: "all of a stop; Kubernetes kills after 30 seconds unless told otherwise",
    },
    DefaultValue {
        field: "max_future_skew",
        online: "24h",
        offline: "24h",
        reason: "a clock in another zone is off by less; a value from further ahead would never be replaced",
    },
    DefaultValue {
        field: "tombstone_retention",
        online: "7d",
        offline: "7d",
        reason: "longer than buses usually keep messages that could bring an old value back",
    },
    DefaultValue {
        field: "max_message_bytes",
        online: "64MiB",
        offline: "64MiB",
        reason: "above any sensible message, and a bound on decompression",
    },
    DefaultValue {
        field: "on_gap",
        online: "continue",
        offline: "continue",
        reason: "what is lost is lost; what is left should still be written",
    },
    DefaultValue {
        field: "skip_offline_writes_for_online_cached_features",
        online: "false",
        offline: "false",
        reason: "a complete history unless asked for less",
    },
    DefaultValue {
        field: "http.listen",
        online: "0.0.0.0:9090",
        offline: "0.0.0.0:9090",
        reason: "probes reach a pod by it",
    },
];

/// The table.
pub fn defaults() -> &'static [DefaultValue] {
    DEFAULTS
}

/// The default of one field.
pub(super) fn of(field: &str, writer_type: WriterType) -> &'static str {
    DEFAULTS.iter().find(|default| default.field == field).map_or("", |default| pick(default, writer_type))
}

/// The defaults as the weakest layer.
pub(super) fn layer(writer_type: WriterType) -> Value {
    let mut layer = Map::new();
    for default in DEFAULTS {
        let value = Value::from(pick(default, writer_type));
        match default.field.split_once('.') {
            None => drop(layer.insert(default.field.to_owned(), value)),
            Some((parent, field)) => {
                if let Value::Object(parent) = layer.entry(parent).or_insert_with(|| Value::Object(Map::new())) {
                    parent.insert(field.to_owned(), value);
                }
            }
        }
    }
    Value::Object(layer)
}

const fn pick(default: &'static DefaultValue, writer_type: WriterType) -> &'static str {
    match writer_type.info().pace {
        Pace::Fresh => default.online,
        Pace::Bulk => default.offline,
    }
}
