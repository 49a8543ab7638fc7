//! What the cluster knows of a topic, and making one.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::access::Access;
use super::client::{self, Asking};
use super::positions::{self, ANSWER_WITHIN};
use super::{admin, properties};
use crate::bus::{BusError, Keeping, TopicInfo};
use crate::config::settings::KafkaSettings;

/// How long a new topic may take until every broker knows it.
const SPREAD_WITHIN: Duration = Duration::from_secs(30);

/// What is not known where a broker does not answer, or may not.
const UNTOLD: &str = "the broker does not tell how large a message may be and how long it is kept";

/// Why it may not.
const NOT_ALLOWED: &str = "this user may not ask for them (DescribeConfigs on the topic)";
const NO_CONNECTION: &str = "the connection that they are asked for over did not come about; the log says why";

/// The setting of a topic that limits its messages.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// How long a broker that answers at all may take to tell a topic's limit.
const LIMIT_WITHIN: Duration = Duration::from_secs(5);

/// What the cluster knows of a topic.
pub(super) async fn describe(settings: &KafkaSettings, name: &str) -> Result<TopicInfo, BusError> {
    let access = Access::fetch(settings).await?;
    let topic = name.to_owned();
    let (partitions, messages) = ask(settings, &access, move |consumer| {
        let partitions = positions::partitions(consumer, &topic, ANSWER_WITHIN)?;
        // One whose leader is away is no reason not to start: the others are read.
        let known = positions::watermarks(consumer, &topic, &partitions, ANSWER_WITHIN)?;
        Ok((partitions.len() as u32, known.values().map(|(low, end)| (end - low).max(0) as u64).sum()))
    })
    .await
    .map_err(|error| naming(name, error))?;
    let Limits { max_message_bytes, keeping, untold } = limits(settings, &access, name).await?;
    Ok(TopicInfo {
        partitions,
        max_message_bytes,
        size_setting: Some(MAX_MESSAGE_BYTES),
        max_header_bytes: None,
        messages: Some(messages),
        keeping,
        untold,
    })
}

/// Makes a topic with as many replicas as the brokers make by default; one that exists is left alone.
pub(super) async fn create(settings: &KafkaSettings, name: &str, partitions: u32) -> Result<(), BusError> {
    let access = Access::fetch(settings).await?;
    let partitions = i32::try_from(partitions)
        .map_err(|_| BusError::Settings(format!("topic {name} cannot have {partitions} partitions")))?;
    if access.tokens.is_some() {
        admin::create(settings, &access, name, partitions, ANSWER_WITHIN).await?;
    } else {
        make(settings, &access, name, partitions).await?;
    }
    let topic = name.to_owned();
    ask(settings, &access, move |consumer| {
        let until = Instant::now() + SPREAD_WITHIN;
        loop {
            match positions::ends(consumer, &topic) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                found => return found.map(drop),
            }
        }
    })
    .await
}

async fn make(settings: &KafkaSettings, access: &Access, name: &str, partitions: i32) -> Result<(), BusError> {
    let admin = admin_client(settings, access)?;
    let wanted = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN));
    let made = admin.create_topics([&wanted], &options).await;
    let complaints = &admin.inner().context().complaints;
    let made = made.map_err(|error| complaints.explain(&format!("topic {name} was not made"), &error))?;
    for result in made {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(client::classify(code, format!("topic {name} was not made: {code}"))),
        }
    }
    Ok(())
}

/// Asks through a client of its own, on a thread that may wait. The client lives and dies there.
pub(super) async fn ask<T: Send + 'static>(
    settings: &KafkaSettings,
    access: &Access,
    question: impl FnOnce(&BaseConsumer<Asking>) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, BusError> {
    ask_as(properties::asking(settings, access), access, question).await
}

/// The same with a configuration of one's own: in the name of a group, without joining it.
pub(super) async fn ask_as<T: Send + 'static>(
    config: ClientConfig,
    access: &Access,
    question: impl FnOnce(&BaseConsumer<Asking>) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, BusError> {
    let context = Asking::of(access);
    let asked = tokio::task::spawn_blocking(move || {
        let consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(|error| properties::unfit(&error))?;
        client::admit(&consumer)?;
        question(&consumer).map_err(|error| {
            // Errors wait in a queue of their own, which nobody has polled so far.
            for _ in 0..100 {
                let _ = consumer.poll(Duration::ZERO);
            }
            consumer.context().complaints.explain("no answer", &error)
        })
    });
    access.noting(asked.await.map_err(|error| BusError::Failed(format!("a question to Kafka: {error}")))?)
}

/// The same error, naming the topic where only the topic can be meant.
pub(super) fn naming(topic: &str, error: BusError) -> BusError {
    match error {
        BusError::NotFound(_) => BusError::NotFound(topic.to_owned()),
        other => other,
    }
}

fn admin_client(settings: &KafkaSettings, access: &Access) -> Result<AdminClient<Asking>, BusError> {
    let config = properties::asking(settings, access);
    AdminClient::from_config_and_context(&config, Asking::of(access)).map_err(|error| properties::unfit(&error))
}

/// What a topic's configuration says; nothing, and why, where it cannot be known.
#[derive(Default)]
struct Limits {
    max_message_bytes: Option<usize>,
    keeping: Keeping,
    untold: Option<&'static str>,
}

impl Limits {
    fn untold(why: &'static str) -> Self {
        Self { untold: Some(why), ..Self::default() }
    }

    /// Of what the configuration says of a name.
    fn of<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Self {
        // -1 is for ever.
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let policies = text("cleanup.policy").unwrap_or_default();
        let has = |policy: &str| policies.split(',').any(|known| known.trim() == policy);
        let stamped_by_broker = text("message.timestamp.type") == Some("LogAppendTime");
        let refuses_beyond = [
            "message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
            "message.timestamp.difference.max.ms",
        ];
        Self {
            max_message_bytes: number(MAX_MESSAGE_BYTES).and_then(|bytes| usize::try_from(bytes).ok()),
            keeping: Keeping {
                compacts: has("compact"),
                for_ms: number("retention.ms").filter(|_| has("delete")),
                refuses_beyond_ms: refuses_beyond.into_iter().filter_map(number).min().filter(|_| !stamped_by_broker),
            },
            untold: None,
        }
    }
}

/// The topic's limits.
async fn limits(settings: &KafkaSettings, access: &Access, topic: &str) -> Result<Limits, BusError> {
    if access.tokens.is_some() {
        return match admin::configuration(settings, access, topic).await {
            Ok(found) => Ok(Limits::of(|name| {
                found.iter().find_map(|(known, value)| (known == name).then_some(value.as_deref()).flatten())
            })),
            // The brokers have just answered other questions, over another connection: this one is not worth a start.
            Err(error @ (BusError::Denied(_) | BusError::Settings(_) | BusError::Unavailable(_))) => {
                tracing::warn!(topic, %error, "{UNTOLD}");
                Ok(Limits::untold(if matches!(error, BusError::Denied(_)) { NOT_ALLOWED } else { NO_CONNECTION }))
            }
            Err(error) => Err(error),
        };
    }
    let admin = admin_client(settings, access)?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT_WITHIN));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
    let code = match described.map(|mut resources| resources.pop()) {
        Ok(None) => return Ok(Limits::untold("the broker does not tell them")),
        Ok(Some(Ok(resource))) => {
            return Ok(Limits::of(|name| resource.get(name).and_then(|entry| entry.value.as_deref())));
        }
        Ok(Some(Err(code))) => code,
        Err(error) => client::code_of(&error).unwrap_or(Code::Unknown),
    };
    match code {
        // It has just answered other questions: it does not know this one, or we may not ask it.
        Code::UnsupportedFeature | Code::OperationTimedOut | Code::TopicAuthorizationFailed => {
            tracing::warn!(topic, %code, "{UNTOLD}");
            Ok(Limits::untold(match code {
                Code::TopicAuthorizationFailed => NOT_ALLOWED,
                _ => "the broker does not tell them",
            }))
        }
        code => Err(client::classify(code, format!("limits of topic {topic}: {code}"))),
    }
}
