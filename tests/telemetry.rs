//! Metrics as others see them: declared, documented, named as Prometheus wants it, and shown over HTTP.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::{HeldUp, PartitionStatus};
use chalk_writer::message::Partition;
use chalk_writer::runtime::Health;
use chalk_writer::telemetry::http::{listen, serve};
use chalk_writer::telemetry::metrics::{METRICS, describe, markdown, recorder};
use chalk_writer::telemetry::watched::{Identity, Phase, Watched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// One recorder serves a process, so one test goes through all that needs it, in order.
#[tokio::test]
async fn a_writer_is_seen_over_http_from_its_start_to_its_end() {
    let labels = [("writer", "demo".to_owned()), ("type", "ONLINE_WRITER".to_owned())];
    let recorder = recorder(&labels).expect("the buckets are sound");
    let recorded = recorder.handle();
    metrics::set_global_recorder(recorder).expect("nothing else records in this process");
    describe("chalk-writer", "results");
    let identity = Identity {
        writer: "demo".to_owned(),
        writer_type: "ONLINE_WRITER",
        bus: "LOCAL",
        subscription: "results".to_owned(),
        group: "chalk-demo".to_owned(),
    };
    let writer = Watched::new(identity, Arc::new(Health::default()), recorded, Duration::from_secs(30));
    let (listener, address) = listen("127.0.0.1:0").await.expect("a free port").expect("not off");
    let address = address.to_string();
    let server = tokio::spawn(serve(listener, Arc::clone(&writer)));

    let busy = listen(&address).await.expect_err("the port is taken").to_string();
    assert!(busy.contains("--listen") && busy.contains(&address), "{busy}");
    assert!(listen("off").await.expect("nothing to fail").is_none());

    assert_eq!(ask(&address, "/livez").await.0, 200);
    let (code, why) = ask(&address, "/readyz").await;
    assert_eq!((code, why.as_str()), (503, "writer: starting: not subscribed yet\n"));

    let (partitions, seen) = watch::channel(vec![PartitionStatus {
        partition: Partition { topic: "results".into(), number: 3 },
        position: Some(5),
        end: Some(12),
        lag: Duration::from_secs(2),
        held_up: HeldUp::default(),
    }]);
    writer.subscribed(seen);
    assert_eq!(ask(&address, "/readyz").await, (200, "ok\n".to_owned()));

    record_one_of_each();
    let (code, text) = ask(&address, "/metrics").await;
    assert_eq!(code, 200);
    assert_promtool_is_content(&text);
    for metric in METRICS {
        assert!(
            text.contains(&format!("# HELP {} {}", metric.name, metric.help)),
            "{} is not shown:\n{text}",
            metric.name
        );
    }
    assert!(
        text.contains(
            r#"chalk_writer_lag_messages{writer="demo",type="ONLINE_WRITER",topic="results",partition="3"} 7"#
        ),
        "{text}"
    );

    let (code, body) = ask(&address, "/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((code, &status["writer"], &status["lag_messages"]), (200, &"demo".into(), &7.into()), "{body}");
    assert_eq!((&status["subscription"], &status["partitions"][0]["topic"]), (&"results".into(), &"results".into()));
    let build = text.lines().find(|line| line.starts_with("chalk_writer_build_info{")).expect("it is shown");
    assert!(build.contains(r#"group="chalk-writer",subscription="results""#), "{build}");
    assert!(ask(&address, "/").await.1.contains("status.json"));

    assert!(text.contains(r#"chalk_writer_assigned_partitions{writer="demo",type="ONLINE_WRITER"} 1"#), "{text}");

    partitions.send_replace(Vec::new());
    let text = ask(&address, "/metrics").await.1;
    assert!(!text.contains("lag_messages{"), "a partition that went leaves nothing behind: {text}");
    assert!(text.contains(r#"chalk_writer_assigned_partitions{writer="demo",type="ONLINE_WRITER"} 0"#), "{text}");
    assert_eq!(ask(&address, "/readyz").await, (200, "ok: no partitions assigned\n".to_owned()));
    let status: serde_json::Value = serde_json::from_str(&ask(&address, "/status.json").await.1).expect("JSON");
    assert_eq!(status["lag_messages"], serde_json::Value::Null, "unknown is not none: {status}");
    assert_eq!(writer.left().await, None, "the bus was not closed yet");
    partitions.send_replace(vec![PartitionStatus {
        partition: Partition { topic: "results".into(), number: 3 },
        position: Some(9),
        end: Some(12),
        lag: Duration::ZERO,
        held_up: HeldUp::default(),
    }]);
    drop(partitions);
    assert_eq!(writer.left().await, Some(3), "the last figures of a bus that was closed");
    writer.enter(Phase::Stopping);
    assert_eq!(ask(&address, "/livez").await.0, 200, "it answers while it drains");
    assert_eq!(ask(&address, "/readyz").await.0, 503);
    writer.enter(Phase::Ended);
    writer.enter(Phase::Running);
    assert_eq!(ask(&address, "/livez").await, (503, "the pipeline has ended\n".to_owned()));
    server.abort();
}

fn record_one_of_each() {
    use chalk_writer::telemetry::metrics::Kind;
    for metric in METRICS.iter().filter(|metric| !metric.labels.is_empty()) {
        let labels: Vec<metrics::Label> = metric.labels.iter().map(|label| metrics::Label::new(*label, "x")).collect();
        match metric.kind {
            Kind::Counter => metrics::counter!(metric.name, labels).increment(1),
            Kind::Histogram(_) => metrics::histogram!(metric.name, labels).record(0.2),
            Kind::Gauge => {}
        }
    }
}

async fn ask(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (code, body.to_owned())
}

fn assert_promtool_is_content(exposition: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`promtool` (Debian package `prometheus`) is missing; `./dev test` installs it");
    promtool.stdin.take().expect("piped").write_all(exposition.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{exposition}");
}

/// Rules that nobody can load, or that ask for what is not there, alert nobody.
#[test]
fn the_alert_rules_are_sound_and_name_only_metrics_that_are_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml");
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&path)
        .output()
        .expect("`promtool` (Debian package `prometheus`) is missing; `./dev test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("SUCCESS"), "promtool: {said}");
    let rules = fs::read_to_string(&path).expect("text");
    let named = rules.split(|c: char| !c.is_alphanumeric() && c != '_');
    let named: BTreeSet<&str> =
        named.filter(|word| word.starts_with("chalk_writer_") || word.starts_with("process_")).collect();
    assert!(named.len() >= 7, "{named:?}");
    for name in named {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is no metric");
    }
}

/// What nobody would see otherwise at night: each is silent while all is well, and fires in its time.
#[test]
fn the_alert_rules_of_metadata_and_of_messages_that_are_held_fire_in_time_and_not_before() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.yml");
    let folder = tempfile::tempdir().expect("a folder");
    let series = |name: &str, labels: &str, values: &str| {
        format!(r#"{{"series": "{name}{{writer='w',type='ONLINE_WRITER'{labels}}}", "values": "{values}"}}"#)
    };
    let expect = |alert: &str, minute: u32, fires: bool| {
        let fired = r#"{"exp_labels": {"writer": "w", "type": "ONLINE_WRITER", "severity": "S"}}"#;
        let severity = if ["Stale", "Flaps"].iter().any(|word| alert.ends_with(word)) { "ticket" } else { "page" };
        let fired = if fires { fired.replace("\"S\"", &format!("\"{severity}\"")) } else { String::new() };
        format!(r#"{{"eval_time": "{minute}m", "alertname": "{alert}", "exp_alerts": [{fired}]}}"#)
    };
    let tests = [
        // Twenty minutes of work, then the same messages in hand for good.
        (
            vec![
                series("chalk_writer_in_hand_messages", "", "5x120"),
                series("chalk_writer_messages_acknowledged_total", "", "0+10x20 200x100"),
            ],
            vec![expect("ChalkWriterHoldsMessages", 20, false), expect("ChalkWriterHoldsMessages", 60, true)],
        ),
        // Answered in the first minute, and never again; by the clock of promtool, which begins with 0.
        (
            vec![series("chalk_writer_metadata_answered_timestamp_seconds", "", "60x120")],
            vec![expect("ChalkWriterMetadataStale", 15, false), expect("ChalkWriterMetadataStale", 30, true)],
        ),
        // A file describes them.
        (
            vec![series("chalk_writer_metadata_answered_timestamp_seconds", "", "0x120")],
            vec![expect("ChalkWriterMetadataStale", 60, false)],
        ),
        (
            vec![series("chalk_writer_metadata_refused", "", "0x10 1x100")],
            vec![expect("ChalkWriterMetadataRefused", 10, false), expect("ChalkWriterMetadataRefused", 20, true)],
        ),
        (
            vec![series("chalk_writer_metadata_reads_total", ",outcome='new'", "1x30 1+1x60")],
            vec![expect("ChalkWriterMetadataFlaps", 30, false), expect("ChalkWriterMetadataFlaps", 60, true)],
        ),
    ];
    let tests = tests.map(|(series, expected)| {
        let (series, expected) = (series.join(", "), expected.join(", "));
        format!(r#"{{"interval": "1m", "input_series": [{series}], "alert_rule_test": [{expected}]}}"#)
    });
    // JSON is YAML, and annotations are not judged: they are for people.
    let text = fs::read_to_string(&rules).expect("text");
    let text: String = text.lines().filter(|line| !is_annotation(line)).map(|line| line.to_owned() + "\n").collect();
    fs::write(folder.path().join("rules.yml"), text).expect("written");
    let all = format!(r#"{{"rule_files": ["rules.yml"], "tests": [{}]}}"#, tests.join(", "));
    let file = folder.path().join("tests.yml");
    fs::write(&file, all).expect("written");
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .expect("`promtool` (Debian package `prometheus`) is missing; `./dev test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool: {said}");
}

fn is_annotation(line: &str) -> bool {
    ["annotations:", "summary:"].iter().any(|word| line.trim_start().starts_with(word))
}

#[test]
fn every_metric_that_is_recorded_anywhere_is_declared_once() {
    let declared: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(declared.len(), METRICS.len(), "a name stands twice");
    let mut used = BTreeSet::new();
    names_in(Path::new("src"), &mut used);
    let strange: Vec<_> = used.iter().filter(|name| !declared.contains(name.as_str())).collect();
    assert!(strange.is_empty(), "recorded, and not in src/telemetry/metrics.rs: {strange:?}");
}

/// Names in quotes, in every source file but the table itself.
fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("telemetry/metrics.rs")
        {
            let text = fs::read_to_string(&path).expect("text");
            names.extend(
                text.split('"')
                    .filter(|quoted| quoted.starts_with("chalk_writer_"))
                    .filter(|quoted| quoted.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
                    .map(str::to_owned),
            );
        }
    }
}

/// `UPDATE=1 cargo test --test telemetry` writes the page anew.
#[test]
fn the_documentation_lists_what_the_table_declares() {
    let page = Path::new("docs/metrics.md");
    let expected = format!(
        "# Metrics\n\nWhat `/metrics` shows. Every metric also has the labels `writer` (its name) and `type` (`ONLINE_WRITER`, …).\n\
         Made from the table in `src/telemetry/metrics.rs`; a test keeps them equal.\n\n{}\n## Left out on purpose\n\n\
         The label `reason` of `chalk_writer_values_skipped_total`. A message of which everything is left out is \
         acknowledged.\n\n{}",
        markdown(),
        chalk_writer::writer::skip::markdown()
    );
    if std::env::var_os("UPDATE").is_some() {
        fs::write(page, &expected).expect("docs/ can be written");
    }
    let found = fs::read_to_string(page).unwrap_or_default();
    assert!(found == expected, "docs/metrics.md is not what the table says: `UPDATE=1 cargo test --test telemetry`");
}
