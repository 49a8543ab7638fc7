//! The JSON Schema of the file: what the walk checks against, and what the command `schema` prints.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::{RawDeployment, RawTuning};
use super::registry::{Registry, StoreDescription};
use super::store_kind::StoreKind;

/// The schema with its inner marks and one spelling of each name.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<RawDeployment>()
        .to_value()
});

/// The schema without what single stores have of settings of their own.
pub(super) fn root() -> &'static Value {
    &SCHEMA
}

/// The schema as the walk reads it: with the settings that the stores of a version have of their own.
pub(super) fn of(registry: &Registry) -> Value {
    let mut schema = SCHEMA.clone();
    for kind in StoreKind::ALL {
        let stores = &mut schema["properties"]["environments"]["additionalProperties"]["properties"];
        let Some(Value::Object(fields)) = stores[kind.field()].get_mut("properties") else { continue };
        for own in registry.stores(kind).map(StoreDescription::own) {
            fields.extend(own.properties());
        }
    }
    schema
}

/// Names of the tuning's fields, which the top level and every writer may have.
pub(super) fn tuning_fields() -> &'static BTreeSet<String> {
    static FIELDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let schema = schemars::schema_for!(RawTuning).to_value();
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    });
    &FIELDS
}

/// The JSON Schema of the configuration file, for editors: with every spelling of every name.
pub fn schema(registry: &Registry) -> Value {
    let mut printed = of(registry);
    publish(&mut printed);
    printed
}

/// Names of a field other than its own: aliases, and all of them in lowerCamelCase.
pub(super) fn other_names(name: &str, field: &Value) -> Vec<String> {
    let aliases = strings(field, "x-aliases");
    let camel = std::iter::once(name).chain(aliases.iter().copied()).map(camel_case);
    let mut names: Vec<String> = aliases.iter().map(|alias| (*alias).to_owned()).chain(camel).collect();
    names.retain(|other| other != name);
    names.dedup();
    names
}

/// The texts of a list in a schema.
pub(super) fn strings<'a>(node: &'a Value, key: &str) -> Vec<&'a str> {
    node.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a mark is set.
pub(super) fn marked(node: &Value, mark: &str) -> bool {
    node.get(mark).and_then(Value::as_bool).unwrap_or(false)
}

/// `hpa_min_replicas` as `hpaMinReplicas`.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.extend(c.to_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

fn publish(node: &mut Value) {
    let Some(object) = node.as_object_mut() else { return };
    if let Some(expected) = object.remove("x-expected").as_ref().and_then(Value::as_str) {
        let text = object.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{text}\n\nA value is {expected}.").trim_start().to_owned();
        object.insert("description".to_owned(), text.into());
    }
    for inner in ["items", "additionalProperties"] {
        object.get_mut(inner).into_iter().for_each(publish);
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        let mut spelled = Map::new();
        for (name, mut field) in std::mem::take(properties) {
            let deprecated: Vec<String> = strings(&field, "x-deprecated").into_iter().map(str::to_owned).collect();
            let others = other_names(&name, &field);
            publish(&mut field);
            for other in others {
                let mut copy = field.clone();
                if deprecated.iter().any(|old| *old == other || camel_case(old) == other) {
                    copy["deprecated"] = true.into();
                }
                copy["description"] = format!("The same as `{name}`.").into();
                spelled.insert(other, copy);
            }
            spelled.insert(name, field);
        }
        *properties = spelled;
        object.insert("additionalProperties".to_owned(), false.into());
    }
    object.retain(|key, _| !key.starts_with("x-"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::leaf;
    use crate::writer_type::WriterType;

    /// Every node of the schema that describes a value.
    fn nodes<'a>(node: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
        found.push((path.to_owned(), node));
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            nodes(field, &format!("{path}.{name}"), found);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = node.get(inner).filter(|inner| inner.is_object()) {
                nodes(inner, &format!("{path}[]"), found);
            }
        }
    }

    #[test]
    fn every_value_has_a_registered_kind_or_is_left_alone_on_purpose() {
        let mut found = Vec::new();
        nodes(root(), "", &mut found);
        assert!(found.len() > 150, "{}", found.len());
        let mut opaque = Vec::new();
        for (path, node) in found {
            assert!(node.get("$ref").is_none() && node.get("anyOf").is_none(), "{path}: {node}");
            match node.get("x-kind").and_then(Value::as_str) {
                Some(name) => assert!(leaf::kind(name).is_some(), "{path}: `{name}` is not registered"),
                None if ["properties", "items", "additionalProperties"].iter().any(|key| node.get(key).is_some()) => {}
                None => opaque.push(path),
            }
        }
        assert_eq!(
            opaque,
            [
                ".cluster_manager_config",
                ".environments[].features[].default",
                ".observability_daemon_scheduling",
                ".observability_daemons"
            ]
        );
    }

    #[test]
    fn every_type_that_reads_a_field_is_known() {
        let mut found = Vec::new();
        nodes(root(), "", &mut found);
        let read_by =
            found.iter().flat_map(|(path, node)| strings(node, "x-read-by").into_iter().map(move |name| (path, name)));
        let mut seen = 0;
        for (path, name) in read_by {
            assert_eq!(name.parse::<WriterType>().map(WriterType::as_str), Ok(name), "{path}");
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn the_printed_schema_knows_every_spelling_and_no_inner_mark() {
        let printed = schema(&Registry::default());
        let common = &printed["properties"]["common_persistence_specs"];
        assert_eq!(printed["properties"]["commonSpecs"]["description"], "The same as `common_persistence_specs`.");
        assert_eq!(common["properties"]["bigqueryUploadBucket"]["deprecated"], true);
        assert_eq!(common["properties"]["dlq_topic"]["type"], serde_json::json!(["string", "null"]));
        assert_eq!(common["additionalProperties"], false);
        assert!(printed["properties"]["environments"]["additionalProperties"]["properties"]["onlineStore"].is_object());
        assert!(!printed.to_string().contains("\"x-"));
    }
}
