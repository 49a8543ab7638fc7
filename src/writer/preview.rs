//! What a message would write, shown instead of written: for `peek`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::destinations::PlannedDestination;
use crate::decode::{Decoded, Decoder, NOTHING_IN_IT};
use crate::message::Message;
use crate::result::unknown_fields;
use crate::row::feature::{Entity, FeatureRow};
use crate::row::table::{TableRow, TableRows};
use crate::sink::{Refusal, Row};
use crate::value::time::{format_date, format_timestamp};
use crate::value::{Value, Vector};

/// Everything that a writer would do with one message.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The environment, where it is known.
    pub environment: Option<String>,
    /// The event's time, RFC 3339.
    pub event_time: Option<String>,
    /// The rows that it would write.
    pub rows: Vec<PreviewRow>,
    /// What it would leave out on purpose: reason and number of values.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What would make a dead letter of it.
    pub refused: Vec<PreviewRefusal>,
    /// Where nothing is in it: the fields of its JSON that a result does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
}

/// One row, and where it would go.
#[derive(Clone, Debug, Serialize)]
pub struct PreviewRow {
    /// The destination by name.
    pub destination: String,
    /// The destination by its index in [`AnyPlan::destinations`](super::AnyPlan::destinations).
    #[serde(skip)]
    pub destination_index: usize,
    /// The row.
    #[serde(flatten)]
    pub row: ShownRow,
}

/// A row as data.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ShownRow {
    /// Of an online store.
    Features {
        /// The entity, for reading what is stored of it now.
        #[serde(skip)]
        entity: Entity,
        /// Its namespace.
        namespace: String,
        /// Its primary key.
        primary_key: String,
        /// What would be stored.
        features: Vec<ShownFeature>,
    },
    /// Of an offline store.
    Table {
        /// The table.
        table: String,
        /// Column and value, in the order of the columns.
        columns: Vec<(String, Json)>,
    },
    /// Of anything else than a table: a message to be published, a file to be loaded, a request to be sent.
    Other {
        /// What it is, in a word.
        what: &'static str,
        /// Name and value, in the order in which they are shown.
        fields: Vec<(String, Json)>,
    },
}

/// One feature as it would be stored.
#[derive(Clone, Debug, Serialize)]
pub struct ShownFeature {
    /// Persistence key without namespace.
    pub feature: String,
    /// The value; nothing of it where the feature is evicted.
    pub value: Json,
    /// Whether a tombstone takes its place.
    pub evicted: bool,
    /// RFC 3339.
    pub observed_at: String,
    /// RFC 3339; `None` is never.
    pub expires_at: Option<String>,
}

/// Why a message, or a row of it, would be refused.
#[derive(Clone, Debug, Serialize)]
pub struct PreviewRefusal {
    /// `DECODE`, …
    pub class: &'static str,
    /// Why.
    pub message: String,
    /// The row inside the message.
    pub row: Option<String>,
    /// The table or namespace.
    pub table: Option<String>,
}

/// A row that can be shown.
pub trait Shown {
    /// It as data, row by row.
    fn shown(&self) -> Vec<ShownRow>;
}

impl Preview {
    pub(super) fn of<R: Row + Shown>(
        decoder: &dyn Decoder<R>,
        destinations: &[PlannedDestination<R>],
        message: &Message,
    ) -> Self {
        let mut decoded = Decoded::default();
        decoder.decode(message, &mut decoded);
        let mut fields = Vec::new();
        if decoded.is_nothing() {
            decoded.skip(NOTHING_IN_IT, 1);
            fields = unknown_fields(message.body());
        }
        let rows = decoded.rows.iter().flat_map(|row| {
            let index = row.destination();
            let name = destinations.get(index).map_or("", |known| &known.name);
            let shown = row.shown().into_iter();
            shown.map(move |row| PreviewRow { destination: name.to_owned(), destination_index: index, row })
        });
        Self {
            environment: decoded.environment.as_deref().map(str::to_owned),
            event_time: decoded.event_time.map(format_timestamp),
            rows: rows.collect(),
            skipped: decoded.skipped.iter().copied().collect(),
            refused: decoded.refused.into_iter().map(PreviewRefusal::from).collect(),
            unknown_fields: fields,
        }
    }
}

impl From<Refusal> for PreviewRefusal {
    fn from(refusal: Refusal) -> Self {
        let Refusal { class, message, row, table, .. } = refusal;
        Self { class: class.as_str(), message, row: row.map(Into::into), table: table.map(Into::into) }
    }
}

impl Shown for FeatureRow {
    fn shown(&self) -> Vec<ShownRow> {
        let features = self.cells.iter().map(|cell| ShownFeature {
            feature: self.feature(cell).to_owned(),
            value: cell.value.as_ref().map_or(Json::Null, json),
            evicted: cell.value.is_none(),
            observed_at: format_timestamp(cell.observed_at),
            expires_at: cell.expires_at.time().map(format_timestamp),
        });
        vec![ShownRow::Features {
            entity: self.entity.clone(),
            namespace: self.entity.namespace.to_string(),
            primary_key: self.entity.primary_key.to_string(),
            features: features.collect(),
        }]
    }
}

impl Shown for TableRows {
    fn shown(&self) -> Vec<ShownRow> {
        match self {
            Self::Row(row) => vec![shown(row)],
            Self::Columns(columns) => columns.each(0, columns.rows).map(|row| shown(&row)).collect(),
        }
    }
}

fn shown(row: &TableRow) -> ShownRow {
    let columns = row.shape.columns.iter().zip(&row.values);
    ShownRow::Table {
        table: row.shape.table.to_string(),
        columns: columns.map(|(column, value)| (column.name.to_string(), json(value))).collect(),
    }
}

/// A value as JSON, with the spellings that the message encodings have.
pub(super) fn json(value: &Value) -> Json {
    use base64::Engine;
    let number = |number: f64| match number {
        number if number.is_nan() => Json::from("NaN"),
        f64::INFINITY => Json::from("Infinity"),
        f64::NEG_INFINITY => Json::from("-Infinity"),
        number => Json::from(number),
    };
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Double(value) => number(*value),
        Value::Text(text) | Value::Decimal(text) => Json::from(&**text),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Timestamp(time) => Json::from(format_timestamp(*time)),
        Value::Date(days) => Json::from(format_date(*days)),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Struct(fields) => fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect(),
        Value::Vector(vector) => match &**vector {
            Vector::Fp16(bits) => bits.iter().map(|bits| number(half::f16::from_bits(*bits).to_f64())).collect(),
            Vector::Fp32(elements) => elements.iter().map(|element| number(f64::from(*element))).collect(),
            Vector::Fp64(elements) => elements.iter().map(|element| number(*element)).collect(),
        },
    }
}

#[cfg(test)]
mod tests;
