//! What a member says of how far behind it is.

use std::sync::Arc;
use std::time::Duration;

use chalk_writer::message::Outgoing;

use crate::harness::Harness;
use crate::member::{Behaviour, Member, fresh_topic, publish, text};

pub async fn the_status_follows_acknowledgements_and_lag_is_zero_at_the_end(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "status", 2).await;
    let minute_ago = chrono::Utc::now().timestamp_millis() - 60_000;
    let old: Vec<Outgoing> = (0..10)
        .map(|number| Outgoing { timestamp_ms: Some(minute_ago), ..text(&topic, 0, &number.to_string()) })
        .collect();
    harness.bus().publisher().await.expect("a publisher").publish(&old).await.expect("published");
    publish(&harness, &topic, 1, 0..5).await;
    let member = Member::join(&harness, &topic, "status", Behaviour::default()).await;
    let messages = member.messages(15).await;
    member
        .until("both ends are known and one partition is a minute behind", |seen| {
            seen.status.len() == 2
                && seen.status.iter().all(|status| {
                    let end = if status.partition.number == 0 { 10 } else { 5 };
                    let late = status.partition.number == 1;
                    status.end == Some(end) && (late || status.lag >= Duration::from_secs(59))
                })
        })
        .await;
    member.acknowledge(messages[14].delivery).await;
    member
        .until("everything is acknowledged and nothing is late", |seen| {
            seen.status.len() == 2
                && seen.status.iter().all(|status| status.position == status.end && status.lag == Duration::ZERO)
        })
        .await;
    member.close().await;
}
