//! `OFFLINE_STORE_BULK_INSERT_WRITER`: each load once by its id, also where it is sent twice.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use chalk_writer::config::StoreKind;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use super::role::{Leaves, Looking, Made, Making, Pace, Role};

pub const ROLE: Role = Role {
    name: "loads",
    writers: &["OFFLINE_STORE_BULK_INSERT_WRITER"],
    topic: ("uploads", 4),
    more_topics: &[],
    message: "chalk.bulk_insert.v1",
    store: Some(StoreKind::Offline),
    is_in_both: false,
    pace: Pace::Fixed(3.0),
    make,
    look,
};

const ROWS: i64 = 5;

fn make(making: &mut Making<'_>) -> Made {
    let number = making.number;
    let mut leaves = Vec::new();
    let files = making.random.i64(1..3);
    let mut file = |file: i64| {
        let rows: Vec<i64> = (0..ROWS).map(|row| file * ROWS + row).collect();
        leaves.extend(rows.iter().map(|row| Leaves::Row(format!("load-{number}/{row}"))));
        let loads: ArrayRef = Arc::new(Int64Array::from(vec![number; rows.len()]));
        let rows: ArrayRef = Arc::new(Int64Array::from(rows));
        let batch = RecordBatch::try_from_iter([("load", loads), ("row", rows)]).unwrap();
        let Some(folder) = making.folder else { return json!(null) };
        let path = folder.join(format!("load-{number}-{file}.parquet"));
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        json!({"uri": format!("file://{}", path.display()), "row_count": ROWS})
    };
    let files: Vec<_> = (0..files).map(&mut file).collect();
    let body = json!({
        "environment_id": "prod", "load_id": format!("load-{number}"), "table": "loaded", "files": files,
        "created_at": "2026-01-01T00:00:00Z",
    });
    Made { body, key: number.to_string(), leaves, twice: making.random.u8(..4) == 0, environment: "prod" }
}

fn look(looking: &mut Looking<'_>) {
    let seen = &mut *looking.seen;
    looking
        .place
        .each("public", "loaded", "load, row", &mut |row| seen.found(&format!("load-{}/{}", row[0], row[1]), 1));
}
