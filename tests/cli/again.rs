//! `--from-time` and `--until` on the embedded bus: a stretch read again, outside the group.

use std::time::Duration;

use crate::setup::{Deployment, Ended, RESULT, ask, eventually};

fn again(folder: &Deployment, writer: &str, more: &[&str]) -> Ended {
    folder.run(&[&["--type", writer, "--config", "chalk.json"][..], more].concat())
}

fn published() -> Deployment {
    let folder = Deployment::new();
    folder.topics();
    let publish = ["publish", "--config", "chalk.json", "--topic", "results", "--generate", "200", "--start", "30m"];
    folder.run(&publish).ok();
    folder
}

fn last(ended: &Ended) -> serde_json::Value {
    let line = ended.stderr.lines().rev().find(|line| line.contains("writer ends")).expect("a last line");
    serde_json::from_str(line).expect("logs are JSON")
}

#[test]
fn a_store_that_was_lost_is_filled_again_and_the_group_stays_where_it_is() {
    let folder = published();
    let first = folder.drain("ONLINE_WRITER");
    let stored = last(&first)["stored"].clone();
    assert!(stored.as_u64().is_some_and(|stored| stored > 0), "{first:?}");
    for file in ["online.sqlite", "online.sqlite-wal", "online.sqlite-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "1h"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("reading again, outside the consumer group"), "{ended:?}");
    assert!(ended.stderr.contains("\"listening\":\"off\""), "the port is the writer's: {ended:?}");
    let end = last(&ended);
    assert_eq!((&end["acknowledged"], &end["left"]), (&200.into(), &0.into()), "{end}");
    assert_eq!(end["stored"], stored, "all of it is there again");

    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "1h"]);
    assert_eq!((ended.code, &last(&ended)["stored"]), (Some(0), &0.into()), "once more it leaves no trace: {ended:?}");
    let warned = |ended: &Ended| ended.stderr.matches("nothing was stored: the stores had all of it").count();
    assert_eq!((warned(&first), warned(&ended)), (0, 1), "{ended:?}");
    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "2h", "--until", "1h"]);
    assert_eq!((ended.code, &last(&ended)["acknowledged"]), (Some(0), &0.into()), "{ended:?}");
    assert!(ended.stderr.contains("nothing lies between these times"), "{ended:?}");
    let ended = folder.drain("ONLINE_WRITER");
    assert!(ended.stderr.contains("\"acknowledged\":0"), "the group stands at the end, as before: {ended:?}");
    let ended = folder.drain("OFFLINE_WRITER");
    assert!(ended.stderr.contains("\"acknowledged\":200"), "and this one has not begun: {ended:?}");
}

#[test]
fn what_would_be_doubled_or_come_back_is_refused_unless_it_is_forced() {
    let folder = published();
    let first = folder.drain("OFFLINE_WRITER");
    let ended = again(&folder, "OFFLINE_WRITER", &["--from-time", "1h"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("twice") && ended.stderr.contains("--force"), "{ended:?}");
    let ended = again(&folder, "OFFLINE_WRITER", &["--from-time", "1h", "--force"]);
    assert_eq!((ended.code, &last(&ended)["stored"]), (Some(0), &last(&first)["stored"]), "{ended:?}");
    assert!(ended.stderr.contains("as forced"), "{ended:?}");

    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "8d"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("tombstone_retention"), "{ended:?}");
    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "8d", "--force"]);
    assert_eq!((ended.code, &last(&ended)["acknowledged"]), (Some(0), &200.into()), "{ended:?}");
}

#[test]
fn a_bad_message_is_buried_again_and_too_many_stop_it() {
    let folder = Deployment::new();
    folder.topics();
    folder.publish("{\"environment_id\": \"prod\", \"tables\": 5}\n");
    folder.drain("ONLINE_WRITER");
    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "1h"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let letters = folder.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["origin"], letters[1]["origin"]);
    let id = |letter: &serde_json::Value| {
        let place = letter["place"].as_str().expect("a place");
        folder.json(&["dlq", "show", "--config", "chalk.json", place])["headers"]["ce_id"].clone()
    };
    assert_eq!(id(&letters[0]), id(&letters[1]));

    folder.publish(&"{\"tables\": 5}\n".repeat(2_000));
    let ended = again(&folder, "ONLINE_WRITER", &["--from-time", "1h"]);
    assert_eq!(ended.code, Some(65), "{ended:?}");
    assert!(ended.stderr.contains("budget") && ended.stderr.contains("--from-time 20"), "{ended:?}");
}

#[test]
fn a_run_that_is_stopped_says_where_it_was_and_does_not_end_well() {
    let folder = Deployment::new();
    folder.topics();
    folder.configure("sqlite:online.sqlite", "redis://127.0.0.1:1");
    folder.configure("\"name\": \"online-writer\"", "\"name\": \"online-writer\", \"drain_timeout\": \"1s\"");
    folder.publish(&RESULT.replace('\n', " "));
    let arguments =
        ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--from-time", "1h", "--listen", "127.0.0.1:0"];
    let writer = folder.start(&arguments);
    let address = writer.listening();
    eventually(Duration::from_secs(20), "in trouble", || ask(&address, "/status.json").1.contains("\"troubles\":[{"));
    writer.terminate();
    let ended = writer.wait(Duration::from_secs(30));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("goes on from where everything before is done"), "{ended:?}");
}

#[test]
fn a_run_that_is_stopped_in_between_is_not_done() {
    let folder = Deployment::new();
    folder.topics();
    // A transaction of the store for each row: far more than what passes before the signal.
    folder.configure("\"name\": \"online-writer\"", "\"name\": \"online-writer\", \"batch\": {\"max_rows\": 1}");
    folder
        .run(&["publish", "--config", "chalk.json", "--topic", "results", "--generate", "20000", "--start", "30m"])
        .ok();
    let arguments =
        ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--from-time", "1h", "--listen", "127.0.0.1:0"];
    let writer = folder.start(&arguments);
    let address = writer.listening();
    eventually(Duration::from_secs(20), "under way", || {
        !ask(&address, "/status.json").1.contains("\"acknowledged\":0,")
    });
    writer.terminate();
    let ended = writer.wait(Duration::from_secs(60));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in ["stopped before the end of what was to be read again: partition", "`--from-time 20"] {
        assert!(ended.stderr.contains(word), "`{word}` is not in {}", ended.stderr);
    }
}
