//! What `check` accepts as the URI of a store, that store opens; what it would not open, `check` refuses.

use std::time::Duration;

use chalk_writer::config::Selection;
use chalk_writer::config::settings::{OwnSettings, StoreSettings};
use chalk_writer::store::{OFFLINE, ONLINE, StoreError, StoreLimits, StoreOptions};
use serde_json::json;

use crate::{checked, loaded, with};

async fn options(store: &StoreSettings) -> StoreOptions {
    let limits = StoreLimits { concurrency: 1, tombstone_retention: Duration::from_secs(1), memory_limit: 1 << 20 };
    StoreOptions::fetch(store, limits).await.expect("it is no secret")
}

/// Whether `check` accepts a URI; opens it too where it does.
async fn accepted(field: &str, uri: &str) -> bool {
    let file = with(&format!("/environments/prod/{field}"), json!({"uri": uri}));
    if !checked(&file).ok {
        return false;
    }
    let writer = if field == "online_store" { "ONLINE_WRITER" } else { "OFFLINE_WRITER" };
    let settings = loaded(&file).writer(&Selection::Type(writer.to_owned())).expect("settings");
    let prod = settings.environments.get("prod").expect("prod");
    let opened: Result<(), StoreError> = match (&prod.online_store, &prod.offline_store) {
        (Some(store), _) if field == "online_store" => ONLINE.open(&options(store).await).map(drop),
        (_, Some(store)) => OFFLINE.open(&options(store).await).map(drop),
        _ => panic!("a store"),
    };
    assert_eq!(opened, Ok(()), "{uri}");
    true
}

#[tokio::test]
async fn every_form_of_a_uri_that_check_accepts_is_one_that_its_store_opens() {
    for (field, uri, good) in [
        ("online_store", "sqlite:online.db", true),
        ("online_store", "sqlite:./online.db", true),
        ("online_store", "sqlite:../online.db", true),
        ("online_store", "sqlite:/abs/online.db", true),
        ("online_store", "sqlite:///abs/online.db", true),
        ("online_store", "SQLITE:online.db", true),
        ("online_store", "sqlite://host/online.db", false),
        ("online_store", "sqlite::memory:", false),
        ("online_store", "sqlite:folder/", false),
        ("online_store", "redis://host", true),
        ("online_store", "redis://user:word@host:6380/3?clustered=false", true),
        ("online_store", "redis:host", false),
        ("online_store", "redis://host/first", false),
        ("online_store", "redis://host?clustered=true", true),
        ("online_store", "valkeys://host?clustered=1&wait_replicas=1&ca=/etc/ca.pem", true),
        ("online_store", "rediss://host?cert=/etc/client.pem", false),
        ("online_store", "redis://host?ca=/etc/ca.pem", false),
        ("online_store", "redis://host/1?clustered=true", false),
        ("online_store", "redis://host?wait_replicas=all", false),
        ("online_store", "postgres://user:word@host:5433/db?schema=s&sslmode=verify-full&sslrootcert=/ca.pem", true),
        ("online_store", "postgresql://user@h1,h2/db", true),
        ("online_store", "postgres://host/db", false),
        ("online_store", "postgres://user@host/db?sslmode=verify", false),
        ("online_store", "postgres:user@host", false),
        ("offline_store", "postgres://user@/db?host=/var/run/postgresql", true),
        ("offline_store", "postgres://user@host/db?scheme=s", false),
        ("online_store", "blackhole:", true),
        ("online_store", "blackhole://host", false),
        ("offline_store", "file:lake", true),
        ("offline_store", "file:./lake", true),
        ("offline_store", "file:../lake", true),
        ("offline_store", "file:/abs/lake", true),
        ("offline_store", "file:///abs/lake", true),
        ("offline_store", "file://host/lake", false),
        ("offline_store", "file:///", false),
        ("offline_store", "file:lake?compression=none", false),
    ] {
        assert_eq!(accepted(field, uri).await, good, "{uri}");
    }
}

#[test]
fn a_store_that_no_writer_writes_to_is_only_warned_of() {
    let mut file = with("/environments/prod/online_store", json!({"uri": "redis://host/1?clustered=true"}));
    file["writers"] = json!([{"bus_subscriber_type": "OFFLINE_WRITER"}]);
    let report = checked(&file);
    assert!(report.ok, "{report}");
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environments.prod.online_store.uri: online store `redis://host:6379/1`: a cluster has no numbered databases; \
             leave the path out"
        ]
    );
}

fn errors(file: &serde_json::Value) -> Vec<String> {
    checked(file).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn settings_beside_a_uri_are_judged_with_it() {
    let redis = |uri: &str, more: serde_json::Value| {
        let mut store = json!({"uri": uri});
        store.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        with("/environments/prod/online_store", store)
    };
    let good = redis("redis://host", json!({"wait_replicas": 2, "cache_prefix": "p{1}/"}));
    assert_eq!(errors(&good), [] as [String; 0]);
    let settings = loaded(&good).writer(&Selection::Type("ONLINE_WRITER".to_owned())).expect("settings");
    let store = settings.environments.get("prod").and_then(|prod| prod.online_store.clone()).expect("a store");
    assert_eq!((&store.own, &*store.cache_prefix), (&OwnSettings::default().with("wait_replicas", 2), "p{1}/"));

    let wrong = |file: &serde_json::Value, path: &str, what: &str| {
        let errors = errors(file);
        assert!(errors.len() == 1 && errors[0].starts_with(path) && errors[0].contains(what), "{errors:?}");
    };
    let uri = "environments.prod.online_store.uri: online store `redis://host:6379/0`: ";
    wrong(&redis("redis://host?wait_replicas=1", json!({"wait_replicas": 2})), uri, "keep one of them");
    wrong(&redis("redis://host?clustered=true", json!({"cache_prefix": "p{1}/"})), uri, "one slot");
    // The writer's own prefix is that of a store without one, and a cluster may be one by the file's setting.
    let mut file = redis("redis://host", json!({}));
    file["redis_is_clustered"] = json!("1");
    file["writers"] = json!([{"bus_subscriber_type": "ONLINE_WRITER", "storage_cache_prefix": "{w}"}]);
    wrong(&file, uri, "one slot");
    file["environments"]["prod"]["online_store"]["uri"] = json!("redis://host?clustered=false");
    assert_eq!(errors(&file), [] as [String; 0]);
    let sqlite = redis("sqlite:a.db", json!({"wait_replicas": 1}));
    wrong(&sqlite, "environments.prod.online_store.uri: ", "`wait_replicas` is for Redis");
    let lake = with("/environments/prod/offline_store", json!({"uri": "file:lake", "wait_replicas": 1}));
    wrong(
        &lake,
        "environments.prod.offline_store.wait_replicas: ",
        "it belongs under `environments.<id>.online_store`",
    );
}
