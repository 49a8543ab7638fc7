//! What others read in Postgres: the table, its types, the text of its values, and who may make what.

use std::sync::Arc;

use chalk_writer::row::feature::Entity;
use chalk_writer::sink::ErrorClass;
use chalk_writer::value::{Value, Vector, jsonb};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::place::{FAR, Place, cell, entity, int, now, read, row, store, stored, unique, until, value, write};
use crate::postgres::{PostgresServer, Version};

fn server() -> PostgresServer {
    PostgresServer::start(Version::Debian, &[])
}

#[tokio::test]
async fn the_table_is_as_the_documentation_has_it() {
    let server = server();
    let store = store(&server.uri());
    let cells = vec![
        until(1_900_000_000_123_456, cell("a", 1_700_000_000_123_456, Some(Value::text("x")))),
        cell("b", 0, Some(Value::Null)),
        until(FAR, cell("c", 1, None)),
    ];
    stored(&*store, &[row(entity("42"), cells)]).await;
    let found = server.sql(
        "SET TimeZone = 'UTC'; SELECT environment, namespace, pkey, feature, value, observed_at, expires_at, evicted \
         FROM public.online_features ORDER BY feature",
    );
    let expected = "prod|user|42|a|\"x\"|2023-11-14 22:13:20.123456+00|2030-03-17 17:46:40.123456+00|f\n\
                    prod|user|42|b|null|1970-01-01 00:00:00+00||f\n\
                    prod|user|42|c||1970-01-01 00:00:00.000001+00|2100-01-01 00:00:00+00|t";
    assert_eq!(found, expected);
    let types = server.sql(
        "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = 'online_features'::regclass AND attnum > 0",
    );
    assert_eq!(types, "text, text, text, text, jsonb, timestamp with time zone, timestamp with time zone, boolean");
}

#[tokio::test]
async fn the_schema_that_the_uri_names_is_made_and_used_quoted() {
    let server = server();
    let store = store(&format!("{}?schema=My%22%20%7Bgiven%7D%20Schema", server.uri()));
    assert!(read(&*store, &entity("1")).await.is_empty(), "reading makes nothing");
    assert_eq!(server.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'My%'"), "0");
    stored(&*store, &[row(entity("1"), vec![cell("a", 1, int(1))])]).await;
    assert_eq!(server.sql("SELECT count(*) FROM \"My\"\" {given} Schema\".online_features"), "1");
    assert_eq!(value(&*store, &entity("1"), "a").await, Some(int(1)));
    assert_eq!(server.sql("SELECT to_regclass('public.online_features') IS NULL"), "t");
}

#[tokio::test]
async fn a_role_that_may_only_write_needs_no_right_to_make_tables() {
    let server = server();
    stored(&*store(&server.uri()), &[row(entity("1"), vec![cell("a", 1, int(1))])]).await;
    server.sql(
        "CREATE ROLE narrow LOGIN PASSWORD 'right'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON online_features TO narrow",
    );
    let narrow = store(&server.uri().replace("writer", "narrow"));
    stored(&*narrow, &[row(entity("1"), vec![cell("a", 2, int(2))])]).await;
    assert_eq!(value(&*narrow, &entity("1"), "a").await, Some(int(2)));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = || "[^\0]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        (-40..40_i32).prop_map(|exponent| Value::Double(10_f64.powi(exponent))),
        text().prop_map(Value::text),
        (0..32_u8).prop_map(|byte| Value::text(char::from(byte.max(1)).to_string())),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i32>().prop_map(Value::Date),
        prop::collection::vec(any::<f32>(), 1..4).prop_map(|of| Value::Vector(Arc::new(Vector::Fp32(of)))),
        prop::collection::vec(any::<u16>(), 1..4).prop_map(|of| Value::Vector(Arc::new(Vector::Fp16(of)))),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((text(), inner), 0..5)
                .prop_map(|fields| Value::Struct(fields.into_iter().map(|(name, of)| (name.into(), of)).collect())),
        ]
    })
}

/// Ties are broken in two places, by the text that this program makes and by the server's own.
#[test]
fn the_text_of_a_value_is_the_servers_own() {
    let server = server();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    let store = runtime.block_on(async { store(&server.uri()) });
    TestRunner::new(config)
        .run(&prop::collection::vec(any_json(), 30), |values| {
            let user = entity(&unique("k"));
            let named = |at: usize| format!("f{at:02}");
            let cells = values.iter().enumerate().map(|(at, value)| cell(&named(at), 1, Some(value.clone())));
            let rows = [row(user.clone(), cells.collect())];
            runtime.block_on(stored(&*store, &rows));
            let ours = values.iter().map(|value| {
                let mut text = Vec::new();
                jsonb::write(value, &mut text);
                String::from_utf8(text).expect("text")
            });
            let of_user = format!("online_features WHERE pkey = '{}' ORDER BY feature", user.primary_key);
            prop_assert_eq!(ours.collect::<Vec<_>>(), server.texts("value", &of_user));
            Ok(())
        })
        .expect("one text for one value");
}

#[tokio::test]
async fn a_nul_and_a_key_too_long_for_an_index_refuse_their_own_rows() {
    let server = server();
    let store = store(&server.uri());
    let inside = Value::List(vec![Value::Struct(vec![("a\0".into(), Value::Int(1))])]);
    // Not to be compressed, which an index would do.
    let long: String = (0..30_000_u64).map(|at| char::from(b'a' + (at * at * 7919 / 13 % 26) as u8)).collect();
    let named = |key: &str, feature: &str| row(entity(key), vec![cell(feature, 1, int(1))]);
    let rows = [
        named("first", "a"),
        named("a\0", "a"),
        named("1", "a\0"),
        row(Entity { namespace: "\0".into(), ..entity("1") }, vec![cell("a", 1, int(1))]),
        row(entity("2"), vec![cell("fine", 1, int(1)), cell("a", 1, Some(Value::text("\0")))]),
        row(entity("3"), vec![cell("a", 1, Some(inside))]),
        named(&long[..2_590], "ab"),
        named(&long[..2_590], "abc"),
        named(&long, "a"),
        named("last", "a"),
    ];
    let outcome = write(&*store, &rows).await.expect("the others are written");
    let refused: Vec<usize> = outcome.refused.iter().map(|(at, _)| *at).collect();
    assert_eq!(refused, [1, 2, 3, 4, 5, 7, 8]);
    assert!(outcome.refused.iter().all(|(_, refusal)| refusal.class == ErrorClass::ValueRefused));
    assert_eq!(outcome.refused[0].1.row.as_deref(), Some("user/a\0"));
    assert_eq!(server.sql("SELECT count(*) FROM online_features"), "3");
}

#[tokio::test]
async fn expired_values_are_swept_from_a_table_of_many_stretches() {
    let place = Place::start("postgres");
    let Place::Postgres(server) = &place else { unreachable!("that was asked for") };
    let store = place.store();
    let soon = now() + 3_000_000;
    let rows: Vec<_> = (0..3_500)
        .map(|at| {
            let end = if at % 7 == 0 { FAR } else { soon };
            row(entity(&format!("{at:05}")), vec![until(end, cell("a", 10, int(at)))])
        })
        .collect();
    stored(&*store, &rows).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let count = || server.sql("SELECT count(*) FROM online_features").parse::<i64>().expect("a number");
    while count() > 501 {
        assert!(tokio::time::Instant::now() < deadline, "{} are left", count());
        stored(&*store, &[row(entity("other"), vec![cell("a", 10, int(1))])]).await;
    }
    assert_eq!(count(), 501, "500 that live on and the one that kept writing");
}

#[tokio::test]
async fn the_newest_release_is_written_to_as_well() {
    let server = PostgresServer::start(Version::Newest, &[]);
    let store = store(&server.uri());
    assert_eq!(stored(&*store, &[row(entity("1"), vec![cell("a", 2, int(2))])]).await.stored, 1);
    assert_eq!(stored(&*store, &[row(entity("1"), vec![cell("a", 1, int(1))])]).await.stale, 1);
    assert_eq!(value(&*store, &entity("1"), "a").await, Some(int(2)));
}
