//! From what results came to, to the messages of the metrics topic.

use prost::Message as _;

use super::windows::{LARGEST_METRIC, Windows};
use crate::dead_letter::room;
use crate::message::envelope::{Carrier, Event};
use crate::message::{EventType, Outgoing, Partition};
use crate::proto::writer::v1::{ErrorBatch, ErrorRow};
use crate::row::contribution::{Contribution, Forward};
use crate::runtime::{Emit, Emitted};
use crate::sink::{ErrorClass, Refusal};

/// Makes the messages for a topic.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The topic.
    pub topic: String,
    /// Who publishes: `chalk-writer/<group>`.
    pub source: String,
    /// Bytes that a message may have there, its envelope included.
    pub limit: usize,
}

impl Emit<Contribution> for Emitter {
    /// What the results of one partition in a batch come to; each has the number of its message in the batch.
    ///
    /// Metrics are named after the batch, `id`, which is another one when messages are read again: they are partial
    /// results, and no two of them are the same. What is passed on is named after the event that it came in, so
    /// that a store with keys has it once.
    fn emit(&self, id: &str, partition: &Partition, results: &[(usize, &Contribution)]) -> Emitted {
        let mut windows = Windows::default();
        let mut emitted = Emitted::default();
        let mut forwarded = Vec::new();
        let id_of = |at: usize| format!("{id}/{}/{at}", partition.number);
        let longest = id_of(usize::MAX);
        // One microsecond: a time in full.
        let room = |environment: &str, deployment: &str| self.room(&self.metrics(&longest, environment, deployment, 1));
        for (message, result) in results {
            let names = names_fit(result, room(&result.environment, &result.deployment));
            match names.and_then(|()| self.forwarded(result)) {
                Ok(messages) => {
                    windows.add(result);
                    forwarded.extend(messages);
                }
                Err(refusal) => emitted.refused.push((*message, refusal)),
            }
        }
        for (at, batch) in windows.into_batches(room).into_iter().enumerate() {
            let id = id_of(at);
            let event = self.metrics(&id, &batch.environment, &batch.deployment, batch.newest);
            emitted.messages.push(event.message(&self.topic, None, batch.metrics.encode_to_vec().into()));
        }
        emitted.messages.extend(forwarded);
        emitted
    }
}

impl Emitter {
    /// The event of a batch of metrics.
    fn metrics<'a>(&'a self, id: &'a str, environment: &'a str, deployment: &'a str, time: i64) -> Event<'a> {
        Event {
            id,
            source: &self.source,
            event_type: EventType::MetricsV1,
            time: Some(time),
            content_type: PROTOBUF,
            environment,
            deployment,
            operation: "",
        }
    }

    /// The event of what is passed on of a result.
    fn passed_on<'a>(&'a self, event_type: EventType, id: &'a str, result: &'a Contribution) -> Event<'a> {
        Event {
            id,
            source: &self.source,
            event_type,
            time: Some(result.event_time),
            content_type: PROTOBUF,
            environment: &result.environment,
            deployment: &result.deployment,
            operation: &result.operation,
        }
    }

    /// Bytes that the body of an event may have.
    fn room(&self, event: &Event<'_>) -> usize {
        room(self.limit, None, &event.headers(Carrier::Kafka))
    }

    fn forwarded(&self, result: &Contribution) -> Result<Vec<Outgoing>, Refusal> {
        let mut messages = Vec::new();
        let mut errors = 0;
        for forward in &result.forward {
            let (event_type, rows) = match forward {
                Forward::Query(query) => {
                    let id = format!("{}/query", result.event);
                    let event = self.passed_on(EventType::Query, &id, result);
                    let (body, room) = (query.encode_to_vec(), self.room(&event));
                    if body.len() > room {
                        return Err(too_large("the query's row", &format!("takes {} bytes", body.len()), room));
                    }
                    messages.push(event.message(&self.topic, None, body.into()));
                    continue;
                }
                Forward::QueryErrors(rows) => (EventType::QueryError, rows),
                Forward::ResolverErrors(rows) => (EventType::ResolverError, rows),
            };
            let id_of = |at: usize| format!("{}/errors/{at}", result.event);
            let room = self.room(&self.passed_on(event_type, &id_of(usize::MAX), result));
            for batch in error_batches(result, rows, room)? {
                let id = id_of(errors);
                let event = self.passed_on(event_type, &id, result);
                messages.push(event.message(&self.topic, None, batch.encode_to_vec().into()));
                errors += 1;
            }
        }
        Ok(messages)
    }
}

/// Whether each series has room in a message, whatever will be added to it.
fn names_fit(result: &Contribution, room: usize) -> Result<(), Refusal> {
    let of_message = result.environment.len() + result.deployment.len();
    let mut sizes = result.partials.iter().map(|(series, _)| {
        let group = series.resource_group.as_ref().map_or(0, |group| group.len());
        (of_message + series.source.len() + group + LARGEST_METRIC, series)
    });
    let Some((size, series)) = sizes.find(|(size, _)| *size > room) else { return Ok(()) };
    let what = format!("a metric of {:?} {:?}", series.namespace, series.name);
    Err(too_large(&what, &format!("may take {size} bytes with the names in it"), room))
}

/// Errors in batches of no more than `room` bytes each.
fn error_batches(result: &Contribution, rows: &[ErrorRow], room: usize) -> Result<Vec<ErrorBatch>, Refusal> {
    let empty = ErrorBatch {
        environment_id: result.environment.to_string(),
        deployment_id: result.deployment.to_string(),
        errors: Vec::new(),
    };
    let (of_message, mut size) = (empty.encoded_len(), usize::MAX);
    let mut batches: Vec<ErrorBatch> = Vec::new();
    for row in rows {
        let length = row.encoded_len();
        let length = 1 + prost::length_delimiter_len(length) + length;
        if of_message + length > room {
            return Err(too_large("the row of an error", &format!("takes {} bytes", of_message + length), room));
        }
        if size.saturating_add(length) > room {
            batches.push(empty.clone());
            size = of_message;
        }
        size += length;
        if let Some(batch) = batches.last_mut() {
            batch.errors.push(row.clone());
        }
    }
    Ok(batches)
}

const PROTOBUF: &str = "application/protobuf";

fn too_large(what: &str, takes: &str, room: usize) -> Refusal {
    let message = format!("{what} {takes}; a message of the metrics topic has room for {room}");
    Refusal::new(ErrorClass::TooLarge, message).harmless()
}
