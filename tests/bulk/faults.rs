//! Files that cannot be loaded: each store, each way of `on_error`, and what a dead letter says of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::json;

use crate::files::{batch, ids, parquet, put, rows, wrong};
use crate::plant::{Plant, insert};
use crate::postgres::{PostgresServer, Version};

/// The bad files of a folder by name, and what is said of each.
fn bad_files(folder: &std::path::Path) -> Vec<(String, &'static str, &'static str)> {
    let sound = parquet(&rows(0, 1_000), 100);
    let cut = &sound[..sound.len() - 100];
    let mut torn = sound.clone();
    // In the pages of the file, far from its footer.
    torn[200..1_200].fill(0xff);
    vec![
        (format!("file://{}", folder.join("none.parquet").display()), "FILE_MISSING", "there is no such file"),
        (put(folder, "empty.parquet", b""), "FILE_INVALID", "is empty"),
        (put(folder, "text.parquet", b"id,name\n1,a\n"), "FILE_INVALID", "does not end with PAR1"),
        (put(folder, "cut.parquet", cut), "FILE_INVALID", "does not end with PAR1"),
        (put(folder, "torn.parquet", &torn), "FILE_INVALID", "cannot be read"),
        (put(folder, "wrong.parquet", &parquet(&wrong(0, 10), 100)), "TYPE_MISMATCH", "column `id`"),
    ]
}

/// Loads a sound file beside each bad one, and gives the ids that are in the table then.
async fn with_each_bad_file(store: &str, on_error: &str, read: impl Fn(&Plant) -> Vec<i64>) {
    let plant = Plant::new(&[("prod", store)], json!({ "on_error": on_error })).await;
    // What is there before gives the table its types.
    let first = put(plant.path(), "first.parquet", &parquet(&rows(0, 10), 100));
    plant.load(&[insert("first", "user", &[&first])]).await;
    plant.drain();
    let bad = bad_files(plant.path());
    let mut expected: Vec<i64> = (0..10).collect();
    let mut loads = Vec::new();
    for (number, (uri, ..)) in bad.iter().enumerate() {
        let from = 1_000 * (number as i64 + 1);
        let name = format!("{number}.parquet");
        let good = put(plant.path(), &name, &parquet(&rows(from, from + 100), 30));
        loads.push(insert(&format!("load-{number}"), "user", &[&good, uri]));
        if on_error.contains("skip") {
            expected.extend(from..from + 100);
        }
    }
    plant.load(&loads).await;
    plant.drain();
    assert_eq!(read(&plant), expected, "{on_error}");
    let letters = plant.letters();
    assert_eq!(letters.len(), bad.len(), "each message once: {letters:?}");
    for (number, (uri, class, what)) in bad.iter().enumerate() {
        let letter = letters.iter().find(|[_, row, _]| row == uri).unwrap_or_else(|| panic!("{uri}: {letters:?}"));
        assert_eq!(letter[0], *class, "{letter:?}");
        assert!(letter[2].contains(what) && letter[2].contains(&format!("load-{number}")), "{letter:?}");
    }
    // Put right, and sent again: what landed is not loaded again.
    for (number, (uri, ..)) in bad.iter().enumerate() {
        let from = 10_000 * (number as i64 + 1);
        let path = uri.strip_prefix("file://").expect("a file");
        std::fs::write(path, parquet(&rows(from, from + 5), 100)).expect("written");
        expected.extend(from..from + 5);
        if !on_error.contains("skip") {
            let from = 1_000 * (number as i64 + 1);
            expected.extend(from..from + 100);
        }
    }
    plant.replay();
    plant.drain();
    expected.sort_unstable();
    assert_eq!(read(&plant), expected, "{on_error}, sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_postgres_a_bad_file_keeps_its_load_out_or_itself_alone() {
    for on_error in ["abort", "SKIP_FILE"] {
        let server = PostgresServer::start(Version::Debian, &[]);
        let read = |_: &Plant| -> Vec<i64> {
            let ids = server.sql("SELECT id FROM \"user\" ORDER BY id");
            ids.lines().map(|id| id.parse().expect("a number")).collect()
        };
        with_each_bad_file(&server.uri(), &on_error.to_ascii_lowercase(), read).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_lake_a_bad_file_keeps_its_load_out_or_itself_alone() {
    for on_error in ["abort", "skip_file"] {
        let read = |plant: &Plant| ids(&plant.path().join("lake"), "user");
        with_each_bad_file(Plant::lake(), on_error, read).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_message_says_of_a_file_is_held_against_it() {
    let plant = Plant::new(&[("prod", Plant::lake())], json!({})).await;
    let bytes = parquet(&rows(0, 10), 100);
    let uri = put(plant.path(), "1.parquet", &bytes);
    let said = |id: &str, rows: usize, size: usize| {
        let mut load = insert(id, "user", &[]);
        load["files"] = json!([{"uri": uri, "row_count": rows, "size_bytes": size}]);
        load
    };
    plant.load(&[said("rows", 11, bytes.len()), said("size", 10, 7), said("right", 10, bytes.len())]).await;
    plant.drain();
    let letters = plant.letters();
    let messages: Vec<&str> = letters.iter().map(|[_, _, message]| message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains("has 10 rows, and the message says 11")), "{messages:?}");
    let size = format!("has {} bytes, and the message says 7", bytes.len());
    assert!(messages.iter().any(|message| message.contains(&size)), "{messages:?}");
    assert_eq!((letters.len(), ids(&plant.path().join("lake"), "user").len()), (2, 10));
}

/// The server refuses rows and names no file: which it is, is found, and nothing of it is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_server_refuses_is_found() {
    let server = PostgresServer::start(Version::Newest, &[]);
    server.sql("CREATE TABLE \"user\" (id bigint, name text CHECK (name <> 'bad'), observed_at timestamptz)");
    server.sql("ALTER TABLE \"user\" OWNER TO writer");
    let plant = Plant::new(&[("prod", &server.uri())], json!({"on_error": "skip_file"})).await;
    let named = |id: i64, name: &str| {
        let right = rows(id, id + 1);
        let name: ArrayRef = Arc::new(StringArray::from(vec![name]));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        parquet(&batch(&[("id", id), ("name", name), ("observed_at", right.column(2).clone())]), 10)
    };
    let uris: Vec<String> = (0..6)
        .map(|id| put(plant.path(), &format!("{id}.parquet"), &named(id, if id == 3 { "bad" } else { "good" })))
        .collect();
    plant.load(&[insert("one", "user", &[&uris[0], &uris[1]]), insert("two", "user", &[&uris[2], &uris[3]])]).await;
    plant.load(&[insert("three", "user", &[&uris[4], &uris[5]])]).await;
    plant.drain();
    assert_eq!(server.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM \"user\""), "0,1,2,4,5");
    let letters = plant.letters();
    let [[class, row, message]] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((class.as_str(), row), ("VALUE_REFUSED", &uris[3]));
    assert!(message.contains("check constraint"), "{message}");
}
