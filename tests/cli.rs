//! The built binary as people and orchestrators use it: what it prints, and with which code it ends.

#[path = "cli/again.rs"]
mod again;
#[path = "cli/bombs.rs"]
mod bombs;
#[path = "cli/first_try.rs"]
mod first_try;
#[path = "cli/kafka.rs"]
mod kafka;
#[path = "cli/kinds.rs"]
mod kinds;
#[path = "cli/quiet.rs"]
mod quiet;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/setup.rs"]
mod setup;
#[path = "cli/show.rs"]
mod show;
#[path = "cli/skip.rs"]
mod skip;
#[path = "cli/unwilling.rs"]
mod unwilling;
#[path = "cli/vectors.rs"]
mod vectors;

use std::time::Duration;

use setup::{Deployment, RESULT, chalk_writer};

#[test]
fn help_lists_every_command_and_every_code() {
    let help = chalk_writer(&["--help"]).ok();
    for word in [
        "check",
        "schema",
        "types",
        "explain",
        "doctor",
        "publish",
        "peek",
        "get",
        "show",
        "dlq",
        "skip",
        "demo",
        "--drain",
        "--from-time",
        "--listen",
        "78",
    ] {
        assert!(help.contains(word), "`{word}` is not in:\n{help}");
    }
    let revision = option_env!("CHALK_WRITER_REVISION").unwrap_or("unknown");
    let version = format!("chalk-writer {} (revision {revision})", env!("CARGO_PKG_VERSION"));
    assert_eq!(chalk_writer(&["--version"]).ok().trim(), version);
}

#[test]
fn a_mistake_in_the_command_line_ends_with_64() {
    let folder = Deployment::new();
    for arguments in [
        &[][..],
        &["--no-such-flag"],
        &["no-such-command"],
        &["--type", "ONLINE_WRITER"],
        &["--config", "chalk.json"],
        &["--type", "ONLINE_WRITER", "--writer", "online-writer", "--config", "chalk.json"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--drain-timeout", "5s"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--drain", "--drain-idle", "5s"],
        &["publish", "--config", "chalk.json", "--topic", "results"],
        &["dlq", "show", "--config", "chalk.json", "first"],
        &["dlq", "list", "--config", "chalk.json", "--class", "BAD"],
        &["dlq", "list", "--config", "chalk.json", "--type", "NO_WRITER"],
        &["dlq", "replay", "--config", "chalk.json", "--edit", "--through", "cat"],
        &["dlq", "replay", "--config", "chalk.json", "--set-body", "chalk.json"],
        &["skip", "--config", "chalk.json", "--type", "ONLINE_WRITER", "results"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--from-time", "1h", "--drain"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--until", "1h"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--from-time", "1h", "--until", "2h"],
        &["--type", "ONLINE_WRITER", "--config", "chalk.json", "--from-time", "yesterday"],
    ] {
        let ended = folder.run(arguments);
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn an_unknown_type_is_answered_with_the_nearest_and_all_known_ones() {
    let folder = Deployment::new();
    let ended = folder.run(&["--type", "ONLIN_WRITER", "--config", "chalk.json"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("ONLINE_WRITER") && ended.stderr.contains("USAGE_BUS_WRITER"), "{ended:?}");
}

#[test]
fn a_job_of_chalks_that_is_no_writer_is_told_so_and_ends_with_64() {
    let folder = Deployment::new();
    let ended = folder.run(&["--type", "CLUSTER_MANAGER", "--config", "chalk.json"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("not a writer"), "{ended:?}");
}

#[test]
fn check_tells_all_that_is_wrong_and_ends_with_78() {
    let folder = Deployment::new();
    assert!(folder.run(&["check", "--config", "chalk.json"]).ok().contains("ONLINE_WRITER"));
    let json: serde_json::Value =
        serde_json::from_str(&folder.run(&["check", "--config", "chalk.json", "--json"]).ok()).expect("JSON");
    assert_eq!(json["errors"], serde_json::json!([]), "{json}");

    let bad = folder.text("chalk.json").replace("kafka_dlq_topic", "kafka_dlq_topik").replace("LOCAL", "LOCALE");
    folder.write("bad.json", &bad);
    let ended = folder.run(&["check", "--config", "bad.json"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for word in ["kafka_dlq_topik", "kafka_dlq_topic", "LOCALE", "KAFKA"] {
        assert!(ended.stdout.contains(word), "`{word}` is not in {ended:?}");
    }
    let ended = folder.run(&["--type", "ONLINE_WRITER", "--config", "bad.json"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let ended = folder.run(&["--type", "ONLINE_WRITER", "--config", "missing.json"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("missing.json"), "{ended:?}");
}

#[test]
fn schema_and_types_can_be_read_by_programs() {
    let schema: serde_json::Value = serde_json::from_str(&chalk_writer(&["schema"]).ok()).expect("JSON");
    assert!(schema["$schema"].is_string(), "{schema}");
    let types: serde_json::Value = serde_json::from_str(&chalk_writer(&["types", "--json"]).ok()).expect("JSON");
    assert_eq!(types.as_array().map(Vec::len), Some(9), "{types}");
    assert!(chalk_writer(&["types"]).ok().contains("ONLINE_VECTOR_STORE_WRITER"));
}

#[test]
fn a_topic_that_is_not_there_at_the_start_ends_with_78() {
    let folder = Deployment::new();
    let ended = folder.run(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "off", "--drain"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("results"), "{ended:?}");
}

#[test]
fn a_busy_port_is_an_error_that_names_the_flag() {
    let folder = Deployment::new();
    folder.topics();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let ended = folder.run(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", &address, "--drain"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("--listen") && ended.stderr.contains(&address), "{ended:?}");
}

#[test]
fn the_documented_result_goes_from_a_file_into_both_stores() {
    let folder = Deployment::new();
    folder.topics();
    folder.write("one.json", RESULT);
    let said = folder.run(&["publish", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--file", "one.json"]).ok();
    assert!(said.contains("published 1 message to `results`"), "{said}");

    let peeked = folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--from-start"]).ok();
    assert!(peeked.contains("user/42") && peeked.contains("score") && peeked.contains("0.7"), "{peeked}");

    let absent = folder.run(&["get", "--config", "chalk.json", "--environment", "prod", "user", "42"]);
    assert!(absent.stdout.contains("nothing is stored"), "{absent:?}");

    for writer in ["ONLINE_WRITER", "OFFLINE_WRITER"] {
        let ended = folder.drain(writer);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let first = ended.stderr.lines().next().expect("a first line");
        assert!(first.contains("listening") && first.contains("\"revision\":"), "{ended:?}");
        assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("\"acknowledged\":1")), "{ended:?}");
        assert!(ended.stdout.is_empty(), "logs go to stderr: {ended:?}");
    }

    let got = folder.run(&["get", "--config", "chalk.json", "--environment", "prod", "user", "42", "--json"]).ok();
    let got: serde_json::Value = serde_json::from_str(&got).expect("JSON");
    assert_eq!(got["features"][0]["feature"], "score", "{got}");
    assert_eq!(got["features"][0]["value"], 0.7, "{got}");
    assert_eq!(got["features"][0]["observed_at"], "2026-11-22T18:32:00.123456Z", "{got}");
    assert_eq!(got["features"].as_array().map(Vec::len), Some(1), "a cache hit is not stored again: {got}");
    let shown = folder.run(&["get", "--config", "chalk.json", "--environment", "prod", "user", "42"]).ok();
    assert!(shown.contains("score") && shown.contains("0.7"), "{shown}");

    let peeked =
        folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--last", "1", "--json"]).ok();
    let peeked: serde_json::Value = serde_json::from_str(peeked.trim()).expect("one line of JSON");
    assert_eq!(peeked["rows"][0]["features"][0]["stored"]["value"], 0.7, "the stored value stands beside: {peeked}");

    assert!(folder.path().join("lake/user").is_dir() && folder.path().join("lake/query_log").is_dir());
    let again = folder.drain("ONLINE_WRITER");
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("\"acknowledged\":0"), "nothing is read twice: {again:?}");
}

#[test]
fn a_message_that_cannot_be_read_is_listed_and_shown_among_the_dead_letters() {
    let folder = Deployment::new();
    folder.topics();
    folder.write("bad.jsonl", "{\"environment_id\": \"prod\", \"tables\": 5, \"b\": 12345678901234567890123}\n");
    folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "bad.jsonl"]).ok();
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("\"buried\":1"), "{ended:?}");

    let listed = folder.run(&["dlq", "list", "--config", "chalk.json"]).ok();
    assert!(listed.contains("DECODE") && listed.contains("1 dead letter in `dlq`"), "{listed}");
    let listed = folder.run(&["dlq", "list", "--config", "chalk.json", "--json"]).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let place = listed["letters"][0]["place"].as_str().expect("a place").to_owned();
    for filter in [["--class", "TOO_LARGE"], ["--writer-type", "OFFLINE_WRITER"], ["--until", "1h"], ["--table", "no"]]
    {
        let arguments = [&["dlq", "list", "--config", "chalk.json"][..], &filter].concat();
        assert!(folder.run(&arguments).ok().contains("0 dead letters"), "{filter:?}");
    }
    for filter in [["--class", "decode"], ["--writer-type", "ONLINE_WRITER"], ["--since", "1h"], ["--limit", "1"]] {
        let arguments = [&["dlq", "list", "--config", "chalk.json"][..], &filter].concat();
        assert!(folder.run(&arguments).ok().contains("1 dead letter in"), "{filter:?}");
    }

    let shown = folder.run(&["dlq", "show", "--config", "chalk.json", &place]).ok();
    assert!(shown.contains("\"b\": 12345678901234567890123") && shown.contains("ce_type"), "{shown}");
    let body = folder.run(&["dlq", "show", "--config", "chalk.json", &place, "--body-only"]).ok();
    assert_eq!(body, folder.text("bad.jsonl").trim_end());
    let missing = folder.run(&["dlq", "show", "--config", "chalk.json", "0/999"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[test]
fn a_file_with_a_line_that_is_not_json_publishes_nothing() {
    let folder = Deployment::new();
    folder.topics();
    folder.write("bad.jsonl", "{}\n{}\n{\"a\": }\n");
    let ended = folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "bad.jsonl"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("line 3") && ended.stderr.contains("nothing was published"), "{ended:?}");
    let peeked =
        folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--from-start", "--json"]).ok();
    assert_eq!(peeked, "");
}

#[test]
fn arrow_and_compressed_bodies_are_published_peeked_and_written() {
    let folder = Deployment::new();
    folder.topics();
    let publish = ["publish", "--config", "chalk.json", "--topic", "results"];
    for compress in [&["--compress", "zstd"][..], &["--compress", "gzip"], &["--compress", "lz4"], &[]] {
        folder.run(&[&publish[..], &["--generate", "10", "--encoding", "arrow"], compress].concat()).ok();
    }
    let peek = ["peek", "--config", "chalk.json", "--from-start", "--json", "--type"];
    for writer in ["ONLINE_WRITER", "OFFLINE_WRITER"] {
        let peeked = folder.run(&[&peek[..], &[writer]].concat()).ok();
        let messages: Vec<serde_json::Value> =
            peeked.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(messages.len(), 40);
        for message in &messages {
            assert_eq!(message["refused"], serde_json::json!([]), "{message}");
            assert!(!message["rows"].as_array().expect("rows").is_empty(), "{message}");
        }
        folder.run(&["--type", writer, "--config", "chalk.json", "--drain", "--listen", "off"]).ok();
    }

    folder.write("junk.arrow", "ARROW1\0\0 and nothing of the kind");
    let file = ["--file", "junk.arrow", "--content-type", "application/vnd.apache.arrow.file"];
    folder.run(&[&publish[..], &file].concat()).ok();
    folder.run(&[&publish[..], &file, &["--header", "content-encoding=gzip"]].concat()).ok();
    let peeked = folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--group"]).ok();
    assert!(peeked.contains("refuses DECODE: Arrow: cut off: a file ends with ARROW1"), "{peeked}");
    assert!(peeked.contains("refuses DECODE: content-encoding gzip: "), "{peeked}");
    let ended = folder.run(&[&publish[..], &["--generate", "1", "--compress", "brotli"]].concat());
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("known are zstd, gzip, lz4"), "{ended:?}");
}

#[test]
fn generated_results_are_the_same_for_one_seed_and_others_for_another() {
    let bodies = |seed: &str| -> Vec<String> {
        let folder = Deployment::new();
        let arguments = ["publish", "--config", "chalk.json", "--topic", "results", "--generate", "20", "--seed", seed];
        folder.run(&[&arguments[..], &["--start", "2026-01-01T00:00:00Z"]].concat()).ok();
        let arguments =
            ["peek", "--config", "chalk.json", "--type", "OFFLINE_WRITER", "--from-start", "--json", "--body"];
        let lines = folder.run(&arguments).ok();
        let body = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["body"].to_string();
        let mut bodies: Vec<_> = lines.lines().map(body).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies("7").len(), 20);
    assert_eq!(bodies("7"), bodies("7"));
    assert_ne!(bodies("7"), bodies("8"));
}

#[test]
fn what_is_generated_is_of_now_and_has_not_expired() {
    let folder = Deployment::new();
    folder.configure("\"prod\": {", "\"prod\": {\"default_max_staleness\": \"1h\", ");
    folder.topics();
    folder.run(&["publish", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--generate", "20"]).ok();
    let ended = folder.drain("ONLINE_WRITER");
    assert!(ended.stderr.contains("\"acknowledged\":20") && !ended.stderr.contains("\"stored\":0"), "{ended:?}");
}

#[test]
fn too_many_bad_messages_end_with_65_and_leave_the_topic_where_it_is() {
    let folder = Deployment::new();
    folder.topics();
    folder.write("bad.jsonl", &"{\"tables\": 5}\n".repeat(2_000));
    folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "bad.jsonl"]).ok();
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    assert!(ended.stderr.contains("budget"), "{ended:?}");
}

#[test]
fn a_bad_message_without_a_dead_letter_topic_ends_with_65() {
    let folder = Deployment::new();
    folder.topics();
    folder.write("bad.jsonl", "{\"tables\": 5}\n");
    folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "bad.jsonl"]).ok();
    let without = folder.text("chalk.json").replace("\"kafka_dlq_topic\": \"dlq\",", "");
    folder.write("chalk.json", &without);
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    assert!(ended.stderr.contains("kafka_dlq_topic"), "{ended:?}");
}

#[test]
fn sigterm_drains_and_ends_with_0_and_the_port_answers_until_then() {
    let folder = Deployment::new();
    folder.topics();
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"]);
    let address = writer.listening();
    setup::eventually(Duration::from_secs(20), "ready", || setup::ask(&address, "/readyz").0 == 200);
    folder.write("one.json", RESULT);
    folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "one.json"]).ok();
    setup::eventually(Duration::from_secs(20), "acknowledged", || {
        setup::ask(&address, "/metrics")
            .1
            .lines()
            .any(|line| line.starts_with("chalk_writer_messages_acknowledged_total") && line.ends_with(" 1"))
    });
    let (code, status) = setup::ask(&address, "/status.json");
    assert!(code == 200 && status.contains("\"acknowledged\":1"), "{status}");
    writer.terminate();
    let ended = writer.wait(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("SIGTERM"), "{ended:?}");
    assert!(ended.stderr.lines().last().is_some_and(|line| line.contains("\"stored\":1")), "{ended:?}");
}

/// A store that nobody listens at.
fn with_a_store_that_is_away() -> Deployment {
    let folder = Deployment::new();
    folder.topics();
    folder.write("chalk.json", &folder.text("chalk.json").replace("sqlite:online.sqlite", "redis://127.0.0.1:1"));
    folder.write("one.json", RESULT);
    folder.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "one.json"]).ok();
    folder
}

#[test]
fn a_drain_that_runs_out_of_time_ends_with_1_and_says_what_is_left() {
    let folder = with_a_store_that_is_away();
    let began = std::time::Instant::now();
    let arguments =
        ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "off", "--drain", "--drain-timeout", "1s"];
    let ended = folder.run(&arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1 message left") && ended.stderr.contains("--drain-timeout"), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "the limit is kept: {:?}", began.elapsed());
}

#[test]
fn a_second_signal_does_not_wait_for_a_store_that_is_away() {
    let folder = with_a_store_that_is_away();
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"]);
    let address = writer.listening();
    setup::eventually(Duration::from_secs(20), "in trouble with a message", || {
        let status = setup::ask(&address, "/status.json").1;
        status.contains("\"troubles\":[{") && status.contains("\"in_hand\":1,")
    });
    assert_eq!(setup::ask(&address, "/livez").0, 200, "a store that is away is no reason to be restarted");
    writer.terminate();
    setup::eventually(Duration::from_secs(20), "stopping", || setup::ask(&address, "/readyz").1.contains("stopping"));
    writer.terminate();
    let ended = writer.wait(Duration::from_secs(10));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1 message not written"), "{ended:?}");
}

#[test]
fn demo_shows_what_landed_where_and_can_be_repeated() {
    let folder = Deployment::new();
    for round in 1..=2 {
        let said = folder.run(&["demo", "--dir", "demo", "--messages", "2000"]).ok();
        let tables = ["query_log", "login_archive", "metrics", "usage_events", "vectors_", "query-mirror"];
        for word in ["dead letter", "chalk-writer", "get --config", "peek"].into_iter().chain(tables) {
            assert!(said.contains(word), "round {round}: `{word}` is not in:\n{said}");
        }
        for writer in chalk_writer::writer::WRITERS {
            let shown = format!("{}: ", writer.facts().writer_type);
            let line = said.lines().find(|line| line.starts_with(&shown)).unwrap_or_else(|| panic!("{shown}\n{said}"));
            assert!(!line.contains(": 0 messages"), "{line}");
        }
    }
    assert!(folder.path().join("demo/chalk.json").is_file());
    assert!(folder.run(&["check", "--config", "demo/chalk.json"]).code == Some(0));
}

/// The configuration that comes with the program, in a folder of its own.
fn with_the_local_configuration() -> Deployment {
    let folder = Deployment::new();
    folder.write("local.json", include_str!("../config/local.json"));
    folder
}

#[test]
fn listen_is_stronger_than_what_the_file_says_of_a_writer() {
    let folder = with_the_local_configuration();
    for (listen, listening) in [("off", "\"listening\":\"off\""), ("127.0.0.1:0", "\"listening\":\"127.0.0.1:")] {
        let ended = folder.run(&["--type", "OFFLINE_WRITER", "--config", "local.json", "--drain", "--listen", listen]);
        assert!(ended.stderr.contains(listening), "{listen}: {ended:?}");
    }
    let ended = folder.run(&["--type", "OFFLINE_WRITER", "--config", "local.json", "--listen", "nonsense"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert_eq!(ended.stderr.matches("nonsense").count(), 1, "told once: {ended:?}");
}

#[test]
fn the_local_configuration_runs_and_only_the_topic_of_results_is_asked_for() {
    let folder = with_the_local_configuration();
    let writer = ["--type", "ONLINE_WRITER", "--config", "local.json", "--listen", "off", "--drain"];
    assert!(folder.run(&["dlq", "list", "--config", "local.json"]).ok().contains("0 dead letters"));
    let ended = folder.run(&writer);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.stderr.contains("`results`") && ended.stderr.contains("publish"), "{ended:?}");

    folder.run(&["publish", "--config", "local.json", "--topic", "results", "--generate", "10"]).ok();
    assert!(folder.run(&["dlq", "list", "--config", "local.json"]).ok().contains("0 dead letters"));
    let named = folder.run(&["dlq", "list", "--config", "local.json", "--topic", "dead-leters"]);
    assert_eq!(named.code, Some(78), "a name of one's own is not passed over: {named:?}");
    let ended = folder.run(&writer);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = ended.stderr.lines().last().expect("a last line");
    assert!(last.contains("\"acknowledged\":10") && last.contains("\"left\":0"), "{last}");
    assert!(folder.run(&["dlq", "list", "--config", "local.json"]).ok().contains("0 dead letters in `dead-letters`"));
}

#[test]
fn nothing_in_a_message_steers_the_terminal_of_whoever_looks_at_it() {
    let folder = Deployment::new();
    folder.topics();
    let hostile = "\\u001b[2J\u{9b}31m\\n\u{7f}x";
    let good = RESULT.replace("\"id\": 42", &format!("\"id\": \"{hostile}\"")).replace('\n', " ");
    let bad = format!("{{\"environment_id\": \"{hostile}\", \"tables\": 5, \"{hostile}\": \"{hostile}\"}}");
    folder.write("hostile.jsonl", &format!("{good}\n{bad}\n"));
    let kind = "chalk.result.v1\u{9b}2J";
    let arguments = ["publish", "--config", "chalk.json", "--topic", "results", "--file", "hostile.jsonl"];
    folder.run(&arguments).ok();
    folder.run(&[&arguments[..], &["--ce-type", kind]].concat()).ok();
    folder.drain("ONLINE_WRITER");
    let mut shown = vec![folder.run(&["dlq", "list", "--config", "chalk.json"]).ok()];
    for flags in [&["--body"][..], &["--body", "--json"], &[]] {
        let peek = ["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--from-start"];
        shown.push(folder.run(&[&peek[..], flags].concat()).ok());
    }
    let listed = folder.run(&["dlq", "list", "--config", "chalk.json", "--json"]).ok();
    let listing: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let place = listing["letters"][0]["place"].as_str().expect("a place").to_owned();
    shown.push(listed);
    shown.push(folder.run(&["dlq", "show", "--config", "chalk.json", &place]).ok());
    shown.push(folder.run(&["dlq", "show", "--config", "chalk.json", &place, "--json"]).ok());
    for text in shown {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("DECODE") || text.contains("chalk.result.v1"), "{text:?}");
    }
}

#[test]
fn brokers_that_are_not_there_are_the_reason_that_the_probe_gives() {
    let folder = Deployment::new();
    let kafka = folder.text("chalk.json").replace("\"LOCAL\"", "\"KAFKA\"");
    folder.write("chalk.json", &kafka.replacen('{', "{\"kafka_bootstrap_servers\": \"127.0.0.1:1\",", 1));
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"]);
    let address = writer.listening();
    let mut answer = (0, String::new());
    setup::eventually(Duration::from_secs(60), "told", || {
        answer = setup::ask(&address, "/readyz");
        answer.1.contains("127.0.0.1:1") && answer.1.contains("kafka_bootstrap_servers")
    });
    assert_eq!(answer.0, 503, "{answer:?}");
}

#[test]
fn a_member_without_partitions_is_ready_and_says_that_it_has_none() {
    let folder = Deployment::new();
    for topic in ["results", "dlq"] {
        let publish = ["publish", "--config", "chalk.json", "--topic", topic, "--partitions", "1", "--generate", "0"];
        folder.run(&publish).ok();
    }
    let arguments = ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"];
    let first = folder.start(&arguments);
    let address = first.listening();
    setup::eventually(Duration::from_secs(20), "ready", || setup::ask(&address, "/readyz") == (200, "ok\n".to_owned()));
    let second = folder.start(&arguments);
    let address = second.listening();
    setup::eventually(Duration::from_secs(20), "ready", || setup::ask(&address, "/readyz").0 == 200);
    assert_eq!(setup::ask(&address, "/readyz").1, "ok: no partitions assigned\n");
    assert!(setup::ask(&address, "/status.json").1.contains("\"lag_messages\":null"));
    second.says(Duration::from_secs(20), "waiting for partitions of group");
    second.terminate();
    let ended = second.wait(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = ended.stderr.lines().last().expect("a last line");
    assert!(last.contains("writer ends") && !last.contains("\"left\""), "nobody knows what is left: {last}");
}
