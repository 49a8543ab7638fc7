//! `USAGE_BUS_WRITER`'s decoder: from a message to the rows of one table.

use std::sync::Arc;

use super::events;
use super::statuses::Status;
use super::times::Times;
use crate::decode::{Decoded, Decoder};
use crate::message::{EventType, Message};
use crate::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub};
use crate::proto::writer::v1::{UsageBatch, UsageEvent};
use crate::result::arrow::Budget;
use crate::row::table::{Shape, TableRow, TableRows};
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::body::{self, Read};
use crate::writer::catalog::Catalog;
use crate::writer::open::{Admitted, Gate, Unopened};
use crate::writer::time::{Believable, MessageTimes};
use crate::writer::{entity, skip};

/// Makes rows of what is on the usage bus. What it needs of the environments was prepared when it was made.
pub struct UsageDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<Store>,
    /// Which times are taken.
    pub(super) believable: Believable,
    pub(super) events: Arc<Shape>,
    pub(super) nodes: Arc<Shape>,
    pub(super) pods: Arc<Shape>,
}

/// The destination of an environment, where it has one.
#[derive(Debug)]
pub(super) struct Store(pub(super) Option<usize>);

impl Decoder<TableRows> for UsageDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TableRows>) {
        if let Err(unopened) = self.message(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl UsageDecoder {
    fn message<'a>(&self, message: &'a Message, decoded: &mut Decoded<TableRows>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        decoded.event_time = admitted.event_time(None);
        let message = MessageTimes { message: admitted.envelope.time, bus: admitted.bus_time() };
        let times = Times { message, believable: &self.believable };
        match admitted.event_type {
            EventType::NodeStatus => {
                let Read { message, unpacked } = body::read::<NodeStatusPubSub>(&admitted)?;
                decoded.unpacked = unpacked;
                self.status(&admitted, &self.nodes, message, &times, decoded)
            }
            EventType::PodStatus => {
                let Read { message, unpacked } = body::read::<PodStatusPubSub>(&admitted)?;
                decoded.unpacked = unpacked;
                self.status(&admitted, &self.pods, message, &times, decoded)
            }
            EventType::Usage => {
                let one = |event| UsageBatch { events: vec![event] };
                let Read { message, unpacked } = body::read_batch::<UsageBatch, UsageEvent>(&admitted, one)?;
                decoded.unpacked = unpacked;
                self.events(&admitted, message.events, &times, decoded);
                Ok(())
            }
            other => Err(admitted.unread(other)),
        }
    }

    /// Appends the rows of events, each of the environment that it names itself.
    fn events(
        &self,
        admitted: &Admitted<'_>,
        events: Vec<UsageEvent>,
        times: &Times<'_>,
        decoded: &mut Decoded<TableRows>,
    ) {
        decoded.event_time = admitted.event_time(events.iter().filter_map(events::latest).max());
        let header = admitted.envelope.environment.unwrap_or_default();
        let mut budget = Budget::new(admitted.limit);
        for (at, event) in events.into_iter().enumerate() {
            let table = &self.events.table;
            let name = match &*event.event_id {
                "" => format!("{table}[{at}]"),
                id => format!("{table}/{id}"),
            };
            let named = |refusal: Refusal| refusal.row(&name).table(table);
            let id = if event.environment_id.is_empty() { header } else { &event.environment_id };
            let known = admitted
                .has_of(&event.environment_id)
                .and_then(|()| self.catalog.get(id).ok_or_else(|| entity::unknown_environment(id)));
            let known = match known {
                Ok(known) => known,
                Err(refusal) => {
                    decoded.refuse(named(refusal));
                    continue;
                }
            };
            decoded.environment.get_or_insert_with(|| known.id.clone());
            let Some(destination) = known.entry.0 else {
                decoded.skip(skip::NO_STORE, 1);
                continue;
            };
            let row = events::values(event, &known.id, times);
            match row.and_then(|values| budget.take_rows(1, size_of_val(&*values)).map(|()| values)) {
                Ok(values) => push(&self.events, destination, values, decoded),
                Err(refusal) => decoded.refuse(named(refusal)),
            }
        }
    }

    /// Appends the row of a status, whose environment the headers name, or that there is but one of.
    fn status<'a>(
        &self,
        admitted: &Admitted<'a>,
        shape: &Arc<Shape>,
        status: impl Status,
        times: &Times<'_>,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<(), Unopened<'a>> {
        let seen = status.seen();
        decoded.event_time = admitted.event_time(seen);
        let known = match admitted.envelope.environment {
            Some(id) => self.catalog.get(id).ok_or_else(|| entity::unknown_environment(id)),
            None => self.catalog.only().ok_or_else(|| entity::unknown_environment("")),
        };
        let known = known.map_err(|refusal| admitted.refused(refusal))?;
        decoded.environment = Some(known.id);
        let Some(destination) = known.entry.0 else {
            decoded.skip(skip::NO_STORE, 1);
            return Ok(());
        };
        let name = format!("{}/{}", shape.table, status.uid());
        match times.of(seen).and_then(|at| status.values(at)) {
            Ok(values) => push(shape, destination, values, decoded),
            Err(refusal) => decoded.refuse(refusal.row(name).table(&shape.table)),
        }
        Ok(())
    }
}

fn push(shape: &Arc<Shape>, destination: usize, values: Vec<Value>, decoded: &mut Decoded<TableRows>) {
    decoded.rows.push(TableRows::Row(TableRow { destination, shape: Arc::clone(shape), values }));
}
