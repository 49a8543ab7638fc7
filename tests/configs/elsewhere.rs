//! Secrets of managers, and environments that others describe: what is wrong with the one and the other.

use chalk_writer::config::{Overrides, Selection};
use serde_json::{Value, json};

use crate::{checked, errors, loaded_with, sound, warnings};

/// A file without environments that asks this provider for them.
fn asking(provider: &str, more: &[(&str, Value)]) -> Value {
    let mut file = sound();
    let fields = file.as_object_mut().expect("an object");
    fields.remove("environments");
    fields["writers"] = json!([{"bus_subscriber_type": "ONLINE_WRITER"}]);
    fields.insert("metadata_provider".to_owned(), json!(provider));
    for (pointer, value) in more {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect(pointer)[key] = value.clone();
    }
    file
}

#[test]
fn who_is_asked_has_to_be_named() {
    let host = |host: &str| ("/api_server_host", json!(host));
    let client = ("/common_persistence_specs/secret_client", json!("FILE"));
    let uri = ("/writers/0/metadata_sql_uri_secret", json!("uri"));
    for (file, words) in [
        (asking("GRPC_SERVER", &[]), "api_server_host"),
        (asking("GRPC_SERVER", &[host("ftp://a")]), "has scheme `ftp`; known are https, http"),
        (asking("GRPC_SERVER", &[host("https://u:hunter2@a")]), "no user, password or query is taken"),
        (asking("GRPC_SERVER", &[host("a"), ("/metadata_refresh", json!("0s"))]), "metadata_refresh: is 0"),
        (asking("SQL", std::slice::from_ref(&client)), "metadata_sql_uri_secret"),
        (
            asking("SQL", std::slice::from_ref(&uri)),
            "secret_client: is missing, and writers[0].metadata_sql_uri_secret asks for it",
        ),
        (
            asking(
                "SQL",
                &[client.clone(), uri.clone(), ("/writers/0/metadata_sql_ssl_client_key_secret", json!("k"))],
            ),
            "writers[0].metadata_sql_ssl_client_key_secret: is of no use without the other",
        ),
    ] {
        let found = errors(&file);
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
    for sound in [
        asking("GRPC_SERVER", &[host("a:1")]),
        asking("grpc_server", &[host("http://a:1")]),
        asking("grpc_server", &[host("a:1"), ("/insecure", json!(true))]),
        asking("SQL", &[client, uri]),
    ] {
        let report = checked(&sound);
        assert!(report.ok && report.environments_from.is_some(), "{report}");
    }
}

#[test]
fn what_is_described_is_judged_as_a_file_is() {
    let file = asking("GRPC_SERVER", &[("/api_server_host", json!("a:1"))]);
    let described = |environments: Value| {
        let overrides = Overrides::default().flag("metadata", "environments", environments);
        let loaded = loaded_with(&file, &overrides).map_err(|errors| errors.to_string())?;
        let settings = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned()));
        settings.map_err(|errors| errors.to_string())
    };
    let sound = described(json!({"prod": {"online_store": {"uri": "sqlite:a.db"}}})).expect("sound");
    assert!(sound.metadata.is_some() && sound.environments.entries.contains_key("prod"));
    for (environments, words) in [
        (json!({}), "online_store"),
        (json!({"prod": {"offline_store": {"uri": "file:a"}}}), "online_store"),
        (json!({"prod": {"online_store": {"uri": "nonsense:a"}}}), "nonsense"),
        (json!({"prod": {"online_store": {"uri": "sqlite:a.db"}, "features": [{"fqn": "a"}]}}), "has no namespace"),
        (json!({"prod": {"online_store": {"uri": "sqlite:a.db", "nonsense": 1}}}), "nonsense"),
    ] {
        let found = described(environments).expect_err(words);
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn names_of_secrets_are_those_of_their_manager() {
    let named = |client: &str, name: &str, project: Option<&str>| {
        let mut file = sound();
        file["environments"]["prod"]["online_store"]["uri"] = json!(format!("secret:{name}"));
        file["common_persistence_specs"]["secret_client"] = json!(client);
        file["common_persistence_specs"]["google_cloud_project"] = json!(project);
        file
    };
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf";
    for (client, name) in [
        ("AWS", "prod/redis"),
        ("AWS", arn),
        ("AWS", "a#field"),
        ("GCP", "redis"),
        ("GCP", "projects/p/secrets/redis/versions/3#field"),
        ("GCP", "projects/p/locations/europe-west3/secrets/redis"),
    ] {
        let file = named(client, name, Some("ours"));
        assert_eq!((errors(&file), warnings(&file)), (vec![], vec![]), "{client} {name}");
    }
    let at = "environments.prod.online_store.uri: ";
    for (client, name, words) in [
        ("AWS", "arn:aws:s3:::bucket", "is no ARN of a secret"),
        ("AWS", "a b", "is no name of AWS Secrets Manager"),
        ("GCP", "projects/p/redis", "is named NAME, projects/P/secrets/NAME"),
        ("GCP", arn, "is named NAME, projects/P/secrets/NAME"),
    ] {
        let found = errors(&named(client, name, Some("ours")));
        assert!(found.len() == 1 && found[0].starts_with(at) && found[0].contains(words), "{words}: {found:?}");
    }
}
