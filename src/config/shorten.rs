//! What is of the configured project on Pub/Sub has a short and a whole name. In a file both are made the short one,
//! here and nowhere else, so that whatever compares names behind it compares one spelling.

use serde_json::Value;

use super::modes::DEAD_LETTERS;
use super::names::{short_subscription, short_topic};
use super::writers::COMMON;
use crate::writer_type::WriterType;

/// The field that names the topic of what is parked: at the top level, and in a writer's entry.
const PARKED: &str = "parking_topic";

/// Makes the names in a file short that are of a project.
pub(super) fn shorten(file: &mut Value, project: &str) {
    if let Some(common) = file.get_mut(COMMON) {
        for info in WriterType::ALL.map(WriterType::info) {
            in_field(common, info.reads, |name| short_subscription(project, name));
            for topic in [info.reads_topic, info.publishes, info.republishes].into_iter().flatten() {
                in_field(common, topic, |name| short_topic(project, name));
            }
        }
        in_field(common, DEAD_LETTERS, |name| short_topic(project, name));
    }
    in_field(file, PARKED, |name| short_topic(project, name));
    for writer in file.get_mut("writers").and_then(Value::as_array_mut).into_iter().flatten() {
        in_field(writer, PARKED, |name| short_topic(project, name));
    }
}

fn in_field(object: &mut Value, field: &str, short: impl Fn(&str) -> &str) {
    if let Some(Value::String(name)) = object.get_mut(field) {
        let shortened = short(name.as_str()).to_owned();
        *name = shortened;
    }
}
