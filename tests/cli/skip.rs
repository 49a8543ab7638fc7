//! `skip` on the embedded bus.

use crate::setup::{Deployment, RESULT};

const SKIP: [&str; 5] = ["skip", "--config", "chalk.json", "--type", "ONLINE_WRITER"];

/// A deployment whose writer has stopped at the second of four messages of one partition: the third
/// is bad too, which is one too many in a row.
fn stopped() -> Deployment {
    let folder = Deployment::new();
    let strict = "\"name\": \"online-writer\", \"dlq\": {\"max_consecutive\": 1}, \"batch\": {\"max_rows\": 1}";
    folder.configure("\"name\": \"online-writer\"", strict);
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

#[test]
fn the_message_at_the_position_is_kept_and_passed_over_and_a_replay_brings_it_back() {
    let folder = stopped();
    let refused = folder.run(&[&SKIP[..], &["results/0/2"]].concat());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("would lose") && refused.stderr.contains("before it"), "{refused:?}");
    // Of a batch that was not written nothing is acknowledged: the writer may stand before its good neighbour.
    let at = refused.stderr.split("stands at ").nth(1).and_then(|rest| rest.split(':').next()).expect("a position");
    assert_eq!(at, "1", "{refused:?}");

    let said = folder.run(&[&SKIP[..], &["results/0/1", "--reason", "ticket 7"]].concat()).ok();
    assert!(said.contains("passed over results/0/1") && said.contains("goes on at 2"), "{said}");
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
    let got = folder.json(&["get", "--config", "chalk.json", "--environment", "prod", "user", "43"]);
    assert_eq!(got["features"][0]["value"], 0.7, "{got}");

    folder.write("fixed.json", &RESULT.replace("\"id\": 42", "\"id\": 44"));
    let place = letters[0]["place"].as_str().expect("a place");
    let replay = ["dlq", "replay", "--config", "chalk.json", "--yes", place, "--set-body", "fixed.json"];
    assert!(folder.run(&replay).ok().contains("1 replayed"));
    assert_eq!(folder.drain("ONLINE_WRITER").code, Some(0));
    let got = folder.json(&["get", "--config", "chalk.json", "--environment", "prod", "user", "44"]);
    assert_eq!(got["features"][0]["value"], 0.7, "{got}");
}

#[test]
fn what_cannot_be_passed_over_says_why_and_leaves_everything_as_it_is() {
    let folder = stopped();
    for (place, code, word) in [
        ("other/0/1", 64, "reads `results`, not `other`"),
        ("results/7/1", 1, "1 partitions, no 7"),
        ("results/0/4", 1, "ends at 4"),
        ("results/0/3", 1, "would lose 2 before it"),
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
