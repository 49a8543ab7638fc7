//! Topics of a real Kafka that do not take a message, for what they are: too old, too large, without a key.

use std::collections::BTreeMap;

use chalk_writer::bus::{self, BrowseFrom};
use chalk_writer::config::settings::{BusSettings, KafkaSettings};
use chalk_writer::message::{Message, Outgoing};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use crate::kafka::{Kafka, admin, servers};

const BAD: &str = "{\"environment_id\": \"prod\", \"tables\": 5}";
const DAY_MS: i64 = 86_400_000;

/// Gives a topic these settings, and no others.
fn configure(topic: &str, settings: &[(&str, &str)]) {
    let given = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let given = settings.iter().fold(given, |given, (name, value)| given.set(name, value));
    let altering = async {
        for altered in admin().alter_configs([&given], &AdminOptions::new()).await.expect("an answer") {
            altered.expect("altered");
        }
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(altering);
}

/// The bus, asked past the program.
fn with_bus<T>(ask: impl AsyncFnOnce(&dyn bus::Bus) -> T) -> T {
    let settings = KafkaSettings {
        bootstrap_servers: vec![servers()],
        security_protocol: "PLAINTEXT".to_owned(),
        sasl_mechanism: None,
        sasl_secret: None,
        properties: BTreeMap::new(),
    };
    let bus = bus::open(&BusSettings::Kafka(settings)).expect("the settings are right");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(ask(&*bus))
}

fn publish(messages: &[Outgoing]) {
    with_bus(async |bus| bus.publisher().await.expect("a publisher").publish(messages).await.expect("published"));
}

/// Everything in a topic.
fn messages(topic: &str) -> Vec<Message> {
    with_bus(async |bus| {
        let mut browse = bus.browse(topic, BrowseFrom::Earliest).await.expect("read");
        let mut all = Vec::new();
        loop {
            let messages = browse.next().await.expect("read");
            if messages.is_empty() {
                return all;
            }
            all.extend(messages);
        }
    })
}

/// Bodies of messages that were sent again, and how often each was.
fn sent_again(topic: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for message in messages(topic) {
        if message.headers.get_str("chalk_target_group").is_some() {
            *times.entry(String::from_utf8_lossy(message.body()).into_owned()).or_default() += 1;
        }
    }
    times
}

/// Text that no compression makes small.
fn noise() -> String {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.alphanumeric()).take(20_000).collect()
}

/// What the topic does not take is among a hundred others of its publish, in the same request or in another.
#[test]
fn letters_that_are_too_old_or_too_large_for_their_topic_are_told_and_each_other_is_sent_once() {
    const LETTERS: usize = 250;
    const OLD: usize = 30;
    const LARGE: usize = 140;
    let kafka = Kafka::new(", \"dlq\": {\"max_ratio\": 1.0, \"max_consecutive\": 1000000}");
    configure(&kafka.results, &[("retention.ms", "-1")]);
    let now = chrono::Utc::now().timestamp_millis();
    let bad: Vec<Outgoing> = (0..LETTERS)
        .map(|number| Outgoing {
            topic: kafka.results.clone(),
            key: Some(format!("k-{}", number % 7).into()),
            payload: Some(match number {
                LARGE => noise().into(),
                _ => format!("{BAD} {number}").into(),
            }),
            timestamp_ms: (number == OLD).then_some(now - 8 * DAY_MS),
            ..Outgoing::default()
        })
        .collect();
    publish(&bad);
    let ended = kafka.folder.drain("ONLINE_WRITER");
    assert_eq!((ended.code, kafka.folder.letters().len()), (Some(0), LETTERS), "{ended:?}");

    let week = (7 * DAY_MS).to_string();
    configure(
        &kafka.results,
        &[("retention.ms", "-1"), ("message.timestamp.before.max.ms", &week), ("max.message.bytes", "8000")],
    );
    let first = kafka.replay(&[]);
    assert_eq!(first.code, Some(1), "not all that was meant was sent: {first:?}");
    let said = format!("{}{}", first.stdout, first.stderr);
    assert!(said.contains(&format!("{} replayed of {LETTERS}", LETTERS - 2)), "{said}");
    for word in ["is further from now than the topic takes (`message.timestamp.before.max.ms`", "too large"] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    let again = kafka.replay(&[]);
    assert!(format!("{}{}", again.stdout, again.stderr).contains("0 replayed of"), "{again:?}");
    let sent = sent_again(&kafka.results);
    assert_eq!((sent.len(), sent.values().max()), (LETTERS - 2, Some(&1)), "{sent:?}");

    configure(&kafka.results, &[("retention.ms", "-1")]);
    assert!(kafka.replay(&[]).ok().starts_with("2 replayed of"), "once the topic takes them");
    let sent = sent_again(&kafka.results);
    assert_eq!((sent.len(), sent.values().max()), (LETTERS, Some(&1)));
}

#[test]
fn a_message_without_a_key_is_buried_in_a_compacted_topic_and_sent_again_without_one() {
    let kafka = Kafka::new("");
    configure(&kafka.dlq, &[("cleanup.policy", "compact")]);
    kafka.publish(&format!("{BAD}\n").repeat(3));
    let ended = kafka.folder.drain("ONLINE_WRITER");
    assert_eq!((ended.code, kafka.folder.letters().len()), (Some(0), 3), "{ended:?}");
    let mut keys: Vec<_> = messages(&kafka.dlq).into_iter().map(|letter| letter.key.expect("a key")).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "compacting removes none");
    assert!(kafka.replay(&[]).ok().contains("3 replayed of 3"));
    let sent = messages(&kafka.results);
    assert_eq!((sent.len(), sent.iter().filter(|message| message.key.is_some()).count()), (6, 0));
}

#[test]
fn a_writer_whose_topic_takes_nothing_without_a_key_says_so_at_its_start() {
    let kafka = Kafka::new("");
    configure(&kafka.dlq, &[("cleanup.policy", "compact")]);
    kafka.folder.configure("kafka_dlq_topic", "metrics_bus_topic_id");
    kafka.folder.configure("\"ONLINE_WRITER\"", "\"METRICS_WRITER\"");
    let ended = kafka.folder.run(&["--type", "METRICS_WRITER", "--config", "chalk.json", "--drain", "--listen", "off"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("is compacted (`cleanup.policy`), and takes no message without a key"), "{ended:?}");
}

#[test]
fn publish_names_the_messages_that_its_topic_does_not_take() {
    let kafka = Kafka::new("");
    configure(&kafka.results, &[("max.message.bytes", "8000")]);
    kafka.folder.write("three.jsonl", &format!("{BAD}\n{{\"tables\": \"{}\"}}\n{BAD}\n", noise()));
    let to = ["--config", "chalk.json", "--topic", &kafka.results, "--file", "three.jsonl"];
    let ended = kafka.folder.run(&[&["publish"][..], &to].concat());
    assert!(ended.code != Some(0) && ended.stderr.contains("too large"), "{ended:?}");
    assert!(ended.stderr.contains("of the first 3 messages not published: 2; none after them was tried"), "{ended:?}");
    assert!(ended.stderr.contains("2 messages published"), "{ended:?}");
    assert_eq!(messages(&kafka.results).len(), 2);
}
