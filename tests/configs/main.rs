//! Every file in `config/`, every kind of mistake with the exact words that answer it, and the
//! layers above the file.

mod any_value;
mod contradictions;
mod elsewhere;
mod examples;
mod layers;
mod mistakes;
mod modes;
mod names;
mod uris;
mod usage;
mod warnings;

use chalk_writer::config::{CheckReport, ConfigErrors, Loaded, Overrides, check, load};
use chalk_writer::writer::registry;
use serde_json::{Value, json};

/// A configuration that is right, to be broken in one place or another.
fn sound() -> Value {
    json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "result_bus_topic_id": "results",
            "kafka_dlq_topic": "dead-letters",
        },
        "environments": {"prod": {"online_store": {"uri": "sqlite:online.db"}, "offline_store": {"uri": "file:lake"}}},
        "writers": [{"bus_subscriber_type": "ONLINE_WRITER"}, {"bus_subscriber_type": "OFFLINE_WRITER"}],
    })
}

/// The sound one with a value put at a JSON pointer; null takes away what is there.
fn with(pointer: &str, value: Value) -> Value {
    with_all(&[(pointer, value)])
}

fn with_all(changes: &[(&str, Value)]) -> Value {
    let mut file = sound();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = file.pointer_mut(parent).expect(pointer);
        match parent {
            Value::Array(items) => items.push(value.clone()),
            other => other[key] = value.clone(),
        }
    }
    file
}

fn text_of(file: &Value) -> String {
    serde_json::to_string_pretty(file).expect("JSON")
}

fn checked_text(text: &str, overrides: &Overrides) -> CheckReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chalk.json");
    std::fs::write(&path, text).expect("written");
    check(&path, overrides, &registry())
}

fn checked(file: &Value) -> CheckReport {
    checked_text(&text_of(file), &Overrides::default())
}

fn errors(file: &Value) -> Vec<String> {
    checked(file).errors.iter().map(ToString::to_string).collect()
}

fn warnings(file: &Value) -> Vec<String> {
    checked(file).warnings.iter().map(ToString::to_string).collect()
}

fn loaded_with(file: &Value, overrides: &Overrides) -> Result<Loaded, ConfigErrors> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chalk.json");
    std::fs::write(&path, text_of(file)).expect("written");
    load(&path, overrides, &registry())
}

fn loaded(file: &Value) -> Loaded {
    loaded_with(file, &Overrides::default()).expect("sound")
}
