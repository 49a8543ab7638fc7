//! What `check` accepts as the URI of a store, that store opens; what it would not open, `check` refuses.

use std::sync::Arc;
use std::time::Duration;

use chalk_writer::config::Selection;
use chalk_writer::config::settings::StoreSettings;
use chalk_writer::store::{StoreError, StoreOptions, offline, online};
use serde_json::json;

use crate::{checked, loaded, with};

async fn options(store: &StoreSettings) -> StoreOptions {
    StoreOptions {
        uri: store.uri.clone(),
        fetched: store.uri.fetch().await.expect("it is no secret"),
        cache_prefix: Arc::from(store.cache_prefix.as_str()),
        clustered: store.clustered,
        concurrency: 1,
        tombstone_retention: Duration::from_secs(1),
        memory_limit: 1 << 20,
    }
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
        (Some(store), _) if field == "online_store" => online::open(&options(store).await).map(drop),
        (_, Some(store)) => offline::open(&options(store).await).map(drop),
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
        ("online_store", "redis://host?clustered=true", false),
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
    let mut file = with("/environments/prod/online_store", json!({"uri": "redis://host?clustered=true"}));
    file["writers"] = json!([{"bus_subscriber_type": "OFFLINE_WRITER"}]);
    let report = checked(&file);
    assert!(report.ok, "{report}");
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environments.prod.online_store.uri: online store `redis://host:6379/0`: a Redis cluster is not in this version"
        ]
    );
}
