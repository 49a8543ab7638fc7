//! Where the rows of a parquet file go, and by what they are told apart there.

use arrow::array::{Array, ArrayRef, RecordBatch};
use bytestring::ByteString;

use crate::result::arrow::{Budget, Column, columns};
use crate::row::table::{self, ColumnData, Of, Repeats, Shape, TableColumns, When};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::arrow::{Extension, size, timestamp, values};

/// Columns that tell a row from every other: ours, and that of Chalk's logical columns.
const OBSERVATION_IDS: [&str; 2] = ["__observation_id__", "observation_id"];
/// Columns that a row's time is in, the first that there is.
pub const TIMES: [&str; 3] = ["__ts__", "observed_at", "query_timestamp"];
/// Columns that name a row for a person, the first that there is, where nothing is its key.
const NAMES: [&str; 3] = ["__id__", "pkey", "operation_id"];

/// A table, and how rows are put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its schema; else it is the store's to say.
    pub schema: Option<ByteString>,
    /// Its name.
    pub table: ByteString,
    /// What becomes of rows that are there.
    pub mode: Mode,
    /// Whether it is made where it is not there.
    pub create: bool,
}

/// What becomes of rows that are there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rows are added. Where they have a column `__observation_id__` or `observation_id`, each is there once in a
    /// store that keeps keys.
    Append,
    /// Of the rows of one key the one of the latest time stands.
    Upsert {
        /// The columns of the key; at least one.
        keys: Vec<ByteString>,
        /// The column of the time; `None` takes the first of [`TIMES`] that there is.
        order: Option<ByteString>,
    },
}

impl Target {
    /// The rows of batches of one schema, column by column; `None` where there are none. `time` is their message's, in
    /// microseconds since 1970: it stands for rows without one.
    ///
    /// Refused with [`ErrorClass::Decode`]: columns that the mode needs and the file has not, two of one name, and a
    /// value that no other encoding could say. With [`ErrorClass::TooLarge`]: more than the budget has.
    pub fn rows(
        &self,
        destination: usize,
        batches: &[RecordBatch],
        time: i64,
        budget: &mut Budget,
    ) -> Result<Option<TableColumns>, Refusal> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let Some(first) = batches.first().filter(|_| rows > 0) else { return Ok(None) };
        let of_table = |refusal: Refusal| refusal.table(&self.table);
        let columns = columns(&first.schema(), batches, budget).map_err(of_table)?;
        let shape = self.shape(&columns, time).map_err(of_table)?;
        let fields = first.schema();
        let columns = columns.into_iter().zip(fields.fields()).map(|((name, Column { array, .. }), field)| {
            match Extension::of(field) {
                Some(extension) => told(extension, &name, &array, budget),
                None => Ok(ColumnData::Array(array)),
            }
        });
        let columns = columns.collect::<Result<_, _>>().map_err(of_table)?;
        Ok(Some(TableColumns { destination, shape: shape.into(), rows, columns }))
    }

    pub(super) fn shape(&self, columns: &[(ByteString, Column)], time: i64) -> Result<Shape, Refusal> {
        let position = |wanted: &str| columns.iter().position(|(name, _)| *name == wanted);
        let found = |what: &str, wanted: &str| {
            position(wanted).ok_or_else(|| {
                refuse(format!("{what} names column `{wanted}`, which the file has not: {}", listed(columns)))
            })
        };
        for (at, (name, Column { faults, .. })) in columns.iter().enumerate() {
            if position(name) != Some(at) {
                return Err(refuse(format!("two columns are named `{name}`")));
            }
            if let Some((row, fault)) = faults.first_key_value() {
                return Err(refuse(format!("column `{name}`, row {row}: {fault}")));
            }
        }
        let is_time = |at: &usize| *columns[*at].1.array.data_type() == timestamp();
        let first_time = || TIMES.into_iter().filter_map(position).find(|at| is_time(at));
        let (key, repeats, when) = match &self.mode {
            Mode::Append => {
                let key = OBSERVATION_IDS.into_iter().find_map(position);
                let when = first_time().map_or(When::At(time), When::Column);
                (key.into_iter().collect(), Repeats::First, when)
            }
            Mode::Upsert { keys, order } => {
                let key = keys.iter().map(|name| found("`keycolumns`", name)).collect::<Result<Vec<_>, _>>()?;
                let order = match order {
                    Some(name) => Some(found("`ordercolumn`", name)?).filter(is_time).ok_or_else(|| {
                        refuse(format!("`ordercolumn` names column `{name}`, which holds no timestamps"))
                    })?,
                    None => first_time().ok_or_else(|| {
                        let of = TIMES.join("`, `");
                        let columns = listed(columns);
                        refuse(format!(
                            "an upsert keeps the newest row of a key and needs a timestamp to tell it by: name its \
                             column in `ordercolumn`, or have one called `{of}`; the file has {columns}"
                        ))
                    })?,
                };
                (key, Repeats::Newest, When::Column(order))
            }
        };
        let name = key.first().copied().filter(|_| repeats == Repeats::Newest);
        let name = name.or_else(|| NAMES.into_iter().find_map(position)).or_else(|| key.first().copied());
        Ok(Shape {
            schema: self.schema.clone(),
            table: self.table.clone(),
            columns: columns.iter().map(|(name, _)| table::Column { name: name.clone(), data_type: None }).collect(),
            time: when,
            name: name.unwrap_or_default(),
            key,
            repeats,
            create: self.create,
            of: of_columns(columns),
        })
    }
}

/// What rows of these columns are, which a file says by names alone.
fn of_columns(columns: &[(ByteString, Column)]) -> Of {
    let [ours, _] = OBSERVATION_IDS;
    if columns.iter().any(|(name, _)| name == ours) { Of::History } else { Of::Anything }
}

/// The values that the texts of a column stand for.
pub(super) fn told(
    extension: Extension,
    name: &str,
    array: &ArrayRef,
    budget: &mut Budget,
) -> Result<ColumnData, Refusal> {
    /// Two characters of text, such as `1,`, may be one value.
    const PER_BYTE: usize = size_of::<Value>() / 2;
    budget.take_rows(array.len(), size_of::<Value>())?;
    budget.take_rows(size(array), PER_BYTE)?;
    let value =
        |(row, text)| extension.value(text).map_err(|fault| refuse(format!("column `{name}`, row {row}: {fault}")));
    Ok(ColumnData::Values(values(array).into_iter().enumerate().map(value).collect::<Result<_, _>>()?))
}

fn listed(columns: &[(ByteString, Column)]) -> String {
    const MOST: usize = 20;
    let names: Vec<String> = columns.iter().take(MOST).map(|(name, _)| format!("`{name}`")).collect();
    let more = columns.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn refuse(message: String) -> Refusal {
    Refusal::new(ErrorClass::Decode, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array};
    use ::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
        RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, array.clone()))).expect("a batch")
    }

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn times(values: &[i64]) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
    }

    fn into(mode: Mode, columns: &[(&str, ArrayRef)]) -> Result<TableColumns, String> {
        let target = Target { schema: None, table: "t".into(), mode, create: true };
        let rows = target.rows(0, &[batch(columns)], 7, &mut Budget::new(1 << 20));
        rows.map(|rows| rows.expect("there are rows")).map_err(|refusal| refusal.message)
    }

    fn upsert(keys: &[&'static str], order: Option<&'static str>) -> Mode {
        Mode::Upsert { keys: keys.iter().map(|key| ByteString::from(*key)).collect(), order: order.map(Into::into) }
    }

    #[test]
    fn what_tells_rows_apart_follows_from_the_mode_and_the_columns() {
        let told = |rows: &TableColumns| (rows.shape.key.clone(), rows.shape.repeats, rows.shape.time, rows.shape.name);
        let plain = into(Mode::Append, &[("a", ints(&[1, 2]))]).expect("taken");
        assert_eq!((told(&plain), plain.rows), ((vec![], Repeats::First, When::At(7), 0), 2));
        let history = [("a", ints(&[1])), ("observed_at", times(&[5])), ("observation_id", texts(&["x"]))];
        let history = into(Mode::Append, &history).expect("taken");
        assert_eq!(told(&history), (vec![2], Repeats::First, When::Column(1), 2));
        let log = [("b", texts(&["b"])), ("a", ints(&[1])), ("query_timestamp", times(&[5]))];
        let newest = into(upsert(&["a", "b"], None), &log).expect("taken");
        assert_eq!(told(&newest), (vec![1, 0], Repeats::Newest, When::Column(2), 1));
    }

    #[test]
    fn an_upsert_that_cannot_tell_the_newest_is_refused_in_words_to_act_on() {
        let columns = [("a", ints(&[1])), ("at", times(&[5]))];
        assert!(into(upsert(&["a"], Some("at")), &columns).is_ok());
        let refused = |mode| into(mode, &columns).expect_err("refused");
        assert_eq!(
            refused(upsert(&["a"], None)),
            "an upsert keeps the newest row of a key and needs a timestamp to tell it by: name its column in \
             `ordercolumn`, or have one called `__ts__`, `observed_at`, `query_timestamp`; the file has `a`, `at`"
        );
        assert_eq!(
            refused(upsert(&["a", "c"], Some("at"))),
            "`keycolumns` names column `c`, which the file has not: `a`, `at`"
        );
        assert_eq!(refused(upsert(&["a"], Some("a"))), "`ordercolumn` names column `a`, which holds no timestamps");
    }

    #[test]
    fn a_value_that_nothing_else_could_say_is_named() {
        let huge: ArrayRef = Arc::new(UInt64Array::from(vec![1, u64::MAX]));
        let message = into(Mode::Append, &[("a", huge)]).expect_err("refused");
        assert!(message.starts_with("column `a`, row 1: "), "{message}");
    }

    #[test]
    fn a_column_of_marked_texts_holds_what_they_stand_for() {
        let field = Field::new("a", DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![Extension::Json.mark(field)]));
        let of = |text: &str| {
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![texts(&[text])]).expect("a batch");
            let target = Target { schema: None, table: "t".into(), mode: Mode::Append, create: true };
            target.rows(0, &[batch], 7, &mut Budget::new(1 << 20)).map_err(|refusal| refusal.message)
        };
        let rows = of("[1, \"x\", {\"b\": 0.5}]").expect("taken").expect("a row");
        let inner = Value::Struct(vec![("b".into(), Value::Double(0.5))]);
        assert_eq!(rows.columns[0].values(0, 1), [Value::List(vec![Value::Int(1), Value::text("x"), inner])]);
        let message = of("[1").expect_err("refused");
        assert!(message.starts_with("column `a`, row 0: not JSON: "), "{message}");
    }
}
