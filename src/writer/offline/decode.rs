//! `OFFLINE_WRITER`'s decoder: from a result to rows of history and to the query's own row.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::HashSet;

use super::observation_id::ObservationIds;
use super::shapes::{OBSERVATION_ID, OfflineEnvironment, QUERY_LOG, SYSTEM, TS, Target};
use super::{kind, query_log};
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::proto::pubsub::v1::QueryMessagePubSub;
use crate::result::arrow::Budget;
use crate::result::{EntityRow, FeatureTable, Source, TableBody, Wanted};
use crate::row::table::{Shape, TableRow, TableRows};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::conform::conform;
use crate::writer::catalog::Catalog;
use crate::writer::drop_ratio::dropped;
use crate::writer::open::{Gate, Opened};
use crate::writer::time::{Believable, MessageTimes, observed_at};
use crate::writer::{entity, skip};

/// 0001-01-01T00:00:00Z: history may be older than 1970, but has a date that a table can be cut by.
pub(super) const EARLIEST: i64 = -62_135_596_800_000_000;

/// Makes rows of results. What it needs of the environments was prepared when it was made.
pub struct OfflineDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<OfflineEnvironment>,
    /// Which observed times are taken.
    pub(super) believable: Believable,
    /// `skip_offline_writes_for_online_cached_features`
    pub(super) skip_cached: bool,
    /// `query_table_write_drop_ratio`
    pub(super) query_drop_ratio: f64,
    pub(super) query_log: Arc<Shape>,
}

/// What holds for every row of a message.
pub(super) struct Context<'a> {
    pub(super) environment: &'a OfflineEnvironment,
    pub(super) destination: usize,
    pub(super) times: MessageTimes,
    pub(super) believable: &'a Believable,
    pub(super) skip_cached: bool,
    /// Values of `__environment__`, `__operation_id__`, `__operation_kind__`, `__deployment_id__`.
    pub(super) of_message: [Value; 4],
    pub(super) ids: ObservationIds,
    /// What its tables in Arrow form may still take.
    pub(super) budget: Budget,
}

impl Decoder<TableRows> for OfflineDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TableRows>) {
        match self.gate.open(message, Wanted { query: true, ..Wanted::default() }) {
            Ok(opened) => self.rows(opened, decoded),
            Err(unopened) => self.catalog.unopened(unopened, decoded),
        }
    }
}

impl OfflineDecoder {
    /// Appends the rows of an opened message.
    pub(super) fn rows(&self, mut opened: Opened<'_>, decoded: &mut Decoded<TableRows>) {
        let Some((environment, destination)) = self.catalog.place_result(&opened, decoded) else { return };
        let tables = std::mem::take(&mut opened.result.tables);
        if !opened.result.persistence.offline {
            decoded.skip(skip::PERSISTENCE_OFF, entity::values_of(&tables));
            return;
        }
        // What the body says is a slice of the message already.
        let text = |body: &ByteString, either: &str| match (body.is_empty(), either) {
            (false, _) => Value::Text(body.clone()),
            (true, "") => Value::Null,
            (true, header) => Value::text(header),
        };
        let result = &opened.result;
        let mut context = Context {
            environment: &environment.entry,
            destination,
            times: opened.times(),
            believable: &self.believable,
            skip_cached: self.skip_cached,
            of_message: [
                text(&result.environment_id, opened.environment()),
                text(&result.operation_id, opened.operation()),
                kind::value(opened.result.operation_kind),
                text(&result.deployment_id, opened.deployment()),
            ],
            ids: ObservationIds::of_event(opened.source(), &opened.id()),
            budget: Budget::new(opened.admitted.limit),
        };
        // Only a query's row names the tables that its values went to.
        let Some(query) = &opened.result.query else {
            for (at, table) in tables.into_iter().enumerate() {
                context.table(at, table, decoded);
            }
            return;
        };
        let (mut value_tables, mut seen) = (Vec::new(), HashSet::new());
        for (at, table) in tables.into_iter().enumerate() {
            let namespace = table.namespace.clone();
            let before = decoded.rows.len();
            context.table(at, table, decoded);
            if decoded.rows.len() > before && seen.insert(namespace.clone()) {
                value_tables.push(namespace);
            }
        }
        self.query(query, &opened, destination, value_tables, decoded);
    }

    /// Appends the row of `query_log`.
    fn query(
        &self,
        query: &QueryMessagePubSub,
        opened: &Opened<'_>,
        destination: usize,
        value_tables: Vec<ByteString>,
        decoded: &mut Decoded<TableRows>,
    ) {
        let id = opened.id();
        let operation_id = [query.operation_id.as_str(), opened.operation()].into_iter().find(|id| !id.is_empty());
        let operation_id = ByteString::from(operation_id.unwrap_or(&id));
        if dropped(&operation_id, self.query_drop_ratio) {
            return decoded.skip(skip::QUERY_DROPPED, 1);
        }
        // `created_at` is an integer typed TIMESTAMP, which BigQuery reads as microseconds.
        let created_at = Some(query.created_at).filter(|time| *time != 0);
        match observed_at(created_at, opened.times()).and_then(|time| self.believable.check(time)) {
            Err(refusal) => decoded.refuse(refusal.row(format!("{QUERY_LOG}/{operation_id}")).table(QUERY_LOG)),
            Ok(query_timestamp) => {
                let around = query_log::Around {
                    operation_id,
                    environment_id: opened.environment(),
                    deployment_id: opened.deployment(),
                    operation_kind: opened.result.operation_kind,
                    query_timestamp,
                    value_tables,
                };
                let values = query_log::values(query, around);
                let row = TableRow { destination, shape: self.query_log.clone(), values };
                decoded.rows.push(TableRows::Row(row));
            }
        }
    }
}

/// Whether a namespace can have a table.
fn table_named(namespace: &str, body: &TableBody) -> Result<(), Refusal> {
    if namespace.is_empty() {
        return Err(entity::no_namespace(body));
    }
    if namespace == QUERY_LOG {
        let reason = format!("namespace `{QUERY_LOG}` has the name of the table of queries");
        return Err(Refusal::new(ErrorClass::ValueRefused, reason).table(QUERY_LOG));
    }
    Ok(())
}

impl Context<'_> {
    fn table(&mut self, table_at: usize, table: FeatureTable, decoded: &mut Decoded<TableRows>) {
        let FeatureTable { namespace, body } = table;
        if let Err(refusal) = table_named(&namespace, &body) {
            return decoded.refuse(refusal);
        }
        let (columns, rows) = match body {
            TableBody::Rows { columns, rows } => (columns, rows),
            TableBody::Arrow(ipc) => return self.arrow(table_at, &namespace, &ipc, decoded),
        };
        let layout = self.environment.layout(&namespace, &columns, columns.list());
        // A row has a place for every column of its table, whatever it says.
        if let Err(refusal) = self.budget.take_rows(rows.len(), layout.shape.columns.len() * size_of::<Value>()) {
            return decoded.refuse(refusal.table(&namespace));
        }
        for (at, mut row) in rows.into_iter().enumerate() {
            match self.row(&layout, (table_at, at), &mut row, decoded) {
                Ok(Some(row)) => decoded.rows.push(TableRows::Row(row)),
                Ok(None) => {}
                Err(refusal) => decoded.refuse(entity::at_row(refusal, &namespace, &row.id, at)),
            }
        }
    }

    /// The row of an entity, whose values are taken out of it; `None` where nothing of it is to be stored. One that is
    /// refused keeps its key.
    fn row(
        &mut self,
        layout: &super::shapes::Layout,
        (table_at, at): (usize, usize),
        row: &mut EntityRow,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<Option<TableRow>, Refusal> {
        if let Some(fault) = row.fault.take() {
            return Err(Refusal::new(ErrorClass::Decode, fault));
        }
        let namespace = &layout.shape.table;
        let mut digits = itoa::Buffer::new();
        let primary_key = entity::key_text(&row.id, &mut digits)?;
        entity::each_column_once(&row.cells)?;
        let own_time = entity::time_of(&layout.times, &row.cells)?.or(row.observed_at);
        // Not cloned one by one, as `vec!` has it.
        let mut values = Vec::new();
        values.resize_with(layout.shape.columns.len(), || Value::Null);
        let mut written = 0;
        for cell in std::mem::take(&mut row.cells) {
            let target = match layout.columns.get(cell.column) {
                Some(Target::Write(target)) => *target,
                Some(Target::Skip(reason)) => {
                    decoded.skip(reason, 1);
                    continue;
                }
                Some(Target::Time) => continue,
                Some(Target::Refuse(reason)) => return Err(Refusal::new(ErrorClass::Decode, reason.as_str())),
                None => return Err(entity::no_column(cell.column)),
            };
            if self.skip_cached && cell.source == Source::OnlineStore {
                decoded.skip(skip::CACHE_HIT, 1);
                continue;
            }
            written += 1;
            if cell.source == Source::Missing {
                continue;
            }
            let column = &layout.shape.columns[target];
            values[target] = match &column.data_type {
                Some(dtype) => {
                    conform(cell.value, dtype).map_err(|fault| entity::type_mismatch(&column.name, &fault))?
                }
                None => cell.value,
            };
        }
        if written == 0 {
            decoded.skip(skip::EMPTY_ROW, 1);
            return Ok(None);
        }
        let ts = self.believable.check(observed_at(own_time, self.times)?)?;
        values[OBSERVATION_ID] = Value::text(self.ids.row(namespace, primary_key, table_at, at));
        let id = match &layout.id_type {
            Some(dtype) => conform(row.id.clone(), dtype).map_err(|fault| entity::type_mismatch("id", &fault))?,
            None => std::mem::replace(&mut row.id, Value::Null),
        };
        values[1..=self.of_message.len()].clone_from_slice(&self.of_message);
        values[super::shapes::ID] = id;
        values[TS] = Value::Timestamp(ts);
        debug_assert!(values.len() >= SYSTEM.len());
        Ok(Some(TableRow { destination: self.destination, shape: layout.shape.clone(), values }))
    }
}
