//! Tables in row form as Arrow IPC: what `publish` sends, and what the reader is tested against.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType as Arrow, Field, Fields, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use bytestring::ByteString;
use prost::Message as _;

use super::{ID, RESULT_METADATA};
use crate::proto::common::v1::OperationKind;
use crate::proto::writer::v1;
use crate::result::sniff::Encoding;
use crate::result::{EntityRow, FeatureTable, QueryResult, Source, TableBody, Wanted, protobuf};
use crate::value::arrow::{array, element, timestamp, type_of};
use crate::value::conform::conform;
use crate::value::dtype::DataType;
use crate::value::{Value, time};

/// Which of the two forms of Arrow IPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With a footer: what a file system or `pyarrow.feather` holds.
    File,
    /// Batches up to an end mark.
    Stream,
}

/// A table as a batch.
///
/// Refused, as a sentence: values of one column without a common type, and keys that are partly numbers and
/// partly text. A feature that a row does not have is null there; a field of structs that is null in all of
/// them is left out. A table that is in Arrow form, or a row
/// with a fault, is not for this function.
pub fn batch(table: &FeatureTable) -> Result<RecordBatch, String> {
    let TableBody::Rows { columns, rows } = &table.body else { return Err("a table that is Arrow already".to_owned()) };
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut push = |name: String, array: ArrayRef| {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    };
    push(ID.to_owned(), column(ID, rows.iter().map(|row| row.id.clone()).collect())?);
    if rows.iter().any(|row| row.observed_at.is_some()) {
        let time = |row: &EntityRow| row.observed_at.map_or(Value::Null, Value::Timestamp);
        push("__ts__".to_owned(), of_type(&timestamp(), &rows.iter().map(time).collect::<Vec<_>>())?);
    }
    for (at, name) in columns.iter().enumerate() {
        let cells = || rows.iter().map(move |row| row.cells.iter().find(|cell| cell.column == at));
        let values = cells().map(|cell| cell.map_or(Value::Null, |cell| cell.value.clone()));
        push(name.to_string(), column(name, values.collect())?);
        if cells().flatten().any(|cell| cell.source != Source::Unknown || cell.source_id.is_some()) {
            let meta = cells().map(|cell| {
                let cell = cell?;
                Some((cell.source, cell.source_id.clone()))
            });
            push(format!("{RESULT_METADATA}{name}"), sources(meta)?);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| error.to_string())
}

fn sources(meta: impl Iterator<Item = Option<(Source, Option<Box<ByteString>>)>>) -> Result<ArrayRef, String> {
    let fields: Fields = [("source_type", Arrow::Utf8), ("source_id", Arrow::Utf8), ("metadata_val", Arrow::Int64)]
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, true))
        .collect();
    let values = meta.map(|meta| {
        let Some((source, id)) = meta else { return Value::Null };
        let kind = if source == Source::Unknown { Value::Null } else { Value::text(source.as_str()) };
        let id = id.map_or(Value::Null, |id| Value::Text(*id));
        Value::Struct(vec![("source_type".into(), kind), ("source_id".into(), id)])
    });
    of_type(&Arrow::Struct(fields), &values.collect::<Vec<_>>())
}

fn of_type(data_type: &Arrow, values: &[Value]) -> Result<ArrayRef, String> {
    array(data_type, &values.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())
}

/// An array of the type that the values have in common; refused, as a sentence, where they have none.
pub fn column(name: &str, values: Vec<Value>) -> Result<ArrayRef, String> {
    let mut common: Option<DataType> = None;
    for found in values.iter().filter_map(DataType::of) {
        common = Some(match common {
            None => found,
            Some(known) => {
                known.common(found).ok_or_else(|| format!("column `{name}`: values without a common type"))?
            }
        });
    }
    let Some(common) = common else {
        // Lists without an item say only that they are lists.
        let lists = values.iter().any(|value| *value != Value::Null);
        let nothing = if lists { Arrow::List(element(Arrow::Null)) } else { Arrow::Null };
        return of_type(&nothing, &values).map_err(|_| format!("column `{name}`: values that say no type"));
    };
    let conformed = values.into_iter().map(|value| conform(value, &common));
    let conformed: Vec<Value> =
        conformed.collect::<Result<_, _>>().map_err(|mismatch| format!("column `{name}`: {mismatch}"))?;
    of_type(&type_of(&common), &conformed)
}

/// A batch as bytes, with metadata of its schema.
pub fn ipc(batch: &RecordBatch, metadata: BTreeMap<String, String>, form: Form) -> Result<Vec<u8>, ArrowError> {
    let schema = batch.schema().as_ref().clone().with_metadata(metadata);
    let options = IpcWriteOptions::default();
    match form {
        Form::File => {
            let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options)?;
            writer.write(batch)?;
            writer.into_inner()
        }
        Form::Stream => {
            let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
            writer.write(batch)?;
            writer.into_inner()
        }
    }
}

/// A result of one table as a whole message; the rest of it is in the schema's metadata.
pub fn message(result: &QueryResult, form: Form) -> Result<Vec<u8>, String> {
    let [table] = result.tables.as_slice() else {
        return Err(format!("a message in Arrow form is one table; this result has {}", result.tables.len()));
    };
    ipc(&batch(table)?, metadata(result, &table.namespace)?, form).map_err(|error| error.to_string())
}

fn metadata(result: &QueryResult, namespace: &str) -> Result<BTreeMap<String, String>, String> {
    let mut metadata = BTreeMap::new();
    let mut put = |field: &str, value: String| metadata.insert(format!("chalk.{field}"), value);
    put("namespace", namespace.to_owned());
    for (field, value) in [
        ("environment_id", &result.environment_id),
        ("deployment_id", &result.deployment_id),
        ("operation_id", &result.operation_id),
    ] {
        if !value.is_empty() {
            put(field, value.to_string());
        }
    }
    let kind = OperationKind::try_from(result.operation_kind).map(|kind| kind.as_str_name().to_owned());
    put("operation_kind", kind.unwrap_or_else(|_| result.operation_kind.to_string()));
    if let Some(micros) = result.observed_at {
        put("observed_at", time::format_timestamp(micros));
    }
    if let Some(query) = &result.query {
        put("query", json(query)?);
    }
    put("persistence", json(&v1::PersistenceSettings::from(result.persistence))?);
    put("errors", json(&result.errors)?);
    put("resolver_runs", json(&result.resolver_runs)?);
    Ok(metadata)
}

fn json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// A published result with its tables in Arrow form: a whole message where it has one, else tables of a
/// message in protobuf.
pub fn body(message: &v1::QueryResult) -> Result<(Vec<u8>, Encoding), String> {
    let mut result = QueryResult::default();
    protobuf::decode(&message.encode_to_vec().into(), Wanted::ALL, usize::MAX, &mut result)
        .map_err(|refusal| refusal.message)?;
    if let [table] = result.tables.as_slice() {
        let metadata = metadata(&result, &table.namespace)?;
        let body = ipc(&batch(table)?, metadata, Form::File).map_err(|error| error.to_string())?;
        return Ok((body, Encoding::ArrowFile));
    }
    let mut message = message.clone();
    for (table, read) in message.tables.iter_mut().zip(&result.tables) {
        let body = ipc(&batch(read)?, BTreeMap::new(), Form::Stream).map_err(|error| error.to_string())?;
        table.body = Some(v1::feature_table::Body::ArrowIpc(body.into()));
    }
    Ok((message.encode_to_vec(), Encoding::Protobuf))
}
