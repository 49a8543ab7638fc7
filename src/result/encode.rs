//! From the model to the published messages, and from those to JSON as a person would write it:
//! what `publish` sends, and what the readers are tested against.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::{Cell, EntityRow, FeatureTable, Persistence, QueryResult, Source, TableBody};
use crate::proto::common::v1::OperationKind;
use crate::proto::writer::v1;
use crate::proto::writer::v1::value::Kind;
use crate::proto::writer::v1::vector_value::Elements;
use crate::value::{Value, Vector, time};

impl From<&QueryResult> for v1::QueryResult {
    /// A row that has a fault is left out: there is no message that would bring it back.
    fn from(result: &QueryResult) -> Self {
        Self {
            environment_id: result.environment_id.to_string(),
            deployment_id: result.deployment_id.to_string(),
            operation_id: result.operation_id.to_string(),
            operation_kind: result.operation_kind,
            observed_at: result.observed_at.map(timestamp),
            tables: result.tables.iter().map(v1::FeatureTable::from).collect(),
            persistence: Some(result.persistence.into()),
            query: result.query.as_deref().cloned(),
            errors: result.errors.clone(),
            resolver_runs: result.resolver_runs.clone(),
        }
    }
}

impl From<Persistence> for v1::PersistenceSettings {
    fn from(persistence: Persistence) -> Self {
        Self {
            persist_online_storage: Some(persistence.online),
            persist_offline_storage: Some(persistence.offline),
            // What is true anyway goes without saying.
            persist_verbose_metrics: (!persistence.verbose_metrics).then_some(false),
            persist_status_metrics: (!persistence.status_metrics).then_some(false),
            ..Self::default()
        }
    }
}

/// A protobuf timestamp of microseconds since 1970.
pub fn timestamp(micros: i64) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos: micros.rem_euclid(1_000_000) as i32 * 1000 }
}

impl From<&FeatureTable> for v1::FeatureTable {
    fn from(table: &FeatureTable) -> Self {
        let body = match &table.body {
            TableBody::Arrow(bytes) => v1::feature_table::Body::ArrowIpc(bytes.clone()),
            TableBody::Rows { columns, rows } => v1::feature_table::Body::Rows(v1::Rows {
                columns: columns.iter().map(ToString::to_string).collect(),
                rows: rows.iter().filter(|row| row.fault.is_none()).map(row).collect(),
            }),
        };
        Self { namespace: table.namespace.to_string(), body: Some(body) }
    }
}

fn row(row: &EntityRow) -> v1::Row {
    let width = row.cells.iter().map(|cell| cell.column + 1).max().unwrap_or_default();
    let mut values = vec![v1::Value::default(); width];
    let mut meta = vec![v1::Meta::default(); width];
    for Cell { column, value, source, source_id } in &row.cells {
        values[*column] = value.into();
        meta[*column] = v1::Meta {
            source_type: source.number(),
            source_id: source_id.as_deref().map_or_else(String::new, ToString::to_string),
        };
    }
    if meta.iter().all(|meta| *meta == v1::Meta::default()) {
        meta.clear();
    }
    let id = match &row.id {
        Value::Int(id) => Some(v1::row::Id::IntId(*id)),
        Value::Text(id) => Some(v1::row::Id::TextId(id.to_string())),
        _ => None,
    };
    v1::Row { id, observed_at: row.observed_at.map(timestamp), values, meta }
}

impl From<&Value> for v1::Value {
    fn from(value: &Value) -> Self {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(bool) => Kind::BoolValue(*bool),
            Value::Int(int) => Kind::IntValue(*int),
            Value::Double(double) => Kind::DoubleValue(*double),
            Value::Text(text) => Kind::StringValue(text.to_string()),
            Value::Bytes(bytes) => Kind::BytesValue(bytes.clone()),
            Value::Timestamp(micros) => Kind::TimestampValue(timestamp(*micros)),
            Value::Date(days) => Kind::DateValue(time::format_date(*days)),
            Value::Decimal(text) => Kind::DecimalValue(text.to_string()),
            Value::List(items) => Kind::ListValue(v1::ListValue { items: items.iter().map(Self::from).collect() }),
            Value::Struct(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| v1::StructField { name: name.to_string(), value: Some(value.into()) });
                Kind::StructValue(v1::StructValue { fields: fields.collect() })
            }
            Value::Vector(vector) => Kind::VectorValue(v1::VectorValue { elements: Some(elements(vector)) }),
        };
        Self { kind: Some(kind) }
    }
}

fn elements(vector: &Vector) -> Elements {
    match vector {
        Vector::Fp16(bits) => {
            let bits: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            Elements::Fp16(v1::HalfElements { bits: bits.into() })
        }
        Vector::Fp32(elements) => Elements::Fp32(v1::SingleElements { elements: elements.clone() }),
        Vector::Fp64(elements) => Elements::Fp64(v1::DoubleElements { elements: elements.clone() }),
    }
}

/// A result as JSON with features by name. Values that plain JSON has no type for are objects that
/// name it; everything is read back as it was. A time outside of the years 1 to 9999 is an error.
pub fn person_json(result: &v1::QueryResult) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Person(result))
}

/// Wraps a message to be written in the form that a person would write.
struct Person<'a, T>(&'a T);

impl Serialize for Person<'_, v1::QueryResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let result = self.0;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in [
            ("environment_id", &result.environment_id),
            ("deployment_id", &result.deployment_id),
            ("operation_id", &result.operation_id),
        ] {
            if !value.is_empty() {
                map.serialize_entry(name, value)?;
            }
        }
        match OperationKind::try_from(result.operation_kind) {
            Ok(OperationKind::Unspecified) => {}
            Ok(kind) => {
                map.serialize_entry("operation_kind", kind.as_str_name().trim_start_matches("OPERATION_KIND_"))?;
            }
            Err(_) => map.serialize_entry("operation_kind", &result.operation_kind)?,
        }
        if let Some(time) = &result.observed_at {
            map.serialize_entry("observed_at", &text_of(time)?)?;
        }
        if let Some(query) = &result.query {
            map.serialize_entry("query", query)?;
        }
        map.serialize_entry("tables", &Each(&result.tables))?;
        if let Some(persistence) = &result.persistence {
            map.serialize_entry("persistence", persistence)?;
        }
        if !result.resolver_runs.is_empty() {
            map.serialize_entry("resolver_runs", &result.resolver_runs)?;
        }
        if !result.errors.is_empty() {
            map.serialize_entry("errors", &result.errors)?;
        }
        map.end()
    }
}

fn text_of<E: serde::ser::Error>(timestamp: &pbjson_types::Timestamp) -> Result<String, E> {
    let micros = time::from_parts(timestamp.seconds, timestamp.nanos);
    micros.map(time::format_timestamp).ok_or_else(|| E::custom("a time outside of the years 1 to 9999"))
}

struct Each<'a, T>(&'a [T]);

impl<T> Serialize for Each<'_, T>
where
    for<'b> Person<'b, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        {
            let mut each = serializer.serialize_seq(Some(self.0.len()))?;
            for one in self.0 {
                each.serialize_element(&Person(one))?;
            }
            each.end()
        }
    }
}

impl Serialize for Person<'_, v1::FeatureTable> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let v1::feature_table::Body::Rows(rows) = self.0.body.as_ref().unwrap_or(&EMPTY) else {
            return self.0.serialize(serializer);
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("namespace", &self.0.namespace)?;
        map.serialize_entry("rows", &OneEntry("rows", PersonRows(rows)))?;
        map.end()
    }
}

static EMPTY: v1::feature_table::Body =
    v1::feature_table::Body::Rows(v1::Rows { columns: Vec::new(), rows: Vec::new() });

/// An object with one key.
struct OneEntry<T>(&'static str, T);

impl<T: Serialize> Serialize for OneEntry<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

struct PersonRows<'a>(&'a v1::Rows);

impl Serialize for PersonRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows.iter().map(|row| PersonRow { columns: &self.0.columns, row }))
    }
}

struct PersonRow<'a> {
    columns: &'a [String],
    row: &'a v1::Row,
}

impl Serialize for PersonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.row.id {
            Some(v1::row::Id::IntId(id)) => map.serialize_entry("id", id)?,
            Some(v1::row::Id::TextId(id)) => map.serialize_entry("id", id)?,
            None => {}
        }
        if let Some(time) = &self.row.observed_at {
            map.serialize_entry("observed_at", &text_of(time)?)?;
        }
        map.serialize_entry("features", &PersonFeatures(self))?;
        if !self.row.meta.is_empty() {
            map.serialize_entry("meta", &PersonMeta(self))?;
        }
        map.end()
    }
}

struct PersonFeatures<'a>(&'a PersonRow<'a>);

impl Serialize for PersonFeatures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = self.0.columns.iter().zip(&self.0.row.values).filter(|(_, value)| value.kind.is_some());
        serializer.collect_map(present.map(|(column, value)| (column, Person(value))))
    }
}

struct PersonMeta<'a>(&'a PersonRow<'a>);

impl Serialize for PersonMeta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self.0.columns.iter().zip(&self.0.row.meta).filter(|(_, meta)| **meta != v1::Meta::default());
        serializer.collect_map(told.map(|(column, meta)| (column, Person(meta))))
    }
}

impl Serialize for Person<'_, v1::Meta> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("source_type", Source::numbered(self.0.source_type).as_str())?;
        if !self.0.source_id.is_empty() {
            map.serialize_entry("source_id", &self.0.source_id)?;
        }
        map.end()
    }
}

impl Serialize for Person<'_, v1::Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(bool)) => serializer.serialize_bool(*bool),
            Some(Kind::IntValue(int)) => serializer.serialize_i64(*int),
            Some(Kind::DoubleValue(double)) if double.is_finite() => serializer.serialize_f64(*double),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::ListValue(list)) => {
                let mut items = serializer.serialize_seq(Some(list.items.len()))?;
                for item in &list.items {
                    items.serialize_element(&Person(item))?;
                }
                items.end()
            }
            // A struct with one field may look like an object that names a type.
            Some(Kind::StructValue(fields)) if fields.fields.len() != 1 => {
                let nothing = v1::Value::default();
                serializer.collect_map(
                    fields.fields.iter().map(|field| (&field.name, Person(field.value.as_ref().unwrap_or(&nothing)))),
                )
            }
            _ => self.0.serialize(serializer),
        }
    }
}
