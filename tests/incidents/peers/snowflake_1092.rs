//! `snowflakedb/snowflake-kafka-connector#1092` and `#1122`: while a table gets a column, rows are passed over as bad ones, or are gone
//! with a channel that is opened anew. Here two writers evolve one table at once, with columns that appear and become wider under
//! both, and every value is in its column.

use serde_json::{Map, json};

use crate::kit::{On, Plant, result};
use crate::postgres::{PostgresServer, Version};

const SENT: u64 = 1_200;
const COLUMNS: u64 = 30;

#[test]
fn two_writers_that_evolve_one_table_at_once_lose_no_row_and_no_value() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let config = json!({
        "environments": {"prod": {"offline_store": {"uri": server.uri()}}},
        "batch": {"max_rows": 20},
    });
    let plant = Plant::new(On::Local, 4, "OFFLINE_WRITER", &config);
    let members = [plant.start(), plant.start()];
    crate::setup::eventually(crate::kit::PATIENCE, "shared", || members.iter().all(|member| member.assigned() == 2.0));
    // The column of a number appears at some time, in both about at once, and from half of the way on its values are fractions.
    let column = |number: u64| number * COLUMNS / SENT + number % 3;
    let value = |number: u64| if number < SENT / 2 { json!(number) } else { json!(number as f64 + 0.5) };
    plant.publish((0..SENT).map(|number| {
        let mut features = Map::new();
        features.insert("user.seq".to_owned(), json!(number));
        features.insert(format!("user.f{}", column(number)), value(number));
        result(number, &features.into())
    }));
    plant.is_done();
    for member in members {
        member.stop();
    }
    assert!(plant.letters().is_empty(), "{:?}", plant.letters());
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT seq) FROM \"user\""), format!("{SENT}|{SENT}"));
    for of in 0..=column(SENT - 1) {
        let wanted: Vec<u64> = (0..SENT).filter(|number| column(*number) == of).collect();
        let sum: f64 = wanted.iter().map(|number| value(*number).as_f64().unwrap()).sum();
        let found = server.sql(&format!("SELECT count(f{of}), sum(f{of})::double precision FROM \"user\""));
        assert_eq!(found, format!("{}|{sum}", wanted.len()), "column f{of}");
    }
}
