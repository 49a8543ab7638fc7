//! Tables of the server: described afresh, and changed by one writer at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use super::describe::{self, COLUMNS, Described, Rigid, are_still, describe};
use super::layout::{Layout, NewTable};
use super::names;
use super::plan::{Against, Change, Plan, Table, held};
use super::types::ColumnType;
use crate::row::table::{Shape, TableRow};
use crate::sink::SinkError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::{OWN_SCHEMA, quoted, tables};
use crate::store::tables::{EXACT, not_there};

/// Each round is lost only to a writer that won, so a table in peace settles in one or two.
const ROUNDS: usize = 20;

/// For a change of a table: widening a column writes all of it anew, and a key reads all of it.
const CHANGING: Duration = Duration::from_hours(1);

/// SQLSTATEs of a change of a column's type that fails for as long as what hangs on the column is there: a view or
/// a rule, a policy, a generated column, a partition's key, a default, a constraint or an index on an expression.
const CANNOT_CHANGE: [&str; 7] = ["0A000", "2BP01", "42601", "42704", "42804", "42883", "42P16"];

/// What of its extensions a database has.
const EXTENSIONS: &str = "SELECT extname::text FROM pg_extension";

/// The name of a table, whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    schema: Option<String>,
    pub(super) table: String,
}

impl Name {
    /// That of a shape's table; `None` where it cannot be one.
    pub(super) fn of(shape: &Shape) -> Option<Self> {
        Self::new(shape.schema.as_deref(), &shape.table)
    }

    /// The same, of what a message names.
    pub(super) fn new(schema: Option<&str>, table: &str) -> Option<Self> {
        let schema = match schema {
            Some(schema) => Some(names::table(schema)?.into_owned()),
            None => None,
        };
        Some(Self { schema, table: names::table(table)?.into_owned() })
    }

    /// Why no message may name such a table: the schema is the server's, or this program's.
    pub(super) fn kept_back(&self, layout: &Layout) -> Option<String> {
        // One of the program's own stores has its tables there.
        let schema = self.schema.as_deref().filter(|schema| *schema != layout.schema)?;
        let is_the_servers = schema == "information_schema" || schema.starts_with("pg_");
        let whose = match schema {
            OWN_SCHEMA => "this program's own",
            _ if is_the_servers => "Postgres's own",
            _ => return None,
        };
        Some(format!("schema `{schema}` is {whose}, and no message writes to it; name a table of another schema"))
    }

    /// Its schema on this connection.
    fn schema<'a, S>(&'a self, connection: &'a Connection<S>, layout: &'a Layout) -> &'a str {
        self.schema.as_deref().unwrap_or_else(|| connection.address.schema(layout.schema))
    }

    /// Both, quoted.
    pub(super) fn quoted_for<S>(&self, connection: &Connection<S>, layout: &Layout) -> String {
        format!("{}.{}", quoted(self.schema(connection, layout)), quoted(&self.table))
    }
}

/// The tables of one store, as they were described last.
pub(super) struct Tables {
    pub(super) layout: &'static Layout,
    known: Mutex<HashMap<String, Arc<Described>>>,
}

impl Tables {
    pub(super) fn new(layout: &'static Layout) -> Self {
        Self { layout, known: Mutex::default() }
    }

    /// Sorts out rows of a table against what the server has, and makes the table hold them.
    ///
    /// A verdict on a type is given only against a description that was asked for just now.
    pub(super) async fn agree<'a, S>(
        &self,
        connection: &Connection<S>,
        name: &Name,
        rows: &[(usize, &'a TableRow)],
    ) -> Result<Plan<'a>, SinkError> {
        self.agree_on(connection, name, rows, Against::Rows).await
    }

    /// The same, and for columns without rows.
    pub(super) async fn agree_on<'a, S>(
        &self,
        connection: &Connection<S>,
        name: &Name,
        rows: &[(usize, &'a TableRow)],
        against: Against,
    ) -> Result<Plan<'a>, SinkError> {
        let table = name.quoted_for(connection, self.layout);
        let cached = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&table).cloned();
        if let Some(described) = cached {
            let planned = held(&described.table, rows, against)?;
            if planned.refused.is_empty() && described.holds(&planned) {
                return Ok(planned);
            }
        }
        let mut rigid = Rigid::default();
        for _ in 0..ROUNDS {
            let described = describe(connection, &table, &rigid).await?;
            if described.table.columns.is_empty() && !rows.iter().any(|(_, row)| row.shape.create) {
                return Err(not_there(&connection.address.to_string(), &table));
            }
            let planned = held(&described.table, rows, against)?;
            if planned.rows.is_empty() || described.holds(&planned) {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(table, Arc::new(described));
                return Ok(planned);
            }
            self.change(connection, name, rows, against, &mut rigid).await?;
        }
        let reason = format!("{}: table {table} was changed by others {ROUNDS} times in a row", connection.address);
        Err(SinkError::Transient { reason })
    }

    /// Whether columns that were planned for are as they were, in a transaction that is open; nobody changes the table
    /// from then on until it ends. Where they are not, the table is described anew by whoever asks next.
    pub(super) async fn still<S>(
        &self,
        connection: &Connection<S>,
        name: &Name,
        planned: &Table,
        columns: &[usize],
    ) -> Result<bool, SinkError> {
        let table = name.quoted_for(connection, self.layout);
        // `ONLY`: the parts of a table that is partitioned cannot be changed by themselves.
        tables_run(connection, &format!("LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE")).await?;
        let now = connection.query(COLUMNS, &[&table]).await.map_err(tables::never_of_a_row)?;
        let is_still = are_still(&describe::read(&now), planned, columns);
        if !is_still {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&table);
        }
        Ok(is_still)
    }

    /// Forgets every description: an error may mean that one is no longer true.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Changes the table as rows need it, while no other writer does. Columns that cannot widen go into `rigid`.
    async fn change<S>(
        &self,
        connection: &Connection<S>,
        name: &Name,
        rows: &[(usize, &TableRow)],
        against: Against,
        rigid: &mut Rigid,
    ) -> Result<(), SinkError> {
        let begun = std::time::Instant::now();
        let table = &*name.quoted_for(connection, self.layout);
        tables::begin_alone(connection, table).await?;
        tables_run(connection, &format!("SET LOCAL statement_timeout = {}", CHANGING.as_millis())).await?;
        let described = describe(connection, table, rigid).await?;
        let mut planned = held(&described.table, rows, against)?;
        if rigid.one_by_one {
            let mut widened = 0;
            planned.changes.retain(|change| {
                widened += usize::from(matches!(change, Change::Widen(..)));
                matches!(change, Change::Add(..)) || widened == 1
            });
        }
        described.announce(table, &planned);
        let mut widened = Vec::new();
        for change in &planned.changes {
            if let Change::Widen(name, column_type) = change {
                if rounds(connection, table, name, column_type).await? {
                    let why = "the column holds integers that a double would round".to_owned();
                    rigid.columns.insert(name.clone(), why);
                    return tables_run(connection, "ROLLBACK").await;
                }
                widened.push(name.clone());
            }
        }
        let mut statements = described.statements(table, &planned);
        if described.table.columns.is_empty() {
            let schema = name.schema(connection, self.layout);
            tables::make_schema(connection, schema).await?;
            let found = connection.query(EXTENSIONS, &[]).await.map_err(tables::never_of_a_row)?;
            let extensions: Vec<String> = found.iter().map(|row| row.get(0)).collect();
            if let Some((_, row)) = rows.first() {
                let new = NewTable { schema, name: &name.table, shape: &row.shape, extensions: &extensions };
                statements.extend((self.layout.with_table)(&new));
            }
        }
        for statement in statements {
            let run = connection.answer_in(CHANGING, connection.client.batch_execute(&statement)).await?;
            let Err(error) = run else { continue };
            let Some(why) = cannot_change(&error).filter(|_| !widened.is_empty()) else {
                return Err(tables::never_of_a_row(connection.failure(&error)));
            };
            match widened.as_slice() {
                [name] => drop(rigid.columns.insert(name.clone(), why)),
                _ => rigid.one_by_one = true,
            }
            return tables_run(connection, "ROLLBACK").await;
        }
        tables_run(connection, "COMMIT").await?;
        metrics::counter!("chalk_writer_postgres_table_changes_total").increment(1);
        tracing::info!(table, changes = planned.changes.len(), took = ?begun.elapsed(), "table of Postgres changed");
        Ok(())
    }
}

/// Whether a column holds integers that a double would round. Nobody writes to the table from then on until the
/// transaction ends.
async fn rounds<S>(
    connection: &Connection<S>,
    table: &str,
    name: &str,
    column_type: &ColumnType,
) -> Result<bool, SinkError> {
    tables_run(connection, &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await?;
    let name = quoted(name);
    let (from, item) = match column_type {
        ColumnType::Many(_) => (format!("{table}, unnest({name}) AS item"), "item".to_owned()),
        _ => (table.to_owned(), name),
    };
    let question = format!("SELECT EXISTS (SELECT FROM {from} WHERE {item} NOT BETWEEN -{EXACT} AND {EXACT})");
    let found = connection.within_time(CHANGING, connection.client.query_one(&question, &[])).await;
    Ok(found.map_err(tables::never_of_a_row)?.get(0))
}

/// Why a column's type cannot be changed, where an error says that it never can; what its detail names then is
/// a thing of the schema, such as the view.
fn cannot_change(error: &tokio_postgres::Error) -> Option<String> {
    let db = error.as_db_error().filter(|db| CANNOT_CHANGE.contains(&db.code().code()))?;
    let mut why = format!("Postgres does not change the column's type: {}", db.message());
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        why = format!("{why}; {more}");
    }
    Some(why)
}

/// Runs a statement on a table that may take as long as widening does; its errors are no verdicts on rows.
async fn tables_run<S>(connection: &Connection<S>, statement: &str) -> Result<(), SinkError> {
    let run = connection.within_time(CHANGING, connection.client.batch_execute(statement)).await;
    run.map_err(tables::never_of_a_row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_the_server_and_of_the_program_are_kept_back() {
        static OFFLINE: Layout = Layout { store: "offline store", schema: "public", with_table: |_| Vec::new() };
        static OWN: Layout = Layout { store: "usage store", schema: OWN_SCHEMA, with_table: |_| Vec::new() };
        let name = |schema: Option<&str>| Name { schema: schema.map(str::to_owned), table: "loads".to_owned() };
        let of = |schema| name(schema).kept_back(&OFFLINE).is_some();
        assert_eq!(name(Some("chalk")).kept_back(&OWN), None);
        for schema in ["chalk", "pg_catalog", "pg_temp", "pg_toast", "information_schema"] {
            assert!(of(Some(schema)), "{schema}");
        }
        for schema in [None, Some("public"), Some("Chalk"), Some("chalk_writer"), Some("pg"), Some("pgvector")] {
            assert!(!of(schema), "{schema:?}");
        }
    }
}
