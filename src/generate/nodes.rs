//! The state of a cluster's nodes, each looked at once a minute.

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::proto::pubsub::v1::NodeStatusPubSub;

/// Nodes of a cluster at the most, however many entities there are.
const MOST: u64 = 40;
const SECOND: i64 = 1_000_000;

/// Which of so many is looked at next, and when, in seconds since 1970.
pub(super) fn round(draft: &Draft, most: u64) -> (u64, i64) {
    let count = draft.options.entities.min(most);
    (draft.number % count, draft.options.time(draft.number / count, 60 * SECOND) / SECOND)
}

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let (node, seen) = round(draft, MOST);
    let instance = ["m6i.xlarge", "c6i.2xlarge", "r6i.xlarge"][node as usize % 3];
    let (cpu, memory) = [("4", "15842Mi"), ("8", "15698Mi"), ("4", "31544Mi")][node as usize % 3];
    let zone = ["eu-west-1a", "eu-west-1b"][node as usize % 2];
    let status = NodeStatusPubSub {
        team: "platform".to_owned(),
        name: format!("ip-10-0-{}-{}.eu-west-1.compute.internal", node / 256, node % 256),
        uid: uuid::Builder::from_random_bytes((u128::from(node) + 1).to_be_bytes()).into_uuid().to_string(),
        instance_type: instance.to_owned(),
        region: "eu-west-1".to_owned(),
        zone: zone.to_owned(),
        creation_timestamp: draft.options.start / SECOND - 3_600 * (node as i64 + 1),
        observed_timestamp: seen,
        labels: [
            ("kubernetes.io/arch".to_owned(), "amd64".to_owned()),
            ("node.kubernetes.io/instance-type".to_owned(), instance.to_owned()),
            ("topology.kubernetes.io/zone".to_owned(), zone.to_owned()),
        ]
        .into(),
        unschedulable: draft.chance(3),
        namespace: draft.options.environment.clone(),
        instance_id: format!("i-{node:017x}"),
        cluster: "chalk-main".to_owned(),
        total_cpu: cpu.to_owned(),
        total_memory: memory.to_owned(),
        allocatable_cpu: format!("{}m", cpu.parse::<u32>().unwrap_or_default() * 1_000 - 80),
        allocatable_memory: memory.to_owned(),
        ..NodeStatusPubSub::default()
    };
    draft.message(EventType::NodeStatus, "", &status)
}
