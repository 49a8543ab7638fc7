//! `METRICS_BUS_WRITER`'s decoder: from a message to the rows of each store that takes its kind.

use std::sync::Arc;

use super::event::Event;
use super::partial::{Metric, told_apart};
use super::routes::{Route, Routes};
use super::{errors, queries};
use crate::decode::{Decoded, Decoder};
use crate::message::{EventType, Message};
use crate::proto::metrics::{v1, v4};
use crate::proto::pubsub::v1::QueryMessagePubSub;
use crate::proto::writer::v1::ErrorBatch;
use crate::result::arrow::Budget;
use crate::row::table::{TableRow, TableRows};
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::body::{self, Read};
use crate::writer::catalog::Catalog;
use crate::writer::drop_ratio::dropped;
use crate::writer::open::{Admitted, Gate, Unopened};
use crate::writer::time::Believable;
use crate::writer::{entity, skip};

/// Makes rows of what is on the metrics bus. What it needs of the environments was prepared when it was made.
pub struct MetricsBusDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<Routes>,
    /// Which times are taken.
    pub(super) believable: Believable,
    /// `query_table_write_drop_ratio`
    pub(super) query_drop_ratio: f64,
}

/// A kind of errors: its table, and where its rows go.
type Errors = (&'static str, fn(&Routes) -> &[Route]);
const OF_QUERIES: Errors = ("query_errors", |routes| &routes.query_errors);
const OF_RESOLVERS: Errors = ("resolver_errors", |routes| &routes.resolver_errors);

impl Decoder<TableRows> for MetricsBusDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TableRows>) {
        if let Err(unopened) = self.message(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl MetricsBusDecoder {
    fn message<'a>(&self, message: &'a Message, decoded: &mut Decoded<TableRows>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        decoded.event_time = admitted.event_time(None);
        let event = Event::of(&admitted, &self.believable);
        match admitted.event_type {
            EventType::MetricsV4 => {
                let Read { message, unpacked } = body::read::<v4::MetricBatch>(&admitted)?;
                decoded.unpacked = unpacked;
                self.metrics(&admitted, &event, message.metrics, decoded)
            }
            EventType::Query => {
                let Read { message, unpacked } = body::read::<QueryMessagePubSub>(&admitted)?;
                decoded.unpacked = unpacked;
                self.query(&admitted, &event, message, decoded)
            }
            EventType::QueryError => {
                let Read { message, unpacked } = body::read::<ErrorBatch>(&admitted)?;
                decoded.unpacked = unpacked;
                self.errors(&admitted, &event, message, OF_QUERIES, decoded)
            }
            EventType::ResolverError => {
                let Read { message, unpacked } = body::read::<ErrorBatch>(&admitted)?;
                decoded.unpacked = unpacked;
                self.errors(&admitted, &event, message, OF_RESOLVERS, decoded)
            }
            EventType::MetricsV1 => {
                let Read { message, unpacked } = body::read::<v1::MetricBatch>(&admitted)?;
                decoded.unpacked = unpacked;
                self.metrics(&admitted, &event, message.metrics, decoded)
            }
            other => Err(admitted.unread(other)),
        }
    }

    /// Appends the rows of metrics, each of the environment that it names itself.
    fn metrics<'a, M: Metric>(
        &self,
        admitted: &Admitted<'a>,
        event: &Event<'_>,
        metrics: Vec<M>,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<(), Unopened<'a>> {
        let newest = metrics.iter().filter_map(Metric::observed_at).max();
        decoded.event_time = admitted.event_time(newest);
        let (mut budget, emitter) = (Budget::new(admitted.limit), event.emitter());
        for (at, metric) in metrics.into_iter().enumerate() {
            let named = |refusal: Refusal| refusal.row(format!("metrics[{at}]")).table("metrics");
            if let Err(refusal) = admitted.has_of(metric.environment()) {
                decoded.refuse(named(refusal));
                continue;
            }
            let Some(routes) = self.routes(metric.environment(), event, decoded) else { continue };
            let row = metric.row(event).map(|row| told_apart(row, &emitter, at).into_values());
            match row.and_then(|values| take(&mut budget, &routes.metrics, &values).map(|()| values)) {
                Ok(values) => push(&routes.metrics, values, decoded),
                Err(refusal) => decoded.refuse(named(refusal)),
            }
        }
        Ok(())
    }

    fn query<'a>(
        &self,
        admitted: &Admitted<'a>,
        event: &Event<'_>,
        query: QueryMessagePubSub,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<(), Unopened<'a>> {
        admitted.is_of(&query.environment_id)?;
        let Some(routes) = self.routes(&query.environment_id, event, decoded) else { return Ok(()) };
        let operation = queries::operation(&query, event);
        if dropped(&operation, self.query_drop_ratio) {
            decoded.skip(skip::QUERY_DROPPED, 1);
            return Ok(());
        }
        let name = format!("queries/{operation}");
        match queries::values(query, operation, event) {
            Ok(values) => push(&routes.queries, values, decoded),
            Err(refusal) => decoded.refuse(refusal.row(name).table("queries")),
        }
        Ok(())
    }

    fn errors<'a>(
        &self,
        admitted: &Admitted<'a>,
        event: &Event<'_>,
        batch: ErrorBatch,
        (table, routes): Errors,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<(), Unopened<'a>> {
        admitted.is_of(&batch.environment_id)?;
        let Some(of_environment) = self.routes(&batch.environment_id, event, decoded) else { return Ok(()) };
        let routes = routes(&of_environment);
        let of_all = errors::Batch { environment_id: batch.environment_id, deployment_id: batch.deployment_id };
        let mut budget = Budget::new(admitted.limit);
        for (at, error) in batch.errors.into_iter().enumerate() {
            let row = errors::values(error, at, &of_all, event);
            match row.and_then(|values| take(&mut budget, routes, &values).map(|()| values)) {
                Ok(values) => push(routes, values, decoded),
                Err(refusal) => decoded.refuse(refusal.row(format!("{table}[{at}]")).table(table)),
            }
        }
        Ok(())
    }

    /// The routes of an environment, by the body's name of it, else the headers'; `None` once it is told why there are
    /// none.
    fn routes(&self, body: &str, event: &Event<'_>, decoded: &mut Decoded<TableRows>) -> Option<Arc<Routes>> {
        let id = if body.is_empty() { event.environment } else { body };
        let Some(known) = self.catalog.get(id) else {
            decoded.refuse(entity::unknown_environment(id));
            return None;
        };
        decoded.environment.get_or_insert(known.id);
        if known.entry.is_nowhere() {
            decoded.skip(skip::NO_STORE, 1);
            return None;
        }
        Some(known.entry)
    }
}

/// Takes what the rows of some values are going to hold in memory.
fn take(budget: &mut Budget, routes: &[Route], values: &[Value]) -> Result<(), Refusal> {
    budget.take_rows(routes.len(), values.iter().map(Value::size).sum())
}

/// Appends a row for each route.
fn push(routes: &[Route], values: Vec<Value>, decoded: &mut Decoded<TableRows>) {
    let Some((last, others)) = routes.split_last() else { return };
    let row = |route: &Route, values| {
        TableRows::Row(TableRow { destination: route.destination, shape: route.shape.clone(), values })
    };
    decoded.rows.extend(others.iter().map(|route| row(route, values.clone())));
    decoded.rows.push(row(last, values));
}
