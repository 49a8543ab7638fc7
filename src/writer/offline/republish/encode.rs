//! From rows to one parquet file, whose columns are as their table keeps them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType as Arrow, Field, Schema};
use arrow::error::ArrowError;
use bytestring::ByteString;
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::row::table::{ColumnData, Shape};
use crate::store::tables::prepare::{Form, Part, Taken};
use crate::value::arrow::array;
use crate::value::{Value, Vector};

/// Where the rows of a shape have the values of columns.
type Places = HashMap<usize, Vec<Option<usize>>>;

/// Rows as a batch of these columns.
pub(super) fn batch(columns: &[(ByteString, Form)], rows: &[Taken<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut places = Places::new();
    for taken in rows {
        let shape = taken.rows.shape();
        places.entry(Arc::as_ptr(shape).addr()).or_insert_with(|| in_shape(columns, shape));
    }
    let (mut fields, mut arrays) = (Vec::with_capacity(columns.len()), Vec::with_capacity(columns.len()));
    for (at, (name, form)) in columns.iter().enumerate() {
        let field = Field::new(&**name, form.arrow.clone(), true);
        fields.push(match form.extension {
            Some(extension) => extension.mark(field),
            None => field,
        });
        arrays.push(column(at, form, rows, &places)?);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

fn in_shape(columns: &[(ByteString, Form)], shape: &Shape) -> Vec<Option<usize>> {
    let known: HashMap<&str, usize> =
        shape.columns.iter().enumerate().map(|(at, column)| (&*column.name, at)).collect();
    columns.iter().map(|(name, _)| known.get(&**name).copied()).collect()
}

fn column(at: usize, form: &Form, rows: &[Taken<'_>], places: &Places) -> Result<ArrayRef, ArrowError> {
    let mut parts: Vec<ArrayRef> = Vec::new();
    let mut cells: Vec<Cow<'_, Value>> = Vec::new();
    for Taken { rows, .. } in rows {
        let place = places[&Arc::as_ptr(rows.shape()).addr()][at];
        match (rows, place) {
            (Part::Row(row), Some(place)) => cells.push(Cow::Borrowed(&row.values[place])),
            (Part::Columns(columns, selected), Some(place)) => match &columns.columns[place] {
                ColumnData::Array(array) if form.extension.is_none() && *array.data_type() == form.arrow => {
                    if !cells.is_empty() {
                        parts.push(of_cells(form, &std::mem::take(&mut cells))?);
                    }
                    parts.push(take(array, &UInt32Array::from(selected.clone()), None)?);
                }
                ColumnData::Values(values) => {
                    cells.extend(selected.iter().map(|row| Cow::Borrowed(&values[*row as usize])));
                }
                ColumnData::Constant(value) => cells.extend(selected.iter().map(|_| Cow::Borrowed(value))),
                data @ ColumnData::Array(_) => {
                    let values = data.values(0, columns.rows);
                    cells.extend(selected.iter().map(|row| Cow::Owned(values[*row as usize].clone())));
                }
            },
            (rows, None) => cells.extend((0..rows.count()).map(|_| Cow::Owned(Value::Null))),
        }
    }
    if !cells.is_empty() || parts.is_empty() {
        parts.push(of_cells(form, &cells)?);
    }
    match &parts[..] {
        [whole] => Ok(whole.clone()),
        parts => concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    }
}

fn of_cells(form: &Form, cells: &[Cow<'_, Value>]) -> Result<ArrayRef, ArrowError> {
    let is_list = matches!(form.arrow, Arrow::List(_));
    let cell = |value: &Cow<'_, Value>| match (form.extension, &**value) {
        (Some(extension), value) => extension.text(value).ok_or_else(|| {
            ArrowError::InvalidArgumentError("a decimal column was given a value that is none".to_owned())
        }),
        (None, Value::Vector(vector)) if is_list => Ok(listed(vector)),
        (None, value) => Ok(value.clone()),
    };
    let told: Option<Vec<Value>> =
        (form.extension.is_some() || is_list).then(|| cells.iter().map(cell).collect::<Result<_, _>>()).transpose()?;
    match &told {
        Some(told) => array(&form.arrow, &told.iter().collect::<Vec<_>>()),
        None => array(&form.arrow, &cells.iter().map(|cell| &**cell).collect::<Vec<_>>()),
    }
}

/// A vector as what a column keeps that has lists of numbers of any length.
fn listed(vector: &Vector) -> Value {
    Value::List(match vector {
        Vector::Fp16(bits) => bits.iter().map(|bits| Value::Double(half::f16::from_bits(*bits).to_f64())).collect(),
        Vector::Fp32(elements) => elements.iter().map(|element| Value::Double(f64::from(*element))).collect(),
        Vector::Fp64(elements) => elements.iter().map(|element| Value::Double(*element)).collect(),
    })
}

/// A batch as a file: of one group of rows, without what only pays in files that are looked for something.
pub(super) fn file(batch: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()
}
