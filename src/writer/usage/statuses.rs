//! `chalk.node_status.v1` and `chalk.pod_status.v1`: a status → its row.

use crate::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub};
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::fields::{decode, map, text};

/// A node or a pod as it was seen.
pub(super) trait Status {
    /// Its id; empty where it has none.
    fn uid(&self) -> &str;

    /// When it was seen, microseconds since 1970.
    fn seen(&self) -> Option<i64>;

    /// The values of its row; `at` is when it was seen, or what stands for it.
    fn values(self, at: i64) -> Result<Vec<Value>, Refusal>;
}

impl Status for NodeStatusPubSub {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn seen(&self) -> Option<i64> {
        micros(self.observed_timestamp)
    }

    /// In the order of [`shapes::node_status`](crate::store::usage::shapes::node_status).
    fn values(self, at: i64) -> Result<Vec<Value>, Refusal> {
        Ok(vec![
            text(self.team),
            text(self.name),
            known("node", self.uid)?,
            text(self.instance_type),
            text(self.region),
            text(self.zone),
            time(self.creation_timestamp),
            time(self.deletion_timestamp),
            Value::Timestamp(at),
            map(self.labels),
            map(self.annotations),
            text(self.machine_id),
            text(self.system_uuid),
            text(self.boot_id),
            Value::Bool(self.unschedulable),
            text(self.namespace),
            text(self.instance_id),
            cluster(self.cluster),
            text(self.total_cpu),
            text(self.total_memory),
            text(self.allocatable_cpu),
            text(self.allocatable_memory),
        ])
    }
}

impl Status for PodStatusPubSub {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn seen(&self) -> Option<i64> {
        micros(self.observed_timestamp)
    }

    /// In the order of [`shapes::pod_status`](crate::store::usage::shapes::pod_status).
    fn values(self, at: i64) -> Result<Vec<Value>, Refusal> {
        Ok(vec![
            text(self.team),
            text(self.app),
            text(self.component),
            text(self.datadog_service),
            text(self.datadog_version),
            text(self.pod_template_hash),
            time(self.creation_timestamp),
            time(self.deletion_timestamp),
            Value::Timestamp(at),
            map(self.labels),
            map(self.annotations),
            cluster(self.cluster),
            known("pod", self.uid)?,
            text(self.name),
        ])
    }
}

/// Seconds since 1970 in microseconds; 0 is none.
fn micros(seconds: i64) -> Option<i64> {
    (seconds != 0).then(|| seconds.saturating_mul(1_000_000))
}

fn time(seconds: i64) -> Value {
    micros(seconds).map_or(Value::Null, Value::Timestamp)
}

/// A part of the key, which is empty where there is but one cluster.
fn cluster(name: String) -> Value {
    Value::text(name)
}

fn known(what: &str, uid: String) -> Result<Value, Refusal> {
    if uid.is_empty() {
        return Err(decode(format!("a {what} without a `uid`")));
    }
    Ok(Value::text(uid))
}
