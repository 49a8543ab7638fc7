//! The state of a cluster's pods, each looked at once a minute.

use super::draft::Draft;
use super::nodes::round;
use crate::message::{EventType, Outgoing};
use crate::proto::pubsub::v1::PodStatusPubSub;

/// Pods at the most, however many entities there are.
const MOST: u64 = 120;
const SECOND: i64 = 1_000_000;

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let (pod, seen) = round(draft, MOST);
    let component = ["engine", "branch", "online-writer", "offline-writer"][pod as usize % 4];
    let hash = format!("{:08x}", 0x7f4a_7c15_u32.wrapping_mul(pod as u32 % 4 + 1));
    let created = draft.options.start / SECOND - 600 * (pod as i64 % 48 + 1);
    let status = PodStatusPubSub {
        team: "platform".to_owned(),
        app: format!("chalk-{component}"),
        component: component.to_owned(),
        pod_template_hash: hash.clone(),
        creation_timestamp: created,
        // Some have ended; they are told of all the same.
        deletion_timestamp: if pod % 20 == 19 { created + 300 } else { 0 },
        observed_timestamp: seen,
        labels: [
            ("app".to_owned(), format!("chalk-{component}")),
            ("chalk.ai/environment".to_owned(), draft.options.environment.clone()),
        ]
        .into(),
        cluster: "chalk-main".to_owned(),
        uid: uuid::Builder::from_random_bytes((u128::from(pod) + 1_000_001).to_be_bytes()).into_uuid().to_string(),
        name: format!("chalk-{component}-{hash}-{pod:05x}"),
        ..PodStatusPubSub::default()
    };
    draft.message(EventType::PodStatus, "", &status)
}
