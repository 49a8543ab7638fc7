//! A load lands once: however often it comes, and wherever the writer dies.

use serde_json::json;

use crate::files::{parquet, put, rows};
use crate::plant::{Plant, insert, until};
use crate::postgres::{PostgresServer, Version};

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_comes_again_changes_nothing() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = Plant::new(&[("prod", &server.uri()), ("lake", Plant::lake())], json!({})).await;
    let uris = [
        put(plant.path(), "1.parquet", &parquet(&rows(0, 100), 30)),
        put(plant.path(), "2.parquet", &parquet(&rows(100, 150), 1_000)),
    ];
    let load = insert("load-1", "user", &[&uris[0], &uris[1]]);
    let mut into_lake = load.clone();
    into_lake["environment_id"] = json!("lake");
    // Twice in a batch, and once more later, when its files are gone.
    plant.load(&[load.clone(), into_lake.clone(), load.clone(), into_lake.clone()]).await;
    plant.drain();
    let held = |what: &str| {
        assert_eq!(server.sql("SELECT count(*), count(DISTINCT id), sum(id) FROM \"user\""), "150|150|11175", "{what}");
        assert_eq!(lake_rows(&plant), (0..150).collect::<Vec<_>>(), "{what}");
    };
    held("twice in a batch");
    let ledger =
        "SELECT environment_id, load_id, table_name, cardinality(files), cardinality(skipped), rows FROM chalk.loads";
    assert_eq!(server.sql(ledger), "prod|load-1|user|2|0|150");
    for name in ["1.parquet", "2.parquet"] {
        std::fs::remove_file(plant.path().join(name)).expect("removed");
    }
    plant.load(&[load, into_lake]).await;
    plant.drain();
    held("redelivered");
    assert_eq!(plant.letters(), Vec::<[String; 3]>::new());
}

/// The ids of all rows of the lake's table, sorted.
fn lake_rows(plant: &Plant) -> Vec<i64> {
    crate::files::ids(&plant.path().join("lake"), "user")
}

/// A batch is acknowledged when every store has it: while one is away, what the other has is not acknowledged, and the
/// writer dies just then.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_load_and_its_acknowledgement_it_lands_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let mut away = PostgresServer::start(Version::Newest, &[]);
    let stores = [("prod", &*server.uri()), ("lake", Plant::lake()), ("away", &*away.uri())];
    let plant = Plant::new(&stores, json!({})).await;
    away.kill();
    let uri = put(plant.path(), "1.parquet", &parquet(&rows(0, 5_000), 1_000));
    let of = |environment: &str| {
        let mut load = insert("load-1", "user", &[&uri]);
        load["environment_id"] = json!(environment);
        load
    };
    plant.load(&[of("prod"), of("lake"), of("away")]).await;
    let writer = plant.start();
    let landed = || server.try_sql("SELECT count(*) FROM chalk.loads").is_ok_and(|count| count == "1");
    until("the load is in the ledger", landed);
    until("the load is in the lake", || {
        std::fs::read_dir(plant.path().join("lake/_loads")).is_ok_and(|all| all.count() == 1)
    });
    drop(writer);
    away.start_again();
    plant.drain();
    for store in [&server, &away] {
        assert_eq!(store.sql("SELECT count(*), count(DISTINCT id) FROM \"user\""), "5000|5000");
        assert_eq!(store.sql("SELECT count(*) FROM chalk.loads"), "1");
    }
    assert_eq!(lake_rows(&plant), (0..5_000).collect::<Vec<_>>());
}

/// Files of several groups and loads, and a writer that dies again and again while it reads, copies and moves.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_again_and_again_every_row_is_there_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant =
        Plant::new(&[("prod", &server.uri()), ("lake", Plant::lake())], json!({"batch": {"max_rows": 3}})).await;
    let mut loads = Vec::new();
    for number in 0..8 {
        let from = number * 4_000;
        let files = [
            put(plant.path(), &format!("{number}a.parquet"), &parquet(&rows(from, from + 3_000), 700)),
            put(plant.path(), &format!("{number}b.parquet"), &parquet(&rows(from + 3_000, from + 4_000), 700)),
        ];
        for environment in ["prod", "lake"] {
            let mut load = insert(&format!("load-{number}"), "user", &[&files[0], &files[1]]);
            load["environment_id"] = json!(environment);
            loads.push(load);
        }
    }
    for (round, loads) in loads.chunks(2).enumerate() {
        plant.load(loads).await;
        let writer = plant.start();
        // Somewhere else each time: at its start, in a load, behind it.
        std::thread::sleep(std::time::Duration::from_millis(40 * round as u64 + 10));
        drop(writer);
    }
    plant.drain();
    let expected = "32000|32000|511984000";
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT id), sum(id) FROM \"user\""), expected);
    assert_eq!(server.sql("SELECT count(*), sum(rows) FROM chalk.loads"), "8|32000");
    assert_eq!(lake_rows(&plant), (0..32_000).collect::<Vec<_>>());
}
