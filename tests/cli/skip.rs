//! `skip` on the embedded bus.

use crate::setup::{Deployment, RESULT};

const SKIP: [&str; 5] = ["skip", "--config", "chalk.json", "--type", "ONLINE_WRITER"];

/// A deployment whose writer has stopped in a batch of four messages of one partition: the second and
/// the third are bad, which is one too many in a row. Nothing of the batch is acknowledged.
fn stopped() -> Deployment {
    let folder = Deployment::new();
    folder.configure("\"name\": \"online-writer\"", "\"name\": \"online-writer\", \"dlq\": {\"max_consecutive\": 1}");
    for topic in ["results", "dlq"] {
        folder
            .run(&["publish", "--config", "chalk.json", "--topic", topic, "--partitions", "1", "--generate", "0"])
            .ok();
    }
    let good = RESULT.replace('\n', " ");
    let bad = "{\"environment_id\": \"prod\", \"tables\": 5}";
    folder.publish(&format!("{good}\n{bad}\n{bad}\n{}\n", good.replace("\"id\": 42", "\"id\": 43")));
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    folder
}

fn score(folder: &Deployment, id: &str) -> serde_json::Value {
    folder.json(&["get", "--config", "chalk.json", "--environment", "prod", "user", id])["features"][0]["value"].clone()
}

#[test]
fn what_lies_before_is_written_and_the_message_is_kept_and_passed_over_and_a_replay_brings_it_back() {
    let folder = stopped();
    let refused = folder.run(&[&SKIP[..], &["results/0/1"]].concat());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for word in ["stands at 0, 1 offset before results/0/1", "--write-before"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    let skip = [&SKIP[..], &["results/0/1", "--write-before", "--reason", "ticket 7"]].concat();
    let said = folder.run(&skip).ok();
    assert!(said.contains("wrote 1 message before it; passed over results/0/1"), "{said}");
    assert!(said.contains("goes on at 2"), "{said}");
    assert_eq!(score(&folder, "42"), 0.7);
    let letters = folder.letters();
    assert_eq!((letters.len(), &letters[0]["class"]), (1, &"SKIPPED".into()));
    let message = letters[0]["message"].as_str().expect("text");
    assert!(message.starts_with("ticket 7; refused as DECODE: "), "{message}");
    assert_eq!(letters[0]["origin"], "results/0/1");

    let again = folder.run(&[&SKIP[..], &["results/0/1"]].concat()).ok();
    assert!(again.contains("is past results/0/1") && again.contains("nothing to do"), "{again}");
    assert_eq!(folder.letters().len(), 1, "it is not kept twice");
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("\"acknowledged\":2") && ended.stderr.contains("\"buried\":1"), "{ended:?}");
    assert_eq!(score(&folder, "43"), 0.7);

    folder.write("fixed.json", &RESULT.replace("\"id\": 42", "\"id\": 44"));
    let place = letters[0]["place"].as_str().expect("a place");
    let replay = ["dlq", "replay", "--config", "chalk.json", "--yes", place, "--set-body", "fixed.json"];
    assert!(folder.run(&replay).ok().contains("1 replayed"));
    assert_eq!(folder.drain("ONLINE_WRITER").code, Some(0));
    assert_eq!(score(&folder, "44"), 0.7);
}

#[test]
fn at_the_very_position_nothing_has_to_be_written_and_bad_ones_before_count_as_ever() {
    let folder = stopped();
    let bad = folder.run(&[&SKIP[..], &["results/0/3", "--write-before"]].concat());
    assert_eq!(bad.code, Some(65), "two bad ones in a row lie before it: {bad:?}");
    assert!(bad.stderr.contains("results/0/3 is not passed over") && bad.stderr.contains("budget"), "{bad:?}");
    assert!(folder.letters().is_empty());
    let said = folder.run(&[&SKIP[..], &["results/0/0"]].concat()).ok();
    assert!(said.starts_with("passed over results/0/0"), "{said}");
    assert_eq!(folder.letters()[0]["message"], "passed over by hand");
    let skipped = folder.json(&[&SKIP[..], &["results/0/2", "--write-before"]].concat());
    assert_eq!((&skipped["position"], &skipped["written_before"]), (&3.into(), &1.into()));
    let classes: Vec<_> = folder.letters().iter().map(|letter| letter["class"].clone()).collect();
    assert_eq!(classes, ["SKIPPED", "DECODE", "SKIPPED"]);
    assert_eq!(folder.drain("ONLINE_WRITER").code, Some(0));
    assert_eq!(score(&folder, "43"), 0.7);
}

#[test]
fn what_cannot_be_passed_over_says_why_and_leaves_everything_as_it_is() {
    let folder = stopped();
    for (place, code, word) in [
        ("other/0/1", 64, "reads `results`, not `other`"),
        ("results/7/1", 1, "1 partitions, no 7"),
        ("results/0/4", 1, "ends at 4"),
        ("results/0/3", 1, "stands at 0, 3 offsets before"),
    ] {
        let ended = folder.run(&[&SKIP[..], &[place]].concat());
        assert_eq!(ended.code, Some(code), "{place}: {ended:?}");
        assert!(ended.stderr.contains(word), "{place}: {ended:?}");
    }
    folder.configure("\"kafka_dlq_topic\": \"dlq\",", "");
    let ended = folder.run(&[&SKIP[..], &["results/0/1"]].concat());
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("kafka_dlq_topic"), "{ended:?}");
    assert_eq!(folder.drain("ONLINE_WRITER").code, Some(65), "it stands where it stood");
}

#[test]
fn a_group_with_a_member_is_left_alone() {
    let folder = Deployment::new();
    folder.topics();
    // A store that is away: the writer stays at the message, alive.
    folder.configure("sqlite:online.sqlite", "redis://127.0.0.1:1");
    folder.publish(&RESULT.replace('\n', " "));
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"]);
    let address = writer.listening();
    crate::setup::eventually(std::time::Duration::from_secs(20), "at the message", || {
        crate::setup::ask(&address, "/status.json").1.contains("\"troubles\":[{")
    });
    let partition = (0..4)
        .find(|partition| {
            let place = format!("results/{partition}/0");
            let ended = folder.run(&[&SKIP[..], &[&place]].concat());
            assert_eq!(ended.code, Some(1), "{ended:?}");
            ended.stderr.contains("has members")
        })
        .expect("the partition with the message");
    assert!(folder.letters().is_empty(), "nothing is kept of what is not passed over");
    writer.kill();
    // A member that was killed counts until its session has run out.
    let place = format!("results/{partition}/0");
    let mut said = String::new();
    crate::setup::eventually(std::time::Duration::from_secs(30), "passed over", || {
        let ended = folder.run(&[&SKIP[..], &[&place]].concat());
        said = ended.stdout;
        ended.code == Some(0)
    });
    assert!(said.contains("passed over"), "{said}");
    assert_eq!(folder.letters().len(), 1);
}

#[test]
fn what_is_written_before_may_be_in_a_lake_already_and_that_is_said() {
    let folder = Deployment::new();
    folder.topics();
    let bad = "{\"environment_id\": \"prod\", \"tables\": 5}";
    let publish = ["publish", "--config", "chalk.json", "--topic", "one", "--partitions", "1", "--generate", "0"];
    folder.run(&publish).ok();
    folder.configure("offline_store_subscription_id\": \"results\"", "offline_store_subscription_id\": \"one\"");
    folder.write("lines.jsonl", &format!("{}\n{bad}\n", RESULT.replace('\n', " ")));
    folder.run(&["publish", "--config", "chalk.json", "--topic", "one", "--file", "lines.jsonl"]).ok();
    let skip = ["skip", "--config", "chalk.json", "--type", "OFFLINE_WRITER", "one/0/1", "--write-before"];
    let ended = folder.run(&skip);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["offline store of prod", "twice", "`__observation_id__`"] {
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}

/// The same with messages that were parked: a bad one lies between two good ones, and one of another writer before it.
fn stopped_at_what_is_parked() -> Deployment {
    let folder = Deployment::new();
    let parks = "\"name\": \"online-writer\", \"dlq\": {\"max_consecutive\": 0}, \"park_after\": \"10m\", \
                 \"parking_topic\": \"parked\"";
    folder.configure("\"name\": \"online-writer\"", parks);
    for topic in ["results", "dlq", "parked"] {
        folder
            .run(&["publish", "--config", "chalk.json", "--topic", topic, "--partitions", "1", "--generate", "0"])
            .ok();
    }
    let good = RESULT.replace('\n', " ");
    let bad = "{\"environment_id\": \"prod\", \"tables\": 5}".to_owned();
    let bodies = [good.clone(), good.clone(), bad, good.replace("\"id\": 42", "\"id\": 43")];
    for (at, body) in bodies.into_iter().enumerate() {
        folder.write("parked.jsonl", &body);
        let group =
            if at == 0 { "chalk_target_group=chalk-somebody" } else { "chalk_target_group=chalk-online-writer" };
        let offset = format!("chalk_parked_offset={}", at + 70);
        let place = ["--header", "chalk_parked_topic=results", "--header", "chalk_parked_partition=0"];
        let publish = ["publish", "--config", "chalk.json", "--topic", "parked", "--file", "parked.jsonl"];
        folder.run(&[&publish[..], &place, &["--header", group, "--header", &offset]].concat()).ok();
    }
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    folder
}

#[test]
fn what_is_parked_is_looked_at_and_passed_over_where_it_is() {
    let folder = stopped_at_what_is_parked();
    let peek = ["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER"];
    let said = folder.run(&[&peek[..], &["--parked", "--from-start"]].concat()).ok();
    for word in ["parked/0/2", "DECODE", "other_group"] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    let said = folder.run(&[&peek[..], &["--from-start"]].concat()).ok();
    assert!(said.contains("no messages there in `results`"), "{said}");

    let other = folder.run(&[&SKIP[..], &["parked/0/0"]].concat());
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("for group `chalk-somebody` alone"), "{other:?}");
    let nowhere = folder.run(&[&SKIP[..], &["elsewhere/0/0"]].concat());
    assert!(nowhere.code == Some(64) && nowhere.stderr.contains("reads `results` and `parked`"), "{nowhere:?}");

    let said = folder.run(&[&SKIP[..], &["parked/0/2", "--write-before"]].concat()).ok();
    assert!(said.contains("passed over parked/0/2: group `chalk-online-writer-parked` goes on at 3"), "{said}");
    assert_eq!(score(&folder, "42"), 0.7);
    let letters = folder.letters();
    assert_eq!((&letters[0]["class"], &letters[0]["origin"]), (&"SKIPPED".into(), &"results/0/72".into()));
    assert_eq!(folder.drain("ONLINE_WRITER").code, Some(0));
    assert_eq!(score(&folder, "43"), 0.7);
}

#[test]
fn who_parks_nothing_has_nothing_parked_to_look_at() {
    let folder = stopped();
    let said = folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--parked"]);
    assert!(said.code == Some(64) && said.stderr.contains("`park_after` and `parking_topic`"), "{said:?}");
}
