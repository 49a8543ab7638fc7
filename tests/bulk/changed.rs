//! Tables that others change under a running writer, tables that cannot be what a load needs, and those that are not for
//! messages.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use serde_json::json;

use crate::files::{batch, ids, parquet, put, rows};
use crate::plant::{Plant, insert, until};
use crate::postgres::{PostgresServer, Version};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_what_they_are_where_another_widens_their_column_between_two_loads() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = Plant::new(&[("prod", &server.uri())], json!({})).await;
    let file = |from: i64| put(plant.path(), &format!("{from}.parquet"), &parquet(&rows(from, from + 3), 4));
    let (before, after) = (file(0), file(3));
    let writer = plant.start();
    plant.load(&[insert("before", "user", &[&before])]).await;
    until("the first load lands", || server.try_sql("SELECT count(*) FROM \"user\"").is_ok_and(|rows| rows == "3"));
    server.sql("ALTER TABLE \"user\" ALTER COLUMN id TYPE double precision");
    plant.load(&[insert("after", "user", &[&after])]).await;
    until("the second load lands", || server.sql("SELECT count(*) FROM \"user\"") == "6");
    assert_eq!(server.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM \"user\""), "0,1,2,3,4,5");
    drop(writer);
    assert_eq!(plant.letters().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_table_cannot_be_had_waits_and_others_of_its_batch_land() {
    let server = PostgresServer::start(Version::Debian, &[]);
    server.sql("CREATE TABLE locked (name text)");
    let plant = Plant::new(&[("prod", &server.uri())], json!({"batch": {"max_age": "1s"}})).await;
    let uri = put(plant.path(), "1.parquet", &parquet(&rows(0, 3), 4));
    let mut missing = insert("missing", "missing", &[&uri]);
    missing["create_table"] = json!(false);
    // One that the writer's role may neither change nor write to, of its columns and of others.
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let fits = put(plant.path(), "fits.parquet", &parquet(&batch(&[("name", names)]), 4));
    plant.load(&[missing, insert("grows", "locked", &[&uri]), insert("fits", "locked", &[&fits])]).await;
    plant.load(&[insert("sound", "user", &[&uri])]).await;
    let writer = plant.start();
    until("the sound load lands", || server.try_sql("SELECT count(*) FROM \"user\"").is_ok_and(|rows| rows == "3"));
    assert_eq!(server.sql("SELECT count(*) FROM chalk.loads"), "1");
    server.sql(
        "CREATE TABLE missing (id bigint); ALTER TABLE missing OWNER TO writer; ALTER TABLE locked OWNER TO writer",
    );
    until("the others land", || server.sql("SELECT count(*) FROM chalk.loads") == "4");
    assert_eq!(server.sql("SELECT (SELECT count(*) FROM missing), (SELECT count(*) FROM locked)"), "3|4");
    drop(writer);
    assert_eq!(plant.letters().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_load_writes_to_a_schema_of_the_server_or_of_the_program() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = Plant::new(&[("prod", &server.uri())], json!({})).await;
    let uri = put(plant.path(), "1.parquet", &parquet(&rows(0, 3), 4));
    let of = |schema: &str| insert(schema, &format!("{schema}.loads"), &[&uri]);
    plant.load(&[insert("ours", "user", &[&uri]), of("chalk"), of("pg_temp"), of("information_schema")]).await;
    plant.drain();
    let letters = plant.letters();
    assert_eq!(letters.len(), 3, "{letters:?}");
    for [class, row, message] in &letters {
        let schema = row.strip_prefix("load ").expect("a load");
        assert_eq!(class, "VALUE_REFUSED");
        assert!(message.contains(&format!("schema `{schema}` is")), "{message}");
    }
    assert_eq!(server.sql("SELECT string_agg(load_id, ',') FROM chalk.loads"), "ours");
}

/// By its footer 3,000 rows of a few bytes; in memory 300 MB.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_long_value_for_all_of_its_rows_goes_into_a_lake_in_parts() {
    let plant = Plant::new(&[("prod", Plant::lake())], json!({})).await;
    let narrow = rows(0, 3_000);
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000); 3_000]));
    let (id, time) = (narrow.column(0).clone(), narrow.column(2).clone());
    let bytes = parquet(&batch(&[("id", id), ("long", long), ("observed_at", time)]), 3_000);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let uri = put(plant.path(), "1.parquet", &bytes);
    plant.load(&[insert("long", "user", &[&uri])]).await;
    plant.drain();
    assert_eq!(plant.letters().len(), 0);
    let lake = plant.path().join("lake");
    assert_eq!(ids(&lake, "user"), (0..3_000).collect::<Vec<_>>());
    let files = chalk_writer::store::offline::lake::read::files(&lake, "user").expect("files");
    assert_eq!(files.len(), 9, "32 MiB hold 335 rows");
    assert_eq!(std::fs::read_dir(lake.join("_staging")).expect("a folder").count(), 0);
}
