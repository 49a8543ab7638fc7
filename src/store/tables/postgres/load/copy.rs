//! One statement: the rows of some files into one table, each read while it is sent.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt;

use super::super::encode::{self, HEAD, Misplaced, TAIL};
use super::super::insert::{insert_new, insert_newest, newer};
use super::super::plan::{Plan, Table, plan};
use super::super::table::{Name, Tables};
use super::super::types::ColumnType;
use super::super::write::CHUNK;
use super::opened::{Connection, File, LONG};
use crate::insert::object::Unread;
use crate::row::table::{Repeats, TableRow};
use crate::sink::{Refusal, SinkError};
use crate::store::load::work::Work;
use crate::store::postgres::quoted;
use crate::value::Value;

/// Rows that are taken apart at a time.
const AT_ONCE: usize = 8_192;

/// What goes into one table by one statement.
pub(super) struct Part {
    pub(super) name: Name,
    target: String,
    /// Shared by all that are alike: where files are copied one by one, there may be thousands.
    table: Arc<Table>,
    /// The columns that are copied, in the order of the table's.
    columns: Vec<usize>,
    key: Vec<usize>,
    newer: Vec<usize>,
    history: bool,
    repeats: Repeats,
    /// The files, by their index.
    pub(super) files: Vec<usize>,
}

/// Why a statement was given up.
pub(super) enum Stop {
    /// A file is bad.
    Bad { file: usize, refusal: Refusal },
    /// A file's store is away.
    Away { file: usize, error: SinkError },
    /// The table has to change for these rows of a file.
    Changed { file: usize, rows: Vec<TableRow> },
    /// Others have changed the table since it was described.
    Stale,
    /// The database, or what it refuses.
    Sink(SinkError),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

/// Rows that were sent, and those of them that are new.
pub(super) struct Copied {
    pub(super) sent: u64,
    pub(super) new: u64,
}

impl Part {
    pub(super) fn new(name: Name, target: String, planned: Plan<'_>, columns: Vec<usize>) -> Self {
        let Plan { table, key, newer, history, repeats, .. } = planned;
        Self { name, target, table: Arc::new(table), columns, key, newer, history, repeats, files: Vec::new() }
    }

    /// Shares the table of another that is alike.
    pub(super) fn share(&mut self, other: &Self) {
        self.table = Arc::clone(&other.table);
    }

    /// Whether both go into one statement.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        // A table that was described anew in between may have other columns in the same places.
        let is_same = |at: &usize| {
            let (one, two) = (&self.table.columns[*at], &other.table.columns[*at]);
            one.name == two.name && one.column_type == two.column_type
        };
        self.name == other.name
            && self.columns == other.columns
            && (&self.key, &self.newer, self.repeats) == (&other.key, &other.newer, other.repeats)
            && self.columns.iter().chain(&self.key).chain(&self.newer).all(is_same)
    }

    fn names(&self, of: &[usize]) -> Vec<String> {
        of.iter().map(|at| quoted(&self.table.columns[*at].name)).collect()
    }

    /// What makes the table that rows with a key are copied to first.
    fn stage(&self, stage: &str) -> String {
        let column = |at: &usize| {
            let column = &self.table.columns[*at];
            format!("{} {}", quoted(&column.name), column.column_type)
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        format!("CREATE TEMP TABLE {stage} ({}) ON COMMIT DROP", columns.join(", "))
    }

    /// What brings them from there to their own.
    fn insert(&self, stage: &str) -> String {
        let (names, key) = (self.names(&self.columns), self.names(&self.key));
        if self.repeats == Repeats::First {
            return insert_new(&self.target, stage, &names, &key, self.history);
        }
        let newer = newer(&self.table, &self.newer, &self.columns);
        insert_newest(&self.target, stage, &names, &key, &newer)
    }
}

/// Copies all files of a part, in a transaction that is open. `rows_of` counts the rows of each load.
pub(super) async fn copy(
    connection: &Connection,
    tables: &Tables,
    part: &Part,
    number: usize,
    files: &[File],
    work: &Work<'_>,
    rows_of: &mut [u64],
) -> Result<Copied, Stop> {
    if !tables.still(connection, &part.name, &part.table, &part.columns).await? {
        return Err(Stop::Stale);
    }
    let stage = (!part.key.is_empty()).then(|| format!("chalk_load_{number}"));
    if let Some(stage) = &stage {
        connection.run(&part.stage(stage)).await?;
    }
    let into = stage.as_ref().map_or_else(|| part.target.clone(), |stage| format!("pg_temp.{stage}"));
    let statement = format!("COPY {into} ({}) FROM STDIN (FORMAT binary)", part.names(&part.columns).join(", "));
    let begun = connection.within(connection.client.copy_in::<str, Bytes>(&statement)).await?;
    let mut sink = pin!(begun);
    let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 4);
    chunk.extend_from_slice(HEAD);
    let mut sent = 0;
    for at in &part.files {
        let file = &files[*at];
        let bad = |refusal: Refusal| Stop::Bad { file: *at, refusal };
        let stop = |unread: Unread| match unread {
            Unread::Refused(refusal) => bad(refusal),
            Unread::Store(error) => Stop::Away { file: *at, error },
        };
        let destination = work.loads[file.load].destination;
        let stored = file.closed.open().await.map_err(stop)?;
        let mut batches = stored.batches();
        let mut before = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(stop)?;
            let columns = file.rows.of(destination, &batch).map_err(bad)?;
            for from in (0..columns.rows).step_by(AT_ONCE) {
                let rows: Vec<TableRow> = columns.each(from, AT_ONCE.min(columns.rows - from)).collect();
                if let Err(misfit) = encoded(part, &rows, &mut chunk)? {
                    return Err(match misfit {
                        Misfit::Refused(row, refusal) => {
                            let row = format!("{} ({})", before + from + row, rows[row].name());
                            bad(refusal.row(row))
                        }
                        Misfit::Changes => Stop::Changed { file: *at, rows },
                    });
                }
                if chunk.len() >= CHUNK {
                    let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
                    connection.within(sink.send(Bytes::from(full))).await?;
                }
            }
            before += columns.rows;
        }
        sent += before as u64;
        rows_of[file.load] += before as u64;
    }
    chunk.extend_from_slice(&TAIL);
    connection.within(sink.send(Bytes::from(chunk))).await?;
    connection.within_time(LONG, sink.finish()).await?;
    let new = match &stage {
        None => sent,
        Some(stage) => {
            let insert = part.insert(&format!("pg_temp.{stage}"));
            let inserted = connection.client.execute(&insert, &[]);
            connection.within_time(LONG, inserted).await?
        }
    };
    if let Some(stage) = &stage {
        connection.run(&format!("DROP TABLE pg_temp.{stage}")).await?;
    }
    Ok(Copied { sent, new: new.min(sent) })
}

/// Why some rows cannot be sent as the table is.
enum Misfit {
    Refused(usize, Refusal),
    Changes,
}

/// Appends rows as `COPY` takes them.
fn encoded(part: &Part, rows: &[TableRow], chunk: &mut Vec<u8>) -> Result<Result<(), Misfit>, SinkError> {
    let indexed: Vec<(usize, &TableRow)> = rows.iter().enumerate().collect();
    let mut planned = plan(&part.table, &indexed)?;
    if !planned.refused.is_empty() {
        let (row, refusal) = planned.refused.swap_remove(0);
        return Ok(Err(Misfit::Refused(row, refusal)));
    }
    if !planned.changes.is_empty() {
        return Ok(Err(Misfit::Changes));
    }
    let types: Vec<&ColumnType> = part.columns.iter().map(|at| &part.table.columns[*at].column_type).collect();
    let places: Vec<Vec<Option<usize>>> =
        planned.bindings.iter().map(|binding| binding.places(&part.columns)).collect();
    let count = i16::try_from(types.len()).map_err(|_| SinkError::Bug { reason: "too many columns".to_owned() })?;
    for (binding, row) in &planned.rows {
        chunk.extend_from_slice(&count.to_be_bytes());
        for (place, column_type) in places[*binding].iter().zip(&types) {
            let value = place.map_or(&Value::Null, |place| &row.values[place]);
            encode::field(column_type, value, chunk).map_err(|Misplaced| SinkError::Bug {
                reason: format!("a value of table `{}` that was not held against {column_type}", row.shape.table),
            })?;
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::super::plan::{Against, held};
    use super::super::super::types::Scalar;
    use super::super::super::write::staged;
    use super::*;
    use crate::row::table::{Column, Of, Shape, When};

    const NUMBER: ColumnType = ColumnType::One(Scalar::Int8);

    /// What is copied of a file with one column, into a table that is described with some.
    fn part(described: &[&str], column: &str, column_type: &ColumnType) -> Part {
        let mut known = Table::default();
        for name in described {
            known.add(name, column_type.clone());
        }
        let shape = Shape {
            schema: None,
            table: "user".into(),
            columns: vec![Column { name: column.into(), data_type: None }],
            time: When::At(0),
            name: 0,
            key: Vec::new(),
            repeats: Repeats::First,
            create: true,
            of: Of::Anything,
        };
        let name = Name::of(&shape).expect("a name");
        let row = TableRow { destination: 0, shape: Arc::new(shape), values: vec![Value::Null] };
        let planned = held(&known, &[(0, &row)], Against::Columns).expect("no bug");
        let columns = staged(&planned);
        Part::new(name, String::new(), planned, columns)
    }

    #[test]
    fn the_same_places_of_a_table_that_was_described_anew_may_be_other_columns() {
        let before = part(&["a", "b", "c"], "b", &NUMBER);
        assert!(before.is_like(&part(&["x", "b"], "b", &NUMBER)));
        assert!(!before.is_like(&part(&["b", "c"], "c", &NUMBER)), "`a` was dropped");
        assert!(!before.is_like(&part(&["a", "b", "c"], "b", &ColumnType::Jsonb)), "`b` is of another type");
    }
}
