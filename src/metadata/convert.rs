//! Environments as a configuration file has them, and as the published messages do.

use std::collections::BTreeMap;

use pbjson_types::value::Kind;
use pbjson_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

use crate::proto::writer::v1::{DeclaredFeature, DeclaredFeatures, EnvironmentDescription, EnvironmentStore};

/// The fields of an environment that are stores.
type Field = (&'static str, fn(&mut EnvironmentDescription) -> &mut Option<EnvironmentStore>);

const STORES: [Field; 5] = [
    ("online_store", |environment| &mut environment.online_store),
    ("offline_store", |environment| &mut environment.offline_store),
    ("metrics_store", |environment| &mut environment.metrics_store),
    ("usage_store", |environment| &mut environment.usage_store),
    ("vector_store", |environment| &mut environment.vector_store),
];

/// The messages of `environments`, of which everything was judged before.
pub(super) fn to_messages(environments: &Value) -> BTreeMap<String, EnvironmentDescription> {
    let all = environments.as_object().into_iter().flatten();
    all.map(|(id, environment)| (id.clone(), to_message(environment))).collect()
}

fn to_message(environment: &Value) -> EnvironmentDescription {
    let mut message = EnvironmentDescription {
        default_max_staleness: text(environment.get("default_max_staleness")),
        features: environment
            .get("features")
            .and_then(Value::as_array)
            .map(|features| DeclaredFeatures { features: features.iter().map(feature).collect() }),
        ..EnvironmentDescription::default()
    };
    for (name, store) in STORES {
        *store(&mut message) = environment.get(name).and_then(Value::as_object).map(|fields| {
            let mut rest = fields.clone();
            let mut take = |name: &str| text(rest.remove(name).as_ref());
            let (uri, clickhouse_uri) = (take("uri"), take("clickhouse_uri"));
            let victoria_metrics_uri = take("victoria_metrics_uri");
            let settings = (!rest.is_empty()).then(|| fields_of(rest));
            EnvironmentStore { uri, clickhouse_uri, victoria_metrics_uri, settings }
        });
    }
    message
}

fn feature(feature: &Value) -> DeclaredFeature {
    let given = |name: &str| text(feature.get(name));
    let is = |name: &str| feature.get(name).map(|value| matches!(&*text(Some(value)), "true" | "1"));
    DeclaredFeature {
        fqn: given("fqn"),
        dtype: given("dtype"),
        max_staleness: given("max_staleness"),
        store_online: is("store_online"),
        store_offline: is("store_offline"),
        cache_strategy: given("cache_strategy"),
        cache_nulls: given("cache_nulls"),
        cache_defaults: given("cache_defaults"),
        internal_version: given("internal_version").parse().unwrap_or(0),
        default: feature.get("default").cloned().map(value_of),
        metric: given("metric"),
    }
}

/// A value as text; nothing of what is not there.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `environments` of the messages. Whatever they say is judged where a file's is.
pub(super) fn from_messages(environments: BTreeMap<String, EnvironmentDescription>) -> Value {
    let all = environments.into_iter().map(|(id, environment)| (id, from_message(environment)));
    Value::Object(all.collect())
}

fn from_message(mut message: EnvironmentDescription) -> Value {
    let mut environment = Map::new();
    for (name, store) in STORES {
        let Some(store) = store(&mut message).take() else { continue };
        let EnvironmentStore { uri, clickhouse_uri, victoria_metrics_uri, settings } = store;
        let mut fields = settings.map(json_fields).unwrap_or_default();
        put(
            &mut fields,
            [("uri", uri), ("clickhouse_uri", clickhouse_uri), ("victoria_metrics_uri", victoria_metrics_uri)],
        );
        environment.insert(name.to_owned(), Value::Object(fields));
    }
    put(&mut environment, [("default_max_staleness", message.default_max_staleness)]);
    if let Some(DeclaredFeatures { features }) = message.features {
        environment.insert("features".to_owned(), features.into_iter().map(from_feature).collect());
    }
    Value::Object(environment)
}

fn from_feature(feature: DeclaredFeature) -> Value {
    let mut fields = Map::new();
    put(
        &mut fields,
        [
            ("fqn", feature.fqn),
            ("dtype", feature.dtype),
            ("max_staleness", feature.max_staleness),
            ("cache_strategy", feature.cache_strategy),
            ("cache_nulls", feature.cache_nulls),
            ("cache_defaults", feature.cache_defaults),
            ("metric", feature.metric),
        ],
    );
    for (name, value) in [("store_online", feature.store_online), ("store_offline", feature.store_offline)] {
        fields.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    }
    if feature.internal_version > 0 {
        fields.insert("internal_version".to_owned(), feature.internal_version.into());
    }
    fields.extend(feature.default.map(|default| ("default".to_owned(), json_of(default))));
    Value::Object(fields)
}

/// Puts those texts that say something.
fn put<const N: usize>(fields: &mut Map<String, Value>, texts: [(&str, String); N]) {
    let said = texts.into_iter().filter(|(_, text)| !text.is_empty());
    fields.extend(said.map(|(name, text)| (name.to_owned(), Value::String(text))));
}

fn fields_of(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, value_of(value))).collect() }
}

fn value_of(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(value_of).collect() }),
        Value::Object(fields) => Kind::StructValue(fields_of(fields)),
    };
    ProtoValue { kind: Some(kind) }
}

fn json_fields(fields: Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect()
}

fn json_of(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => json_number(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(ListValue { values })) => values.into_iter().map(json_of).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(json_fields(fields)),
    }
}

/// The messages have no integers; one that is whole was one.
fn json_number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_file_says_is_what_a_writer_hears() {
        let environments = json!({
            "prod": {
                "online_store": {"uri": "secret:redis", "cache_prefix": "p/", "wait_replicas": 1},
                "offline_store": {"uri": "file:///lake"},
                "metrics_store": {"uri": "sqlite:m", "clickhouse_uri": "secret:c", "victoria_metrics_uri": "secret:v"},
                "usage_store": {"uri": "sqlite:u"},
                "vector_store": {"uri": "sqlite:v", "metric": "cos"},
                "default_max_staleness": "7d",
                "features": [
                    {"fqn": "user.score", "dtype": "float64", "max_staleness": "1h", "store_online": true,
                     "store_offline": false, "cache_strategy": "NO_NULLS", "internal_version": 3, "default": 0.5},
                    {"fqn": "user.tags", "default": {"a": [1, null, "x", true]}},
                ],
            },
            "empty": {"features": []},
            "*": {},
        });
        assert_eq!(from_messages(to_messages(&environments)), environments);
    }
}
