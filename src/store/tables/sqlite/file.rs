//! One write: one transaction, in which each table is made what its rows need and the rows are put into it.

use std::sync::Arc;

use hashbrown::HashMap;
use rusqlite::types::Value as Sql;
use rusqlite::{ErrorCode, Transaction, TransactionBehavior, params_from_iter};

use super::insert;
use super::layout::Layout;
use super::table::{self, Table};
use crate::row::table::TableRow;
use crate::sink::{ErrorClass, Outcome, Refusal, SinkError};
use crate::store::sqlite::{Database, Opened};
use crate::store::tables::not_there;

/// The open file.
pub(super) struct Tables {
    database: Database,
}

impl Opened for Tables {
    fn database(&self) -> &Database {
        &self.database
    }
}

impl Tables {
    #[expect(clippy::unnecessary_wraps, reason = "what opens a file may fail, and this has nothing to do")]
    pub(super) fn new(database: Database) -> rusqlite::Result<Self> {
        Ok(Self { database })
    }

    /// Writes rows in one transaction; they are durable when this returns.
    pub(super) fn write(&mut self, layout: &Layout, rows: &[TableRow]) -> Result<Outcome, SinkError> {
        if let Some(row) = rows.iter().find(|row| row.values.len() != row.shape.columns.len()) {
            let reason = format!("a row of {} values under {} columns", row.values.len(), row.shape.columns.len());
            return Err(SinkError::Bug { reason });
        }
        self.made(rows)?;
        let outcome = self.transaction(layout, rows).map_err(|error| self.database.failure(&error))?;
        self.database.is_still_there()?;
        Ok(outcome)
    }

    /// Whether the tables are there that are not ours to make.
    fn made(&self, rows: &[TableRow]) -> Result<(), SinkError> {
        let connection = &self.database.connection;
        for row in rows.iter().filter(|row| !row.shape.create) {
            let table = &row.shape.table;
            let is_there = connection.table_exists(None, &**table).map_err(|error| self.database.failure(&error))?;
            if !is_there {
                return Err(not_there("the file", table));
            }
        }
        Ok(())
    }

    fn transaction(&mut self, layout: &Layout, rows: &[TableRow]) -> rusqlite::Result<Outcome> {
        let transaction = self.database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcome = Outcome::default();
        let mut tables: HashMap<&str, Vec<(usize, &TableRow)>> = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            tables.entry(&row.shape.table).or_default().push((index, row));
        }
        for (name, rows) in tables {
            into_table(&transaction, layout, name, &rows, &mut outcome)?;
        }
        transaction.commit()?;
        outcome.refused.sort_unstable_by_key(|(index, _)| *index);
        Ok(outcome)
    }
}

fn into_table(
    transaction: &Transaction<'_>,
    layout: &Layout,
    name: &str,
    rows: &[(usize, &TableRow)],
    outcome: &mut Outcome,
) -> rusqlite::Result<()> {
    let mut table = Table::described(transaction, name)?;
    let mut taken: Vec<(usize, &TableRow, Vec<Sql>)> = Vec::with_capacity(rows.len());
    let mut named: HashMap<usize, Result<(), Refusal>> = HashMap::new();
    for (index, row) in rows {
        let named = named.entry(Arc::as_ptr(&row.shape).addr()).or_insert_with(|| table::named(&row.shape));
        match named.clone().and_then(|()| table.take(row)) {
            Ok(values) => taken.push((*index, row, values)),
            Err(refusal) => outcome.refused.push((*index, of_row(refusal, row))),
        }
    }
    let Some((_, first, _)) = taken.first() else { return Ok(()) };
    let key: Vec<&str> = first.shape.key.iter().map(|at| &*first.shape.columns[*at].name).collect();
    for statement in table.statements(&key) {
        transaction.execute(&statement, [])?;
    }
    if table.is_made() {
        for statement in (layout.with_table)(&first.shape) {
            transaction.execute(&statement, [])?;
        }
    }
    let mut statements: HashMap<usize, (String, Vec<usize>)> = HashMap::new();
    for (index, row, values) in taken {
        let (text, columns) = statements.entry(Arc::as_ptr(&row.shape).addr()).or_insert_with(|| {
            let all = row.shape.columns.iter().enumerate();
            let columns: Vec<usize> = all.filter(|(_, column)| table.has(&column.name)).map(|(at, _)| at).collect();
            (insert::statement(&row.shape, &columns), columns)
        });
        let mut statement = transaction.prepare_cached(text)?;
        match statement.execute(params_from_iter(columns.iter().map(|at| &values[*at]))) {
            Ok(changed) => {
                outcome.stored += changed as u64;
                outcome.stale += u64::from(changed == 0);
            }
            Err(error) => outcome.refused.push((index, of_row(verdict(error)?, row))),
        }
    }
    Ok(())
}

fn of_row(refusal: Refusal, row: &TableRow) -> Refusal {
    refusal.row(row.name()).table(&row.shape.table)
}

/// The verdict on the one row of a statement that failed because of it; the statement left no trace.
fn verdict(error: rusqlite::Error) -> rusqlite::Result<Refusal> {
    let class = match error.sqlite_error_code() {
        Some(ErrorCode::TooBig) => ErrorClass::TooLarge,
        // Somebody's own constraint or trigger.
        Some(ErrorCode::ConstraintViolation) => ErrorClass::ValueRefused,
        _ => return Err(error),
    };
    let code = error.sqlite_error().map(|error| error.extended_code.to_string().into());
    Ok(Refusal { code, ..Refusal::new(class, error.to_string()) })
}
