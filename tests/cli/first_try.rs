//! Whoever tries an example for the first time sees something stored: each example on the embedded bus, with what
//! `publish --generate` makes for each of its writers.

use std::path::Path;

use chalk_writer::generate::Kind;
use chalk_writer::writer::WriterType;
use serde_json::Value;

use super::setup::Deployment;

/// Puts made-up messages of every kind that a writer reads through it.
fn tried(folder: &Deployment, example: &Path, writer: WriterType) {
    for kind in writer.info().messages.iter().filter_map(|message| Kind::of(*message)) {
        let (name, what) = (writer.as_str(), kind.as_str());
        let publish = ["publish", "--config", "chalk.json", "--type", name, "--what", what, "--generate", "200"];
        let files: &[&str] = if what == "bulk-insert" { &["--files", "files"] } else { &[] };
        folder.run(&[&publish[..], files].concat()).ok();
        let ended = folder.drain(name);
        let last = ended.stderr.lines().last().expect("a last line");
        let last: Value = serde_json::from_str(last).expect("JSON");
        let seen = (ended.code, last["buried"].as_u64(), last["left"].as_u64());
        assert_eq!(seen, (Some(0), Some(0), Some(0)), "{what} of {}: {ended:?}", example.display());
        assert!(last["stored"].as_u64() > Some(0), "{what} of {}: {ended:?}", example.display());
    }
}

#[test]
fn what_is_made_up_for_an_example_is_stored_by_its_writers() {
    let examples = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).expect("a folder");
    let mut seen = 0;
    for example in examples.map(|entry| entry.expect("an example").path()) {
        let text = std::fs::read_to_string(&example).expect("text");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let common = file["common_persistence_specs"].as_object().expect("an object");
        if common["bus_backend"] != "LOCAL" {
            continue;
        }
        let folder = Deployment::new();
        // The mirror of one of them finds nobody, and says so in an outcome.
        folder.write("chalk.json", &text.replace("127.0.0.1:8000", "127.0.0.1:9"));
        for topic in common.iter().filter(|(name, _)| *name != "bus_backend").filter_map(|(_, topic)| topic.as_str()) {
            folder.run(&["publish", "--config", "chalk.json", "--topic", topic, "--generate", "0"]).ok();
        }
        for entry in file["writers"].as_array().expect("writers") {
            let name = entry["bus_subscriber_type"].as_str().expect("a type");
            tried(&folder, &example, name.parse().expect("a type"));
            seen += 1;
        }
    }
    assert!(seen >= WriterType::ALL.len(), "{seen}");
}
