//! Where usage goes: the store of each environment, or the one that the writer's own entry names for all of them.

use chalk_writer::config::Selection;
use serde_json::{Value, json};

use crate::{checked, errors, loaded, warnings};

fn file(environments: &Value, entry: &Value) -> Value {
    let mut entry = entry.clone();
    entry["bus_subscriber_type"] = json!("USAGE_BUS_WRITER");
    json!({
        "common_persistence_specs": {"bus_backend": "LOCAL", "usage_bus_topic_id": "usage", "kafka_dlq_topic": "dlq"},
        "environments": environments,
        "writers": [entry],
    })
}

/// Each environment with its usage store, as the writer sees them.
fn stores(file: &Value) -> Vec<(String, Option<String>)> {
    let writer = loaded(file).writer(&Selection::Type("USAGE_BUS_WRITER".to_owned())).expect("settings");
    let shown = |store: &chalk_writer::config::settings::StoreSettings| store.uri.describe();
    let entries = writer.environments.entries.iter();
    entries.map(|(id, entry)| (id.clone(), entry.usage_store.as_ref().map(shown))).collect()
}

#[test]
fn one_store_of_the_writers_entry_is_that_of_every_environment_listed_or_not() {
    let own = json!({"usage_store_uri": "sqlite:/data/usage.db"});
    let everywhere = Some("sqlite:/data/usage.db".to_owned());
    assert_eq!(stores(&file(&json!({}), &own)), [("*".to_owned(), everywhere.clone())]);
    let environments = json!({"prod": {"usage_store": {"uri": "sqlite:/data/prod.db"}}, "dev": {}});
    let ids = ["*", "dev", "prod"].map(|id| (id.to_owned(), everywhere.clone()));
    assert_eq!(stores(&file(&environments, &own)), ids);
    assert_eq!(warnings(&file(&environments, &own)), Vec::<String>::new(), "and nothing is left out for `dev`");
    let of_prod = Some("sqlite:/data/prod.db".to_owned());
    let file = file(&environments, &json!({}));
    assert_eq!(stores(&file), [("dev".to_owned(), None), ("prod".to_owned(), of_prod)]);
    let nothing = "environments.dev: has no `usage_store`, so `usage-bus-writer` writes nothing for it";
    assert_eq!(warnings(&file), [nothing], "Chalk does not use `usage_bus_topic_id` any more, and this writer does");
}

#[test]
fn a_store_that_cannot_be_is_told_where_it_stands() {
    let of = |uri: &str| errors(&file(&json!({}), &json!({"usage_store_uri": uri})));
    let at = "writers[0].usage_store_uri";
    assert_eq!(
        of("bigquery://project/dataset"),
        [format!("{at}: scheme `bigquery` is not in this version, and `usage-bus-writer` writes there")]
    );
    assert!(of("sqlit:x")[0].starts_with(&format!("{at}: unknown scheme `sqlit`; did you mean `sqlite`?")));
    assert!(of("file://host/lake")[0].starts_with(&format!("{at}: usage store `file://host/lake`: ")));
    let secret =
        format!("common_persistence_specs.secret_client: is missing, and {at} asks for it; use AWS, GCP, ENV or FILE");
    assert_eq!(of("secret:usage"), [secret]);
    let missing = "environments: writer `usage-bus-writer` (USAGE_BUS_WRITER) needs `usage_store`, which is missing; add \
                   it under `environments.prod`, with its `uri`, or `usage_store_uri` to the writer's entry";
    assert_eq!(errors(&file(&json!({}), &json!({}))), [missing]);
}

#[test]
fn the_entry_of_another_writer_has_no_use_for_it() {
    let mut file = file(&json!({"prod": {"online_store": {"uri": "sqlite:online.db"}}}), &json!({}));
    file["writers"] = json!([{"bus_subscriber_type": "ONLINE_WRITER", "usage_store_uri": "sqlite:usage.db"}]);
    file["common_persistence_specs"]["result_bus_topic_id"] = json!("results");
    let report = checked(&file);
    assert!(report.ok && report.unused == ["writers[0].usage_store_uri"], "{report}");
}
