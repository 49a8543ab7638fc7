//! From our settings to librdkafka's: which defaults differ from its own, and which properties
//! nobody may set because messages could then be lost.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::access::Access;
use super::fetched::MOST;
use super::names::{OAUTHBEARER, canonical};
use super::{msk, oidc};
use crate::bus::{BusError, Subscribe};
use crate::config::secret::expose;
use crate::config::settings::KafkaSettings;

/// Properties that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("enable.auto.commit", "a position is committed only once what is before it is stored"),
    ("auto.commit.interval.ms", "positions are committed by the writer, every second and before they matter"),
    ("enable.auto.offset.store", "a position is committed only once what is before it is stored"),
    ("offset.store.method", "positions are kept by the broker"),
    ("auto.offset.reset", "a new group starts at the earliest message, and `on_gap` decides about lost ones"),
    ("enable.partition.eof", "`--drain` needs to hear of the end of a partition"),
    ("group.id", "the group is `kafka_consumer_group_override`, or `chalk-<writer name>`"),
    ("bootstrap.servers", "the brokers are `bootstrap_servers`"),
    ("statistics.interval.ms", "lag and connections are read from statistics, every second"),
    ("enable.idempotence", "a dead letter must not be doubled or reordered by a retry"),
    ("delivery.report.only.error", "a burial is acknowledged only once it is confirmed"),
    ("transactional.id", "it is made anew with every start, from the group's name"),
    ("consume.callback.max.messages", "what is fetched ahead is bounded by what one call takes"),
    ("check.crcs", "the client passes over what fails the check, and nobody would hear of messages that were lost so"),
    ("isolation.level", "what is read must have been committed, and so must the positions that are compared"),
];

/// How long a transaction may take before the broker ends it.
const TRANSACTION_MS: u64 = 30_000;

/// The longest a consumer may be silent before its partitions are given away, librdkafka's default.
const MAX_POLL_INTERVAL_MS: u64 = 300_000;

/// The longest that a member may give no sign of life, librdkafka's default.
const SESSION_TIMEOUT_MS: u64 = 45_000;

/// Between two signs of life, librdkafka's default.
const HEARTBEAT_MS: u64 = 3_000;

/// What holds of a time where the settings do not say; `None` where that follows from others.
pub(super) fn defaults(name: &str) -> Option<u64> {
    match name {
        "session.timeout.ms" => Some(SESSION_TIMEOUT_MS),
        "heartbeat.interval.ms" => Some(HEARTBEAT_MS),
        "max.poll.interval.ms" => Some(MAX_POLL_INTERVAL_MS),
        "message.timeout.ms" => Some(MESSAGE_TIMEOUT_MS),
        _ => None,
    }
}

/// How long a broker waits for something to be there.
const FETCH_WAIT_MS: u64 = 200;

/// How long a message may wait in the producer.
const MESSAGE_TIMEOUT_MS: u64 = 30_000;

/// Refuses properties that can never work, without contacting anything.
pub(super) fn check(settings: &KafkaSettings) -> Result<(), BusError> {
    for (name, value) in &settings.properties {
        let used = canonical(name);
        let is_as_it_is = (used, value.as_str()) == ("check.crcs", "false");
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == used && !is_as_it_is) {
            return Err(BusError::Settings(format!("kafka property `{name}` cannot be set: {reason}")));
        }
        if used != name && settings.properties.contains_key(used) {
            return Err(BusError::Settings(format!(
                "kafka properties `{name}` and `{used}` are two names of one property; keep one of them"
            )));
        }
    }
    for name in ["acks", "request.required.acks"] {
        if let Some(value) = settings.properties.get(name).filter(|value| !matches!(value.as_str(), "all" | "-1")) {
            return Err(BusError::Settings(format!(
                "kafka property `{name}` is `{value}`; only `all` is allowed, or a confirmed dead letter could be lost"
            )));
        }
    }
    oidc::check(settings)?;
    client(settings, &Access::default()).create_native_config().map(drop).map_err(|error| unfit(&error))
}

/// What a client says that it is, unless the settings say otherwise.
const PROGRAM: &str = "chalk-writer";

/// What clients of these settings say that they are.
pub(super) fn program(settings: &KafkaSettings) -> &str {
    settings.properties.get("client.id").map_or(PROGRAM, String::as_str)
}

/// What every client has in common. The settings' own properties are applied last.
fn client(settings: &KafkaSettings, access: &Access) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &access.brokers)
        .set("client.id", PROGRAM)
        .set("security.protocol", settings.security_protocol.to_lowercase())
        .set("socket.keepalive.enable", "true")
        // A dead address is given up after ten seconds, so that another broker is asked.
        .set("socket.connection.setup.timeout.ms", "10000")
        .set("reconnect.backoff.max.ms", "5000")
        // A partition that was added is read within a minute.
        .set("topic.metadata.refresh.interval.ms", "60000")
        .set("log.connection.close", "false");
    if let Some(mechanism) = &settings.sasl_mechanism {
        config.set("sasl.mechanism", if mechanism == msk::MECHANISM { OAUTHBEARER } else { mechanism });
    }
    if let Some(username) = &access.username {
        config.set("sasl.username", username);
    }
    if let Some(password) = &access.password {
        config.set("sasl.password", expose(password));
    }
    for (name, value) in settings.properties.iter().filter(|(name, _)| !oidc::is_ours(settings, name)) {
        config.set(canonical(name), value);
    }
    config
}

/// A client that asks about topics and groups and never joins one.
pub(super) fn asking(settings: &KafkaSettings, access: &Access) -> ClientConfig {
    let mut config = client(settings, access);
    for name in [INSTANCE_ID, "group.protocol", "group.remote.assignor"] {
        config.remove(name);
    }
    config
}

/// A member of a consumer group; an error where its name is that of a variable which is not set.
pub(super) fn member(
    settings: &KafkaSettings,
    access: &Access,
    subscribe: &Subscribe,
) -> Result<ClientConfig, BusError> {
    let mut config = fetching(&client(settings, access), subscribe.fetch_bytes);
    if let Some(name) = config.get(INSTANCE_ID) {
        let name = instance_id(name, |variable| std::env::var(variable).ok())?;
        config.set(INSTANCE_ID, name);
    }
    config
        .set("group.id", &subscribe.group)
        // Commits on its clock what was stored by hand, and nothing else; in transactions, nothing at all.
        .set("enable.auto.commit", if subscribe.transactional { "false" } else { "true" })
        .set("enable.auto.offset.store", "false")
        // Soon after ours, which stores positions every second: a second clock as slow would add a second to what is
        // read again after a kill. It sends nothing where nothing is new.
        .set("auto.commit.interval.ms", "200")
        // The rebalance callback decides where to start; a position out of range is never passed over in silence.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("consume.callback.max.messages", MOST)
        .set("statistics.interval.ms", "1000");
    let by_broker = settings.properties.get("group.protocol").is_some_and(|protocol| protocol == "consumer");
    if !by_broker {
        // Refused by librdkafka where the broker assigns (`group.protocol=consumer`).
        set_default(&mut config, "partition.assignment.strategy", "cooperative-sticky");
    }
    Ok(config)
}

/// The name of a member that comes back as who it was.
const INSTANCE_ID: &str = "group.instance.id";

/// The name with what stands in environment variables put in their places (`${HOSTNAME}`): what is one setting for all pods is
/// a name of each.
fn instance_id(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, BusError> {
    let (mut whole, mut rest) = (String::new(), name);
    while let Some((before, after)) = rest.split_once("${") {
        let (used, behind) = after
            .split_once('}')
            .ok_or_else(|| BusError::Settings(format!("kafka property `{INSTANCE_ID}`: `${{` in it lacks its `}}`")))?;
        let value = variable(used).filter(|value| !value.is_empty()).ok_or_else(|| {
            BusError::Settings(format!(
                "kafka property `{INSTANCE_ID}` is made of the environment variable `{used}`, which is not set; set it to \
                 the pod's name"
            ))
        })?;
        whole += before;
        whole += &value;
        rest = behind;
    }
    Ok(whole + rest)
}

/// A consumer that reads outside every group. The group's name serves to ask for its positions only.
pub(super) fn browser(settings: &KafkaSettings, access: &Access, group: &str) -> ClientConfig {
    let mut config = fetching(&asking(settings, access), 8 << 20);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true");
    config
}

/// The producer.
pub(super) fn producer(settings: &KafkaSettings, access: &Access) -> ClientConfig {
    let mut config = asking(settings, access);
    config.set("enable.idempotence", "true").set("acks", "all");
    for (name, value) in [
        ("linger.ms", "5"),
        ("message.timeout.ms", &MESSAGE_TIMEOUT_MS.to_string()),
        // Well before the messages time out it is clear that a topic is missing.
        ("topic.metadata.propagation.max.ms", "5000"),
        // Built in, understood by every broker, and the cheapest for both sides.
        ("compression.type", "lz4"),
        // Java's own choice, so that a key lands where other producers put it.
        ("partitioner", "murmur2_random"),
        // The topic's limit decides, not the client's.
        ("message.max.bytes", "1000000000"),
        ("queue.buffering.max.kbytes", "65536"),
    ] {
        set_default(&mut config, name, value);
    }
    config
}

/// A producer of transactions.
pub(super) fn transactor(settings: &KafkaSettings, access: &Access, id: &str) -> ClientConfig {
    let mut config = producer(settings, access);
    config.set("transactional.id", id);
    // A transaction that was left open holds up its readers for so long. librdkafka wants no message to outlive it.
    let messages = queue(&config).1.as_millis() as u64;
    set_default(&mut config, "transaction.timeout.ms", &messages.max(TRANSACTION_MS).to_string());
    config
}

/// Fetch buffers: half of the allowance may lie in librdkafka's queue, the rest is for answers under
/// way and for what waits to be decoded.
fn fetching(base: &ClientConfig, fetch_bytes: usize) -> ClientConfig {
    let mut config = base.clone();
    let queue = (fetch_bytes / 2).clamp(1 << 20, 1 << 30);
    let answer = (fetch_bytes / 4).clamp(1 << 20, 50 << 20);
    for (name, value) in [
        ("queued.max.messages.kbytes", (queue >> 10).to_string()),
        ("fetch.max.bytes", answer.to_string()),
        ("fetch.message.max.bytes", (1usize << 20).min(answer).to_string()),
        // A full queue is looked at again soon: librdkafka's own second starves a fast reader of a small queue.
        ("fetch.queue.backoff.ms", "10".to_owned()),
        ("fetch.wait.max.ms", FETCH_WAIT_MS.to_string()),
    ] {
        set_default(&mut config, name, &value);
    }
    config
}

fn set_default(config: &mut ClientConfig, name: &str, value: &str) {
    if config.get(name).is_none() {
        config.set(name, value);
    }
}

/// Of a producer: bytes that its queue takes, and how long a message may stay in it.
pub(super) fn queue(config: &ClientConfig) -> (usize, Duration) {
    // librdkafka's own defaults, where a value is no number it refuses the producer.
    let number = |name, default| config.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(default);
    let timeout = match number("message.timeout.ms", 300_000) {
        // For librdkafka: never.
        0 => 300_000,
        timeout => timeout,
    };
    ((number("queue.buffering.max.kbytes", 1 << 20) << 10) as usize, Duration::from_millis(timeout))
}

/// How long a broker that has nothing may take to answer a fetch.
pub(super) fn fetch_wait(settings: &KafkaSettings) -> Duration {
    let given = settings.properties.iter().find(|(name, _)| canonical(name) == "fetch.wait.max.ms");
    Duration::from_millis(given.and_then(|(_, value)| value.parse().ok()).unwrap_or(FETCH_WAIT_MS))
}

/// How long a consumer may be silent before its partitions are given away.
pub(super) fn max_poll_interval(settings: &KafkaSettings) -> Duration {
    let given = settings.properties.get("max.poll.interval.ms").and_then(|value| value.parse().ok());
    Duration::from_millis(given.unwrap_or(MAX_POLL_INTERVAL_MS))
}

/// How long a revocation may take, in milliseconds, before the broker gives up on this consumer.
pub(super) fn patience_ms(settings: &KafkaSettings) -> u64 {
    max_poll_interval(settings).as_millis() as u64 * 8 / 10
}

/// How long the broker waits for a sign of a member; `None` where it decides that itself.
pub(super) fn session(settings: &KafkaSettings) -> Option<Duration> {
    let property = |name: &str| settings.properties.get(name);
    if property("group.protocol").is_some_and(|protocol| protocol == "consumer") {
        return None;
    }
    let given = property("session.timeout.ms").and_then(|value| value.parse().ok());
    Some(Duration::from_millis(given.unwrap_or(SESSION_TIMEOUT_MS)))
}

/// An error of creating a client, which names the property and never shows a value.
pub(super) fn unfit(error: &KafkaError) -> BusError {
    BusError::Settings(match error {
        KafkaError::ClientConfig(_, _, name, _) if name == "security.protocol" => {
            "`security_protocol` is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL".to_owned()
        }
        KafkaError::ClientConfig(rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            format!("unknown kafka property `{name}`; known are those of librdkafka's CONFIGURATION.md")
        }
        KafkaError::ClientConfig(_, description, name, _) => format!("kafka property `{name}`: {description}"),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::kafka::names::ALIASES;

    fn subscribe() -> Subscribe {
        let (topic, group) = ("t".to_owned(), "g".to_owned());
        let on_gap = crate::bus::OnGap::Stop;
        let hold = crate::bus::Hold { bytes: 48 << 20, messages: 1_000 };
        Subscribe { topic, group, drain: false, fetch_bytes: 16 << 20, hold, on_gap, transactional: false }
    }

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            security_protocol: "PLAINTEXT".to_owned(),
            sasl_mechanism: None,
            sasl_secret: None,
            properties: properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    #[test]
    fn a_property_that_could_lose_messages_is_refused_with_a_reason() {
        for (name, _) in REFUSED {
            let error = check(&settings(&[(name, "x")])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("cannot be set: "), "{error}");
        }
        assert!(check(&settings(&[("acks", "1")])).unwrap_err().to_string().contains("only `all`"));
        assert!(check(&settings(&[("acks", "all")])).is_ok());
        assert!(check(&settings(&[("check.crcs", "false")])).is_ok());
    }

    #[test]
    fn an_unknown_property_and_a_bad_value_are_named_and_the_value_is_not_shown() {
        let error = check(&settings(&[("fetch.wait.max.mss", "hunter2")])).unwrap_err().to_string();
        assert!(error.contains("unknown kafka property `fetch.wait.max.mss`"), "{error}");
        let error = check(&settings(&[("fetch.wait.max.ms", "hunter2")])).unwrap_err().to_string();
        assert!(error.contains("`fetch.wait.max.ms`") && !error.contains("hunter2"), "{error}");
        let mut wrong = settings(&[]);
        wrong.security_protocol = "TLS".to_owned();
        assert!(check(&wrong).unwrap_err().to_string().contains("PLAINTEXT, SSL"));
    }

    #[test]
    fn a_property_has_one_value_under_all_of_its_names() {
        let config = |name| member(&settings(&[(name, "77")]), &Access::default(), &subscribe()).unwrap();
        for name in ["max.partition.fetch.bytes", "fetch.message.max.bytes"] {
            assert_eq!(config(name).get("fetch.message.max.bytes"), Some("77"));
            assert_eq!(config(name).get("max.partition.fetch.bytes"), None);
        }
        let config = producer(&settings(&[("delivery.timeout.ms", "7000")]), &Access::default());
        assert_eq!(config.get("message.timeout.ms"), Some("7000"));
        assert_eq!(queue(&config), (64 << 20, Duration::from_secs(7)));
        for (alias, used) in ALIASES {
            let error = check(&settings(&[(alias, "all"), (used, "all")])).unwrap_err().to_string();
            assert!(error.contains(alias) || error.contains(used), "{error}");
        }
        assert!(check(&settings(&[("request.required.acks", "1")])).unwrap_err().to_string().contains("only `all`"));
    }

    #[test]
    fn properties_are_applied_last() {
        let settings = settings(&[("partition.assignment.strategy", "range"), ("queued.max.messages.kbytes", "77")]);
        let config = member(&settings, &Access::default(), &subscribe()).unwrap();
        assert_eq!(config.get("partition.assignment.strategy"), Some("range"));
        assert_eq!(config.get("queued.max.messages.kbytes"), Some("77"));
        assert_eq!(config.get("fetch.max.bytes"), Some("4194304"));
    }

    #[test]
    fn a_members_name_may_be_made_of_its_pods() {
        let name = |name: &str| {
            instance_id(name, |known| (known == "HOSTNAME").then(|| "writer-3".to_owned()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(name("${HOSTNAME}"), Ok("writer-3".to_owned()));
        assert_eq!(name("a-${HOSTNAME}-b"), Ok("a-writer-3-b".to_owned()));
        assert_eq!(name("$5 and }"), Ok("$5 and }".to_owned()));
        assert!(name("${POD}").unwrap_err().contains("`POD`, which is not set"));
        assert!(name("${POD").unwrap_err().contains("lacks its `}`"));
    }

    #[test]
    fn a_group_that_the_broker_assigns_gets_no_strategy_of_ours() {
        let access = Access { brokers: "127.0.0.1:1".to_owned(), ..Access::default() };
        let config = member(&settings(&[("group.protocol", "consumer")]), &access, &subscribe()).unwrap();
        assert_eq!(config.get("partition.assignment.strategy"), None);
        config.create::<rdkafka::consumer::BaseConsumer>().expect("accepted by librdkafka");
    }
}
