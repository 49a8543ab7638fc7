//! The same for rows that came in columns: a column whose type holds all of its values is taken at a look, and
//! only the values of one that does not are judged one by one, as they would be in rows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::types::{Date32Type, TimestampMicrosecondType};
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{max, min, take};
use arrow::datatypes::DataType as Arrow;

use crate::row::table::{ColumnData, TableColumns, When};
use crate::sink::{Refusal, SinkError};
use crate::value::Value;
use crate::value::dtype::Precision;

use super::super::fit::{DAYS, TIMES};
use super::super::schema::TableSchema;
use super::super::types::{ColumnType, DECIMAL, MOST_FIELDS};
use super::{day, may_widen, takes};

/// What becomes of some rows.
pub(super) struct Judged {
    /// The rows that are taken, by day, in order.
    pub(super) days: Vec<(i64, Vec<u32>)>,
    /// The first of those that are not.
    pub(super) refused: Option<(usize, Refusal)>,
}

/// A column that is judged value by value.
struct Slow<'a> {
    place: usize,
    /// As the rows that were taken so far have made it.
    data_type: ColumnType,
    values: Cow<'a, [Value]>,
}

/// Sorts out the rows; `wider` gets the types that those which are taken need.
pub(super) fn judge(
    schema: &TableSchema,
    places: &[usize],
    rows: &TableColumns,
    wider: &mut Vec<(usize, ColumnType)>,
) -> Result<Judged, SinkError> {
    if rows.columns.len() != places.len() || u32::try_from(rows.rows).is_err() {
        let reason = format!("{} rows of {} columns under {}", rows.rows, rows.columns.len(), places.len());
        return Err(SinkError::Bug { reason });
    }
    let mut quick: Vec<(usize, &ArrayRef)> = Vec::new();
    let mut slow: Vec<Slow<'_>> = Vec::new();
    let mut constant = Vec::new();
    for (column, place) in rows.columns.iter().zip(places) {
        let (name, current) = (schema.name(*place), schema.column_type(*place));
        let values = match column {
            ColumnData::Array(array) if type_for(name, current, array).is_some() => {
                quick.push((*place, array));
                continue;
            }
            ColumnData::Constant(value) => match takes(name, current, value) {
                Ok(needed) => {
                    constant.extend(needed.map(|needed| (*place, needed)));
                    continue;
                }
                Err(_) => Cow::Owned(vec![value.clone(); rows.rows]),
            },
            ColumnData::Values(values) => Cow::Borrowed(values.as_slice()),
            array @ ColumnData::Array(_) => Cow::Owned(array.values(0, rows.rows)),
        };
        slow.push(Slow { place: *place, data_type: current.clone(), values });
    }
    let times = match rows.shape.time {
        When::Column(at) => rows.columns.get(at).map(|column| column.values(0, rows.rows)).unwrap_or_default(),
        When::At(time) => vec![Value::Timestamp(time); rows.rows],
    };
    let mut judged = Judged { days: Vec::new(), refused: None };
    let mut index = BTreeMap::new();
    let mut tentative = Vec::new();
    for row in 0..rows.rows {
        match judge_row(schema, rows, row, &slow, &times, &mut tentative) {
            Ok(day) => {
                for (at, data_type) in tentative.drain(..) {
                    slow[at].data_type = data_type;
                }
                let at = *index.entry(day).or_insert_with(|| {
                    judged.days.push((day, Vec::new()));
                    judged.days.len() - 1
                });
                judged.days[at].1.push(row as u32);
            }
            Err(refusal) => {
                tentative.clear();
                judged.refused.get_or_insert((row, refusal));
            }
        }
    }
    if judged.days.is_empty() {
        return Ok(judged);
    }
    wider.extend(constant);
    for Slow { place, data_type, .. } in slow {
        if data_type != *schema.column_type(place) {
            wider.push((place, data_type));
        }
    }
    // A refused row leaves no trace, so the types are those of the rows that are taken.
    let taken: Option<UInt32Array> = judged
        .refused
        .is_some()
        .then(|| judged.days.iter().flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>().into());
    for (place, array) in quick {
        let array = match &taken {
            None => array.clone(),
            Some(taken) => take(array, taken, None).map_err(|error| SinkError::Bug { reason: error.to_string() })?,
        };
        let current = schema.column_type(place);
        match type_for(schema.name(place), current, &array) {
            Some(needed) if needed != *current => wider.push((place, needed)),
            _ => {}
        }
    }
    Ok(judged)
}

fn judge_row(
    schema: &TableSchema,
    rows: &TableColumns,
    row: usize,
    slow: &[Slow<'_>],
    times: &[Value],
    tentative: &mut Vec<(usize, ColumnType)>,
) -> Result<i64, Refusal> {
    for (at, Slow { place, data_type, values }) in slow.iter().enumerate() {
        if let Some(data_type) = takes(schema.name(*place), data_type, &values[row])? {
            tentative.push((at, data_type));
        }
    }
    day(&rows.shape, times.get(row))
}

/// The type of a column, its own or a wider one, that holds every value of an array; `None` where that has to be
/// seen value by value.
fn type_for(name: &str, current: &ColumnType, array: &ArrayRef) -> Option<ColumnType> {
    if holds(current, array) {
        return Some(current.clone());
    }
    let wider = current.widened(&seen(array))?;
    (may_widen(name, current) && wider.unstorable().is_none() && holds(&wider, array)).then_some(wider)
}

/// The type of the values of an array, as they would say it one by one.
fn seen(array: &ArrayRef) -> ColumnType {
    if array.logical_null_count() == array.len() {
        return ColumnType::Unknown;
    }
    match array.data_type() {
        Arrow::Boolean => ColumnType::Bool,
        Arrow::Int64 => ColumnType::Int64,
        Arrow::Float64 => ColumnType::Float64,
        Arrow::Utf8 => ColumnType::String,
        Arrow::Binary => ColumnType::Bytes,
        Arrow::Timestamp(..) => ColumnType::Timestamp,
        Arrow::Date32 => ColumnType::Date,
        Arrow::Decimal128(..) | Arrow::Decimal256(..) => ColumnType::Decimal(DECIMAL.0, DECIMAL.1),
        Arrow::List(_) => ColumnType::List(Box::new(seen(&items(array)))),
        Arrow::Struct(fields) => {
            let columns = array.as_struct().columns();
            ColumnType::Struct(
                fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), seen(column))).collect(),
            )
        }
        Arrow::FixedSizeList(element, dimension) => {
            ColumnType::Vector(precision(element.data_type()), dimension.cast_unsigned())
        }
        _ => ColumnType::Unknown,
    }
}

fn precision(element: &Arrow) -> Precision {
    match element {
        Arrow::Float16 => Precision::Fp16,
        Arrow::Float32 => Precision::Fp32,
        _ => Precision::Fp64,
    }
}

/// The items of an array of lists, without what lies before the first and behind the last.
fn items(array: &ArrayRef) -> ArrayRef {
    let lists = array.as_list::<i32>();
    let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
    lists.values().slice(first as usize, (last - first) as usize)
}

/// Whether a type holds every value of an array, as far as that shows without looking at each of them in turn.
fn holds(column: &ColumnType, array: &ArrayRef) -> bool {
    if array.logical_null_count() == array.len() {
        return true;
    }
    match (column, array.data_type()) {
        (ColumnType::Bool, Arrow::Boolean)
        | (ColumnType::Int64, Arrow::Int64)
        | (ColumnType::Float64, Arrow::Float64)
        | (ColumnType::String, Arrow::Utf8)
        | (ColumnType::Bytes, Arrow::Binary) => true,
        (ColumnType::Timestamp, Arrow::Timestamp(..)) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            min(times).is_none_or(|time| TIMES.contains(&time)) && max(times).is_none_or(|time| TIMES.contains(&time))
        }
        (ColumnType::Date, Arrow::Date32) => {
            let days = array.as_primitive::<Date32Type>();
            min(days).is_none_or(|day| DAYS.contains(&day)) && max(days).is_none_or(|day| DAYS.contains(&day))
        }
        (ColumnType::Decimal(precision, scale), Arrow::Decimal128(of, digits)) => {
            let (of, digits) = (i16::from(*of), i16::from(*digits));
            let (precision, scale) = (i16::from(*precision), i16::from(*scale));
            (0..=scale).contains(&digits) && of - digits <= precision - scale
        }
        (ColumnType::List(item), Arrow::List(_)) => holds(item, &items(array)),
        (ColumnType::Struct(known), Arrow::Struct(fields)) => {
            fields.len() <= MOST_FIELDS
                && fields.iter().zip(array.as_struct().columns()).all(|(field, column)| {
                    known.iter().find(|(name, _)| name == field.name()).is_some_and(|(_, known)| holds(known, column))
                })
        }
        (ColumnType::Vector(known, dimension), Arrow::FixedSizeList(element, of)) => {
            i64::from(*of) == i64::from(*dimension) && precision(element.data_type()) as u8 <= *known as u8
        }
        _ => false,
    }
}
