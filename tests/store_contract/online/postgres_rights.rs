//! The rights of the documentation, word for word: they are enough for both stores, and none is too many.

use std::sync::Arc;

use chalk_writer::row::table::{Column, Of, Repeats, Shape, TableRow, TableRows, When};
use chalk_writer::sink::{SinkError, Write};
use chalk_writer::store::OFFLINE;
use chalk_writer::value::Value;

use super::place::{cell, entity, int, options, row, store, write};
use crate::postgres::{PostgresServer, Version};

/// The lines of each block of SQL in the section on rights.
fn documented() -> [Vec<&'static str>; 2] {
    let page = include_str!("../../../docs/postgres.md");
    let (_, section) = page.split_once("## Rights\n").expect("a section on rights");
    let (section, _) = section.split_once("\n## ").expect("another section behind it");
    let blocks = section.split("```sql\n").skip(1).map(|block| block.split("```").next().expect("its end"));
    let blocks: Vec<Vec<&str>> = blocks.map(|block| block.lines().collect()).collect();
    blocks.try_into().expect("two blocks")
}

fn table(name: &'static str, key: &'static str) -> TableRows {
    let column =
        |name: &'static str, of: &str| Column { name: name.into(), data_type: Some(of.parse().expect("a type")) };
    let columns = vec![column(key, "string"), column("query_timestamp", "timestamp"), column("name", "string")];
    let shape = Arc::new(Shape {
        schema: None,
        table: name.into(),
        columns,
        time: When::Column(1),
        name: 0,
        key: vec![0],
        repeats: Repeats::First,
        create: true,
        of: if key == "__observation_id__" { Of::History } else { Of::Anything },
    });
    let values = vec![Value::text("1"), Value::Timestamp(1), Value::text("x")];
    TableRows::Row(TableRow { destination: 0, shape, values })
}

/// Writes to each table there is, on connections of its own.
async fn both_stores_write(uri: &str) -> Result<(), SinkError> {
    write(&*store(uri), &[row(entity("1"), vec![cell("a", 1, int(1))])]).await?;
    let offline = OFFLINE.open(&options(uri)).expect("it opens");
    let rows = [table("user", "__observation_id__"), table("query_log", "operation_id")];
    offline.write(Write { id: "w", rows: &rows.iter().collect::<Vec<_>>(), concurrency: 1 }).await.map(|_| ())
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_is_needed() {
    let server = PostgresServer::start(Version::Debian, &[]);
    server.sql("ALTER DATABASE features OWNER TO admin");
    let [makes, writes] = documented();
    let revoke = || {
        server.sql(
            "REVOKE ALL ON DATABASE features FROM PUBLIC, writer; REVOKE ALL ON SCHEMA public FROM PUBLIC, writer; \
             REVOKE ALL ON ALL TABLES IN SCHEMA public FROM writer",
        );
    };
    for (block, are_made) in [(makes, true), (writes, false)] {
        for left_out in 0..=block.len() {
            revoke();
            if are_made {
                server.sql("DROP TABLE IF EXISTS online_features, \"user\", query_log");
            }
            for (_, line) in block.iter().enumerate().filter(|(at, _)| *at != left_out) {
                server.sql(line);
            }
            let answer = both_stores_write(&server.uri()).await;
            match block.get(left_out) {
                None => answer.expect("the rights are enough"),
                Some(line) => match answer {
                    Err(SinkError::Denied { reason }) => assert!(reason.contains("42501"), "without {line}: {reason}"),
                    other => panic!("without {line}: {other:?}"),
                },
            }
        }
        // What was made is somebody else's from now on.
        server.sql(
            "ALTER TABLE online_features OWNER TO admin; ALTER TABLE \"user\" OWNER TO admin; \
             ALTER TABLE query_log OWNER TO admin",
        );
    }
}
