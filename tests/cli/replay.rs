//! `dlq replay` on the embedded bus: what goes back, what is marked, and what a kill leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{BrowseFrom, Bus};
use chalk_writer::message::Message;
use serde_json::Value;

use crate::setup::{Deployment, RESULT, eventually};

const REPLAY: [&str; 4] = ["dlq", "replay", "--config", "chalk.json"];
const BAD: &str = "{\"environment_id\": \"prod\", \"tables\": 5}\n";

/// A deployment with these lines buried by the online writer.
fn buried(lines: &str) -> Deployment {
    let folder = Deployment::new();
    let patient = "\"name\": \"online-writer\", \"dlq\": {\"max_ratio\": 1.0, \"max_consecutive\": 1000000}";
    folder.configure("\"name\": \"online-writer\"", patient);
    folder.topics();
    folder.publish(lines);
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    folder
}

fn replay(folder: &Deployment, more: &[&str]) -> String {
    folder.run(&[&REPLAY[..], &["--yes"], more].concat()).ok()
}

/// The same for letters whose cause is still there.
fn replay_bad(folder: &Deployment, more: &[&str]) -> String {
    replay(folder, &[&["--even-refused"], more].concat())
}

fn place(letter: &Value) -> &str {
    letter["place"].as_str().expect("a place")
}

/// Everything in a topic.
fn messages(folder: &Deployment, topic: &str) -> Vec<Message> {
    let bus = LocalBus::new(folder.path().join("chalk-bus.sqlite"), Options::default());
    let reading = async {
        let mut browse = bus.browse(topic, BrowseFrom::Earliest).await.expect("read");
        let mut all = Vec::new();
        loop {
            let messages = browse.next().await.expect("read");
            if messages.is_empty() {
                return all;
            }
            all.extend(messages);
        }
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(reading)
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.get_str(name)
}

#[test]
fn a_replay_goes_back_to_the_topic_for_its_writer_alone_and_a_replay_of_a_replay_counts_its_rounds() {
    let folder = buried(BAD);
    let listed = folder.letters();
    assert_eq!((listed.len(), &listed[0]["replayed_at"]), (1, &Value::Null));

    for round in 1..=3 {
        let said = replay_bad(&folder, &[]);
        let before = round - 1;
        assert!(said.contains(&format!("1 replayed of {round} dead letter")), "{said}");
        assert_eq!(said.contains("replayed before"), before > 0, "{said}");
        let said = replay_bad(&folder, &[]);
        assert!(said.contains(&format!("0 replayed of {round}")), "what is marked is passed over: {said}");
        assert!(folder.drain("ONLINE_WRITER").stderr.contains("\"buried\":1"));
        let rounds: Vec<_> = folder.letters().iter().map(|letter| letter["redrive_count"].as_u64()).collect();
        assert_eq!(rounds, (0..=round).map(Some).collect::<Vec<_>>());
    }
    let said = replay_bad(&folder, &["--max-rounds", "3"]);
    assert!(said.contains("0 replayed") && said.contains("1 round too often"), "{said}");
    let newest = folder.letters().pop().expect("one");
    let first = newest["place"].as_str().expect("a place");
    let shown = folder.json(&["dlq", "show", "--config", "chalk.json", first]);
    assert_eq!(shown["headers"]["chalk_target_group"]["text"], "chalk-online-writer");

    let sent = messages(&folder, "results");
    assert_eq!(sent.len(), 4);
    let original = sent.iter().find(|message| header(message, "chalk_target_group").is_none()).expect("one");
    for message in &sent {
        assert_eq!(header(message, "ce_id"), header(original, "ce_id"), "rows keep their identity");
        assert_eq!(message.timestamp_ms, original.timestamp_ms);
        assert_eq!(message.payload, original.payload);
        let notes =
            message.headers.iter().filter(|(name, _)| name.starts_with("chalk_dlq_error") || name.starts_with("__"));
        assert_eq!(notes.count(), 0, "{message:?}");
    }
    let ended = folder.drain("OFFLINE_WRITER");
    assert!(ended.stderr.contains("\"acknowledged\":4"), "{ended:?}");
    assert!(ended.stderr.contains("\"buried\":1"), "only the original is for it: {ended:?}");
}

#[test]
fn what_was_replayed_is_shown_and_is_sent_once_more_only_when_asked_for() {
    let folder = buried(&BAD.repeat(2));
    let first = place(&folder.letters()[0]).to_owned();
    let said = replay_bad(&folder, &[&first]);
    assert!(
        said.contains("1 replayed of 1 dead letter; 1 would be refused again; 1 left out by the filters"),
        "{said}"
    );
    let letters = folder.letters();
    assert!(letters[0]["replayed_at"].is_string() && letters[1]["replayed_at"].is_null(), "{letters:?}");
    assert!(letters[0]["replayed_to"].as_str().expect("a place").starts_with("results/"));
    let shown = folder.run(&["dlq", "show", "--config", "chalk.json", &first]).ok();
    assert!(shown.contains("replayed") && shown.contains(", to results/"), "{shown}");
    let listed = folder.json(&["dlq", "list", "--config", "chalk.json"]);
    assert_eq!((&listed["matching"], &listed["marks"], &listed["foreign"]), (&2.into(), &1.into(), &0.into()));

    let waiting = folder.json(&["dlq", "list", "--config", "chalk.json", "--waiting"]);
    assert_eq!((&waiting["matching"], waiting["letters"].as_array().map(Vec::len)), (&1.into(), Some(1)));
    assert_eq!(waiting["letters"][0]["place"], letters[1]["place"]);

    assert!(replay_bad(&folder, &[&first]).contains("0 replayed of 1"));
    assert!(replay_bad(&folder, &[&first, "--again"]).contains("1 replayed of 1"));
    assert!(replay_bad(&folder, &[]).contains("1 replayed of 2"));
    assert_eq!(messages(&folder, "results").len(), 2 + 3);
}

#[test]
fn nothing_is_sent_without_a_yes_and_a_dry_run_says_what_would_come_of_it() {
    let folder = buried(BAD);
    let ended = folder.run(&REPLAY);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    for word in ["1 dead letter to `results` for group `chalk-online-writer`", "--yes", "nothing was sent"] {
        assert!(ended.stderr.contains(word), "`{word}` is not in {ended:?}");
    }
    let said = folder.run(&[&REPLAY[..], &["--dry-run"]].concat()).ok();
    assert!(
        said.contains("would be refused again: DECODE")
            && said.contains("nothing would be sent; 1 would be refused again"),
        "{said}"
    );
    let planned = folder.json(&[&REPLAY[..], &["--dry-run"]].concat());
    assert_eq!((&planned["dry_run"], &planned["replayed"]), (&true.into(), &0.into()));
    assert_eq!((&planned["would_be_refused"], &planned["targets"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(planned["letters"][0]["group"], "chalk-online-writer");
    let said = folder.run(&[&REPLAY[..], &["--dry-run", "--even-refused"]].concat()).ok();
    assert!(
        said.contains("1 dead letter to `results` for group `chalk-online-writer` would be sent; 1 would"),
        "{said}"
    );
    assert_eq!(messages(&folder, "results").len(), 1);
}

#[test]
fn a_dry_run_says_that_nobody_knows_what_a_store_would_say() {
    let folder = Deployment::new();
    folder.topics();
    let good = RESULT.replace('\n', " ");
    let of_another_type = good.replace("0.7", "\"high\"");
    folder.publish(&format!("{good}\n"));
    assert_eq!(folder.drain("OFFLINE_WRITER").code, Some(0));
    folder.publish(&format!("{of_another_type}\n"));
    assert!(folder.drain("OFFLINE_WRITER").stderr.contains("\"buried\":1"), "the table has doubles");
    let dry = [&REPLAY[..], &["--dry-run"]].concat();
    let said = folder.run(&dry).ok();
    assert!(said.contains("was refused by the offline store of prod: nobody asks it"), "{said}");
    assert!(said.trim_end().ends_with("shows only once it is written"), "{said}");
    assert_eq!(folder.json(&dry)["letters"][0]["store"], "offline store of prod");
}

#[test]
fn a_body_is_edited_by_a_command_by_an_editor_and_from_a_file() {
    let good = RESULT.replace('\n', " ");
    let bad = format!("{}\n", good.replace("\"id\": 42", "\"id\": [42]"));
    assert_ne!(good, bad.trim());
    let folder = buried(&bad.repeat(3));
    let places: Vec<String> = folder.letters().iter().map(|letter| place(letter).to_owned()).collect();

    let through = [&REPLAY[..], &["--yes", "--json", &places[0], "--through", "sed 's/42\\]/43]/'"]].concat();
    let ended = folder.run(&through);
    assert_eq!(ended.code, Some(1), "an edited body that is still bad is not sent: {ended:?}");
    assert!(ended.stdout.contains("the edited body would be refused again"), "{ended:?}");
    assert_eq!(messages(&folder, "results").len(), 3);

    assert!(replay(&folder, &[&places[0], "--through", "sed 's/\\[42\\]/42/'"]).contains("1 replayed"));
    folder.write("fixed.json", RESULT);
    assert!(replay(&folder, &[&places[1], "--set-body", "fixed.json"]).contains("1 replayed"));
    let editor = (
        "EDITOR",
        "sed -i '/\"id\": \\[/,/\\]/d; s/\"rows\": \\[$/&/; s/^\\( *\\)\"features\"/\\1\"id\": 42, \"features\"/'",
    );
    let arguments = [&REPLAY[..], &["--yes", &places[2], "--edit"]].concat();
    let ended = folder.run_with(&arguments, &[editor, ("VISUAL", "")]);
    assert!(ended.stdout.contains("1 replayed"), "{ended:?}");
    let ended = folder.run_with(&[&arguments[..], &["--again"]].concat(), &[("VISUAL", "false")]);
    assert_eq!(ended.code, Some(1), "an editor that fails sends nothing: {ended:?}");

    let sent = messages(&folder, "results");
    assert_eq!(sent.len(), 6);
    let ids = |messages: &[&Message]| {
        let mut ids: Vec<_> = messages.iter().map(|message| header(message, "ce_id").map(str::to_owned)).collect();
        ids.sort();
        ids
    };
    let (again, first): (Vec<&Message>, Vec<&Message>) =
        sent.iter().partition(|message| header(message, "chalk_target_group").is_some());
    assert_eq!(ids(&again), ids(&first));
    let ended = folder.drain("ONLINE_WRITER");
    assert!(ended.stderr.contains("\"buried\":0") && ended.stderr.contains("\"acknowledged\":3"), "{ended:?}");
    let got = folder.json(&["get", "--config", "chalk.json", "--environment", "prod", "user", "42"]);
    assert_eq!(got["features"][0]["value"], 0.7, "{got}");
}

#[test]
fn protobuf_is_edited_as_json() {
    let folder = Deployment::new();
    folder.topics();
    let publish = ["publish", "--config", "chalk.json", "--topic", "results", "--encoding", "protobuf"];
    folder.run(&[&publish[..], &["--generate", "1", "--environment", "prd"]].concat()).ok();
    assert!(folder.drain("ONLINE_WRITER").stderr.contains("\"buried\":1"));
    assert_eq!(folder.letters()[0]["class"], "UNKNOWN_ENVIRONMENT");
    // The headers name the environment too, and an edit is about the body.
    folder.configure("\"prod\": {", "\"prd\": {");
    assert!(
        replay(&folder, &["--through", "sed 's/\"deployment_id\":\"[^\"]*\"/\"deployment_id\":\"dep-9\"/'"])
            .contains("1 replayed")
    );
    let sent = messages(&folder, "results");
    let again = sent.iter().find(|message| header(message, "chalk_target_group").is_some()).expect("sent");
    assert_eq!(header(again, "content-type"), Some("application/json"));
    assert!(again.body().starts_with(b"{\"environment_id\":\"prd\",\"deployment_id\":\"dep-9\""), "{again:?}");
    let ended = folder.drain("ONLINE_WRITER");
    assert!(ended.stderr.contains("\"buried\":0") && !ended.stderr.contains("\"stored\":0"), "{ended:?}");
}

#[test]
fn filters_that_match_nothing_and_places_and_groups_that_are_not_there() {
    let folder = buried(BAD);
    for filter in [
        ["--class", "TOO_LARGE"],
        ["--type", "OFFLINE_WRITER"],
        ["--writer", "offline-writer"],
        ["--until", "1h"],
        ["--environment", "dev"],
    ] {
        let said = replay(&folder, &filter);
        assert!(said.contains("no dead letter matches"), "{filter:?}: {said}");
    }
    for filter in [
        ["--class", "decode"],
        ["--type", "ONLINE_WRITER"],
        ["--writer", "online-writer"],
        ["--since", "1h"],
        ["--environment", "prod"],
    ] {
        let said = folder.run(&[&REPLAY[..], &["--dry-run", "--even-refused"], &filter].concat()).ok();
        assert!(said.contains("1 dead letter to `results`"), "{filter:?}: {said}");
    }
    for (arguments, code, word) in [
        (&["--yes", "0/99"][..], 1, "no dead letter at 0/99"),
        (&["--yes", "--group", "chalk-nobody"], 64, "`chalk-online-writer`"),
        (&["--yes", "--topic", "dead-leters"], 78, "dead-leters"),
        (&["--yes", "--writer", "nobody"], 64, "nobody"),
        (&["--yes", "--set-body", "missing.json", "0/0"], 1, "missing.json"),
    ] {
        let ended = folder.run(&[&REPLAY[..], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "{arguments:?}: {ended:?}");
    }
    // The writer reads another topic now: in the old one nobody would see the message.
    folder.run(&["publish", "--config", "chalk.json", "--topic", "other", "--generate", "0"]).ok();
    folder.configure("online_store_subscription_id\": \"results\"", "online_store_subscription_id\": \"other\"");
    let ended = folder.run(&[&REPLAY[..], &["--yes"]].concat());
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("reads `other`, not `results`"), "{ended:?}");
    assert_eq!(messages(&folder, "results").len(), 1, "nothing of all this was sent");
    assert_eq!(folder.letters()[0]["replayed_at"], Value::Null);
}

#[test]
fn killed_at_any_moment_and_repeated_everything_is_sent_and_next_to_nothing_twice() {
    const LETTERS: usize = 600;
    const KILLS: usize = 8;
    let folder = buried(&BAD.repeat(LETTERS));
    let mut random = fastrand::Rng::with_seed(20);
    for _ in 0..KILLS {
        let before = messages(&folder, "results").len();
        let running = folder.start(&[&REPLAY[..], &["--yes", "--even-refused"]].concat());
        // Killed somewhere in its work where it gets so far, else before it.
        std::thread::sleep(Duration::from_millis(random.u64(0..250)));
        running.kill();
        assert!(messages(&folder, "results").len() >= before);
    }
    replay_bad(&folder, &[]);
    let said = replay_bad(&folder, &[]);
    assert!(said.starts_with(&format!("0 replayed of {LETTERS} dead letters")), "{said}");
    assert!(folder.letters().iter().all(|letter| letter["replayed_at"].is_string()));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for message in messages(&folder, "results") {
        let id = header(&message, "ce_id").expect("an id").to_owned();
        *times.entry(id).or_default() += usize::from(header(&message, "chalk_target_group").is_some());
    }
    assert_eq!(times.len(), LETTERS);
    assert!(times.values().all(|times| *times >= 1), "every letter was sent");
    let twice: usize = times.values().map(|times| times - 1).sum();
    assert!(twice <= KILLS * 100, "{twice} sent more than once");
}

#[test]
fn a_letter_in_parts_goes_back_whole() {
    let body = format!("{{\"environment_id\": \"prod\", \"tables\": 5, \"x\": \"{}\"}}\n", "x".repeat(20 << 20));
    let folder = buried(&body);
    assert_eq!(messages(&folder, "dlq").len(), 2, "it is in parts");
    assert!(replay_bad(&folder, &[]).contains("1 replayed of 1"));
    assert!(replay_bad(&folder, &[]).contains("0 replayed of 1"));
    let sent = messages(&folder, "results");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].payload, sent[1].payload);
}

#[test]
fn a_writer_that_runs_takes_what_is_replayed() {
    let folder = buried(BAD);
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "off"]);
    replay_bad(&folder, &[]);
    eventually(Duration::from_secs(30), "buried again", || folder.letters().len() == 2);
    writer.terminate();
    assert_eq!(writer.wait(Duration::from_secs(30)).code, Some(0));
    assert_eq!(folder.letters()[1]["redrive_count"], 1);
}

#[test]
fn what_its_writer_would_refuse_again_is_held_back_and_everything_else_is_sent() {
    let good = RESULT.replace('\n', " ");
    let bad = format!("{}\n", good.replace("\"id\": 42", "\"id\": [42]"));
    let stage = format!("{}\n", good.replace("\"prod\"", "\"stage\""));
    let folder = buried(&(bad.repeat(2) + &stage.repeat(150)));
    folder.configure("\"prod\": {", "\"*\": {\"online_store\": {\"uri\": \"sqlite:stage.sqlite\"}}, \"prod\": {");

    let listed = folder.run(&["dlq", "list", "--config", "chalk.json"]).ok();
    for kind in ["\n150 of ONLINE_WRITER, UNKNOWN_ENVIRONMENT, table –\n", "\n2 of ONLINE_WRITER, "] {
        assert!(listed.contains(kind), "`{kind}` is not in:\n{listed}");
    }
    let stage = folder.json(&["dlq", "list", "--config", "chalk.json", "--environment", "stage"]);
    assert_eq!((&stage["matching"], &stage["kinds"][0]["letters"]), (&150.into(), &150.into()));

    let planned = folder.json(&[&REPLAY[..], &["--dry-run"]].concat());
    assert_eq!(planned["would_be_refused"], 2, "of all, not of those that are shown");
    assert_eq!(
        (planned["letters"].as_array().map(Vec::len), &planned["targets"][0]["letters"]),
        (Some(100), &150.into())
    );

    let ended = folder.run(&[&REPLAY[..], &["--yes"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("150 replayed of 152 dead letters; 2 would be refused again"), "{ended:?}");
    assert!(ended.stdout.contains("not sent: would be refused again: "), "{ended:?}");
    assert_eq!(messages(&folder, "results").len(), 152 + 150);
    let ended = folder.drain("ONLINE_WRITER");
    assert!(ended.stderr.contains("\"buried\":0") && ended.stderr.contains("\"acknowledged\":150"), "{ended:?}");
}

#[test]
fn a_command_that_cannot_work_ends_with_one_error_and_a_dry_run_shows_what_one_would_do() {
    let good = RESULT.replace('\n', " ");
    let bad = format!("{}\n", good.replace("\"id\": 42", "\"id\": [42]"));
    let folder = buried(&bad.repeat(12));
    for (command, word) in [("no-such-command", "the shell does not find it"), ("exit 3", "the first 10 letters")] {
        for mode in ["--yes", "--dry-run"] {
            let ended = folder.run(&[&REPLAY[..], &[mode, "--through", command]].concat());
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert_eq!(ended.stderr.matches(word).count(), 1, "{ended:?}");
        }
    }
    assert_eq!(messages(&folder, "results").len(), 12, "nothing was sent");
    // No `sh` to be found: as in the image.
    let ended = folder.run_with(&[&REPLAY[..], &["--yes", "--through", "cat"]].concat(), &[("PATH", "/nowhere")]);
    assert!(ended.code == Some(1) && ended.stderr.contains("there is no `sh` here"), "{ended:?}");

    let mend = ["--through", "sed 's/\\[42\\]/42/'"];
    let planned = folder.json(&[&REPLAY[..], &["--dry-run"], &mend].concat());
    assert_eq!((&planned["would_be_refused"], &planned["targets"][0]["letters"]), (&0.into(), &12.into()), "{planned}");
    assert_eq!(messages(&folder, "results").len(), 12, "nothing was sent");
    assert!(replay(&folder, &mend).contains("12 replayed of 12"));
}

#[test]
fn a_body_for_a_group_of_another_configuration_goes_unasked_and_that_is_said() {
    let folder = buried(BAD);
    let group = "\"name\": \"online-writer\", \"kafka_consumer_group_override\": \"chalk-other\"";
    folder.configure("\"name\": \"online-writer\"", group);
    for more in [&["--dry-run"][..], &["--yes", "--through", "sed s/5/6/"]] {
        let ended = folder.run(&[&REPLAY[..], more].concat());
        assert_eq!(ended.code, Some(0), "{more:?}: {ended:?}");
        let said = "`chalk-online-writer` is not of this configuration";
        assert!(ended.stderr.contains(said) && ended.stderr.contains("without asking its writer"), "{ended:?}");
    }
    // Without a key it may be in any partition.
    let sent = messages(&folder, "results");
    assert!(sent.iter().any(|message| message.body().ends_with(b"6}")), "still bad, and sent");
}

#[test]
fn a_lake_that_will_hold_sound_rows_twice_is_warned_of() {
    let folder = buried(BAD);
    let online = folder.run(&[&REPLAY[..], &["--yes", "--even-refused"]].concat());
    assert!(online.code == Some(0) && !online.stderr.contains("twice"), "{online:?}");

    // One sound row and one without a key, in one message: the sound one is written when it is buried.
    let half = RESULT.replace('\n', " ").replace("\"rows\": [", "\"rows\": [{\"id\": [1]},");
    let folder = Deployment::new();
    let patient = "\"name\": \"offline-writer\", \"dlq\": {\"max_ratio\": 1.0}";
    folder.configure("\"name\": \"offline-writer\"", patient);
    folder.topics();
    folder.publish(&format!("{half}\n"));
    let stored = folder.drain("OFFLINE_WRITER");
    assert!(stored.stderr.contains("\"buried\":1") && !stored.stderr.contains("\"stored\":0"), "{stored:?}");
    for more in [&["--dry-run", "--even-refused"][..], &["--yes", "--even-refused"]] {
        let ended = folder.run(&[&REPLAY[..], more].concat());
        assert_eq!(ended.code, Some(0), "{more:?}: {ended:?}");
        for word in ["offline store of prod", "twice", "`__observation_id__`"] {
            assert!(ended.stderr.contains(word), "{word}: {ended:?}");
        }
    }
}
