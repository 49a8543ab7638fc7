//! What the writers of results have in common about rows: keys, names and verdicts.

use bytestring::ByteString;

use super::skip;
use crate::result::{Cell, FeatureTable, Source, TableBody, arrow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::conform::Mismatch;
use crate::value::time::parse_timestamp;

/// The primary key as text: an integer is its decimal text.
pub(super) fn primary_key(id: &Value) -> Result<ByteString, Refusal> {
    match id {
        Value::Text(text) => Ok(text.clone()),
        _ => key_text(id, &mut itoa::Buffer::new()).map(ByteString::from),
    }
}

/// The same of an id that is not needed any more; it comes back where it is no key.
pub(super) fn into_primary_key(id: Value) -> Result<ByteString, Box<(Value, Refusal)>> {
    match id {
        Value::Text(text) => Ok(text),
        id => primary_key(&id).map_err(|refusal| Box::new((id, refusal))),
    }
}

/// The same for those who only read it.
pub(super) fn key_text<'a>(id: &'a Value, digits: &'a mut itoa::Buffer) -> Result<&'a str, Refusal> {
    match id {
        Value::Text(text) => Ok(text),
        Value::Int(number) => Ok(digits.format(*number)),
        _ => Err(Refusal::new(ErrorClass::Decode, "a primary key is a string or an integer")),
    }
}

/// How a row is named in a dead letter: `user/42`, or its position where its key cannot be one.
pub(super) fn row_name(namespace: &str, id: &Value, at: usize) -> String {
    match id {
        Value::Text(text) => format!("{namespace}/{text}"),
        Value::Int(number) => format!("{namespace}/{number}"),
        _ => format!("{namespace}[{at}]"),
    }
}

/// A verdict with the row that it is about.
pub(super) fn at_row(refusal: Refusal, namespace: &str, id: &Value, at: usize) -> Refusal {
    refusal.row(row_name(namespace, id, at)).table(namespace)
}

/// The row's own observed time in the columns that hold one, if a cell has it.
pub(super) fn time_of(columns: &[usize], cells: &[Cell]) -> Result<Option<i64>, Refusal> {
    if columns.is_empty() {
        return Ok(None);
    }
    for cell in cells.iter().filter(|cell| columns.contains(&cell.column)) {
        if let Some(time) = time(&cell.value)? {
            return Ok(Some(time));
        }
    }
    Ok(None)
}

/// An observed time, if a value is one.
pub(super) fn time(value: &Value) -> Result<Option<i64>, Refusal> {
    match value {
        Value::Timestamp(time) => Ok(Some(*time)),
        Value::Null => Ok(None),
        Value::Text(text) => parse_timestamp(text).map(Some).ok_or_else(no_time),
        _ => Err(no_time()),
    }
}

/// Refuses a row that has two values of one column: nobody knows which is meant.
pub(super) fn each_column_once(cells: &[Cell]) -> Result<(), Refusal> {
    if cells.is_sorted_by(|one, next| one.column < next.column) {
        return Ok(());
    }
    let mut columns: Vec<_> = cells.iter().map(|cell| cell.column).collect();
    columns.sort_unstable();
    if columns.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(Refusal::new(ErrorClass::Decode, "two values of one column"))
}

fn no_time() -> Refusal {
    Refusal::new(ErrorClass::Decode, "an observed time is a timestamp, or RFC 3339 text")
}

/// Number of values in a message that is left out as a whole, for counters; one without any counts as one.
pub(super) fn values_of(tables: &[FeatureTable]) -> u64 {
    tables.iter().map(values).sum::<u64>().max(1)
}

/// Number of values in a table, for counters; a table in Arrow form counts as one.
pub(super) fn values(table: &FeatureTable) -> u64 {
    match &table.body {
        TableBody::Rows { rows, .. } => rows.iter().map(|row| row.cells.len() as u64).sum(),
        TableBody::Arrow(_) => 1,
    }
}

/// An environment that the configuration does not know.
pub(super) fn unknown_environment(id: &str) -> Refusal {
    if id.is_empty() {
        // It names none a minute later either.
        let message = "the message names no environment, neither in its headers nor in its body";
        return Refusal::new(ErrorClass::UnknownEnvironment, message).harmless();
    }
    let message = format!("environment `{id}` has no entry under `environments`, and there is no `*`");
    Refusal::new(ErrorClass::UnknownEnvironment, message).harmless().unknown_environment(id)
}

/// A table without a namespace.
pub(super) fn no_namespace(body: &TableBody) -> Refusal {
    match body {
        TableBody::Rows { .. } => Refusal::new(ErrorClass::Decode, "a table without a namespace"),
        TableBody::Arrow(ipc) => arrow::no_namespace(ipc),
    }
}

/// A value of another type than declared.
pub(super) fn type_mismatch(feature: &str, mismatch: &Mismatch) -> Refusal {
    let about = format!("feature `{feature}`: expected {}", mismatch.expected);
    Refusal::new(mismatch.class(), format!("feature `{feature}`: {mismatch}")).about(about)
}

/// Why values from a source do not go online: a cache hit is there already and must not look
/// fresher, what the caller gave is not known to be true, and what is missing is no value.
pub(super) fn not_online(source: Source) -> Option<&'static str> {
    match source {
        Source::OnlineStore => Some(skip::CACHE_HIT),
        Source::Given => Some(skip::GIVEN),
        Source::Missing => Some(skip::MISSING),
        Source::Unknown | Source::Resolver | Source::OfflineStore | Source::Default => None,
    }
}

/// A feature as it is stored: `score`, `score@2`, and `~N` after it for an internal version above 0.
pub(super) fn persistence_key(name: &str, internal_version: u32) -> String {
    if internal_version == 0 { name.to_owned() } else { format!("{name}~{internal_version}") }
}

/// A cell of a column that the table does not have.
pub(super) fn no_column(column: usize) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("a value of column {column}, which the table does not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_key_is_its_decimal_text() {
        for key in [i64::MIN, -1, 0, 42, i64::MAX] {
            let text = key.to_string();
            assert_eq!(primary_key(&Value::Int(key)).expect("a key"), text);
            assert_eq!(key_text(&Value::Int(key), &mut itoa::Buffer::new()).expect("a key"), text);
            assert_eq!(key_text(&Value::text(text.clone()), &mut itoa::Buffer::new()).expect("a key"), text);
        }
        assert!(primary_key(&Value::Double(1.0)).is_err() && primary_key(&Value::Null).is_err());
    }
}
