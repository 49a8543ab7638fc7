//! Writers that are killed with SIGKILL: what was promised is there, and nothing half is ever seen.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use chalk_writer::store::offline::lake::read;
use chalk_writer::value::Value;

use super::support::{DAY, NOON, child, open, read_file, read_once, row, shape, write};

const ROOT: &str = "CHALK_WRITER_TEST_KILLED_ROOT";
const ROUND: &str = "CHALK_WRITER_TEST_KILLED_ROUND";
const ROWS: i64 = 2_000;

/// The process that is killed: writes for ever, and says what is promised to be there.
#[tokio::test]
#[ignore = "run by the tests of this file"]
async fn a_writer_that_is_killed() {
    let (Ok(root), Ok(round)) = (std::env::var(ROOT), std::env::var(ROUND)) else { return };
    let round: i64 = round.parse().expect("a number");
    let store = open(Path::new(&root));
    for unit in 0.. {
        // A column of its own a round, so that kills hit the making of schemas too.
        let shape = shape("user", &[("noise", None), (&format!("c{round}_{}", unit % 5), None)]);
        let first = (round * 1_000 + unit) * ROWS;
        let rows: Vec<_> = (first..first + ROWS)
            .map(|n| {
                let noise = Value::text(uuid::Uuid::new_v4().to_string());
                row(&shape, n, NOON + n % 2 * DAY, [noise, Value::Int(n)])
            })
            .collect();
        let id = uuid::Uuid::now_v7().to_string();
        write(&store, &id, &rows).await.expect("written");
        println!("promised {first}");
    }
}

fn start(root: &Path, round: i64) -> Child {
    let root = root.to_str().expect("a path of ours is text");
    let mut command = child("offline::crash::a_writer_that_is_killed", &[(ROOT, root), (ROUND, &round.to_string())]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("this test runs again")
}

/// Kills a writer and gives the first rows of the units that it had promised.
fn kill(mut writer: Child) -> Vec<i64> {
    writer.kill().expect("it runs");
    writer.wait().expect("it ends");
    let lines = BufReader::new(writer.stdout.take().expect("piped")).lines().map_while(Result::ok);
    lines.filter_map(|line| line.rsplit_once("promised ")?.1.parse().ok()).collect()
}

fn check(root: &Path, promised: &[i64]) {
    let files = read::files(root, "user").unwrap_or_default();
    for file in &files {
        assert!(read_file(file).len() as i64 <= ROWS, "{}", file.display());
    }
    let found = read_once(root, "user");
    for first in promised {
        for n in *first..first + ROWS {
            let row = found.get(&format!("obs-{n}")).unwrap_or_else(|| panic!("row {n} was promised and is lost"));
            assert_eq!(row["__id__"], Value::Int(n));
        }
    }
    let beside = walk(root).into_iter().filter(|path| !path.contains("/_staging/") && !path.contains("/_schema/"));
    let strangers: Vec<_> = beside.filter(|path| !path.ends_with(".parquet")).collect();
    assert!(strangers.is_empty(), "readers would take {strangers:?} for data");
}

fn walk(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }).collect()
}

#[test]
fn a_killed_writer_keeps_its_promises_and_leaves_only_whole_files() {
    let root = tempfile::tempdir().expect("folder");
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut promised = Vec::new();
    let mut round = 0;
    while round < 12 || promised.len() < 10 {
        assert!(Instant::now() < deadline, "{} units were written in {round} rounds", promised.len());
        let writer = start(root.path(), round);
        // The moment of the kill wanders from before the first file to the middle of a later one.
        std::thread::sleep(Duration::from_millis(20 + 37 * round.unsigned_abs()));
        promised.extend(kill(writer));
        check(root.path(), &promised);
        round += 1;
    }
}

#[test]
fn a_writer_killed_before_its_file_is_in_place_leaves_nothing_to_be_seen() {
    let root = tempfile::tempdir().expect("folder");
    let staging = root.path().join("_staging");
    let mut left = 0;
    for round in 0..200 {
        let before = read::count(root.path(), "user").unwrap_or_default();
        let writer = start(root.path(), round);
        let deadline = Instant::now() + Duration::from_secs(60);
        while entries(&staging) == left {
            assert!(Instant::now() < deadline, "nothing was ever staged");
        }
        let promised = kill(writer);
        check(root.path(), &promised);
        let found = entries(&staging);
        if found > left && promised.is_empty() {
            assert_eq!(read::count(root.path(), "user").unwrap_or_default(), before, "a staged file is not data");
            return;
        }
        left = found;
    }
    panic!("no kill hit a file between its making and its move");
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
