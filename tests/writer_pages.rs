//! What the writers' pages show is what the program does: every message of a page is published and looked at with
//! `peek`, and what that prints is what the page shows.
//!
//! On a page a message stands in a block below `<!-- message TYPE OF WRITER, TYPE OF MESSAGE -->`, and what `peek`
//! makes of it in the next one, below `<!-- peek -->`. A body that is no text is made up: then the first block is the
//! command that publishes it. When the program has come to say something else,
//! `WRITE_PAGES=1 cargo test --test writer_pages` writes the pages anew, to be read before they are kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use chalk_writer::writer::WRITERS;

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

/// What `peek` prints below the line that has the message's place and time.
fn peek(sample: &Sample<'_>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let plant = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/plant.json");
    std::fs::copy(plant, folder.path().join("plant.json")).expect("copied");
    std::fs::write(folder.path().join("body.json"), sample.body).expect("written");
    let Sample { writer, message, .. } = sample;
    if let Some(command) = sample.body.strip_prefix("chalk-writer publish --config FILE ") {
        let words: Vec<&str> = ["publish"].into_iter().chain(command.split_whitespace()).collect();
        run(folder.path(), &words);
    } else {
        let publish = ["publish", "--type", writer, "--file", "body.json", "--ce-type", message];
        // Without them an event is named after its place and time, and rows after the event.
        let event = ["--header", "ce_id=018f-42", "--header", "ce_source=engine"];
        run(folder.path(), &[&publish[..], &event].concat());
    }
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
