//! The bytes in Redis as its documentation promises them to other readers.

use chalk_writer::row::feature::Entity;
use chalk_writer::store::online::StoredFeature;
use chalk_writer::value::Value;

use super::place::{FAR, Place, cell, entity, int, read, row, stored, until, value, write};
use crate::redis::Reply;

/// The guard and the key's own expiry are exactly those of the fields.
pub(crate) fn must_be_exact<'a>(
    place: &Place,
    entity: &Entity,
    features: impl Iterator<Item = &'a StoredFeature> + Clone,
) {
    let key = format!("{}{}/{}/{{{}}}", place.prefix(), entity.environment, entity.namespace, entity.primary_key);
    let newest = features.clone().map(|feature| feature.observed_at).max().expect("some");
    let never = features.clone().any(|feature| feature.expires_at.is_none());
    let latest = features.filter_map(|feature| feature.expires_at).max().unwrap_or(0);
    let Reply::Bytes(guard) = place.command(&["HGET", &key, ""]) else { panic!("no guard in {key}") };
    assert_eq!(guard[..8], newest.to_be_bytes(), "newest time of {key}");
    let Reply::Number(expires) = place.command(&["PEXPIRETIME", &key]) else { panic!("no key {key}") };
    if never {
        assert_eq!((&guard[8..], expires), (&[0xff; 8][..], -1), "expiry of {key}");
    } else {
        assert_eq!(guard[8..], latest.to_be_bytes(), "latest expiry of {key}");
        // The last times there are can be told apart only to some milliseconds by Lua's numbers.
        assert!((expires - (latest - 1) / 1_000 - 1).abs() <= 2, "expiry of {key}: {expires} for {latest}");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("digits"), 16).expect("hex"))
        .collect()
}

#[tokio::test]
async fn keys_fields_times_guard_and_layout_are_as_documented() {
    let place = Place::start("redis");
    let store = place.store();
    let odd = Entity { environment: "a/b{c}%".into(), namespace: "é".into(), primary_key: "x}/%".into() };
    let cells = vec![
        until(FAR, cell("score@2", 258, Some(Value::Timestamp(1_000_000)))),
        cell("gone", 3, None),
        cell("null", 4, Some(Value::Null)),
    ];
    stored(&*store, &[row(odd, cells)]).await;
    let field = |name: &str| place.command(&["HGET", "test/a%2Fb%7Bc%7D%25/é/{x}/%}", name]);
    let far = format!("{FAR:016x}");
    assert_eq!(field("score@2"), Reply::Bytes(bytes(&format!("0000000000000102 {far} d6ff00000001"))));
    assert_eq!(field("gone"), Reply::Bytes(bytes("0000000000000003 0000000000000000")));
    assert_eq!(field("null"), Reply::Bytes(bytes("0000000000000004 0000000000000000 c0")));
    assert_eq!(field(""), Reply::Bytes(bytes("0000000000000102 ffffffffffffffff")));
    assert_eq!(place.command(&["GET", "test/__chalk_layout__"]), Reply::Bytes(b"1".to_vec()));
}

#[tokio::test]
async fn the_keys_expiry_is_the_latest_of_its_fields_however_they_change() {
    let place = Place::start("redis");
    let store = place.store();
    let user = entity("42");
    let expires = || place.command(&["PEXPIRETIME", "test/prod/user/{42}"]);
    let second = 1_000_000;
    for (what, cells, expected) in [
        ("the first field", vec![until(FAR, cell("a", 10, int(1)))], FAR / 1_000),
        ("a shorter one", vec![until(FAR - second, cell("b", 10, int(1)))], FAR / 1_000),
        ("the longest grows shorter", vec![until(FAR - 2 * second, cell("a", 20, int(1)))], FAR / 1_000 - 1_000),
        ("one never expires", vec![cell("a", 30, int(1))], -1),
        ("another changes", vec![until(FAR, cell("b", 40, int(1)))], -1),
        ("a part of a millisecond", vec![until(FAR + 1, cell("a", 50, int(1)))], FAR / 1_000 + 1),
        ("a tombstone", vec![until(FAR + second, cell("b", 60, None))], FAR / 1_000 + 1_000),
    ] {
        stored(&*store, &[row(user.clone(), cells)]).await;
        assert_eq!(expires(), Reply::Number(expected), "{what}");
    }
}

#[tokio::test]
async fn a_hash_without_a_guard_is_read_and_gets_one() {
    let place = Place::start("redis");
    let store = place.store();
    let user = entity("42");
    stored(&*store, &[row(user.clone(), vec![until(FAR, cell("a", 20, int(1))), cell("b", 5, int(1))])]).await;
    place.command(&["HDEL", "test/prod/user/{42}", ""]);
    let outcome =
        stored(&*store, &[row(user.clone(), vec![cell("a", 10, int(2)), until(FAR, cell("b", 10, int(2)))])]).await;
    assert_eq!((outcome.stored, outcome.stale), (1, 1));
    must_be_exact(&place, &user, read(&*store, &user).await.values());
    place.command(&["HDEL", "test/prod/user/{42}", ""]);
    stored(&*store, &[row(user.clone(), vec![cell("a", 30, int(3))])]).await;
    must_be_exact(&place, &user, read(&*store, &user).await.values());
}

#[tokio::test]
async fn a_key_that_holds_something_else_refuses_its_own_row_alone() {
    let place = Place::start("redis");
    let store = place.store();
    place.command(&["SET", "test/prod/user/{text}", "mine"]);
    place.command(&["HSET", "test/prod/user/{hash}", "a", "mine"]);
    place.command(&["HSET", "test/prod/user/{guard}", "", "mine"]);
    let keys = ["1", "text", "2", "hash", "3", "guard", "4"];
    let rows: Vec<_> = keys.map(|key| row(entity(key), vec![cell("a", 1, int(1))])).into();
    let outcome = write(&*store, &rows).await.expect("a write that succeeds");
    let refused: Vec<usize> = outcome.refused.iter().map(|(row, _)| *row).collect();
    assert_eq!(refused, [1, 3, 5]);
    assert!(outcome.refused[0].1.message.contains("`test/prod/user/{text}`"), "{}", outcome.refused[0].1);
    assert_eq!(outcome.stored, 4);
    assert_eq!(value(&*store, &entity("4"), "a").await, Some(int(1)));
    assert_eq!(place.command(&["GET", "test/prod/user/{text}"]), Reply::Bytes(b"mine".to_vec()));
    assert_eq!(place.command(&["HGET", "test/prod/user/{hash}", "a"]), Reply::Bytes(b"mine".to_vec()));
}

#[tokio::test]
async fn features_may_have_names_that_the_protocol_has_too() {
    let place = Place::start("redis");
    let store = place.store();
    for name in ["subscribe", "message", "pmessage", "invalidate", "MOVED 1 a:1", "CLUSTERDOWN", "OK"] {
        let user = entity(name);
        stored(&*store, &[row(user.clone(), vec![cell(name, 1, int(1))])]).await;
        // With the guard these are a list of four.
        assert_eq!(value(&*store, &user, name).await, Some(int(1)), "{name}");
        let text = Some(Value::text(name));
        stored(&*store, &[row(user.clone(), vec![cell(name, 2, text.clone()), cell("message", 2, text.clone())])])
            .await;
        assert_eq!(value(&*store, &user, name).await, Some(text), "{name}");
    }
}

#[tokio::test]
async fn another_layout_is_left_alone() {
    let place = Place::start("redis");
    let store = place.store();
    place.command(&["SET", "test/__chalk_layout__", "2"]);
    let error = write(&*store, &[row(entity("42"), vec![cell("a", 1, int(1))])]).await.expect_err("another layout");
    assert!(error.to_string().starts_with("denied: "), "{error}");
    assert!(error.to_string().contains("`test/__chalk_layout__` is 2"), "{error}");
    assert_eq!(place.command(&["EXISTS", "test/prod/user/{42}"]), Reply::Number(0));
    place.command(&["DEL", "test/__chalk_layout__"]);
    stored(&*store, &[row(entity("42"), vec![cell("a", 1, int(1))])]).await;
}

#[tokio::test]
async fn another_layout_is_told_by_a_server_that_takes_no_writes() {
    let place = Place::start("redis");
    place.command(&["SET", "test/__chalk_layout__", "2"]);
    place.command(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let error = write(&*place.store(), &[row(entity("42"), vec![cell("a", 1, int(1))])]).await.expect_err("no room");
    assert!(error.to_string().contains("`test/__chalk_layout__` is 2"), "{error}");
}

#[tokio::test]
async fn the_script_comes_back_after_the_servers_scripts_were_flushed() {
    let place = Place::start("redis");
    let store = place.store();
    for time in 0..3 {
        stored(&*store, &[row(entity("42"), vec![cell("a", time, int(time))])]).await;
        place.command(&["SCRIPT", "FLUSH"]);
    }
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}
