//! What the writers' pages show is what the program does: every message of a page is published and looked at with
//! `peek`, and what that prints is what the page shows.
//!
//! On a page a message stands in a block below `<!-- message TYPE OF WRITER, TYPE OF MESSAGE -->`, and what `peek`
//! makes of it in the next one, below `<!-- peek -->`. The rows of a streaming insert, which are
//! parquet, stand there as JSON. When the program has come to say something else,
//! `WRITE_PAGES=1 cargo test --test writer_pages` writes the pages anew, to be read before they are kept.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chalk_writer::writer::WRITERS;
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use serde_json::Value;

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/writers");
    let mut pages: Vec<_> =
        std::fs::read_dir(folder).expect("a folder of pages").map(|e| e.expect("one").path()).collect();
    pages.sort();
    pages
}

/// A message of a page and what follows of it.
#[derive(Debug)]
struct Sample<'a> {
    writer: &'a str,
    message: &'a str,
    body: &'a str,
    peek: &'a str,
}

/// The block that begins first in a text, and what comes behind it.
fn block<'a>(page: &Path, text: &'a str) -> (&'a str, &'a str) {
    let found = text.split_once("```").and_then(|(_, rest)| rest.split_once('\n')?.1.split_once("\n```"));
    found.unwrap_or_else(|| panic!("{}: a block is missing", page.display()))
}

fn samples<'a>(page: &Path, text: &'a str) -> Vec<Sample<'a>> {
    let mut samples = Vec::new();
    for part in text.split("<!-- message ").skip(1) {
        let (types, rest) = part.split_once(" -->").expect("the end of a mark");
        let (writer, message) = types.split_once(", ").expect("type of a writer and of a message");
        let (body, rest) = block(page, rest);
        let (_, rest) = rest.split_once("<!-- peek -->").expect("what `peek` makes of it");
        let (peek, _) = block(page, rest);
        samples.push(Sample { writer, message, body, peek });
    }
    samples
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
    let done = command.args(arguments).args(["--config", "plant.json"]).current_dir(folder).output().expect("it runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// A streaming insert that a page shows as JSON: its attributes as headers, its rows as parquet.
fn insert(shown: &str) -> (Vec<String>, Vec<u8>) {
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    let attributes = shown["attributes"].as_object().expect("attributes");
    let headers = attributes.iter().map(|(name, value)| format!("ce_{name}={}", value.as_str().expect("text")));
    let rows = shown["rows"].as_array().expect("rows");
    let time = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|time| time.timestamp_micros());
    let column = |name: &String| -> (String, ArrayRef) {
        let cells = || rows.iter().map(|row| &row[name]);
        let array: ArrayRef = if cells().all(Value::is_i64) {
            Arc::new(cells().map(Value::as_i64).collect::<Int64Array>())
        } else if cells().all(Value::is_number) {
            Arc::new(cells().map(Value::as_f64).collect::<Float64Array>())
        } else if cells().all(|value| time(value).is_some()) {
            Arc::new(cells().map(time).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        } else {
            Arc::new(cells().map(Value::as_str).collect::<StringArray>())
        };
        (name.clone(), array)
    };
    let columns = rows[0].as_object().expect("a row").keys().map(column);
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a schema");
    writer.write(&batch).expect("written");
    (headers.collect(), writer.into_inner().expect("finished"))
}

/// What `peek` prints below the line that has the message's place and time.
fn peek(sample: &Sample<'_>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let plant = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/plant.json");
    std::fs::copy(plant, folder.path().join("plant.json")).expect("copied");
    let Sample { writer, message, .. } = sample;
    // Without them an event is named after its place and time, and rows after the event.
    let mut headers = vec!["ce_id=018f-42".to_owned(), "ce_source=engine".to_owned()];
    if *message == "chalk.query.v1" {
        // Its row says when that was reported, which is now.
        headers.push("ce_time=2026-11-22T18:32:00Z".to_owned());
    }
    let mut file = vec!["--file", "body"];
    if *message == "chalk.streaming_insert.v1" {
        let (attributes, body) = insert(sample.body);
        headers.extend(attributes);
        file.extend(["--content-type", "application/vnd.apache.parquet"]);
        std::fs::write(folder.path().join("body"), body).expect("written");
    } else {
        std::fs::write(folder.path().join("body"), sample.body).expect("written");
    }
    let headers: Vec<&str> = headers.iter().flat_map(|header| ["--header", header.as_str()]).collect();
    let publish = ["publish", "--type", writer, "--ce-type", message];
    run(folder.path(), &[&publish[..], &file, &headers].concat());
    let shown = run(folder.path(), &["peek", "--type", writer]);
    let (_, rows) = shown.trim_end().split_once('\n').unwrap_or_else(|| panic!("{sample:?}: {shown}"));
    rows.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_page_shows_is_what_peek_prints() {
    let mut shown = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let mut anew = text.clone();
        for sample in samples(&page, &text) {
            let printed = peek(&sample);
            assert!(!printed.contains("refuses"), "{}: {printed}", page.display());
            if std::env::var_os("WRITE_PAGES").is_some() {
                anew = anew.replacen(sample.peek, &printed, 1);
            } else {
                assert_eq!(sample.peek, printed, "{}", page.display());
            }
            shown.push(sample.writer.to_owned());
        }
        if anew != text {
            std::fs::write(&page, anew).expect("written");
        }
    }
    for writer in WRITERS {
        let name = writer.facts().writer_type.as_str();
        assert!(shown.iter().any(|shown| shown == name), "no page shows a message of {name}");
    }
}
