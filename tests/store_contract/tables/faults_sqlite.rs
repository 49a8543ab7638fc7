//! A file of tables that fails: killed writers, a full disk, one that is held or goes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chalk_writer::row::table::{Repeats, TableRow};
use chalk_writer::sink::SinkError;
use chalk_writer::value::Value;

use super::place::{Place, open_uri, row, shape, sqlite, write, written};
use crate::offline::disk::Tmpfs;
use crate::offline::support::child;

const URI: &str = "CHALK_WRITER_TEST_KILLED_TABLES";
const ROUND: &str = "CHALK_WRITER_TEST_KILLED_TABLES_ROUND";
const ROWS: i64 = 200;

fn rows(first: i64, count: i64) -> Vec<TableRow> {
    // A column of its own a unit, so that kills hit the making of columns too.
    let own = format!("own_{}", first % 11);
    let shape = shape("t", &[("id*", None), ("noise", None), (&own, None)], Repeats::First);
    let noise = || Value::text(uuid::Uuid::new_v4().to_string());
    (first..first + count).map(|n| row(&shape, [Value::text(n.to_string()), noise(), Value::Int(n)])).collect()
}

fn transient<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Transient { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a passing failure with `{what}`, found {other:?}"),
    }
}

/// The process that is killed: writes for ever, and says what is promised to be there.
#[tokio::test]
#[ignore = "run by the tests of this file"]
async fn a_writer_that_is_killed() {
    let (Ok(uri), Ok(round)) = (std::env::var(URI), std::env::var(ROUND)) else { return };
    let round: i64 = round.parse().expect("a number");
    let store = open_uri(&uri).expect("it opens");
    for unit in 0.. {
        let first = (round * 1_000_000 + unit) * ROWS;
        write(&store, &rows(first, ROWS)).await.expect("written");
        println!("promised {first}");
    }
}

#[test]
fn what_a_killed_writer_promised_is_there_and_nothing_half() {
    let place = sqlite();
    let (mut promised, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(120));
    let mut round: u32 = 0;
    while round < 10 || promised.len() < 20 {
        assert!(Instant::now() < deadline, "{} units in {round} rounds", promised.len());
        let environment = [(URI, &*place.uri()), (ROUND, &*round.to_string())];
        let mut writer = child("tables::faults_sqlite::a_writer_that_is_killed", &environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test runs again");
        // The moment of the kill wanders from before the first transaction to the middle of a later one.
        std::thread::sleep(Duration::from_millis(15 + u64::from(37 * round % 400)));
        writer.kill().expect("it runs");
        writer.wait().expect("it ends");
        let lines = BufReader::new(writer.stdout.take().expect("piped")).lines().map_while(Result::ok);
        promised.extend(lines.filter_map(|line| line.rsplit_once("promised ")?.1.parse::<i64>().ok()));
        round += 1;
    }
    let file = place.file();
    let read = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a row");
    assert_eq!(read("PRAGMA integrity_check"), "ok");
    let units = "SELECT json_group_object(unit, n) FROM (SELECT CAST(id AS INTEGER) / 200 * 200 AS unit, count(*) AS n \
                 FROM t GROUP BY 1)";
    let units: std::collections::BTreeMap<String, i64> = serde_json::from_str(&read(units)).expect("JSON");
    assert!(units.values().all(|count| *count == ROWS), "no unit is half there");
    assert!(promised.iter().all(|first| units.contains_key(&first.to_string())), "{promised:?} in {units:?}");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_no_row_is_blamed() {
    let disk = Tmpfs::mount("size=1m");
    let store = open_uri(&format!("sqlite://{}/t.db", disk.path().display())).expect("it opens");
    write(&store, &rows(0, 10)).await.expect("there is room");
    let many = rows(10, 20_000);
    transient(write(&store, &many).await, "full");
    transient(write(&store, &many).await, "t.db");
    disk.remount("size=64m");
    assert_eq!(write(&store, &many).await.expect("there is room again").stored, 20_000);
    assert_eq!(write(&store, &rows(0, 20_010)).await.expect("written").stale, 20_010);
}

#[tokio::test]
async fn a_file_that_is_held_is_waited_for_and_one_that_goes_is_made_anew() {
    let place = sqlite();
    let store = place.open();
    write(&store, &rows(0, 1)).await.expect("written");
    let other = place.file();
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    transient(write(&store, &rows(1, 1)).await, "locked");
    other.execute_batch("COMMIT").expect("the end");
    assert_eq!(written(&store, &rows(1, 1)).await.stored, 1);
    let Place::Sqlite(folder) = &place else { unreachable!() };
    for file in std::fs::read_dir(folder.path()).expect("the folder") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    assert_eq!(write(&store, &rows(2, 1)).await.expect("a new file").stored, 1);
    assert_eq!(place.rows("t").len(), 1);
    std::fs::write(folder.path().join("text"), "somebody's text ".repeat(100)).expect("a file");
    let text = open_uri(&format!("sqlite://{}/text", folder.path().display())).expect("it opens");
    transient(write(&text, &rows(3, 1)).await, "not a database");
}
