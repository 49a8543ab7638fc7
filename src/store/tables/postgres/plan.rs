//! What becomes of the rows of one table: which are refused, and what columns the table must have for
//! the others. No I/O.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::fit::{self, Misfit};
use super::names;
use super::types::{ColumnType, Scalar};
use crate::row::table::{Of, Repeats, Shape, TableRow, When};
use crate::sink::{ErrorClass, Refusal, SinkError};
use crate::store::postgres::LONGEST_KEY;
use crate::value::Value;

/// When the store wrote the row.
pub(super) const INSERTED_AT: &str = "__inserted_at__";

/// The columns of a table, as they are described or as rows need them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    index: HashMap<String, usize>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    /// Why its type cannot be changed, where that was tried.
    pub(super) rigid: Option<String>,
}

impl Table {
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The index of a column, which is added where it is new.
    pub(super) fn add(&mut self, name: &str, column_type: ColumnType) -> usize {
        if let Some(column) = self.position(name) {
            return column;
        }
        self.columns.push(Column { name: name.to_owned(), column_type, rigid: None });
        self.index.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }
}

/// What has to be done to a table before rows are written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add(String, ColumnType),
    /// To the double that its integers become.
    Widen(String, ColumnType),
}

/// How the columns of a shape lie in the table.
pub(super) struct Binding<'a> {
    shape: &'a Arc<Shape>,
    /// Per column of the shape its index in the table; or why no row of the shape can be taken.
    columns: Result<Vec<usize>, Refusal>,
    /// Where the table has [`INSERTED_AT`].
    inserted_at: Option<usize>,
    taken: bool,
}

/// The rows of one table in one write, sorted out.
pub(super) struct Plan<'a> {
    /// The table as the rows need it; a column without a type is not made.
    pub(super) table: Table,
    pub(super) changes: Vec<Change>,
    /// The rows that the table takes, each with its binding.
    pub(super) rows: Vec<(usize, &'a TableRow)>,
    pub(super) bindings: Vec<Binding<'a>>,
    /// Columns whose values together name a row, as the table has them.
    pub(super) key: Vec<usize>,
    /// Columns that tell which of two rows of one key is newer, one after another.
    pub(super) newer: Vec<usize>,
    /// Whether the server says when it got a row.
    pub(super) history: bool,
    /// Which of two rows of one key stands.
    pub(super) repeats: Repeats,
    /// Rows that the table will never take, by their index in the write.
    pub(super) refused: Vec<(usize, Refusal)>,
}

/// What a table is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// Rows.
    Rows,
    /// Columns as they are declared, each by a row of nulls: of its key only the columns are judged.
    Columns,
}

/// Sorts out rows against a table. Rows that are refused leave no trace in it, unless a later row of the
/// same write is what made them refused.
pub(super) fn plan<'a>(known: &Table, rows: &[(usize, &'a TableRow)]) -> Result<Plan<'a>, SinkError> {
    held(known, rows, Against::Rows)
}

/// The same, and for columns without rows.
pub(super) fn held<'a>(known: &Table, rows: &[(usize, &'a TableRow)], against: Against) -> Result<Plan<'a>, SinkError> {
    let mut from = known.clone();
    loop {
        let (mut planned, widened) = pass(&from, rows, against)?;
        if !widened {
            planned.changes = changes(known, &planned.table);
            return Ok(planned);
        }
        // Rows before the widening were judged by a narrower type: an integer that was taken may be one
        // that the double would round. Each further pass begins with wider types, so there are few.
        from = planned.table;
    }
}

fn changes(known: &Table, needed: &Table) -> Vec<Change> {
    let typed = needed.columns.iter().filter(|column| column.column_type != ColumnType::Unknown);
    typed
        .filter_map(|column| match known.position(&column.name).map(|at| &known.columns[at]) {
            None => Some(Change::Add(column.name.clone(), column.column_type.clone())),
            Some(as_it_is) if as_it_is.column_type == column.column_type => None,
            Some(_) => Some(Change::Widen(column.name.clone(), column.column_type.clone())),
        })
        .collect()
}

/// Judges the rows one after the other; also says whether a type that was known became wider.
fn pass<'a>(known: &Table, rows: &[(usize, &'a TableRow)], against: Against) -> Result<(Plan<'a>, bool), SinkError> {
    let mut table = known.clone();
    let mut bindings: Vec<Binding<'a>> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    let (mut taken, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
    let (mut wider, mut widened) = (Vec::new(), false);
    for (index, row) in rows {
        let place = *places.entry(Arc::as_ptr(&row.shape).addr()).or_insert_with(|| {
            bindings.push(Binding::new(&row.shape, &mut table));
            bindings.len() - 1
        });
        let binding = &mut bindings[place];
        wider.clear();
        let verdict = match &binding.columns {
            Ok(columns) => judge(&table, columns, row, &mut wider).and_then(|()| match against {
                Against::Rows => check_key(row),
                Against::Columns => check_key_columns(&table, columns, &row.shape),
            }),
            Err(refusal) => Err(refusal.clone()),
        };
        match verdict {
            Ok(()) => {
                if !std::mem::replace(&mut binding.taken, true)
                    && let Some(at) = binding.inserted_at
                    && table.columns[at].column_type == ColumnType::Unknown
                {
                    table.columns[at].column_type = ColumnType::One(Scalar::Timestamptz(None));
                }
                for (column, column_type) in wider.drain(..) {
                    let before = std::mem::replace(&mut table.columns[column].column_type, column_type);
                    widened |= before != ColumnType::Unknown;
                }
                taken.push((place, *row));
            }
            Err(refusal) => {
                if row.values.len() != row.shape.columns.len() {
                    return Err(SinkError::Bug { reason: refusal.message });
                }
                refused.push((*index, refusal.row(row.name()).table(&row.shape.table)));
            }
        }
    }
    let first = bindings.iter().find(|binding| binding.taken);
    let history = first.is_some_and(|binding| binding.inserted_at.is_some());
    let key = first.map(Binding::key).unwrap_or_default();
    let newer = first.map(Binding::newer).unwrap_or_default();
    let repeats = first.map_or(Repeats::First, |binding| binding.shape.repeats);
    let alike = |binding: &Binding<'_>| binding.key() == key && binding.shape.repeats == repeats;
    if bindings.iter().any(|binding| binding.taken && !alike(binding)) {
        let reason = "two shapes of one table have different keys, or rules for repeated ones".to_owned();
        return Err(SinkError::Bug { reason });
    }
    let plan = Plan { table, changes: Vec::new(), rows: taken, bindings, key, newer, history, repeats, refused };
    Ok((plan, widened))
}

impl<'a> Binding<'a> {
    fn new(shape: &'a Arc<Shape>, table: &mut Table) -> Self {
        let mut inserted_at = None;
        let history = shape.of == Of::History;
        let columns = column_names(shape, history).map(|names| {
            let mut columns = Vec::with_capacity(names.len());
            for (at, name) in names.iter().enumerate() {
                columns.push(table.add(name, ColumnType::Unknown));
                if history && shape.time == When::Column(at) {
                    inserted_at = Some(table.add(INSERTED_AT, ColumnType::Unknown));
                }
            }
            columns
        });
        Self { shape, columns, inserted_at, taken: false }
    }

    fn key(&self) -> Vec<usize> {
        let columns = self.columns.as_deref().unwrap_or_default();
        self.shape.key.iter().filter_map(|at| columns.get(*at).copied()).collect()
    }

    fn newer(&self) -> Vec<usize> {
        let further = match self.shape.repeats {
            Repeats::Furthest(column) => Some(column),
            Repeats::First | Repeats::Newest => None,
        };
        let columns = self.columns.as_deref().unwrap_or_default();
        let of_shape = further.into_iter().chain(self.shape.time.column());
        of_shape.filter_map(|at| columns.get(at).copied()).collect()
    }

    /// For each of some columns of the table where a row of this shape has its value.
    pub(super) fn places(&self, of: &[usize]) -> Vec<Option<usize>> {
        let columns = self.columns.as_deref().unwrap_or_default();
        of.iter().map(|column| columns.iter().position(|known| known == column)).collect()
    }
}

impl Plan<'_> {
    /// Columns of the table that some shape of a row that is taken has.
    pub(super) fn used(&self) -> HashSet<usize> {
        let taken = self.bindings.iter().filter(|binding| binding.taken);
        taken.flat_map(|binding| binding.columns.as_deref().unwrap_or_default()).copied().collect()
    }
}

/// The names that the columns of a shape have in the server.
fn column_names(shape: &Shape, history: bool) -> Result<Vec<String>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorClass::ValueRefused, message));
    let mut names = Vec::with_capacity(shape.columns.len());
    for column in &shape.columns {
        let Some(name) = names::column(&column.name) else {
            return refuse(format!("a column cannot be named {:?}", &*column.name));
        };
        if history && name == INSERTED_AT {
            return refuse(format!("column `{INSERTED_AT}` is the store's own"));
        }
        names.push(name.into_owned());
    }
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("two columns are named `{}`", pair[0])),
        None => Ok(names),
    }
}

/// Whether every value of a row fits; `wider` gets the types that its columns must have for it.
fn judge(
    table: &Table,
    columns: &[usize],
    row: &TableRow,
    wider: &mut Vec<(usize, ColumnType)>,
) -> Result<(), Refusal> {
    let shape = &row.shape;
    if row.values.len() != shape.columns.len() {
        let message = format!("a row of {} values under {} columns", row.values.len(), shape.columns.len());
        return Err(Refusal::new(ErrorClass::ValueRefused, message));
    }
    for ((value, at), described) in row.values.iter().zip(columns).zip(&shape.columns) {
        let column = &table.columns[*at];
        let current = &column.column_type;
        // A type that is declared is made, and is what an integer column widens to; where the two contradict
        // each other otherwise the table stays as it is, and its values are judged by it.
        let declared = described.data_type.as_ref().map(ColumnType::from).filter(|declared| declared != current);
        let wanted = declared.filter(|declared| {
            *current == ColumnType::Unknown || (current.widened().as_ref() == Some(declared) && may_widen(column))
        });
        let judged = wanted.as_ref().unwrap_or(current);
        let misfit = match fit::check(judged, value) {
            Ok(()) => {
                wider.extend(wanted.map(|wanted| (*at, wanted)));
                continue;
            }
            Err(Misfit::Widen(column_type)) if *current == ColumnType::Unknown || may_widen(column) => {
                wider.push((*at, column_type));
                continue;
            }
            Err(Misfit::Widen(_)) => fit::mismatch(current, value),
            Err(misfit) => misfit,
        };
        let (class, mut message) = match misfit {
            Misfit::Refused(class, message) => (class, message),
            Misfit::Widen(column_type) => (ErrorClass::TypeMismatch, format!("expected {column_type}")),
        };
        if let Some(why) = &column.rigid {
            message = format!("{message}; {why}");
        }
        let about = format!("column `{}`, of type {judged}", column.name);
        return Err(Refusal::new(class, format!("column `{}`: {message}", column.name)).about(about));
    }
    Ok(())
}

/// A key has to be there and to fit into its index.
fn check_key(row: &TableRow) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorClass::ValueRefused, message));
    let mut length = 0;
    for at in &row.shape.key {
        let name = || &row.shape.columns[*at].name;
        match row.values.get(*at) {
            None | Some(Value::Null) => return refuse(format!("column `{}` is a part of the key and is null", name())),
            Some(value) => length += value.heap_size(),
        }
    }
    if length > LONGEST_KEY {
        return refuse(format!("a key of {length} bytes; an index of Postgres takes {LONGEST_KEY}"));
    }
    Ok(())
}

/// A column of a key has to be one that values are written to. Rows are refused for their values of it, and a file
/// without rows would be tried for ever.
fn check_key_columns(table: &Table, columns: &[usize], shape: &Shape) -> Result<(), Refusal> {
    for at in shape.key.iter().filter_map(|at| columns.get(*at)) {
        let Column { name, column_type, .. } = &table.columns[*at];
        if let ColumnType::Other(shown) = column_type {
            let message =
                format!("column `{name}`: is a part of the key and has type {shown}, which nothing is written to");
            return Err(Refusal::new(ErrorClass::TypeMismatch, message).harmless());
        }
    }
    Ok(())
}

/// System columns keep the type of their first row: an id that is a number here and a text there
/// would be two entities in one reader and one in the next.
fn may_widen(column: &Column) -> bool {
    let of_the_system = column.name.starts_with("__") && column.name.ends_with("__");
    column.rigid.is_none() && !of_the_system
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::table;

    /// Not a double: 2⁵³ + 1.
    const ODD: Value = Value::Int(9_007_199_254_740_993);

    fn shape(columns: &[(&str, Option<&str>)]) -> Arc<Shape> {
        let id = [("__observation_id__", Some("string")), ("__ts__", Some("timestamp"))];
        let columns = id.iter().chain(columns).map(|(name, data_type)| table::Column {
            name: (*name).into(),
            data_type: data_type.map(|text| text.parse().expect("a known type")),
        });
        Arc::new(Shape {
            schema: None,
            table: "user".into(),
            columns: columns.collect(),
            time: When::Column(1),
            name: 0,
            key: vec![0],
            repeats: Repeats::First,
            create: true,
            of: table::Of::History,
        })
    }

    fn row(shape: &Arc<Shape>, values: impl IntoIterator<Item = Value>) -> TableRow {
        let values = [Value::text("id"), Value::Timestamp(0)].into_iter().chain(values).collect();
        TableRow { destination: 0, shape: Arc::clone(shape), values }
    }

    /// Which rows are refused, and what is done to the table.
    fn outcome(known: &Table, rows: &[TableRow]) -> (Vec<usize>, Vec<String>) {
        let rows: Vec<(usize, &TableRow)> = rows.iter().enumerate().collect();
        let planned = plan(known, &rows).expect("no bug");
        assert_eq!(planned.rows.len() + planned.refused.len(), rows.len(), "every row is in one place");
        let refused = planned.refused.iter().map(|(index, _)| *index).collect();
        let change = |change: &Change| match change {
            Change::Add(name, column_type) => format!("+{name} {column_type}"),
            Change::Widen(name, column_type) => format!("~{name} {column_type}"),
        };
        (refused, planned.changes.iter().map(change).collect())
    }

    const SYSTEM: [&str; 3] = ["+__observation_id__ text", "+__ts__ timestamptz", "+__inserted_at__ timestamptz"];

    #[test]
    fn a_new_table_gets_the_columns_that_have_a_type() {
        let one = shape(&[("n", None), ("only_nulls", None), ("declared", Some("list<int64>"))]);
        let rows = [row(&one, [Value::Int(1), Value::Null, Value::Null])];
        let expected = [SYSTEM.as_slice(), &["+n bigint", "+declared bigint[]"]].concat();
        assert_eq!(outcome(&Table::default(), &rows), (vec![], expected.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn a_column_that_becomes_double_refuses_an_earlier_integer_that_it_would_round() {
        let open = shape(&[("n", None)]);
        let declared = shape(&[("n", Some("float64"))]);
        let rows = [row(&open, [ODD]), row(&open, [Value::Int(7)]), row(&open, [Value::Double(0.5)])];
        assert_eq!(outcome(&Table::default(), &rows).0, [0]);
        let rows = [row(&open, [ODD]), row(&declared, [Value::Null]), row(&open, [Value::Int(7)])];
        assert_eq!(outcome(&Table::default(), &rows).0, [0]);
    }

    #[test]
    fn a_known_column_widens_unless_it_cannot() {
        let open = shape(&[("n", None)]);
        let rows = [row(&open, [Value::Double(0.5)])];
        let mut known = Table::default();
        known.add("n", ColumnType::One(Scalar::Int8));
        let (refused, changes) = outcome(&known, &rows);
        assert!(refused.is_empty() && changes.contains(&"~n double precision".to_owned()), "{changes:?}");
        known.columns[0].rigid = Some("it is so".to_owned());
        assert_eq!(outcome(&known, &rows).0, [0]);
        let mut system = Table::default();
        system.add("__id__", ColumnType::One(Scalar::Int8));
        assert_eq!(outcome(&system, &[row(&shape(&[("__id__", None)]), [Value::Double(1.0)])]).0, [0]);
    }

    #[test]
    fn a_row_that_is_refused_leaves_no_column() {
        let known = shape(&[("n", Some("int64"))]);
        let bad = shape(&[("m", Some("string")), ("n", None)]);
        let late = shape(&[("z", Some("bool"))]);
        let rows = [
            row(&known, [Value::Int(1)]),
            row(&bad, [Value::text("x"), Value::text("y")]),
            row(&late, [Value::Bool(true)]),
        ];
        let expected = [SYSTEM.as_slice(), &["+n bigint", "+z boolean"]].concat();
        assert_eq!(outcome(&Table::default(), &rows), (vec![1], expected.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn a_key_is_there_and_fits_its_index() {
        let plain = shape(&[]);
        let with = |id: Value| {
            let mut row = row(&plain, []);
            row.values[0] = id;
            row
        };
        let rows = [with(Value::Null), with(Value::text("x".repeat(LONGEST_KEY + 1))), with(Value::text("x"))];
        assert_eq!(outcome(&Table::default(), &rows).0, [0, 1]);
    }

    #[test]
    fn a_key_that_takes_no_value_is_refused_without_a_row() {
        let nulls = TableRow { destination: 0, shape: shape(&[]), values: vec![Value::Null; 2] };
        let refused = |known: &Table| {
            let planned = held(known, &[(0, &nulls)], Against::Columns).expect("no bug");
            planned.refused.len()
        };
        let mut known = Table::default();
        assert_eq!(refused(&known), 0);
        known.add("__observation_id__", ColumnType::Other("bigint GENERATED ALWAYS".to_owned()));
        assert_eq!(refused(&known), 1);
    }
}
