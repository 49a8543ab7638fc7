//! A subscription that is made for one reading of a topic, set back in time, and deleted afterwards.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_pubsub::model::ExpirationPolicy;
use google_cloud_wkt::{Duration as Seconds, Timestamp};

use super::client::Clients;
use super::errors;
use crate::bus::BusError;

/// What its name begins with: who looks for leftovers finds them by it.
const PREFIX: &str = "chalk-reading-";
/// Left behind by a process that was killed, it expires: no sooner than its messages do (7 days), as Google asks.
const EXPIRES_AFTER: Duration = Duration::from_secs(8 * 24 * 3600);

/// Where it begins.
pub(super) enum From<'a> {
    /// With the first message of this time, in milliseconds since 1970.
    Time(i64),
    /// With what another subscription has not acknowledged.
    Subscription(&'a str),
}

/// A subscription of our own. Dropped, it is deleted as soon as that can be done.
pub(super) struct Temporary {
    clients: Arc<Clients>,
    /// Its whole name.
    pub(super) name: String,
    is_deleted: bool,
}

impl Temporary {
    /// Makes one of a topic.
    pub(super) async fn make(clients: &Arc<Clients>, topic: &str, from: From<'_>) -> Result<Self, BusError> {
        let id = format!("{PREFIX}{}", uuid::Uuid::now_v7());
        let name = clients.subscription_name(&id);
        let admin = clients.subscriptions().await?;
        let expires = ExpirationPolicy::new().set_ttl(Seconds::clamp(EXPIRES_AFTER.as_secs() as i64, 0));
        let made = admin
            .create_subscription()
            .set_name(&name)
            .set_topic(clients.topic_name(topic))
            .set_ack_deadline_seconds(60)
            // Google's emulator cannot set one back that delivers in order.
            .set_enable_message_ordering(clients.settings.emulator.is_none())
            .set_expiration_policy(expires)
            .send()
            .await;
        made.map_err(|error| match clients.classify(&format!("a subscription of topic `{topic}` to read it by"), &error) {
            BusError::NotFound(_) => BusError::NotFound(topic.to_owned()),
            BusError::Denied(text) => BusError::Denied(format!(
                "{text}; reading a topic beside its subscriptions takes the rights pubsub.subscriptions.create, .consume and \
                 .delete on the project, and pubsub.topics.attachSubscription on the topic"
            )),
            other => other,
        })?;
        let temporary = Self { clients: Arc::clone(clients), name, is_deleted: false };
        match from {
            From::Time(from_ms) => {
                let time = Timestamp::clamp(from_ms.div_euclid(1000), (from_ms.rem_euclid(1000) * 1_000_000) as i32);
                let seek = admin.seek().set_subscription(&temporary.name).set_time(time);
                seek.send().await.map_err(|error| clients.classify("setting a subscription back in time", &error))?;
            }
            From::Subscription(of) => {
                let snapshot = names_of_snapshot(clients, &id);
                let make = admin.create_snapshot().set_name(&snapshot).set_subscription(clients.subscription_name(of));
                make.send()
                    .await
                    .map_err(|error| clients.classify(&format!("a snapshot of subscription `{of}`"), &error))?;
                let seek = admin.seek().set_subscription(&temporary.name).set_snapshot(&snapshot);
                let sought = seek.send().await;
                // It has done its work, and expires by itself where this fails.
                let deleted = admin.delete_snapshot().set_snapshot(&snapshot).send().await;
                if let Err(error) = deleted {
                    tracing::debug!(snapshot, "a snapshot was not deleted: {}", errors::describe(&error));
                }
                sought.map_err(|error| clients.classify("setting a subscription to a snapshot", &error))?;
            }
        }
        Ok(temporary)
    }

    /// Deletes it.
    pub(super) async fn delete(mut self) {
        self.is_deleted = true;
        delete(&self.clients, &self.name).await;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_deleted {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (clients, name) = (Arc::clone(&self.clients), std::mem::take(&mut self.name));
            runtime.spawn(async move { delete(&clients, &name).await });
        }
    }
}

async fn delete(clients: &Clients, name: &str) {
    let Ok(admin) = clients.subscriptions().await else { return };
    if let Err(error) = admin.delete_subscription().set_subscription(name).send().await {
        tracing::warn!(
            subscription = name,
            "a subscription that was made for a reading is left behind and expires in eight days: {}",
            errors::describe(&error)
        );
    }
}

fn names_of_snapshot(clients: &Clients, id: &str) -> String {
    format!("projects/{}/snapshots/{id}", clients.settings.project)
}
