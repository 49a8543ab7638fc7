//! What becomes of the rows of one table: which are refused, which go into which file, and what
//! the table's schema must be for that. No I/O.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::row::table::{Shape, TableRow};
use crate::sink::{ErrorClass, Refusal, SinkError};
use crate::value::Value;

use super::fit::{self, Misfit};
use super::layout;
use super::schema::TableSchema;
use super::types::ColumnType;

/// Marks a table of the `namespace` layout, which gets [`INSERTED_AT`].
const OBSERVATION_ID: &str = "__observation_id__";
/// When the store wrote the row.
pub(super) const INSERTED_AT: &str = "__inserted_at__";

/// The rows of one table in one write, sorted out.
pub(super) struct Plan<'a> {
    /// The schema that the rows need: the one that was given, or that with more or wider columns.
    pub(super) schema: TableSchema,
    /// Whether it differs from the one that was given.
    pub(super) evolved: bool,
    /// Rows by day since 1970, in the order of arrival.
    pub(super) days: Vec<(i64, Vec<&'a TableRow>)>,
    /// Rows that the table will never take, by their index in the write.
    pub(super) refused: Vec<(usize, Refusal)>,
}

/// How the columns of a shape lie in the schema.
struct Binding<'a> {
    shape: &'a Arc<Shape>,
    /// Per column of the shape its index in the schema; or why no row of the shape can be taken.
    columns: Result<Vec<usize>, Refusal>,
}

/// Sorts out rows against a schema. A refused row leaves no trace in the schema.
pub(super) fn plan<'a>(known: &TableSchema, rows: &[(usize, &'a TableRow)]) -> Result<Plan<'a>, SinkError> {
    let mut schema = known.clone();
    let mut bindings: HashMap<usize, Binding<'a>> = HashMap::new();
    let mut days: Vec<(i64, Vec<&'a TableRow>)> = Vec::new();
    let mut day_index: HashMap<i64, usize> = HashMap::new();
    let mut refused = Vec::new();
    let mut wider = Vec::new();
    for (index, row) in rows {
        let binding = bindings
            .entry(Arc::as_ptr(&row.shape).addr())
            .or_insert_with(|| Binding { shape: &row.shape, columns: bind(&mut schema, &row.shape) });
        let verdict = match &binding.columns {
            Ok(columns) => judge(&schema, binding.shape, columns, row, &mut wider),
            Err(refusal) => Err(refusal.clone()),
        };
        match verdict {
            Ok(day) => {
                for (column, data_type) in wider.drain(..) {
                    schema.set_type(column, data_type);
                }
                let at = *day_index.entry(day).or_insert_with(|| {
                    days.push((day, Vec::new()));
                    days.len() - 1
                });
                days[at].1.push(row);
            }
            Err(refusal) => {
                wider.clear();
                if row.values.len() != row.shape.columns.len() {
                    return Err(SinkError::Bug { reason: refusal.message });
                }
                refused.push((*index, refusal.row(&row.name).table(&row.shape.table)));
            }
        }
    }
    schema.forget_unknown();
    let evolved = schema.columns() != known.columns();
    Ok(Plan { schema, evolved, days, refused })
}

/// Finds or adds the columns of a shape.
fn bind(schema: &mut TableSchema, shape: &Shape) -> Result<Vec<usize>, Refusal> {
    let system = shape.columns.iter().any(|column| column.name == OBSERVATION_ID);
    check_names(shape, system)?;
    let mut columns = Vec::with_capacity(shape.columns.len());
    for (at, column) in shape.columns.iter().enumerate() {
        let declared = column.data_type.as_ref().map_or(ColumnType::Unknown, ColumnType::from);
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
        if system && at == shape.time {
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
        let current = schema.column_type(*column);
        let misfit = match fit::check(current, value) {
            Ok(()) => continue,
            Err(Misfit::Widen) => match fit::widen(current, value) {
                Ok(data_type) if may_widen(schema.name(*column), current) => {
                    wider.push((*column, data_type));
                    continue;
                }
                Ok(_) => fit::mismatch(current, value),
                Err(misfit) => misfit,
            },
            Err(misfit) => misfit,
        };
        let (class, message) = match misfit {
            Misfit::Refused(class, message) => (class, message),
            Misfit::Widen => (ErrorClass::TypeMismatch, format!("expected {current}")),
        };
        return Err(Refusal::new(class, format!("column `{}`: {message}", schema.name(*column))));
    }
    match row.values.get(shape.time) {
        Some(Value::Timestamp(time)) => Ok(layout::day(*time)),
        _ => {
            let name = shape.columns.get(shape.time).map_or("", |column| &*column.name);
            let message = format!("column `{name}`: a row has no timestamp there to choose its date by");
            Err(Refusal::new(ErrorClass::TypeMismatch, message))
        }
    }
}

/// System columns keep the type of their first row: an id that is a number here and a text there
/// would be two entities in one reader and one in the next.
fn may_widen(name: &str, current: &ColumnType) -> bool {
    *current == ColumnType::Unknown || !(name.starts_with("__") && name.ends_with("__"))
}
