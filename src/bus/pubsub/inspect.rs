//! What `doctor` asks of Pub/Sub, and what a writer warns of when it starts.

use std::time::Duration;

use async_trait::async_trait;
use google_cloud_pubsub::model::Subscription;

use super::{PubsubBus, topics};
use crate::bus::BusError;
use crate::bus::inspect::{Inspect, Members, SetUp, Takes};
use crate::config::units::show_duration;

#[async_trait]
impl Inspect for PubsubBus {
    async fn members(&self, group: &str) -> Result<Members, BusError> {
        topics::described(&self.clients, group).await?;
        let state = "Pub/Sub does not tell who reads a subscription".to_owned();
        Ok(Members { members: Vec::new(), state })
    }

    async fn set_up(&self, readable: &str) -> Result<Vec<SetUp>, BusError> {
        Ok(set_up(&topics::described(&self.clients, readable).await?.settings))
    }

    async fn takes(&self, topic: &str) -> Result<Takes, BusError> {
        topics::topic(&self.clients, topic).await?;
        Ok(Takes::Unknown("Pub/Sub tells nobody's rights without a message being sent".to_owned()))
    }
}

/// The pauses of a retry policy where none are given, by the public API (`google.pubsub.v1.RetryPolicy`).
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long, at the least and at the most, the service keeps back a message that was handed back or whose lease ended; `None` where it
/// delivers it at once.
pub(super) fn pauses(settings: &Subscription) -> Option<(Duration, Duration)> {
    let policy = settings.retry_policy.as_ref()?;
    let pause = |given: Option<google_cloud_wkt::Duration>, default| {
        let given = given.map(|given| Duration::try_from(given).unwrap_or_default());
        given.unwrap_or(default)
    };
    let shortest = pause(policy.minimum_backoff, SHORTEST_PAUSE);
    Some((shortest, pause(policy.maximum_backoff, LONGEST_PAUSE).max(shortest)))
}

/// What of a subscription's settings matters to a writer.
pub(super) fn set_up(settings: &Subscription) -> Vec<SetUp> {
    let ok = |name, found: &str| SetUp { name, found: found.to_owned(), fix: None };
    let warn = |name, found: String, fix: &str| SetUp { name, found, fix: Some(fix.to_owned()) };
    let mut found = vec![
        if settings.enable_exactly_once_delivery {
            ok(
                "exactly once",
                "acknowledgements are confirmed; one that is lost is counted, and its message comes again",
            )
        } else {
            ok("exactly once", "off: a message may come again, which stores recognise where they have keys")
        },
        if settings.enable_message_ordering {
            ok("order", "messages of one key come in their order")
        } else {
            ok("order", "off: messages of one key come in any order, which stores that compare times do not mind")
        },
    ];
    if let Some(policy) = settings.dead_letter_policy.as_ref().filter(|policy| !policy.dead_letter_topic.is_empty()) {
        found.push(warn(
            "dead letter policy",
            format!(
                "Google moves a message to {} after {} deliveries, also one that only waits for a store that is away while \
                 writers come and go",
                policy.dead_letter_topic, policy.max_delivery_attempts
            ),
            "take it off (the writer buries bad messages itself, in `kafka_dlq_topic`), or allow 100 deliveries, the most there are",
        ));
    }
    if let Some((shortest, longest)) = pauses(settings).filter(|(_, longest)| !longest.is_zero()) {
        found.push(warn(
            "retry policy",
            format!(
                "what a writer hands back when it stops is kept from the others for {} to {}, and so is what a killed one had; \
                 `--drain` waits for the longer one",
                show_duration(shortest),
                show_duration(longest)
            ),
            "take it off (`--clear-retry-policy`): a writer waits for its store by itself, and hands nothing back before it stops",
        ));
    }
    if !settings.filter.is_empty() {
        found.push(ok(
            "filter",
            &format!("only messages with {}; the others are acknowledged by Google", settings.filter),
        ));
    }
    if let Some(ttl) = settings.expiration_policy.as_ref().and_then(|policy| policy.ttl.as_ref()) {
        let after = show_duration(Duration::from_secs(ttl.seconds().max(0) as u64));
        found.push(warn(
            "expiration",
            format!("it is deleted, with its messages, once nobody has read it for {after}"),
            "let it never expire (`--expiration-period=never`)",
        ));
    }
    if let Some(kept) = &settings.message_retention_duration {
        let kept = Duration::from_secs(kept.seconds().max(0) as u64);
        let text = format!("messages that nobody has read are kept for {}", show_duration(kept));
        found.push(if kept < Duration::from_secs(24 * 3600) {
            warn("retention", text, "give it 7 days: what is not read by then is lost")
        } else {
            ok("retention", &text)
        });
    }
    if settings.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty()) {
        found.push(warn(
            "delivery",
            "it pushes".to_owned(),
            "make it a pull subscription: a writer reads, and is not called",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use google_cloud_pubsub::model::{DeadLetterPolicy, ExpirationPolicy, RetryPolicy};
    use google_cloud_wkt::Duration;

    use super::*;

    fn warnings(settings: Subscription) -> Vec<(&'static str, String)> {
        set_up(&settings)
            .into_iter()
            .filter(|found| found.fix.is_some())
            .map(|found| (found.name, found.found))
            .collect()
    }

    #[test]
    fn what_would_lose_or_bury_messages_is_warned_of() {
        assert_eq!(warnings(Subscription::new()), []);
        let policy = DeadLetterPolicy::new().set_dead_letter_topic("projects/p/topics/d").set_max_delivery_attempts(5);
        let found = warnings(
            Subscription::new()
                .set_dead_letter_policy(policy)
                .set_retry_policy(RetryPolicy::new().set_minimum_backoff(Duration::clamp(5, 0)))
                .set_expiration_policy(ExpirationPolicy::new().set_ttl(Duration::clamp(86_400, 0)))
                .set_message_retention_duration(Duration::clamp(600, 0)),
        );
        assert_eq!(
            found.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["dead letter policy", "retry policy", "expiration", "retention"]
        );
        assert!(found[1].1.contains("for 5s to 10m"), "{found:?}");
        assert!(found[0].1.contains("projects/p/topics/d after 5 deliveries"), "{found:?}");
    }
}
