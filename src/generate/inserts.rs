//! Streaming inserts: some rows of one table in a parquet file, which is the body.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::result::sniff::Encoding;

/// Rows of a body.
const ROWS: std::ops::Range<usize> = 1..20;

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let rows = draft.random.usize(ROWS);
    let body = logins(draft, rows);
    let attributes = [("ce_table", "login"), ("ce_writemode", "append")];
    draft.wrapped(EventType::StreamingInsert, "", Encoding::Parquet, &attributes, body)
}

/// A parquet file of so many logins, each with an id of its own.
pub(super) fn logins(draft: &mut Draft, rows: usize) -> Vec<u8> {
    const SOUND: &str = "columns of one length and of types that parquet has";
    let time = draft.time();
    let mut ids = Vec::with_capacity(rows);
    let (mut users, mut countries, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    let (mut devices, mut new, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        ids.push(draft.id());
        users.push(draft.random.u64(..draft.options.entities) as i64);
        times.push(time - draft.random.i64(0..60_000_000));
        countries.push(draft.one_of(&["DE", "FR", "GB", "IN", "JP", "NG", "US"]));
        devices.push((!draft.chance(5)).then(|| draft.one_of(&["phone", "tablet", "desktop"])));
        scores.push((!draft.chance(5)).then(|| draft.random.f64()));
        new.push(draft.random.bool());
    }
    let columns: [(&str, ArrayRef); 8] = [
        ("__observation_id__", Arc::new(StringArray::from(ids))),
        ("__environment__", Arc::new(StringArray::from(vec![draft.options.environment.clone(); rows]))),
        ("__id__", Arc::new(Int64Array::from(users))),
        ("__ts__", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("country", Arc::new(StringArray::from(countries))),
        ("device", Arc::new(StringArray::from(devices))),
        ("risk", Arc::new(Float64Array::from(scores))),
        ("is_new", Arc::new(BooleanArray::from(new))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect(SOUND);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect(SOUND);
    writer.write(&batch).expect(SOUND);
    writer.into_inner().expect(SOUND)
}
