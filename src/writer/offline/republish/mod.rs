//! `offline_mode: republish`: history as parquet on a topic, for `OFFLINE_STORE_STREAMING_INSERT_WRITER` to write.
//!
//! The tables are made here, so that a row which its table will never take is buried with the message that it came in.
//! What is published is one parquet file for each table and environment of a write, or several where one would be
//! larger than a message may be. Its columns have the types that the table has, so that nothing is lost or made up on
//! the way: what the second writer stores is what this one would have stored.

mod encode;
mod group;
mod schema_hash;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;

use crate::message::envelope::{Carrier, Event};
use crate::message::insert::{InsertAttributes, TableName, WriteMode};
use crate::message::{EventType, Headers, Outgoing};
use crate::result::sniff::Encoding;
use crate::row::table::{Repeats, Shape, TableRows};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::store::tables::prepare::{Form, Part, Prepared, TableStore, Taken};
use crate::store::{self, StoreOptions};
use crate::writer::destinations::{OFFLINE, Opened, Opener, Stores};
use crate::writer::outlet::Outlet;

/// The offline stores whose tables are made, and whose rows are published.
pub(super) const REPUBLISHED: Stores<TableRows> =
    Stores { name: "streaming inserts for the offline store", open: Opener::Publishing(open), ..OFFLINE };

fn open(options: &StoreOptions, outlet: &Outlet) -> Opened<TableRows> {
    Ok(Arc::new(Republish { store: store::OFFLINE.open(options)?, outlet: outlet.clone() }))
}

/// Publishes rows whose tables it has made.
pub(super) struct Republish {
    store: Arc<dyn TableStore>,
    outlet: Outlet,
}

/// What the bodies of one table and environment have in common.
struct Body<'a> {
    write: &'a str,
    environment: ByteString,
    columns: &'a [(ByteString, Form)],
    attributes: InsertAttributes,
    /// How many there are so far.
    parts: usize,
}

/// A message, and the rows that are in it.
struct Ready<'a> {
    message: Outgoing,
    /// Which body it is one of.
    of: usize,
    rows: Vec<Taken<'a>>,
}

/// How far a write is.
#[derive(Default)]
struct Writing {
    refused: BTreeMap<usize, Refusal>,
    /// Rows of which a message did not land.
    again: BTreeSet<usize>,
    /// Why not.
    failed: Option<SinkError>,
    published: usize,
}

impl Writing {
    /// What came of it. Where nothing landed the whole is repeated as it is.
    fn end(mut self) -> Result<Outcome, SinkError> {
        let reason = match self.failed {
            Some(error) if self.published == 0 || matches!(error, SinkError::Bug { .. }) => return Err(error),
            failed => failed.map(|error| error.to_string()),
        };
        // Of what is buried the sound rows have to be there: then it is found again.
        self.refused.retain(|row, _| !self.again.contains(row));
        Ok(Outcome {
            refused: self.refused.into_iter().collect(),
            again: self.again.into_iter().collect(),
            reason,
            stored: self.published as u64,
            ..Outcome::default()
        })
    }
}

#[async_trait]
impl Sink<TableRows> for Republish {
    async fn write(&self, write: Write<'_, TableRows>) -> Result<Outcome, SinkError> {
        let Prepared { tables, refused } = self.store.prepare(write.rows).await?;
        let mut writing = Writing { refused: refused.into_iter().collect(), ..Writing::default() };
        let mut bodies: Vec<Body<'_>> = Vec::with_capacity(tables.len());
        let mut rows = Vec::with_capacity(tables.len());
        for table in &tables {
            for (environment, of_it) in group::by_environment(&table.rows) {
                let Some(first) = of_it.first() else { continue };
                let attributes = attributes(first.rows.shape(), &table.columns);
                bodies.push(Body { write: write.id, environment, columns: &table.columns, attributes, parts: 0 });
                rows.push((bodies.len() - 1, of_it));
            }
        }
        while !rows.is_empty() {
            let mut ready = Vec::new();
            for (of, rows) in rows {
                self.messages(of, &mut bodies[of], rows, &mut ready, &mut writing.refused).await?;
            }
            rows = self.publish(ready, &bodies, &mut writing).await;
        }
        writing.end()
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.store.probe().await
    }

    /// No row of a table has a key.
    fn collapse(&self, key: &Infallible, _: &[&TableRows]) -> TableRows {
        match *key {}
    }
}

impl Republish {
    /// Publishes messages. Rows of which the topic does not take the message are looked for among others, whose messages
    /// have landed and are not sent again: what this returns is to go in smaller ones.
    async fn publish<'a>(
        &self,
        ready: Vec<Ready<'a>>,
        bodies: &[Body<'_>],
        writing: &mut Writing,
    ) -> Vec<(usize, Vec<Taken<'a>>)> {
        let (messages, rows): (Vec<Outgoing>, Vec<_>) =
            ready.into_iter().map(|Ready { message, of, rows }| (message, (of, rows))).unzip();
        if messages.is_empty() {
            return Vec::new();
        }
        let mut smaller = Vec::new();
        for (landing, (of, rows)) in self.outlet.publish(&messages).await.into_iter().zip(rows) {
            match landing {
                Ok(()) => writing.published += group::count(&rows),
                Err(SinkError::Poisoned(refusal)) => match &rows[..] {
                    [Taken { index, rows }] if rows.count() == 1 => {
                        writing
                            .refused
                            .entry(*index)
                            .or_insert_with(|| refusal.row(name(rows)).table(&bodies[of].attributes.table.table));
                    }
                    _ => smaller.extend(group::split(rows, 2).into_iter().map(|part| (of, part))),
                },
                Err(error) => {
                    writing.again.extend(rows.iter().map(|taken| taken.index));
                    writing.failed.get_or_insert(error);
                }
            }
        }
        smaller
    }

    /// Appends the messages of rows, which all go to one table of one environment.
    async fn messages<'a>(
        &self,
        of: usize,
        body: &mut Body<'_>,
        rows: Vec<Taken<'a>>,
        ready: &mut Vec<Ready<'a>>,
        refused: &mut BTreeMap<usize, Refusal>,
    ) -> Result<(), SinkError> {
        let mut waiting = VecDeque::from([rows]);
        while let Some(rows) = waiting.pop_front() {
            let count = group::count(&rows);
            let beforehand = group::parts_for_memory(&rows, body.columns.len(), self.outlet.most_unpacked());
            if count > 1 && beforehand > 1 {
                put_back(&mut waiting, group::split(rows, beforehand));
                continue;
            }
            let batch = encode::batch(body.columns, &rows).map_err(|error| bug(&error))?;
            let file = tokio::task::spawn_blocking(move || encode::file(&batch)).await;
            let file = file.map_err(|error| bug(&error))?.map_err(|error| bug(&error))?;
            let headers = self.headers(body, group::newest(&rows));
            let room = self.outlet.room(None, &headers);
            if file.len() <= room {
                ready.push(Ready { message: self.outlet.message(None, headers, file.into()), of, rows });
                body.parts += 1;
            } else if let ([Taken { index, rows }], 1) = (&rows[..], count) {
                let message = format!(
                    "a row of {} bytes as a parquet file; a message of topic `{}` has room for {room}",
                    file.len(),
                    self.outlet.topic()
                );
                let refusal = Refusal::new(ErrorClass::TooLarge, message).harmless().row(name(rows));
                refused.entry(*index).or_insert_with(|| refusal.table(&body.attributes.table.table));
            } else {
                put_back(&mut waiting, group::split(rows, file.len().div_ceil(room.max(1)) + 1));
            }
        }
        Ok(())
    }

    fn headers(&self, body: &Body<'_>, time: Option<i64>) -> Headers {
        let Body { write, environment, attributes, parts: part, .. } = body;
        let event = Event {
            // The same for a repetition of the write, which makes the same bodies.
            id: &format!("{write}/{environment}/{}/{part}", attributes.table.table),
            source: self.outlet.source(),
            event_type: EventType::StreamingInsert,
            time,
            content_type: Encoding::Parquet.content_type(),
            environment,
            deployment: "",
            operation: "",
        };
        attributes.headers(&event.headers(Carrier::Kafka), Carrier::Kafka)
    }
}

/// The first of some rows, as its table calls it.
fn name(rows: &Part<'_>) -> ByteString {
    match rows {
        Part::Row(row) => row.name(),
        Part::Columns(columns, rows) => columns.name(rows[0] as usize),
    }
}

fn put_back<T>(waiting: &mut VecDeque<T>, parts: Vec<T>) {
    for part in parts.into_iter().rev() {
        waiting.push_front(part);
    }
}

/// How the rows of a shape are inserted: one of history once, by the id of its observation; of a query the newest.
fn attributes(shape: &Shape, columns: &[(ByteString, Form)]) -> InsertAttributes {
    let name = |at: usize| shape.columns.get(at).map(|column| column.name.to_string());
    let (mode, keys, order) = match shape.repeats {
        // History has no rows of which the furthest stands.
        Repeats::First | Repeats::Furthest(_) => (WriteMode::Append, Vec::new(), None),
        Repeats::Newest => {
            let keys = shape.key.iter().filter_map(|at| name(*at)).collect();
            (WriteMode::Upsert, keys, shape.time.column().and_then(name))
        }
    };
    InsertAttributes {
        table: TableName {
            database: None,
            schema: shape.schema.as_ref().map(ToString::to_string),
            table: shape.table.to_string(),
        },
        mode,
        keys,
        order,
        create: shape.create,
        schema_hash: Some(schema_hash::of(columns)),
    }
}

fn bug(error: &dyn Display) -> SinkError {
    SinkError::Bug { reason: format!("encoding a parquet file: {error}") }
}
