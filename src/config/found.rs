//! What was found, for people: never a secret.

use serde_json::Value;

/// A value for people: text in quotes and cut short, larger things by their type. Hides the user
/// part of a URI.
pub(super) fn found(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.contains("://") && text.contains('@') => "a URI with credentials".to_owned(),
        Value::String(text) => {
            let cut: String = text.chars().take(LONGEST).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            Value::from(format!("{cut}{more}")).to_string()
        }
        plain => plain.to_string(),
    }
}

/// Only the type of a value, where the value may be a secret.
pub(super) fn found_type(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text (not shown)",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
    .to_owned()
}
