//! Fields that the server removes by themselves, where it can; and replicas that are waited for.

use std::time::Duration;

use chalk_writer::row::feature::Entity;
use chalk_writer::sink::SinkError;

use super::place::{
    FAR, Named, Place, cell, entity, int, now, read, row, store, stored, stored_at_last, until, value, write,
};
use crate::redis::{RedisServer, Reply};

const KEY: &str = "test/prod/user/{42}";
const MINUTE: i64 = 60_000_000;

/// The expiry that each field has by itself, in minutes after the year 2100 began; -1 is none, -2 no field.
fn ends(place: &Place, fields: &[&str]) -> Vec<i64> {
    let count = fields.len().to_string();
    let mut command = vec!["HPEXPIRETIME", KEY, "FIELDS", &count];
    command.extend(fields);
    let Reply::List(ends) = place.command(&command) else { panic!("no list") };
    ends.iter()
        .map(|end| match end {
            Reply::Number(end) if *end > 0 => (end * 1_000 - FAR) / MINUTE,
            Reply::Number(none) => *none,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn at(minutes: i64, feature: &str, time: i64) -> Named {
    until(FAR + minutes * MINUTE, cell(feature, time, int(time)))
}

async fn put(place: &Place, user: &Entity, cells: Vec<Named>) {
    stored(&*place.store(), &[row(user.clone(), cells)]).await;
}

#[tokio::test]
async fn a_hash_that_ends_as_a_whole_has_no_expiry_of_fields() {
    let place = Place::valkey();
    let user = entity("42");
    put(&place, &user, vec![at(1, "a", 1), at(1, "b", 1)]).await;
    put(&place, &user, vec![at(2, "a", 2), at(2, "b", 2)]).await;
    assert_eq!(ends(&place, &["a", "b", ""]), [-1, -1, -1]);
    put(&place, &entity("never"), vec![cell("a", 1, int(1)), cell("b", 1, int(1))]).await;
    assert_eq!(place.command(&["OBJECT", "ENCODING", KEY]), Reply::Bytes(b"listpack".to_vec()), "it is small");
}

#[tokio::test]
async fn fields_that_the_key_outlives_end_by_themselves() {
    let place = Place::valkey();
    let user = entity("42");
    put(&place, &user, vec![at(1, "a", 1), at(3, "b", 1), cell("c", 1, int(1))]).await;
    assert_eq!(ends(&place, &["a", "b", "c", ""]), [1, 3, -1, -1]);
    // Rewriting takes the expiry away, and gives it again: on the quick way, on the slow way, to never.
    put(&place, &user, vec![at(5, "a", 2)]).await;
    assert_eq!(ends(&place, &["a", "b", "c"]), [5, 3, -1]);
    put(&place, &user, vec![at(7, "a", 3), at(9, "b", 1)]).await;
    assert_eq!(ends(&place, &["a", "b", "c"]), [7, 9, -1]);
    put(&place, &user, vec![cell("a", 4, int(4))]).await;
    assert_eq!(ends(&place, &["a", "b", "c"]), [-1, 9, -1]);
    // Within a minute of one another is one end; it is never before the value's own.
    put(&place, &user, vec![until(FAR + 1, cell("a", 5, int(5))), until(FAR + MINUTE, cell("b", 5, int(5)))]).await;
    assert_eq!(ends(&place, &["a", "b"]), [1, 1]);
}

#[tokio::test]
async fn fields_that_would_have_gone_with_the_key_end_by_themselves_once_it_lives_longer() {
    for (what, newcomer) in [("another field", at(9, "z", 2)), ("one without end", cell("z", 2, int(2)))] {
        let place = Place::valkey();
        let user = entity("42");
        put(&place, &user, vec![at(1, "a", 1), at(1, "b", 1)]).await;
        put(&place, &user, vec![newcomer]).await;
        assert_eq!(ends(&place, &["a", "b"]), [1, 1], "{what}");
    }
    let place = Place::valkey();
    let user = entity("42");
    put(&place, &user, vec![at(1, "a", 1), at(1, "b", 1), at(1, "c", 1)]).await;
    put(&place, &user, vec![at(2, "a", 2)]).await;
    assert_eq!(ends(&place, &["a", "b", "c"]), [2, 1, 1], "a part of the row is longer");
    put(&place, &user, vec![at(3, "b", 1)]).await;
    assert_eq!(ends(&place, &["a", "b", "c"]), [2, 3, 1], "and by the slow way");
}

#[tokio::test]
async fn a_field_that_the_server_removed_neither_stops_newer_values_nor_frees_the_guard() {
    let place = Place::valkey();
    let (store, user) = (place.store(), entity("42"));
    put(&place, &user, vec![at(1, "a", 10), cell("b", 5, int(5))]).await;
    place.command(&["HPEXPIREAT", KEY, "1", "FIELDS", "1", "a"]);
    assert_eq!(ends(&place, &["a", "b"]), [-2, -1], "gone");
    // Older than the guard: read, and written where nothing newer is there.
    assert_eq!(stored(&*store, &[row(user.clone(), vec![cell("b", 4, int(4))])]).await.stale, 1);
    assert_eq!(stored(&*store, &[row(user.clone(), vec![at(2, "a", 9)])]).await.stored, 1);
    assert_eq!(ends(&place, &["a"]), [2]);
    assert_eq!(stored(&*store, &[row(user.clone(), vec![at(3, "a", 11)])]).await.stored, 1);
    assert_eq!(read(&*store, &user).await.len(), 2);
    // All but the guard are gone: the key goes with its own expiry, and is written to before that.
    place.command(&["HPEXPIREAT", KEY, "1", "FIELDS", "2", "a", "b"]);
    assert_eq!(place.command(&["HLEN", KEY]), Reply::Number(1));
    put(&place, &user, vec![at(4, "a", 12)]).await;
    assert_eq!(value(&*store, &user, "a").await, Some(int(12)));
}

#[tokio::test]
async fn no_field_gets_an_end_in_the_past() {
    let place = Place::valkey();
    let user = entity("42");
    let soon = now() + 30 * MINUTE;
    put(&place, &user, vec![until(1, cell("a", 1, int(1))), until(soon, cell("b", 1, int(1))), cell("c", 1, int(1))])
        .await;
    let Reply::List(ends) = place.command(&["HPEXPIRETIME", KEY, "FIELDS", "2", "a", "b"]) else { panic!("no list") };
    let Reply::Number(end) = ends[1] else { panic!("{ends:?}") };
    assert_eq!(ends[0], Reply::Number(-2));
    assert!(end * 1_000 >= soon && end * 1_000 < soon + MINUTE, "{end} for {soon}");
}

#[tokio::test]
async fn expiry_of_fields_can_be_left_out() {
    let place = Place::valkey();
    let store = store(&format!("{}?field_expiry=false", place.uri()));
    stored(&*store, &[row(entity("42"), vec![at(1, "a", 1), cell("b", 1, int(1))])]).await;
    assert_eq!(ends(&place, &["a", "b"]), [-1, -1]);
}

#[tokio::test]
async fn a_wide_hash_has_its_fields_end_in_parts() {
    let place = Place::valkey();
    let user = entity("42");
    let mut cells: Vec<_> = (0..2_500).map(|number| at(1, &format!("f{number}"), 1)).collect();
    cells.push(cell("never", 1, int(1)));
    put(&place, &user, cells).await;
    assert_eq!(ends(&place, &["f0", "f999", "f1000", "f2499", "never"]), [1, 1, 1, 1, -1]);
}

fn linked(replica: &RedisServer) -> bool {
    let Reply::Bytes(text) = replica.command(&["INFO", "REPLICATION"]) else { return false };
    String::from_utf8_lossy(&text).contains("master_link_status:up")
}

#[tokio::test]
async fn a_write_counts_when_so_many_replicas_have_it() {
    // They differ in what a connection waits for that has changed nothing itself.
    tokio::join!(is_waited_for(RedisServer::start), is_waited_for(RedisServer::valkey));
}

async fn is_waited_for(start: fn(&[&str]) -> RedisServer) {
    let primary = start(&["--repl-diskless-sync-delay", "0"]);
    let uri = format!("{}?wait_replicas=1", primary.uri());
    let waiting = store(&uri);
    let rows = |time| [row(entity("42"), vec![cell("a", time, int(time))])];
    let reason = match write(&*waiting, &rows(1)).await {
        Err(SinkError::Transient { reason }) => reason,
        other => panic!("expected a passing failure, found {other:?}"),
    };
    assert!(reason.contains("0 replicas had the write within 5 s; `wait_replicas` asks for 1"), "{reason}");
    let replica = start(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    // Valkey counts a replica that is still being filled for the first time.
    while !linked(&replica) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stored_at_last(&*waiting, &rows(1)).await;
    assert_eq!(replica.command(&["EXISTS", KEY]), Reply::Number(1));
    // One that stands still has nothing: what the primary has already does not count for that.
    replica.pause();
    for time in [2, 1] {
        assert!(write(&*waiting, &rows(time)).await.is_err(), "{time}");
    }
    assert!(write(&*store(&uri), &rows(2)).await.is_err(), "a value that another connection brought");
    replica.resume();
    stored_at_last(&*waiting, &rows(2)).await;
    assert_eq!(value(&*store(&replica.uri()), &entity("42"), "a").await, Some(int(2)));
}
