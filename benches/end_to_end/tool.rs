//! What the end-to-end benchmark needs beside the writer: a topic, a million results in it, and the
//! barest consumer there can be.
//!
//! ```text
//! tool topic BROKER TOPIC PARTITIONS      makes a topic
//! tool produce BROKER TOPIC N SHAPE [A_SECOND]   json, protobuf or flat; the same ones every time
//! tool count BROKER TOPIC N               reads N messages with librdkafka's consumer and only counts them
//! tool newest N                           prints of the first N results the texts of each user's newest, a line a user
//! tool pubsub make HOST:PORT TOPIC SUBSCRIPTION…              an emulator's topic, with subscriptions
//! tool pubsub produce HOST:PORT TOPIC N SHAPE
//! tool pubsub count HOST:PORT SUBSCRIPTION N STREAMS          with Google's client
//! tool pubsub serve N SHAPE               a server of Pub/Sub with so many results in every subscription; prints its address
//! ```
//!
//! What the results are is in `results`.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

mod pubsub;
mod pubsub_server;
mod results;

use results::{Finished, Results, flat, json, protobuf, texts};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["topic", broker, topic, partitions] => make_topic(broker, topic, partitions.parse()?),
        ["produce", broker, topic, count, shape] => produce(broker, topic, count.parse()?, shape, None),
        ["produce", broker, topic, count, shape, rate] => {
            produce(broker, topic, count.parse()?, shape, Some(rate.parse()?))
        }
        ["count", broker, topic, count] => count_messages(broker, topic, count.parse()?),
        ["newest", count] => print_newest(count.parse()?),
        ["pubsub", ref words @ ..] => tokio::runtime::Runtime::new()?.block_on(on_pubsub(words)),
        _ => {
            Err("expected topic, produce, count, newest or pubsub; the head of this program's source has them in full"
                .into())
        }
    }
}

async fn on_pubsub(words: &[&str]) -> Result<(), Failure> {
    match *words {
        ["make", address, topic, ref subscriptions @ ..] => pubsub::make(address, topic, subscriptions).await,
        ["produce", address, topic, count, shape] => {
            pubsub::produce(address, topic, count.parse()?, encoder(shape)?).await
        }
        ["count", address, subscription, count, streams] => {
            pubsub::count(address, subscription, count.parse()?, streams.parse()?).await
        }
        ["serve", count, shape] => pubsub_server::serve(count.parse()?, encoder(shape)?).await,
        _ => Err(
            "expected make, produce, count or serve after pubsub; the head of this program's source has them in full"
                .into(),
        ),
    }
}

fn make_topic(broker: &str, topic: &str, partitions: i32) -> Result<(), Failure> {
    let client: AdminClient<DefaultClientContext> = config(broker).create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = runtime.block_on(client.create_topics([&new], &AdminOptions::new()))?;
    made.into_iter().next().ok_or("no answer")?.map_err(|(topic, error)| format!("topic {topic}: {error}"))?;
    Ok(())
}

fn config(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

/// How results of a shape are made.
fn encoder(shape: &str) -> Result<fn(&Finished) -> Vec<u8>, Failure> {
    match shape {
        "json" => Ok(json),
        "protobuf" => Ok(protobuf),
        "flat" => Ok(flat),
        other => Err(format!("unknown shape `{other}`; known are json, protobuf, flat").into()),
    }
}

/// Publishes results, all of them confirmed when it returns.
fn produce(broker: &str, topic: &str, count: u64, shape: &str, a_second: Option<u64>) -> Result<(), Failure> {
    let encode = encoder(shape)?;
    let producer: BaseProducer = config(broker)
        .set("linger.ms", "50")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "400000")
        .create()?;
    let mut results = Results::new();
    let begun = Instant::now();
    let mut bytes = 0;
    let mut entities = HashSet::new();
    for number in 0..count {
        let result = results.next();
        entities.insert(result.key.clone());
        let body = encode(&result);
        bytes += body.len();
        let mut record = BaseRecord::to(topic).payload(&body).key(&result.key);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(100));
            record = back;
        }
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
        if let Some(a_second) = a_second
            && number % (a_second / 50).max(1) == 0
        {
            let due = Duration::from_secs_f64(number as f64 / a_second as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let mean = bytes as f64 / count.max(1) as f64;
    println!("{{\"messages\":{count},\"mean_bytes\":{mean:.1},\"entities\":{}}}", entities.len());
    Ok(())
}

fn count_messages(broker: &str, topic: &str, count: u64) -> Result<(), Failure> {
    let consumer: BaseConsumer = config(broker)
        .set("group.id", format!("count-{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    let begun = Instant::now();
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        if let Some(message) = consumer.poll(Duration::from_millis(500)) {
            seen += 1;
            bytes += message?.payload_len();
        }
    }
    println!("{{\"messages\":{seen},\"bytes\":{bytes},\"seconds\":{:.3}}}", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What a store of newest values has to end with.
fn print_newest(count: u64) -> Result<(), Failure> {
    let mut results = Results::new();
    // Their times rise, so the last is the newest.
    let newest: HashMap<String, String> = (0..count)
        .map(|_| {
            let result = results.next();
            (result.key.clone(), texts(&result).join(" "))
        })
        .collect();
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for (key, texts) in newest {
        writeln!(output, "{key} {texts}")?;
    }
    Ok(output.flush()?)
}
