//! The clients of one process: made when they are first needed, and shared.

use std::time::Duration;

use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::client_builder::ClientBuilder;
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::retry_policy::{Aip194Strict, RetryPolicyExt};
use google_cloud_pubsub::Error;
use google_cloud_pubsub::client::{BasePublisher, Subscriber, SubscriptionAdmin, TopicAdmin};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::{errors, openings};
use crate::bus::BusError;
use crate::config::names;
use crate::config::settings::PubsubSettings;
use crate::google::{self, Replaced};

/// How long one call may go on trying; then whoever waits hears of it, and may try again.
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(15);
/// Connections of one client: a stream of messages is bound to about 10 MB a second, whoever shares it.
const CONNECTIONS: usize = 4;

/// What whoever asks has to be given; what is made for a reading takes more (docs/pubsub.md).
const RIGHTS: &str = ", which needs `roles/pubsub.subscriber` and `roles/pubsub.viewer` on a subscription that it reads, \
                      `roles/pubsub.publisher` and `roles/pubsub.viewer` on a topic that it publishes to";

/// Clients, by what they are for.
pub(super) struct Clients {
    pub(super) settings: PubsubSettings,
    /// Those of all clients; of an emulator's there are none.
    credentials: OnceCell<Replaced>,
    /// With the time at which it was made.
    subscriber: Mutex<Option<(Instant, Subscriber)>>,
    publisher: OnceCell<BasePublisher>,
    topics: OnceCell<TopicAdmin>,
    subscriptions: OnceCell<SubscriptionAdmin>,
}

impl Clients {
    pub(super) fn new(settings: PubsubSettings) -> Self {
        Self {
            settings,
            credentials: OnceCell::const_new(),
            subscriber: Mutex::default(),
            publisher: OnceCell::const_new(),
            topics: OnceCell::const_new(),
            subscriptions: OnceCell::const_new(),
        }
    }

    /// The whole name of a topic.
    pub(super) fn topic_name(&self, name: &str) -> String {
        names::topic(&self.settings.project, name)
    }

    /// The whole name of a subscription.
    pub(super) fn subscription_name(&self, name: &str) -> String {
        names::subscription(&self.settings.project, name)
    }

    /// A name as people write it.
    pub(super) fn short<'a>(&self, whole: &'a str) -> &'a str {
        names::short(&self.settings.project, whole)
    }

    /// Where something was silent since a time, one that was made later: over other connections.
    pub(super) async fn subscriber(&self, silent_since: Option<Instant>) -> Result<Subscriber, BusError> {
        let mut subscriber = self.subscriber.lock().await;
        if let Some((made, subscriber)) = &*subscriber
            && silent_since.is_none_or(|since| since < *made)
        {
            return Ok(subscriber.clone());
        }
        let mut builder = Subscriber::builder()
            .with_credentials(openings::counted(self.credentials().await?))
            .with_grpc_subchannel_count(self.settings.streams.min(CONNECTIONS));
        if let Some(endpoint) = self.endpoint() {
            builder = builder.with_endpoint(endpoint);
        }
        let made = builder.build().await.map_err(|error| errors::unmade(&error))?;
        *subscriber = Some((Instant::now(), made.clone()));
        Ok(made)
    }

    pub(super) async fn publisher(&self) -> Result<&BasePublisher, BusError> {
        let make = || async {
            let mut builder = BasePublisher::builder()
                .with_credentials(self.credentials().await?)
                .with_retry_policy(Aip194Strict.with_time_limit(CALL_WITHIN))
                .with_backoff_policy(backoff());
            if let Some(endpoint) = self.endpoint() {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build().await.map_err(|error| errors::unmade(&error))
        };
        self.publisher.get_or_try_init(make).await
    }

    pub(super) async fn topics(&self) -> Result<&TopicAdmin, BusError> {
        let make = || async {
            let builder = self.of_calls(TopicAdmin::builder()).await?;
            builder.build().await.map_err(|error| errors::unmade(&error))
        };
        self.topics.get_or_try_init(make).await
    }

    pub(super) async fn subscriptions(&self) -> Result<&SubscriptionAdmin, BusError> {
        let make = || async {
            let builder = self.of_calls(SubscriptionAdmin::builder()).await?;
            builder.build().await.map_err(|error| errors::unmade(&error))
        };
        self.subscriptions.get_or_try_init(make).await
    }

    /// What an error of a call about something means; one about rights names who asked, for whoever has to give them. Where it is
    /// about who we are, that is read anew for the calls that follow.
    pub(super) fn classify(&self, what: &str, error: &Error) -> BusError {
        if errors::is_about_credentials(error)
            && let Some(credentials) = self.credentials.get()
        {
            credentials.are_refused();
        }
        match errors::classify(what, error) {
            BusError::Denied(text) if self.settings.emulator.is_none() => {
                let right = if errors::is_about_a_right(error) { RIGHTS } else { "" };
                BusError::Denied(format!("{text}; asked by {}{right}", google::who(&self.settings.identity)))
            }
            other => other,
        }
    }

    /// What every client of single calls is made with. Those of streams and of messages have builders of other types.
    async fn of_calls<F>(
        &self,
        builder: ClientBuilder<F, Credentials>,
    ) -> Result<ClientBuilder<F, Credentials>, BusError> {
        let builder = builder
            .with_credentials(self.credentials().await?)
            .with_retry_policy(Aip194Strict.with_time_limit(CALL_WITHIN))
            .with_backoff_policy(backoff());
        Ok(match self.endpoint() {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        })
    }

    /// Where the service is, where that is not Google's own place.
    fn endpoint(&self) -> Option<String> {
        let emulator = self.settings.emulator.as_ref().map(|address| format!("http://{address}"));
        emulator.or_else(|| self.settings.endpoint.clone())
    }

    /// Who we are. An emulator is asked by nobody in particular: Google's client would look for an identity, and wait.
    async fn credentials(&self) -> Result<Credentials, BusError> {
        if self.settings.emulator.is_some() {
            return Ok(google::anonymous());
        }
        let read =
            || async { google::replaced(&self.settings.identity).map_err(|error| BusError::Denied(error.to_string())) };
        Ok(self.credentials.get_or_try_init(read).await?.credentials())
    }
}

/// Pauses between two attempts of one call.
fn backoff() -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_delay(Duration::from_millis(100))
        .with_maximum_delay(Duration::from_secs(5))
        .clamp()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use google_cloud_gax::error::rpc::{Code, Status};

    use super::*;
    use crate::google::Identity;

    #[tokio::test(start_paused = true)]
    async fn who_we_are_is_read_anew_once_the_service_knows_it_no_more() {
        let settings = PubsubSettings {
            project: "p".to_owned(),
            emulator: None,
            endpoint: None,
            streams: 1,
            drain_idle: Duration::from_secs(10),
            browse_idle: Duration::from_secs(5),
            stale_after: None,
            identity: Identity::default(),
        };
        let readings = Arc::new(AtomicUsize::new(0));
        let read = {
            let readings = Arc::clone(&readings);
            move || {
                readings.fetch_add(1, Ordering::Relaxed);
                Ok(google::anonymous())
            }
        };
        let credentials = OnceCell::new_with(Some(Replaced::read(read).expect("there are some")));
        let clients = Clients { credentials, ..Clients::new(settings) };
        tokio::time::advance(Duration::from_secs(60)).await;
        for (code, read) in [(Code::PermissionDenied, 1), (Code::Unauthenticated, 2)] {
            let error = Error::service(Status::default().set_code(code).set_message("said so"));
            assert!(matches!(clients.classify("subscription `s`", &error), BusError::Denied(_)));
            assert_eq!(readings.load(Ordering::Relaxed), read, "{code:?}");
        }
    }
}
