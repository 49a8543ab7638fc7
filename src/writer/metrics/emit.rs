//! From what results came to, to the messages of the metrics topic.

use prost::Message as _;

use super::windows::{LARGEST_METRIC, Windows};
use crate::message::envelope::Event;
use crate::message::{EventType, Outgoing, Partition};
use crate::proto::writer::v1::{ErrorBatch, ErrorRow};
use crate::row::contribution::{Contribution, Forward};
use crate::sink::{ErrorClass, Refusal};

/// Makes the messages for a topic.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The topic.
    pub topic: String,
    /// Who publishes: `chalk-writer/<group>`.
    pub source: String,
    /// Bytes that a body may have, the envelope left out.
    pub largest: usize,
}

/// What results came to.
#[derive(Clone, Debug, Default)]
pub struct Emitted {
    /// To be published, in this order.
    pub messages: Vec<Outgoing>,
    /// Results of which nothing is published, and why.
    pub refused: Vec<(usize, Refusal)>,
}

impl Emitter {
    /// What the results of one partition in a batch come to; each has the number of its message in the batch.
    ///
    /// Metrics are named after the batch, `id`, which is another one when messages are read again: they are partial
    /// results, and no two of them are the same. What is passed on is named after the event that it came in, so
    /// that a store with keys has it once.
    pub fn emit(&self, id: &str, partition: &Partition, results: &[(usize, &Contribution)]) -> Emitted {
        let mut windows = Windows::default();
        let mut emitted = Emitted::default();
        let mut forwarded = Vec::new();
        for (message, result) in results {
            match self.names_fit(result).and_then(|()| self.forwarded(result)) {
                Ok(messages) => {
                    windows.add(result);
                    forwarded.extend(messages);
                }
                Err(refusal) => emitted.refused.push((*message, refusal)),
            }
        }
        for (at, batch) in windows.into_batches(self.largest).into_iter().enumerate() {
            let event = Event {
                id: &format!("{id}/{}/{at}", partition.number),
                source: &self.source,
                event_type: EventType::MetricsV1,
                time: Some(batch.newest),
                content_type: PROTOBUF,
                environment: &batch.environment,
                deployment: &batch.deployment,
                operation: "",
            };
            emitted.messages.push(event.message(&self.topic, None, batch.metrics.encode_to_vec().into()));
        }
        emitted.messages.extend(forwarded);
        emitted
    }

    /// Whether each series has room in a message, whatever will be added to it.
    fn names_fit(&self, result: &Contribution) -> Result<(), Refusal> {
        let of_message = result.environment.len() + result.deployment.len();
        let mut sizes = result.partials.iter().map(|(series, _)| {
            let group = series.resource_group.as_ref().map_or(0, |group| group.len());
            (of_message + series.source.len() + group + LARGEST_METRIC, series)
        });
        let Some((size, series)) = sizes.find(|(size, _)| *size > self.largest) else { return Ok(()) };
        let what = format!("a metric of {:?} {:?}", series.namespace, series.name);
        Err(too_large(&what, &format!("may take {size} bytes with the names in it"), self.largest))
    }

    fn forwarded(&self, result: &Contribution) -> Result<Vec<Outgoing>, Refusal> {
        let mut messages = Vec::new();
        let mut errors = 0;
        let mut message = |event_type, id: &str, body: Vec<u8>| {
            let event = Event {
                id,
                source: &self.source,
                event_type,
                time: Some(result.event_time),
                content_type: PROTOBUF,
                environment: &result.environment,
                deployment: &result.deployment,
                operation: &result.operation,
            };
            messages.push(event.message(&self.topic, None, body.into()));
        };
        for forward in &result.forward {
            let (event_type, rows) = match forward {
                Forward::Query(query) => {
                    let body = query.encode_to_vec();
                    if body.len() > self.largest {
                        return Err(too_large("the query's row", &format!("takes {} bytes", body.len()), self.largest));
                    }
                    message(EventType::Query, &format!("{}/query", result.event), body);
                    continue;
                }
                Forward::QueryErrors(rows) => (EventType::QueryError, rows),
                Forward::ResolverErrors(rows) => (EventType::ResolverError, rows),
            };
            for batch in self.error_batches(result, rows)? {
                message(event_type, &format!("{}/errors/{errors}", result.event), batch.encode_to_vec());
                errors += 1;
            }
        }
        Ok(messages)
    }

    fn error_batches(&self, result: &Contribution, rows: &[ErrorRow]) -> Result<Vec<ErrorBatch>, Refusal> {
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
            if of_message + length > self.largest {
                let takes = format!("takes {} bytes", of_message + length);
                return Err(too_large("the row of an error", &takes, self.largest));
            }
            if size.saturating_add(length) > self.largest {
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
}

const PROTOBUF: &str = "application/protobuf";

fn too_large(what: &str, takes: &str, largest: usize) -> Refusal {
    let message = format!("{what} {takes}; a message of the metrics topic has room for {largest}");
    Refusal::new(ErrorClass::TooLarge, message).harmless()
}
