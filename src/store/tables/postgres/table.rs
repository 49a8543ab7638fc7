//! Tables of the server: described afresh, and changed by one writer at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

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

const DESCRIBE: &str = "
    SELECT a.attname, t.typname, a.atttypmod, format_type(a.atttypid, a.atttypmod),
           t.typnamespace = 'pg_catalog'::regnamespace
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// The columns of every index by which a conflict can be found.
const KEYS: &str = "
    SELECT array_agg(a.attname::text ORDER BY a.attname::text)
    FROM pg_index i
    JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) ON k.place <= i.indnkeyatts
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid";

/// SQLSTATEs of a change of a column's type that fails for as long as what hangs on the column is there: a view or
/// a rule, a policy, a generated column, a partition's key, a default, a constraint or an index on an expression.
const CANNOT_CHANGE: [&str; 7] = ["0A000", "2BP01", "42601", "42704", "42804", "42883", "42P16"];

/// Columns whose type stays as it is, and why; as far as one call of [`Tables::agree`] has found out.
#[derive(Default)]
struct Rigid {
    columns: HashMap<String, String>,
    /// A change of several columns failed and did not say by which: from then on they are changed one by one.
    one_by_one: bool,
}

/// What is known of one table of the server.
#[derive(Clone, Debug, Default)]
struct Described {
    table: Table,
    /// Sorted names of the columns of each unique index.
    keys: Vec<Vec<String>>,
}

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
    ///
    /// What is sent in the server's own format has to be of the very types that the server takes it for: an integer of 64
    /// bits is a double to it without a word.
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
        let now = describe(connection, &table, &Rigid::default()).await?.table;
        let is_still = columns.iter().all(|at| {
            let column = &planned.columns[*at];
            now.position(&column.name).is_some_and(|at| now.columns[at].column_type == column.column_type)
        });
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

impl Described {
    /// Whether rows can be written as they were planned.
    fn holds(&self, planned: &Plan<'_>) -> bool {
        planned.changes.is_empty() && self.has_key(planned)
    }

    fn has_key(&self, planned: &Plan<'_>) -> bool {
        let mut key: Vec<&str> = planned.key.iter().map(|at| planned.table.columns[*at].name.as_str()).collect();
        key.sort_unstable();
        key.is_empty() || self.keys.iter().any(|known| *known == key)
    }

    /// Says what takes its time, before it does.
    fn announce(&self, table: &str, planned: &Plan<'_>) {
        let mut long: Vec<String> = Vec::new();
        for change in &planned.changes {
            if let Change::Widen(name, to) = change
                && let Some(at) = self.table.position(name)
            {
                long.push(format!("`{name}` from {} to {to}", self.table.columns[at].column_type));
            }
        }
        if !self.table.columns.is_empty() && !self.has_key(planned) {
            let key: Vec<&str> = planned.key.iter().map(|at| planned.table.columns[*at].name.as_str()).collect();
            long.push(format!("a unique index on `{}`", key.join("`, `")));
        }
        if !long.is_empty() {
            tracing::info!(
                table,
                changes = long.join(", "),
                "changing a table of Postgres, which may take long; where a column becomes wider it is written anew, \
                 and nobody reads or writes it meanwhile"
            );
        }
    }

    /// What makes or changes the table, in a transaction that is open.
    fn statements(&self, table: &str, planned: &Plan<'_>) -> Vec<String> {
        let key: Vec<String> = planned.key.iter().map(|at| quoted(&planned.table.columns[*at].name)).collect();
        let definition = |name: &str, column_type: &ColumnType| {
            let is_key = planned.table.position(name).is_some_and(|at| planned.key.contains(&at));
            let is_text = matches!(column_type, ColumnType::One(super::types::Scalar::Text));
            // A key's text is compared by its bytes, which is cheapest and the same in every locale.
            let collation = if is_key && is_text { " COLLATE \"C\"" } else { "" };
            format!("{} {column_type}{collation}", quoted(name))
        };
        let changes = || planned.changes.iter();
        if self.table.columns.is_empty() {
            let mut parts: Vec<String> = changes()
                .map(|change| match change {
                    Change::Add(name, column_type) | Change::Widen(name, column_type) => definition(name, column_type),
                })
                .collect();
            if !key.is_empty() {
                parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
            }
            return vec![format!("CREATE TABLE {table} ({})", parts.join(", "))];
        }
        let parts: Vec<String> = changes()
            .map(|change| match change {
                Change::Add(name, column_type) => format!("ADD COLUMN IF NOT EXISTS {}", definition(name, column_type)),
                Change::Widen(name, column_type) => {
                    let name = quoted(name);
                    format!("ALTER COLUMN {name} TYPE {column_type} USING {name}::{column_type}")
                }
            })
            .collect();
        let mut statements = Vec::new();
        if !parts.is_empty() {
            statements.push(format!("ALTER TABLE {table} {}", parts.join(", ")));
        }
        if !self.has_key(planned) {
            statements.push(format!("CREATE UNIQUE INDEX ON {table} ({})", key.join(", ")));
        }
        statements
    }
}

/// Asks the server what a table is like; one that is not there has no columns.
async fn describe<S>(connection: &Connection<S>, table: &str, rigid: &Rigid) -> Result<Described, SinkError> {
    let mut described = Described::default();
    for row in connection.query(DESCRIBE, &[&table]).await.map_err(tables::never_of_a_row)? {
        let (name, type_name, modifier): (&str, &str, i32) = (row.get(0), row.get(1), row.get(2));
        let shown: String = row.get(3);
        let column_type =
            if row.get(4) { ColumnType::described(type_name, modifier, &shown) } else { ColumnType::Other(shown) };
        let at = described.table.add(name, column_type);
        described.table.columns[at].rigid = rigid.columns.get(name).cloned();
    }
    for row in connection.query(KEYS, &[&table]).await.map_err(tables::never_of_a_row)? {
        described.keys.push(row.get(0));
    }
    Ok(described)
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
