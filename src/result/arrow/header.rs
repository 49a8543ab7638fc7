//! What a table says of its query: the metadata of its schema, under `chalk.…`.
//!
//! The values are those that the fields of a `QueryResult` have in JSON, so JSON's reader reads them: one
//! set of rules for names of enums, times, absent fields and keys that stand twice.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use bytestring::ByteString;
use serde_json::value::RawValue;

use super::{ID, malformed};
use crate::cut::{QUOTED, cut};
use crate::result::{QueryResult, Wanted, json};
use crate::sink::{ErrorClass, Refusal};

/// Fields whose value is text as it stands.
const TEXTS: [&str; 4] = ["environment_id", "deployment_id", "operation_id", "observed_at"];
/// Fields whose value is JSON.
const OBJECTS: [&str; 4] = ["query", "persistence", "errors", "resolver_runs"];

/// The result without its table, and the table's namespace.
pub(super) fn read(schema: &Schema, wanted: Wanted) -> Result<(QueryResult, ByteString), Refusal> {
    let given = |field: &str| schema.metadata().get(&format!("chalk.{field}")).map(String::as_str);
    // The tables are a field that is always there: a table that says nothing of its query is a result.
    let mut text = r#"{"tables": []"#.to_owned();
    for field in TEXTS {
        if let Some(value) = given(field) {
            text += &format!(r#", "{field}": {}"#, serde_json::Value::from(value));
        }
    }
    if let Some(kind) = given("operation_kind") {
        let number = kind.parse::<i32>().map(serde_json::Value::from);
        text += &format!(r#", "operation_kind": {}"#, number.unwrap_or_else(|_| kind.into()));
    }
    for field in OBJECTS {
        if let Some(value) = given(field) {
            // One value and nothing behind it: what comes after would be a field of the result.
            let value: &RawValue = serde_json::from_str(value)
                .map_err(|error| malformed(format_args!("`chalk.{field}` of the schema's metadata: {error}")))?;
            text += &format!(r#", "{field}": {}"#, value.get());
        }
    }
    text.push('}');
    let limit = text.len();
    let mut result = QueryResult::default();
    json::decode(&text.into(), wanted, limit, &mut result).map_err(|refusal| {
        let message = format!("Arrow: `chalk.…` of the schema's metadata, as {}", refusal.message);
        Refusal { message, ..refusal }
    })?;
    let namespace = given("namespace").map_or_else(|| common_namespace(schema), ByteString::from);
    Ok((result, namespace))
}

/// What stands before the first point in the names of all features; empty where they differ.
fn common_namespace(schema: &Schema) -> ByteString {
    let namespaces = of_features(schema);
    match (namespaces.first(), namespaces.len()) {
        (Some(Some(one)), 1) => (*one).into(),
        _ => ByteString::new(),
    }
}

/// What stands before the first point in the names of features; `None` where there is none.
fn of_features(schema: &Schema) -> BTreeSet<Option<&str>> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let features = names.filter(|name| *name != ID && !name.starts_with("__"));
    features.map(|name| name.split_once('.').map(|(one, _)| one)).collect()
}

/// Why a table has no namespace, and what gives it one.
pub(super) fn no_namespace(schema: &Schema) -> Refusal {
    let mut found: Vec<String> = of_features(schema).into_iter().flatten().map(|one| format!("`{one}`")).collect();
    if found.is_empty() {
        found.push("none".to_owned());
    }
    let found = found.join(", ");
    let found = cut(&found, QUOTED);
    let message = format!(
        "a table without a namespace, whose columns are of {found}: name it as `chalk.namespace` in the metadata of the \
         schema, or in `namespace` of a table inside a message"
    );
    Refusal::new(ErrorClass::Decode, message)
}
