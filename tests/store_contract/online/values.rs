//! What is stored comes back as it was, and no name or value is ever taken for a command.

use std::sync::Arc;

use chalk_writer::config::settings::OwnSettings;
use chalk_writer::row::feature::Entity;
use chalk_writer::store::StoreOptions;
use chalk_writer::value::{Value, Vector, json};
use serde_json::Value as Json;

use super::place::{Place, cell, entity, int, on_every_store, open, options, read, refused, row, stored, value};

#[tokio::test]
async fn types_survive() {
    on_every_store(async |place| {
        let store = place.store();
        let nul = |text: &str| if place.holds_nul() { text.to_owned() } else { text.replace('\0', "") };
        let all = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(9_007_199_254_740_993),
            Value::Int(i64::MIN),
            Value::Double(0.1),
            Value::Double(-0.0),
            Value::Double(f64::MIN_POSITIVE / 2.0),
            Value::text(""),
            Value::text(nul("\0 a\u{0}b \u{10ffff} é 😀 \\ \" ' \r\n\u{2028}\u{1f}\u{7f}\u{8}\u{c}")),
            Value::List(vec![]),
            Value::List(vec![Value::List(vec![Value::Null, Value::List(vec![])]), Value::Int(1)]),
            Value::Struct(vec![("z".into(), Value::Int(1)), ("a\"'".into(), Value::Struct(vec![]))]),
        ];
        let bytes = Value::Bytes(vec![0, 255, 192].into());
        let timestamp = Value::Timestamp(1_700_000_000_123_456);
        let date = Value::Date(-1);
        let decimal = Value::Decimal("-12345678901234567890123456789.123456789".into());
        let vector = Value::Vector(Arc::new(Vector::Fp32(vec![0.1, -2.0])));
        let as_text = |value: &Value| json::from_text(&json::to_text(value)).expect("our own text");
        // SQLite and Postgres keep what JSON has types for; Redis keeps all but dates and decimals.
        let kept = |value: &Value| match place {
            Place::Sqlite(_) | Place::Postgres(_) => as_text(value),
            Place::Redis(_) | Place::Valkey(_) | Place::Cluster(..) => value.clone(),
        };
        let mut expected: Vec<(Value, Value)> = all.iter().map(|value| (value.clone(), value.clone())).collect();
        expected.extend([&bytes, &timestamp, &vector].map(|value| (value.clone(), kept(value))));
        expected.push((date, Value::text("1969-12-31")));
        expected.push((decimal, Value::text("-12345678901234567890123456789.123456789")));
        let cells = expected.iter().enumerate().map(|(at, (given, _))| cell(&format!("f{at}"), 1, Some(given.clone())));
        stored(&*store, &[row(entity("42"), cells.collect())]).await;
        let found = read(&*store, &entity("42")).await;
        for (at, (given, back)) in expected.iter().enumerate() {
            assert_eq!(found[&format!("f{at}")].value.as_ref(), Some(back), "{given:?}");
        }
        stored(&*store, &[row(entity("nan"), vec![cell("f", 1, Some(Value::Double(f64::NAN)))])]).await;
        match value(&*store, &entity("nan"), "f").await {
            Some(Some(Value::Double(number))) => assert!(number.is_nan()),
            Some(Some(Value::Text(text))) => assert_eq!(text, "NaN"),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

/// Names that would do something if they were ever pasted into a statement, a script or a key.
const NAMES: [&str; 24] = [
    "select",
    "order",
    "'; DROP TABLE online_features; --",
    "\"; DROP TABLE online_features; --",
    "?1",
    ":name",
    "back\\slash",
    "new\nline\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "]] redis.call('FLUSHALL') --[[",
    "' .. redis.call('FLUSHALL') .. '",
    "{brace",
    "brace}",
    "{}",
    "a/b",
    "%2F",
    "%",
    "~1",
    "score@2",
    "__chalk_layout__",
    "value",
    " ",
    "\u{feff}é😀",
    "tab\tand\0nul",
    "*",
];

#[tokio::test]
async fn every_name_is_only_a_name() {
    on_every_store(async |place| {
        let store = place.store();
        let names: Vec<&str> = NAMES.into_iter().filter(|name| place.holds_nul() || !name.contains('\0')).collect();
        let mut entities: Vec<Entity> = Vec::new();
        for name in names.iter().copied() {
            entities.push(Entity { environment: name.into(), ..entity("1") });
            entities.push(Entity { namespace: name.into(), ..entity("1") });
            entities.push(Entity { primary_key: name.into(), ..entity("1") });
        }
        entities.push(Entity { environment: "a/b".into(), namespace: "c".into(), primary_key: "".into() });
        entities.push(Entity { environment: "a".into(), namespace: "b/c".into(), primary_key: "".into() });
        let rows: Vec<_> = entities
            .iter()
            .enumerate()
            .map(|(at, entity)| {
                let cells = names.iter().enumerate().map(|(name, feature)| {
                    cell(feature, 1, Some(Value::text(format!("{at} {name} {}", names[at % names.len()]))))
                });
                row(entity.clone(), cells.collect())
            })
            .collect();
        let outcome = stored(&*store, &rows).await;
        assert_eq!(outcome.stored as usize, entities.len() * names.len(), "no two names are one");
        for (at, entity) in entities.iter().enumerate() {
            let found = read(&*store, entity).await;
            assert_eq!(found.len(), names.len());
            for (name, feature) in names.iter().enumerate() {
                let expected = Value::text(format!("{at} {name} {}", names[at % names.len()]));
                assert_eq!(found[*feature].value, Some(expected));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_entity_may_have_thousands_of_features_and_a_batch_thousands_of_entities() {
    on_every_store(async |place| {
        let store = place.store();
        let wide = |time| row(entity("wide"), (0..9_001).map(|at| cell(&format!("f{at}"), time, int(time))).collect());
        assert_eq!(stored(&*store, &[wide(1)]).await.stored, 9_001);
        let half = row(entity("wide"), (0..4_500).map(|at| cell(&format!("f{at}"), 3, int(3))).collect());
        assert_eq!(stored(&*store, &[half]).await.stored, 4_500);
        assert_eq!(stored(&*store, &[wide(2)]).await.stored, 4_501, "the slow way takes as many");
        assert_eq!(read(&*store, &entity("wide")).await.len(), 9_001);
        let many: Vec<_> = (0..3_000).map(|at| row(entity(&format!("{at}")), vec![cell("a", 1, int(at))])).collect();
        assert_eq!(stored(&*store, &many).await.stored, 3_000);
        assert_eq!(value(&*store, &entity("2999"), "a").await, Some(int(2_999)));
    })
    .await;
}

#[tokio::test]
async fn opening_contacts_nothing_and_reading_an_entity_that_was_never_written_finds_nothing() {
    on_every_store(async |place| {
        let store = place.store();
        if let Place::Sqlite(folder) = place {
            assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        }
        assert!(read(&*store, &entity("nobody")).await.is_empty());
        if let Place::Sqlite(folder) = place {
            assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "reading makes no file");
        }
    })
    .await;
    place_of_an_absent_server();
}

fn place_of_an_absent_server() {
    let runtime = tokio::runtime::Handle::current();
    let _inside = runtime.enter();
    super::place::store("redis://127.0.0.1:1");
}

#[test]
fn a_uri_that_cannot_work_says_what_was_found_and_what_is_known() {
    let known = "scheme `redsi` is not in this version; known are sqlite, redis, rediss, valkey, valkeys";
    assert!(refused("redsi://host").0.contains(known));
    for scheme in ["redis", "rediss", "valkey", "valkeys"] {
        open(&options(&format!("{scheme}://:secret@host?clustered=true"))).expect("a store that can be opened");
    }
    let own = |name, value: Json| OwnSettings::default().with(name, value);
    let clustered = |uri| StoreOptions { own: own("clustered", true.into()), ..options(uri) };
    open(&clustered("redis://host")).expect("a store that can be opened");
    let error = |options: StoreOptions| open(&options).err().expect("a store that cannot be opened").0;
    assert!(
        error(clustered("redis://:secret@host/3")).contains("`redis://:***@host:6379/3`: a cluster has no numbered")
    );
    open(&clustered("redis://host/3?clustered=false")).expect("the URI is nearer than the setting");
    let braces = StoreOptions { cache_prefix: "a{b}".into(), ..options("redis://host") };
    open(&braces).expect("one server has no slots");
    assert!(error(StoreOptions { own: own("clustered", true.into()), ..braces }).contains("one slot"));
    let waiting = |uri| StoreOptions { own: own("wait_replicas", 1.into()), ..options(uri) };
    open(&waiting("redis://host?wait_replicas=1")).expect("the same twice");
    assert!(error(waiting("redis://host?wait_replicas=2")).contains("one number in the URI and another"));
    assert!(error(waiting("sqlite:a.db")).contains("`wait_replicas` is for Redis"));
    for uri in ["secret", "redis://:secret@", "redis://:secret@host:port", "redis://secret@host", "reds://:secret@host"]
    {
        let message = refused(uri).to_string();
        assert!(!message.contains("secret"), "{message}");
    }
}
