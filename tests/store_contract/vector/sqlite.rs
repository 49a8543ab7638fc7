//! What others read in the file: the table with plain SQLite, and the index in step with it.

use chalk_writer::value::Metric;
use chalk_writer::value::Vector;
use rusqlite::Connection;

use super::place::{Place, key, nearest, row, singles, stored, tombstone, under};

fn file(place: &Place) -> Connection {
    let Place::Sqlite(folder) = place else { panic!("not a file") };
    Connection::open(folder.path().join("vectors.db")).expect("a file")
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| row.get(0)).expect(sql);
    rows.collect::<Result<_, _>>().expect("texts")
}

#[tokio::test]
async fn the_tables_are_as_the_documentation_has_them() {
    let place = Place::start("sqlite");
    let store = place.store();
    let at = chalk_writer::value::time::now();
    stored(&*store, &[row(key("embedding", "42"), at, singles(&[1.0, -2.0])), tombstone(key("embedding", "43"), at)])
        .await;
    stored(&*store, &[under(Metric::Ip, row(key("product@2", "1"), at, Vector::Fp64(vec![0.5])))]).await;
    let file = file(&place);
    let known = texts(
        &file,
        "SELECT concat_ws('|', namespace, feature, table_name, coalesce(index_name, '-'), dimension, metric, precision) \
         FROM vector_tables ORDER BY id",
    );
    let expected = [
        "user|embedding|vectors_user__embedding|vector_index_1|2|l2|fp32",
        "user|product@2|vectors_user__product__v2|-|1|ip|fp64",
    ];
    assert_eq!(known, expected);
    let rows = texts(
        &file,
        "SELECT concat_ws('|', environment, id, CASE WHEN embedding IS NULL THEN '-' ELSE hex(embedding) END, coalesce(payload, '-'), observed_at, evicted) \
         FROM vectors_user__embedding ORDER BY id",
    );
    assert_eq!(rows, [format!("prod|42|0000803F000000C0|{{}}|{at}|0"), format!("prod|43|-|-|{at}|1")]);
}

#[tokio::test]
async fn the_index_holds_the_vectors_that_stand_and_no_others() {
    let place = Place::start("sqlite");
    let store = place.store();
    let mut rng = fastrand::Rng::with_seed(3);
    stored(&*store, &[row(key("embedding", "0"), 1, singles(&[0.0]))]).await;
    for time in 0..40 {
        let of = key("embedding", &rng.u8(0..12).to_string());
        let row = if rng.bool() {
            tombstone(of, time * 1_000 + i64::MAX / 4)
        } else {
            row(of, time * 1_000 + i64::MAX / 4, singles(&[time as f32]))
        };
        stored(&*store, &[row]).await;
        let file = file(&place);
        let standing =
            texts(&file, "SELECT CAST(key AS TEXT) FROM vectors_user__embedding WHERE evicted = 0 ORDER BY key");
        let indexed = texts(&file, "SELECT CAST(rowid AS TEXT) FROM vector_index_1_rowids ORDER BY rowid");
        assert_eq!(indexed, standing);
    }
}

#[tokio::test]
async fn more_dimensions_than_the_index_takes_are_scanned() {
    let place = Place::start("sqlite");
    let store = place.store();
    let wide = |element: f32| singles(&vec![element; 8_193]);
    stored(&*store, &[row(key("wide", "1"), 1, wide(1.0)), row(key("wide", "2"), 1, wide(0.25))]).await;
    let found = nearest(&*store, "wide", "prod", &vec![0.0; 8_193], 1).await;
    assert_eq!(found.iter().map(|found| &*found.id).collect::<Vec<_>>(), ["2"]);
    stored(&*store, &[row(key("fits", "1"), 1, singles(&vec![1.0; 8_192]))]).await;
    assert!(nearest(&*store, "fits", "prod", &vec![1.0; 8_192], 1).await[0].distance.abs() < 1e-9);
    assert_eq!(
        texts(&file(&place), "SELECT coalesce(index_name, '-') FROM vector_tables ORDER BY id"),
        ["-", "vector_index_2"]
    );
}

/// Others have the file open, and a table of theirs that is called like one of ours.
#[tokio::test]
async fn a_table_of_somebody_else_is_left_alone() {
    let place = Place::start("sqlite");
    file(&place).execute_batch("CREATE TABLE vectors_user__embedding (mine TEXT)").expect("made");
    let store = place.store();
    stored(&*store, &[row(key("embedding", "1"), 1, singles(&[1.0]))]).await;
    let file = file(&place);
    let names = texts(&file, "SELECT table_name FROM vector_tables");
    assert!(names[0].starts_with("vectors_user__embedding_"), "{names:?}");
    assert_eq!(texts(&file, "SELECT mine FROM vectors_user__embedding"), Vec::<String>::new());
}
