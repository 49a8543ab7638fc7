//! The topic that a writer publishes to, for sinks that send messages.

use std::sync::Arc;

use bytes::Bytes;

use crate::bus::{BusError, Publisher};
use crate::config::settings::WriterSettings;
use crate::dead_letter::{Fit, room};
use crate::message::{Headers, Outgoing};
use crate::sink::{ErrorClass, Refusal, SinkError};

/// What a writer publishes to, from its settings.
#[derive(Clone, Debug)]
pub struct Publishes {
    /// The topic.
    pub topic: String,
    /// The field of the configuration that named it, for people.
    pub named_by: String,
    /// Who publishes: `chalk-writer/<group>`.
    pub source: String,
    /// Bytes that its readers take of a body once unpacked (`max_message_bytes`).
    pub most_unpacked: usize,
}

impl Publishes {
    /// From the settings of a writer, where they name a topic.
    pub fn of(settings: &WriterSettings) -> Option<Self> {
        let publishes = settings.publishes.as_ref()?;
        Some(Self {
            topic: publishes.topic.clone(),
            named_by: format!("`{}`", publishes.named_by),
            source: format!("chalk-writer/{}", settings.group),
            most_unpacked: settings.tuning.max_message_bytes,
        })
    }
}

/// A topic that was there when the writer started, and a publisher for it.
#[derive(Clone)]
pub struct Outlet {
    publisher: Arc<dyn Publisher>,
    publishes: Publishes,
    limit: usize,
}

impl Outlet {
    /// For a topic that takes messages of this size; `None` where the bus does not tell.
    pub fn new(publisher: Arc<dyn Publisher>, publishes: Publishes, max_message_bytes: Option<usize>) -> Self {
        Self { publisher, publishes, limit: Fit::of(max_message_bytes, None, false).limit() }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.publishes.topic
    }

    /// Who publishes: `chalk-writer/<group>`.
    pub fn source(&self) -> &str {
        &self.publishes.source
    }

    /// Bytes that a body may have for its readers once unpacked.
    pub fn most_unpacked(&self) -> usize {
        self.publishes.most_unpacked
    }

    /// Bytes that a message may have there, its envelope included.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What publishes to it, for whoever waits for the bus by itself.
    pub fn publisher(&self) -> &Arc<dyn Publisher> {
        &self.publisher
    }

    /// Bytes that the body of a message with this key and these headers may have at the most.
    pub fn room(&self, key: Option<&Bytes>, headers: &Headers) -> usize {
        room(self.limit, key, headers)
    }

    /// A message to the topic, whose partition follows from its key and whose time is that of its publication.
    pub fn message(&self, key: Option<Bytes>, headers: Headers, body: Bytes) -> Outgoing {
        Outgoing {
            topic: self.publishes.topic.clone(),
            partition: None,
            key,
            headers,
            payload: Some(body),
            timestamp_ms: None,
        }
    }

    /// Sends messages, and returns what became of each, in their order and in the words of a sink: what the bus has for good need
    /// not be sent again. What the topic finds too large, or never takes, is a row's fault.
    pub async fn publish(&self, messages: &[Outgoing]) -> Vec<Result<(), SinkError>> {
        match self.publisher.publish(messages).await {
            Ok(_) => messages.iter().map(|_| Ok(())).collect(),
            Err(undelivered) => {
                let mut landings = undelivered.landings().iter();
                let of = |_| match landings.next() {
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => Err(in_words_of_a_sink(error)),
                    None => Err(in_words_of_a_sink(undelivered.reason())),
                };
                messages.iter().map(of).collect()
            }
        }
    }
}

fn in_words_of_a_sink(error: &BusError) -> SinkError {
    let reason = error.to_string();
    match error {
        // A topic that was there at the start is waited for, as a store's table would be; so is one that somebody has made compacted,
        // which takes no message of any row.
        BusError::Unavailable(_) | BusError::NotFound(_) | BusError::Keyless(_) => SinkError::Transient { reason },
        BusError::Denied(_) => SinkError::Denied { reason },
        BusError::TooLarge(_) => SinkError::Poisoned(Refusal::new(ErrorClass::TooLarge, reason).harmless()),
        BusError::Refused(_) => SinkError::Poisoned(Refusal::new(ErrorClass::ValueRefused, reason).harmless()),
        BusError::Gap(_) | BusError::Settings(_) | BusError::Failed(_) => SinkError::Bug { reason },
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::bus::{Placed, Undelivered};
    use crate::writer::testing::publishes;

    struct Fails(BusError);

    #[async_trait]
    impl Publisher for Fails {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            Err(Undelivered::all(self.0.clone(), messages.len()))
        }
    }

    #[tokio::test]
    async fn trouble_with_the_bus_is_waited_for_and_only_a_verdict_is_a_rows_fault() {
        let kind = async |error: fn(String) -> BusError| {
            let outlet = Outlet::new(Arc::new(Fails(error("x".to_owned()))), publishes("topic"), None);
            match outlet.publish(&[Outgoing::default()]).await.remove(0).expect_err("it fails") {
                SinkError::Transient { .. } => "transient",
                SinkError::Denied { .. } => "denied",
                SinkError::Poisoned(Refusal { class: ErrorClass::TooLarge, .. }) => "too large",
                SinkError::Poisoned(Refusal { class: ErrorClass::ValueRefused, .. }) => "refused",
                SinkError::Bug { .. } => "bug",
                other => panic!("not {other}"),
            }
        };
        assert_eq!(kind(BusError::Unavailable).await, "transient");
        assert_eq!(kind(BusError::NotFound).await, "transient");
        assert_eq!(kind(BusError::Keyless).await, "transient");
        assert_eq!(kind(BusError::Denied).await, "denied");
        assert_eq!(kind(BusError::TooLarge).await, "too large");
        assert_eq!(kind(BusError::Refused).await, "refused");
        for never in [BusError::Settings, BusError::Gap, BusError::Failed] {
            assert_eq!(kind(never).await, "bug");
        }
    }
}
