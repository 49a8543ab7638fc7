//! What becomes of the rows of one table: which are refused, which go into which file, and what
//! the table's schema must be for that. No I/O.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::row::table::{Of, Shape, TableColumns, TableRow, TableRows, When};
use crate::sink::{ErrorClass, Refusal, SinkError};
use crate::value::Value;

use super::fit::{self, Misfit};
use super::layout;
use super::schema::TableSchema;
use super::types::ColumnType;

mod columns;

/// When the store wrote the row.
pub(super) const INSERTED_AT: &str = "__inserted_at__";

/// Rows that go into one file, in the form in which they came.
pub(super) enum Piece<'a> {
    /// With the bytes that it takes, which are counted while its values are in the cache.
    Row(&'a TableRow, usize),
    /// These rows of columns, in order.
    Columns(&'a TableColumns, Vec<u32>),
}

impl Piece<'_> {
    /// How many rows it is.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Row(..) => 1,
            Self::Columns(_, rows) => rows.len(),
        }
    }
}

/// The rows of one table in one write, sorted out.
pub(super) struct Plan<'a> {
    /// The schema that the rows need: the one that was given, or that with more or wider columns.
    pub(super) schema: TableSchema,
    /// Whether it differs from the one that was given.
    pub(super) evolved: bool,
    /// Rows by day since 1970, in the order of arrival.
    pub(super) days: Vec<(i64, Vec<Piece<'a>>)>,
    /// What the table will never take, or not all of, by its index in the write.
    pub(super) refused: Vec<(usize, Refusal)>,
}

/// How the columns of a shape lie in the schema.
struct Binding<'a> {
    shape: &'a Arc<Shape>,
    /// Per column of the shape its index in the schema; or why no row of the shape can be taken.
    columns: Result<Vec<usize>, Refusal>,
    /// Until a row of the shape is taken: the schema as its columns make it.
    pending: Option<TableSchema>,
    /// The change of the schema that `pending` was made after.
    made_after: usize,
}

/// Sorts out rows against a schema. Rows of a shape that are all refused leave no trace in it, and
/// neither does a refused row, unless a later row of the same write is what made it refused.
pub(super) fn plan<'a>(known: &TableSchema, rows: &[(usize, &'a TableRows)]) -> Result<Plan<'a>, SinkError> {
    let mut from = known.clone();
    loop {
        let (mut planned, widened) = pass(&from, rows)?;
        if !widened {
            planned.evolved = planned.schema.columns() != known.columns();
            return Ok(planned);
        }
        // Rows before the widening were judged by a narrower type: an integer that was taken may be one
        // that the double would round. Each further pass begins with wider types, so there are few.
        from = planned.schema;
    }
}

/// Judges the rows one after the other; also says whether a type that was known became wider.
fn pass<'a>(known: &TableSchema, rows: &[(usize, &'a TableRows)]) -> Result<(Plan<'a>, bool), SinkError> {
    let mut schema = known.clone();
    let (mut changes, mut widened) = (0, false);
    let mut bindings: HashMap<usize, Binding<'a>> = HashMap::new();
    let mut days = Days::default();
    let mut refused = Vec::new();
    let mut wider = Vec::new();
    for (index, rows) in rows {
        let shape = match rows {
            TableRows::Row(row) => &row.shape,
            TableRows::Columns(columns) => &columns.shape,
        };
        let binding =
            bindings.entry(Arc::as_ptr(shape).addr()).or_insert_with(|| Binding::new(shape, &schema, changes));
        if binding.pending.is_some() && binding.made_after != changes {
            *binding = Binding::new(binding.shape, &schema, changes);
        }
        let current = binding.pending.as_ref().unwrap_or(&schema);
        let taken = match (&binding.columns, rows) {
            (Ok(columns), TableRows::Row(row)) => match judge(current, shape, columns, row, &mut wider) {
                Ok(day) => {
                    days.push(day, Piece::Row(row, row.size()));
                    true
                }
                Err(refusal) if row.values.len() != shape.columns.len() => {
                    return Err(SinkError::Bug { reason: refusal.message });
                }
                Err(refusal) => {
                    refused.push((*index, refusal.row(row.name()).table(&shape.table)));
                    false
                }
            },
            (Ok(columns), TableRows::Columns(rows)) => {
                let judged = columns::judge(current, columns, rows, &mut wider)?;
                let taken = !judged.days.is_empty();
                for (day, selected) in judged.days {
                    days.push(day, Piece::Columns(rows, selected));
                }
                if let Some((row, refusal)) = judged.refused {
                    refused.push((*index, refusal.row(rows.name(row)).table(&shape.table)));
                }
                taken
            }
            (Err(refusal), rows) => {
                let name = match rows {
                    TableRows::Row(row) => row.name(),
                    TableRows::Columns(columns) => columns.name(0),
                };
                refused.push((*index, refusal.clone().row(name).table(&shape.table)));
                false
            }
        };
        if !taken {
            wider.clear();
            continue;
        }
        if let Some(pending) = binding.pending.take() {
            widened |= schema.types().zip(pending.types()).any(|(before, after)| is_wider(before, after));
            changes += usize::from(schema.columns() != pending.columns());
            schema = pending;
        }
        for (column, data_type) in wider.drain(..) {
            widened |= is_wider(schema.column_type(column), &data_type);
            changes += 1;
            schema.set_type(column, data_type);
        }
    }
    schema.forget_unknown();
    Ok((Plan { schema, evolved: false, days: days.days, refused }, widened))
}

/// Pieces by day.
#[derive(Default)]
struct Days<'a> {
    days: Vec<(i64, Vec<Piece<'a>>)>,
    index: HashMap<i64, usize>,
}

impl<'a> Days<'a> {
    fn push(&mut self, day: i64, piece: Piece<'a>) {
        // Rows come in the order of their times, by and large.
        if let Some((last, pieces)) = self.days.last_mut()
            && *last == day
        {
            return pieces.push(piece);
        }
        let at = *self.index.entry(day).or_insert_with(|| {
            self.days.push((day, Vec::new()));
            self.days.len() - 1
        });
        self.days[at].1.push(piece);
    }
}

/// Whether values that were taken by the type before have to be looked at again.
fn is_wider(before: &ColumnType, after: &ColumnType) -> bool {
    *before != ColumnType::Unknown && before != after
}

impl<'a> Binding<'a> {
    fn new(shape: &'a Arc<Shape>, schema: &TableSchema, changes: usize) -> Self {
        let mut pending = schema.clone();
        let columns = bind(&mut pending, shape);
        // What is wrong with a shape itself stays wrong, whatever becomes of the schema.
        let pending = columns.is_ok().then_some(pending);
        Self { shape, columns, pending, made_after: changes }
    }
}

/// Finds or adds the columns of a shape.
fn bind(schema: &mut TableSchema, shape: &Shape) -> Result<Vec<usize>, Refusal> {
    let system = shape.of == Of::History;
    check_names(shape, system)?;
    let mut columns = Vec::with_capacity(shape.columns.len());
    for (at, column) in shape.columns.iter().enumerate() {
        let declared = column.data_type.as_ref().map_or(ColumnType::Unknown, ColumnType::declared);
        if let Some(reason) = declared.unstorable() {
            return Err(Refusal::new(ErrorClass::ValueRefused, format!("column `{}`: {reason}", column.name)));
        }
        let name = layout::column(&column.name);
        let index = schema.add(&name, &declared);
        let current = schema.column_type(index);
        // Where the two contradict each other the table stays as it is, and its values are judged by it.
        if let Some(wider) = current.widened(&declared).filter(|wider| wider != current && may_widen(&name, current)) {
            schema.set_type(index, wider);
        }
        columns.push(index);
        if system && shape.time == When::Column(at) {
            schema.add(INSERTED_AT, &ColumnType::Timestamp);
        }
    }
    Ok(columns)
}

fn check_names(shape: &Shape, system: bool) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorClass::ValueRefused, message));
    let mut names: Vec<&str> = shape.columns.iter().map(|column| &*column.name).collect();
    names.sort_unstable();
    if names.first().is_some_and(|name| name.is_empty()) {
        return refuse("a column without a name".to_owned());
    }
    if system && names.binary_search(&INSERTED_AT).is_ok() {
        return refuse(format!("column `{INSERTED_AT}` is the store's own"));
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("two columns are named `{}`", pair[0])),
        None => Ok(()),
    }
}

/// The day that a row belongs to, once every value of it fits; `wider` gets the types that it takes.
fn judge(
    schema: &TableSchema,
    shape: &Shape,
    columns: &[usize],
    row: &TableRow,
    wider: &mut Vec<(usize, ColumnType)>,
) -> Result<i64, Refusal> {
    if row.values.len() != shape.columns.len() {
        let message = format!("a row of {} values under {} columns", row.values.len(), shape.columns.len());
        return Err(Refusal::new(ErrorClass::ValueRefused, message));
    }
    for (value, column) in row.values.iter().zip(columns) {
        if fit::plainly(schema.column_type(*column), value) {
            continue;
        }
        if let Some(data_type) = takes(schema.name(*column), schema.column_type(*column), value)? {
            wider.push((*column, data_type));
        }
    }
    let time = match shape.time {
        When::Column(column) => row.values.get(column),
        When::At(time) => return Ok(layout::day(time)),
    };
    day(shape, time)
}

/// The day of the value in the column of times.
fn day(shape: &Shape, time: Option<&Value>) -> Result<i64, Refusal> {
    match time {
        Some(Value::Timestamp(time)) => Ok(layout::day(*time)),
        _ => Err(no_time(shape)),
    }
}

/// Whether a column takes a value; the wider type that it gets where it needs one for that.
fn takes(name: &str, current: &ColumnType, value: &Value) -> Result<Option<ColumnType>, Refusal> {
    let misfit = match fit::check(current, value) {
        Ok(()) => return Ok(None),
        Err(Misfit::Widen) => match fit::widen(current, value) {
            Ok(data_type) if may_widen(name, current) => return Ok(Some(data_type)),
            Ok(_) => fit::mismatch(current, value),
            Err(misfit) => misfit,
        },
        Err(misfit) => misfit,
    };
    let (class, message) = match misfit {
        Misfit::Refused(class, message) => (class, message),
        Misfit::Widen => (ErrorClass::TypeMismatch, format!("expected {current}")),
    };
    let about = format!("column `{name}`, of type {current}");
    Err(Refusal::new(class, format!("column `{name}`: {message}")).about(about))
}

fn no_time(shape: &Shape) -> Refusal {
    let name = shape.time.column().and_then(|column| shape.columns.get(column)).map_or("", |column| &*column.name);
    let message = format!("column `{name}`: a row has no timestamp there to choose its date by");
    Refusal::new(ErrorClass::TypeMismatch, message)
}

/// System columns keep the type of their first row: an id that is a number here and a text there
/// would be two entities in one reader and one in the next.
fn may_widen(name: &str, current: &ColumnType) -> bool {
    *current == ColumnType::Unknown || !(name.starts_with("__") && name.ends_with("__"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::table::{Column, Repeats};

    /// Not a double: 2⁵³ + 1.
    const ODD: Value = Value::Int(9_007_199_254_740_993);

    fn shape(columns: &[(&str, Option<&str>)]) -> Arc<Shape> {
        let time = [("t", Some("timestamp"))];
        let columns = time.iter().chain(columns).map(|(name, data_type)| Column {
            name: (*name).into(),
            data_type: data_type.map(|text| text.parse().expect("a known type")),
        });
        Arc::new(Shape {
            schema: None,
            table: "user".into(),
            columns: columns.collect(),
            time: When::Column(0),
            name: 0,
            key: vec![],
            repeats: Repeats::First,
            create: true,
            of: Of::Anything,
        })
    }

    fn row(shape: &Arc<Shape>, values: impl IntoIterator<Item = Value>) -> TableRows {
        let values = std::iter::once(Value::Timestamp(0)).chain(values).collect();
        TableRows::Row(TableRow { destination: 0, shape: Arc::clone(shape), values })
    }

    /// Which rows are refused, and the columns in the end.
    fn outcome(known: &TableSchema, rows: &[TableRows]) -> (Vec<usize>, Vec<String>) {
        let rows: Vec<(usize, &TableRows)> = rows.iter().enumerate().collect();
        let planned = plan(known, &rows).expect("no bug");
        let refused: Vec<usize> = planned.refused.iter().map(|(index, _)| *index).collect();
        let taken: usize = planned.days.iter().flat_map(|(_, pieces)| pieces).map(Piece::rows).sum();
        assert_eq!(taken + refused.len(), rows.len(), "every row is in one place");
        assert_eq!(planned.evolved, planned.schema.columns() != known.columns());
        let columns = planned.schema.columns().iter().enumerate();
        (
            refused,
            columns.map(|(at, _)| format!("{} {}", planned.schema.name(at), planned.schema.column_type(at))).collect(),
        )
    }

    #[test]
    fn days_come_in_the_order_in_which_they_appear_and_rows_within_them_as_they_arrived() {
        let shape = shape(&[("n", None)]);
        let row = |day: i64, n| {
            let values = vec![Value::Timestamp(day * 86_400_000_000), Value::Int(n)];
            TableRows::Row(TableRow { destination: 0, shape: Arc::clone(&shape), values })
        };
        let rows = [row(2, 0), row(1, 1), row(2, 2), row(1, 3), row(1, 4)];
        let rows: Vec<(usize, &TableRows)> = rows.iter().enumerate().collect();
        let planned = plan(&TableSchema::default(), &rows).expect("no bug");
        let number = |piece: &Piece<'_>| match piece {
            Piece::Row(row, _) => row.values[1].clone(),
            Piece::Columns(..) => panic!("rows were given"),
        };
        let days: Vec<_> =
            planned.days.iter().map(|(day, pieces)| (*day, pieces.iter().map(number).collect::<Vec<_>>())).collect();
        assert_eq!(days, [(2, vec![Value::Int(0), Value::Int(2)]), (1, [1, 3, 4].map(Value::Int).to_vec())]);
    }

    #[test]
    fn a_column_that_becomes_double_refuses_an_earlier_integer_that_it_would_round() {
        let shape = shape(&[("n", None)]);
        let wraps: [fn(Value) -> Value; 3] = [
            |value| value,
            |value| Value::List(vec![value]),
            |value| Value::Struct(vec![("a".into(), Value::List(vec![value]))]),
        ];
        for wrap in wraps {
            let rows = [ODD, Value::Int(7), Value::Double(0.5)].map(|value| row(&shape, [wrap(value)]));
            assert_eq!(outcome(&TableSchema::default(), &rows).0, [0]);
        }
    }

    #[test]
    fn a_declared_double_refuses_an_earlier_integer_of_another_shape() {
        let (open, declared) = (shape(&[("n", None)]), shape(&[("n", Some("float64"))]));
        let rows = [row(&open, [ODD]), row(&declared, [Value::Null]), row(&open, [Value::Int(7)])];
        assert_eq!(outcome(&TableSchema::default(), &rows), (vec![0], vec!["t timestamp".into(), "n float64".into()]));
    }

    #[test]
    fn a_shape_of_which_no_row_is_taken_leaves_no_column() {
        let known = shape(&[("n", Some("int64"))]);
        let bad = shape(&[("m", Some("string")), ("n", Some("float64"))]);
        let never = shape(&[("k", Some("string")), ("v", Some("vector<fp32, 2000000>"))]);
        let late = shape(&[("z", Some("bool"))]);
        let rows = [
            row(&bad, [Value::Int(1), Value::Null]),
            row(&known, [ODD]),
            row(&bad, [Value::Null, Value::text("x")]),
            row(&never, [Value::Null, Value::Null]),
            row(&late, [Value::Bool(true)]),
            row(&known, [Value::Int(2)]),
        ];
        let columns = vec!["t timestamp".to_owned(), "n int64".into(), "z bool".into()];
        assert_eq!(outcome(&TableSchema::default(), &rows), (vec![0, 2, 3], columns));
        assert_eq!(outcome(&TableSchema::default(), &rows[..1]), (vec![0], vec![]));
    }
}
