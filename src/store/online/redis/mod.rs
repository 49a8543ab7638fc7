//! The Redis online store: one hash an entity, written by a script that compares times in the server.
//!
//! The layout is in [`layout`], the script in `write.lua`, some fifty entities a call: few and large
//! commands cost client and server least. Where a row is newer than everything stored of its entity
//! the script writes it unread.
//!
//! # Guarantees
//! The script is atomic and changes nothing when it is repeated, so it does no harm that the client
//! sends a command again after a reset, or that a command runs whose answer was given up. A write is
//! acknowledged when the server has it in memory; whether it survives the server is a matter of the
//! server's persistence and replication.
//!
//! A key that holds something else than a hash of this layout refuses its own row and no other.

mod answer;
mod connection;
mod layout;
mod uri;

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Access};

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Mutex;

use self::answer::{Answer, is_of_the_row};
use self::connection::Connection;
use super::{OnlineStore, StoredFeature, merge};
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, msgpack};

/// Entities in one call of the script.
const ENTITIES: usize = 50;

/// Fields in one call: a call holds the server up for its whole length.
const FIELDS: usize = 5_000;

/// Bytes in one call, though a single larger row is still sent alone.
const BYTES: usize = 4 * 1024 * 1024;

/// The script, whose text never depends on what is written.
const SCRIPT: &str = include_str!("write.lua");

struct RedisStore {
    options: StoreOptions,
    connection: Mutex<Option<Arc<Connection>>>,
}

/// Checks the URI; contacts nothing.
pub(super) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let address = uri::parse(expose(&options.fetched))?;
    if options.clustered || address.clustered {
        return Err(StoreError(format!("online store `{address}`: a Redis cluster is not in this version")));
    }
    Ok(Arc::new(RedisStore { options: options.clone(), connection: Mutex::default() }))
}

impl RedisStore {
    /// The connection, made where there is none; with the URI as it is now, so a new password is found.
    async fn connection(&self) -> Result<Arc<Connection>, SinkError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let denied = |reason: String| SinkError::Denied { reason };
        let uri = self.options.uri.fetch().await.map_err(|error| denied(error.to_string()))?;
        let address = uri::parse(expose(&uri)).map_err(|error| denied(error.to_string()))?;
        let connection = Arc::new(Connection::open(&address, &self.options.cache_prefix).await?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Gives a connection up, unless another call has done so already.
    async fn give_up(&self, broken: &Arc<Connection>) {
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
            *slot = None;
        }
    }

    /// Cuts the rows that can be written into calls.
    fn calls(write: &Write<'_, FeatureRow>, outcome: &mut Outcome) -> Vec<Vec<usize>> {
        let mut calls = Vec::new();
        let (mut call, mut fields, mut bytes) = (Vec::new(), 0, 0);
        for (index, row) in write.rows.iter().enumerate() {
            if let Some(refusal) = merge::refusal(row) {
                outcome.refused.push((index, refusal));
                continue;
            }
            if row.cells.is_empty() {
                continue;
            }
            let size = crate::sink::Row::size(*row);
            let full = call.len() >= ENTITIES || fields + row.cells.len() > FIELDS || bytes + size > BYTES;
            if full && !call.is_empty() {
                calls.push(std::mem::take(&mut call));
                (fields, bytes) = (0, 0);
            }
            call.push(index);
            fields += row.cells.len();
            bytes += size;
        }
        if !call.is_empty() {
            calls.push(call);
        }
        calls
    }

    /// Writes the rows of one call.
    async fn call(
        &self,
        connection: &Connection,
        rows: &[&FeatureRow],
        call: &[usize],
    ) -> Result<(Answer, Vec<(usize, Refusal)>), SinkError> {
        let prefix = &self.options.cache_prefix;
        let now = merge::now_micros();
        let rows_of_call = call.iter().map(|index| rows[*index]);
        let answer = connection.write(|digest| layout::call(digest, prefix, rows_of_call.clone(), now)).await?;
        let mut refused = Vec::new();
        for (place, error) in &answer.failed {
            let index = *call.get(*place).ok_or_else(|| connection::unexpected("an entity that was not sent"))?;
            if !is_of_the_row(error) {
                return Err(connection.refused(error));
            }
            let key = layout::key(prefix, &rows[index].entity);
            let shown = String::from_utf8_lossy(&key).chars().take(200).collect::<String>();
            let refusal = Refusal {
                code: Some("WRONGTYPE".into()),
                ..Refusal::new(
                    ErrorClass::ValueRefused,
                    format!("the key `{shown}` is not a hash of this store's layout: {error}"),
                )
            };
            refused.push((index, merge::at(refusal, rows[index])));
        }
        Ok((answer, refused))
    }
}

#[async_trait]
impl Sink<FeatureRow> for RedisStore {
    async fn write(&self, write: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let calls = Self::calls(&write, &mut outcome);
        if calls.is_empty() {
            return Ok(outcome);
        }
        let connection = self.connection().await?;
        let failed = AtomicBool::new(false);
        // After an error no further call starts, but those under way are waited for: none outlives its write.
        let mut answers = futures::stream::iter(calls)
            .map(async |call| {
                if failed.load(Access::Relaxed) {
                    return None;
                }
                let answer = self.call(&connection, write.rows, &call).await;
                failed.fetch_or(answer.is_err(), Access::Relaxed);
                Some(answer)
            })
            .buffer_unordered(write.concurrency.max(1));
        let mut first_error = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Some(Ok((answer, refused))) => {
                    outcome.stored += answer.stored;
                    outcome.stale += answer.stale;
                    outcome.refused.extend(refused);
                }
                Some(Err(error)) => {
                    first_error.get_or_insert(error);
                }
                None => {}
            }
        }
        drop(answers);
        let Some(error) = first_error else { return Ok(outcome) };
        if connection.is_broken() {
            self.give_up(&connection).await;
        }
        Err(error)
    }

    fn collapse(&self, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

#[async_trait]
impl OnlineStore for RedisStore {
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        let connection = self.connection().await?;
        let read = connection.read(layout::key(&self.options.cache_prefix, entity)).await;
        if connection.is_broken() {
            self.give_up(&connection).await;
        }
        let mut features = Vec::new();
        for (field, value) in read? {
            if !field.is_empty() {
                features.push(layout::stored(&field, &value)?);
            }
        }
        features.sort_by(|one: &StoredFeature, other| one.feature.cmp(&other.feature));
        Ok(features)
    }
}

/// The script compares the stored bytes.
fn compare(one: &Value, other: &Value) -> Ordering {
    let encoded = |value| {
        let mut bytes = Vec::new();
        msgpack::write(value, &mut bytes);
        bytes
    };
    encoded(one).cmp(&encoded(other))
}
