//! The same commands against a real Kafka: replay, reading again, skip.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::setup::{Deployment, Ended, RESULT, ask, eventually};

const BAD: &str = "{\"environment_id\": \"prod\", \"tables\": 5}\n";

pub(crate) fn servers() -> String {
    std::env::var("CHALK_WRITER_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_KAFKA is not set: this test needs a real Kafka; `./dev test` installs and starts one \
             and sets it"
        )
    })
}

/// A deployment with topics and groups that no other run has.
pub(crate) struct Kafka {
    pub(crate) folder: Deployment,
    pub(crate) results: String,
    pub(crate) dlq: String,
    group: String,
}

impl Kafka {
    pub(crate) fn new(writer: &str) -> Self {
        let folder = Deployment::new();
        let run = uuid::Uuid::new_v4().simple().to_string();
        let (results, dlq) = (format!("results-{run}"), format!("dlq-{run}"));
        folder.configure("\"LOCAL\"", "\"KAFKA\"");
        folder.configure("\"results\"", &format!("\"{results}\""));
        folder.configure("\"dlq\"", &format!("\"{dlq}\""));
        folder.configure("online-writer\"", &format!("online-{run}\"{writer}"));
        folder.configure(
            "\"metadata_provider\"",
            &format!("\"kafka_bootstrap_servers\": \"{}\", \"metadata_provider\"", servers()),
        );
        for topic in [&results, &dlq] {
            let publish =
                ["publish", "--config", "chalk.json", "--topic", topic, "--partitions", "2", "--generate", "0"];
            folder.run(&publish).ok();
        }
        Self { folder, results, dlq, group: format!("chalk-online-{run}") }
    }

    pub(crate) fn publish(&self, lines: &str) {
        self.folder.write("lines.jsonl", lines);
        self.folder.run(&["publish", "--config", "chalk.json", "--topic", &self.results, "--file", "lines.jsonl"]).ok();
    }

    pub(crate) fn replay(&self, more: &[&str]) -> Ended {
        self.folder.run(&[&["dlq", "replay", "--config", "chalk.json", "--yes", "--even-refused"][..], more].concat())
    }

    fn writer<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["--type", "ONLINE_WRITER", "--config", "chalk.json"][..], more].concat()
    }
}

#[test]
fn a_replay_on_kafka_goes_back_to_its_group_while_the_writer_runs_and_is_marked() {
    let kafka = Kafka::new("");
    kafka.publish(&BAD.repeat(3));
    let writer = kafka.folder.start(&Kafka::writer(&["--listen", "off"]));
    eventually(Duration::from_secs(60), "buried", || kafka.folder.letters().len() == 3);
    let unknown = kafka.replay(&["--group", "chalk-nobody"]);
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
    assert!(unknown.stderr.contains(&kafka.group), "the groups that there are: {unknown:?}");
    assert!(kafka.replay(&[]).ok().contains("3 replayed of 3"));
    eventually(Duration::from_secs(60), "buried again", || kafka.folder.letters().len() == 6);
    writer.terminate();
    assert_eq!(writer.wait(Duration::from_secs(60)).code, Some(0));

    assert!(kafka.replay(&["--max-rounds", "1"]).ok().contains("0 replayed of 6"));
    let letters = kafka.folder.letters();
    let replayed = letters.iter().filter(|letter| letter["replayed_at"].is_string());
    assert_eq!(replayed.map(|letter| letter["redrive_count"].as_u64()).collect::<Vec<_>>(), [Some(0); 3]);
    let listing = kafka.folder.json(&["dlq", "list", "--config", "chalk.json"]);
    assert_eq!((&listing["marks"], &listing["foreign"]), (&3.into(), &0.into()));
    // For the other writer of the topic only the originals count.
    let ended = kafka.folder.drain("OFFLINE_WRITER");
    assert!(ended.stderr.contains("\"acknowledged\":6") && ended.stderr.contains("\"buried\":3"), "{ended:?}");
}

#[test]
fn killed_in_mid_replay_on_kafka_and_repeated_everything_is_sent() {
    const LETTERS: usize = 400;
    let kafka = Kafka::new(", \"dlq\": {\"max_ratio\": 1.0, \"max_consecutive\": 1000000}");
    kafka.publish(&BAD.repeat(LETTERS));
    assert_eq!(kafka.folder.drain("ONLINE_WRITER").code, Some(0));
    let mut random = fastrand::Rng::with_seed(42);
    for _ in 0..4 {
        let running = kafka.folder.start(&["dlq", "replay", "--config", "chalk.json", "--yes", "--even-refused"]);
        std::thread::sleep(Duration::from_millis(random.u64(50..600)));
        running.kill();
    }
    kafka.replay(&[]).ok();
    assert!(kafka.replay(&[]).ok().starts_with(&format!("0 replayed of {LETTERS}")));
    let listed = kafka.folder.letters();
    assert!(listed.len() == LETTERS && listed.iter().all(|letter| letter["replayed_at"].is_string()));
    assert_eq!(kafka.folder.drain("ONLINE_WRITER").code, Some(0));
    let rounds = kafka.folder.letters();
    let second: Vec<_> = rounds.iter().filter(|letter| letter["redrive_count"] == 1).collect();
    assert!((LETTERS..=LETTERS + 400).contains(&second.len()), "{} came back", second.len());
}

#[test]
fn a_replay_while_kafka_is_away_says_so_and_sends_nothing() {
    let kafka = Kafka::new("");
    kafka.folder.configure(&servers(), "127.0.0.1:1");
    let ended = kafka.replay(&[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("127.0.0.1:1") && ended.stderr.contains("not available"), "{ended:?}");
}

#[test]
fn the_message_at_the_position_is_passed_over_on_kafka_once_the_group_is_empty() {
    let kafka = Kafka::new("");
    // A store that is away: the writer stays at the message, alive.
    kafka.folder.configure("sqlite:online.sqlite", "redis://127.0.0.1:1");
    // Two of one entity, and so of one partition, of which the second is passed over.
    kafka.publish(&format!("{0}\n{0}\n", RESULT.replace('\n', " ")));
    // Which partition it is in: the key decides.
    let peek = ["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--from-start", "--json"];
    let peeked: serde_json::Value =
        serde_json::from_str(kafka.folder.run(&peek).ok().lines().next().expect("two messages")).expect("JSON");
    let partition = peeked["partition"].as_i64().expect("a number");
    let place = format!("{}/{partition}/1", kafka.results);
    let skip = ["skip", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--write-before", &place];
    let writer = kafka.folder.start(&Kafka::writer(&["--listen", "127.0.0.1:0"]));
    let address = writer.listening();
    eventually(Duration::from_secs(60), "in trouble", || ask(&address, "/status.json").1.contains("\"troubles\":[{"));
    let refused = kafka.folder.run(&skip);
    assert_eq!(refused.code, Some(1), "the broker itself does not move a group with members: {refused:?}");
    assert!(refused.stderr.contains("has members"), "{refused:?}");
    assert!(kafka.folder.letters().is_empty(), "nothing is kept of what is not passed over");
    writer.terminate();
    writer.wait(Duration::from_secs(60));

    kafka.folder.configure("redis://127.0.0.1:1", "sqlite:online.sqlite");
    let said = kafka.folder.run(&skip).ok();
    assert!(said.contains("wrote 1 message before it") && said.contains("goes on at 2"), "{said}");
    let letters = kafka.folder.letters();
    assert_eq!((letters.len(), &letters[0]["class"]), (1, &"SKIPPED".into()));
    assert_eq!(letters[0]["origin"], place);
    assert!(kafka.folder.run(&skip).ok().contains("nothing to do"));
    assert!(kafka.folder.drain("ONLINE_WRITER").stderr.contains("\"acknowledged\":0"));
    assert!(kafka.replay(&[]).ok().contains("1 replayed of 1"), "and it can be brought back");
    assert!(kafka.folder.drain("ONLINE_WRITER").stderr.contains("\"acknowledged\":1"));
}

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers()).create().expect("an admin client")
}

/// Deletes everything before an offset, as retention would.
fn expire(topic: &str, partition: i32, before: i64) {
    let admin = admin();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let deleting = async { admin.delete_records(&list, &AdminOptions::new()).await.map(drop) };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(deleting).expect("the records are deleted");
}

#[test]
fn a_stretch_of_kafka_is_read_again_without_the_group_and_what_has_expired_is_said() {
    let kafka = Kafka::new("");
    let publish =
        ["publish", "--config", "chalk.json", "--topic", &kafka.results, "--generate", "500", "--start", "30m"];
    let published = kafka.folder.json(&publish);
    let first = kafka.folder.drain("ONLINE_WRITER");
    assert_eq!(first.code, Some(0), "{first:?}");
    for file in ["online.sqlite", "online.sqlite-wal", "online.sqlite-shm"] {
        let _ = std::fs::remove_file(kafka.folder.path().join(file));
    }
    // Beside a writer of the same group, which keeps its partitions.
    let writer = kafka.folder.start(&Kafka::writer(&["--listen", "127.0.0.1:0"]));
    let address = writer.listening();
    eventually(Duration::from_secs(60), "assigned", || {
        ask(&address, "/metrics")
            .1
            .lines()
            .any(|line| line.starts_with("chalk_writer_assigned_partitions") && line.ends_with(" 2"))
    });
    let ended = kafka.folder.run(&Kafka::writer(&["--from-time", "1h"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let end = |ended: &Ended| -> serde_json::Value {
        let line = ended.stderr.lines().rev().find(|line| line.contains("writer ends")).expect("a last line");
        serde_json::from_str(line).expect("JSON")
    };
    assert_eq!((&end(&ended)["acknowledged"], &end(&ended)["left"]), (&500.into(), &0.into()), "{ended:?}");
    assert_ne!(end(&ended)["stored"], 0);
    writer.terminate();
    assert!(
        writer.wait(Duration::from_secs(60)).stderr.contains("\"acknowledged\":0"),
        "the group stayed where it was"
    );

    let (partition, landed) = published["partitions"].as_object().expect("places").iter().next().expect("one");
    let expired = landed["messages"].as_i64().expect("a number") / 2;
    expire(&kafka.results, partition.parse().expect("a number"), expired);
    let ended = kafka.folder.run(&Kafka::writer(&["--from-time", "1h"]));
    assert_eq!((ended.code, &end(&ended)["acknowledged"]), (Some(0), &(500 - expired).into()), "{ended:?}");
    assert!(ended.stderr.contains("begins at the earliest message that is left"), "{ended:?}");
    let ended = kafka.folder.run(&Kafka::writer(&["--from-time", "2h", "--until", "1h"]));
    assert_eq!((ended.code, &end(&ended)["acknowledged"]), (Some(0), &0.into()), "{ended:?}");
}
