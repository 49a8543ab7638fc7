//! Stores: reached, clocks, rights.

use serde_json::json;

use crate::Ward;
use crate::postgres::{PostgresServer, Version};
use crate::redis::RedisServer;

fn ready(writer_type: &str, store: &str, uri: &str) -> Ward {
    let ward = Ward::new(writer_type, &json!({ store: {"uri": uri} }));
    for topic in ["results", "usage", "dlq"] {
        ward.run(&["publish", "--topic", topic, "--generate", "0"]);
    }
    ward
}

#[test]
fn postgres_is_examined_and_left_as_it_is() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let ward = ready("OFFLINE_WRITER", "offline_store", &server.uri());
    let found = ward.doctor();
    found.is_sound();
    let store = "offline store of prod";
    assert!(found.check(store, "reached").1.contains("PostgreSQL"), "{found:?}");
    assert_eq!(found.check(store, "clock").0, "ok", "{found:?}");
    assert_eq!(found.check(store, "schema").0, "ok", "{found:?}");
    assert_eq!(
        server
            .sql("SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
            .trim(),
        "0"
    );

    server.sql(
        "CREATE TABLE public.user_ (id int); CREATE ROLE reader LOGIN PASSWORD 'reader'; \
                REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO reader",
    );
    let uri = server.uri().split_once("://").map(|(scheme, rest)| {
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://reader:reader@{place}")
    });
    let uri = uri.expect("a URI");
    ward.change("/environments/prod/offline_store", json!({"uri": uri}));
    let found = ward.doctor();
    found.fails(store, "schema", &["may not make tables", "GRANT USAGE, CREATE ON SCHEMA"]);
    assert!(found.check(store, "tables").1.contains("`user_`"), "{found:?}");

    ward.change("/environments/prod/offline_store", json!({"uri": uri.replace("reader:reader", "reader:wrong")}));
    let found = ward.doctor();
    found.fails(store, "reached", &["password"]);
    assert!(!format!("{found:?}").contains("wrong@"), "no credential is shown: {found:?}");
}

/// The lines for a role that only writes, of the section on rights.
fn rights_of_a_role_that_only_writes() -> Vec<&'static str> {
    let page = include_str!("../../docs/postgres.md");
    let (_, section) = page.split_once("## Rights\n").expect("a section on rights");
    let block = section.split("```sql\n").nth(2).expect("a second block");
    block.split("```").next().expect("its end").lines().collect()
}

#[test]
fn a_role_that_only_writes_has_all_that_is_needed_and_each_right_that_is_missing_is_named() {
    let server = PostgresServer::start(Version::Debian, &[]);
    server.sql("ALTER DATABASE features OWNER TO admin");
    server
        .sql("CREATE TABLE online_features (id int); CREATE TABLE \"user\" (id int); CREATE TABLE query_log (id int)");
    let wards = [
        ready("ONLINE_WRITER", "online_store", &server.uri()),
        ready("OFFLINE_WRITER", "offline_store", &server.uri()),
    ];
    let rights = rights_of_a_role_that_only_writes();
    let granted = |without: Option<usize>| {
        server.sql(
            "REVOKE ALL ON DATABASE features FROM PUBLIC, writer; REVOKE ALL ON SCHEMA public FROM PUBLIC, writer; \
             REVOKE ALL ON ALL TABLES IN SCHEMA public FROM writer",
        );
        for (_, line) in rights.iter().enumerate().filter(|(at, _)| Some(*at) != without) {
            server.sql(line);
        }
    };
    granted(None);
    for ward in &wards {
        ward.doctor().is_sound();
    }
    let offline = wards[1].doctor();
    for check in ["schema", "temporary", "tables"] {
        assert_eq!(offline.check("offline store of prod", check).0, "ok", "{check}: {offline:#?}");
    }
    for (at, line) in rights.iter().enumerate() {
        granted(Some(at));
        let found = wards.each_ref().map(Ward::doctor);
        let told = |found: &crate::Found| {
            let checks = ["reached", "schema", "temporary", "tables"];
            found.checks.iter().any(|one| {
                one["of"].as_str().is_some_and(|of| of.contains("store of prod"))
                    && checks.contains(&one["check"].as_str().unwrap_or_default())
                    && one["result"] != "ok"
                    && !one["fix"].as_str().unwrap_or_default().is_empty()
            })
        };
        assert!(found.iter().any(told), "without {line}: {found:#?}");
    }
    granted(None);
    server.sql("REVOKE DELETE ON online_features FROM writer; REVOKE UPDATE ON query_log FROM writer");
    wards[0].doctor().fails(
        "online store of prod",
        "tables",
        &["lacks DELETE", "GRANT DELETE ON \"public\".\"online_features\" TO \"writer\""],
    );
    wards[1].doctor().fails("offline store of prod", "tables", &["`query_log`: the role lacks UPDATE"]);
    granted(None);
    server.sql("REVOKE TEMPORARY ON DATABASE features FROM writer");
    wards[0].doctor().is_sound();
    wards[1].doctor().fails(
        "offline store of prod",
        "temporary",
        &["GRANT TEMPORARY ON DATABASE \"features\" TO \"writer\""],
    );
}

#[test]
fn a_standby_takes_no_writes() {
    let server = PostgresServer::start(Version::Debian, &["default_transaction_read_only=on"]);
    let ward = ready("ONLINE_WRITER", "online_store", &server.uri());
    let found = ward.doctor();
    // By default such a server is not even taken for the one that is meant.
    assert_eq!(found.code, Some(1), "{found:#?}");
    let uri = server.uri();
    let any = format!("{uri}{}target_session_attrs=any", if uri.contains('?') { '&' } else { '?' });
    ward.change("/environments/prod/online_store", json!({"uri": any}));
    ward.doctor().fails("online store of prod", "writable", &["read-only", "primary"]);
}

#[test]
fn redis_is_examined_and_left_as_it_is() {
    let server = RedisServer::start(&[]);
    let ward = ready("ONLINE_WRITER", "online_store", &server.uri());
    let store = "online store of prod";
    let found = ward.doctor();
    found.is_sound();
    assert!(found.check(store, "reached").1.contains("Redis"), "{found:?}");
    for check in ["clock", "writable", "layout", "memory"] {
        assert_eq!(found.check(store, check).0, "ok", "{check}: {found:?}");
    }
    assert_eq!(
        format!("{:?}", server.command(&["DBSIZE"])),
        format!("{:?}", server.command(&["EXISTS", "no"])),
        "0 keys"
    );

    server.command(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">pw",
        "~*",
        "+@read",
        "+ping",
        "+hello",
        "+eval",
        "+@connection",
    ]);
    let uri = server.uri().replace("redis://", "redis://reader:pw@");
    ward.change("/environments/prod/online_store", json!({"uri": uri}));
    let found = ward.doctor();
    found.fails(store, "writable", &["docs/redis.md"]);
    assert_eq!(found.check(store, "memory").0, "warn", "it may not ask: {found:?}");

    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    ward.change("/environments/prod/online_store", json!({"uri": server.uri(), "wait_replicas": 1}));
    let found = ward.doctor();
    found.fails(store, "replicas", &["0 connected", "`wait_replicas` 1"]);
    assert_eq!(found.check(store, "memory").0, "warn", "{found:?}");
    assert!(found.check(store, "memory").2.contains("noeviction"), "{found:?}");

    server.command(&["SET", "__chalk_layout__", "2"]);
    ward.doctor().fails(store, "layout", &["`__chalk_layout__` is 2"]);
}

#[test]
fn a_server_that_is_not_there_fails() {
    for (writer_type, store, uri) in [
        ("ONLINE_WRITER", "online_store", "redis://127.0.0.1:1"),
        ("OFFLINE_WRITER", "offline_store", "postgres://u@127.0.0.1:1/db"),
    ] {
        ready(writer_type, store, uri).doctor().fails(
            &store.replace('_', " "),
            "reached",
            &["127.0.0.1:1", "start it"],
        );
    }
}

#[test]
fn a_lake_and_a_file_are_examined_where_they_are_and_where_they_will_be() {
    let ward = ready("OFFLINE_WRITER", "offline_store", "file:./lake");
    let found = ward.doctor();
    found.is_sound();
    let store = "offline store of prod";
    assert_eq!((found.check(store, "folder").0, found.check(store, "writable").0), ("warn", "ok"), "{found:?}");
    assert!(found.check(store, "room").1.contains("MiB free"), "{found:?}");
    assert!(!std::path::Path::new(&ward.path("lake")).exists(), "asking does not make it");
    std::fs::write(ward.path("lake"), "no folder").expect("written");
    ward.doctor().fails(store, "folder", &["is no folder"]);
    std::fs::remove_file(ward.path("lake")).expect("removed");
    std::fs::create_dir(ward.path("lake")).expect("made");
    ward.doctor().is_sound();
    assert_eq!(std::fs::read_dir(ward.path("lake")).expect("a folder").count(), 0, "nothing is left there");

    let ward = ready("USAGE_BUS_WRITER", "usage_store", "sqlite:usage.sqlite");
    let store = "usage store of prod";
    let found = ward.doctor();
    found.is_sound();
    assert!(found.check(store, "file").1.contains("not there yet"), "{found:?}");
    assert!(!std::path::Path::new(&ward.path("usage.sqlite")).exists(), "asking does not make it");
    std::fs::write(
        ward.path("usage.sqlite"),
        "something else entirely, and longer than a header of SQLite would be, twice over",
    )
    .expect("written");
    ward.doctor().fails(store, "file", &["not a database"]);
    ward.change("/environments/prod/usage_store", json!({"uri": "sqlite:none/usage.sqlite"}));
    ward.doctor().fails(store, "writable", &["make the folder"]);
}
