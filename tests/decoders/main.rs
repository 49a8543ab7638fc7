//! Every decoder of results: what they read, what they refuse, and that no input makes them panic.

mod again;
mod arrow;
mod example;
mod faults;
mod fuzz;
mod packed;
mod round_trip;

use std::sync::Arc;

use bytes::Bytes;
use chalk_writer::message::{Delivery, Envelope, EventType, Headers, Message, Partition};
use chalk_writer::result::{QueryResult, TableBody, Wanted, decode};
use chalk_writer::sink::Refusal;

/// What a body may be at the most.
const LIMIT: usize = 64 << 20;

/// A message with a body and nothing else.
fn message(body: impl Into<Bytes>) -> Message {
    Message {
        delivery: Delivery(0),
        partition: Partition { topic: Arc::from("results"), number: 0 },
        offset: 0,
        timestamp_ms: None,
        key: None,
        headers: Headers::new(),
        payload: Some(body.into()),
    }
}

fn read(body: impl Into<Bytes>) -> Result<QueryResult, Refusal> {
    read_within(body, LIMIT)
}

/// The parts of a message that are wanted.
fn read_of(body: impl Into<Bytes>, wanted: Wanted, limit: usize) -> Result<QueryResult, Refusal> {
    let message = message(body);
    let envelope = Envelope::read(&message, EventType::Result)?;
    let mut result = QueryResult::default();
    decode(&message, &envelope, wanted, limit, &mut result).map(|_| result)
}

/// The same with another limit.
fn read_within(body: impl Into<Bytes>, limit: usize) -> Result<QueryResult, Refusal> {
    read_of(body, Wanted::ALL, limit)
}

fn read_json(text: impl Into<String>) -> QueryResult {
    let text = text.into();
    read(text.clone()).unwrap_or_else(|refusal| panic!("{refusal}: {text}"))
}

fn refusal(body: impl Into<Bytes>) -> String {
    read(body).expect_err("refused").to_string()
}

/// What two results have in common, however their columns are numbered: everything.
fn same(one: &QueryResult, two: &QueryResult) -> bool {
    plain(one) == plain(two)
}

/// The result as text: every feature by its name, doubles by their bits.
fn plain(result: &QueryResult) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{} {} {} {} {:?} {:?} {:?} {:?} {:?}\n",
        result.environment_id,
        result.deployment_id,
        result.operation_id,
        result.operation_kind,
        result.observed_at,
        result.query,
        result.persistence,
        result.errors,
        result.resolver_runs
    );
    for table in &result.tables {
        let _ = writeln!(text, "table {}", table.namespace);
        match &table.body {
            TableBody::Arrow(bytes) => writeln!(text, "arrow {bytes:?}").expect("text"),
            TableBody::Rows { columns, rows } => {
                for row in rows {
                    let _ = writeln!(text, "row {:?} {:?} {:?}", row.id, row.observed_at, row.fault);
                    for cell in &row.cells {
                        let (name, source) = (&columns[cell.column], cell.source);
                        let _ = writeln!(
                            text,
                            "  {name} {:?} {source:?} {}",
                            cell.value,
                            cell.source_id.as_deref().map_or("", |id| id)
                        );
                    }
                }
            }
        }
    }
    text
}
