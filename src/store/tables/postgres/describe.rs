//! What a table of the server is like, and what makes it hold a plan.

use hashbrown::HashMap;
use tokio_postgres::Row;

use super::plan::{Change, Plan, Table};
use super::types::{ColumnType, Scalar};
use crate::sink::SinkError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::{quoted, tables};

/// The columns of a table, by its quoted name, with their types, and whether the server alone says what is in them.
///
/// `attgenerated` is there from Postgres 12 on. An older one, which has no columns by an expression, does not find
/// the name in the innermost `FROM` and takes that of `older`. `to_jsonb` of the row would do as well, but for a `json`
/// column whose default has U+0000: there it fails.
pub(super) const COLUMNS: &str = "
    SELECT a.attname, t.typname, a.atttypmod, format_type(a.atttypid, a.atttypmod),
           t.typnamespace = 'pg_catalog'::regnamespace, a.generated <> '' OR a.attidentity = 'a'
    FROM (SELECT ''::text AS attgenerated) AS older
    CROSS JOIN LATERAL (SELECT *, attgenerated AS generated FROM pg_attribute) AS a
    JOIN pg_type t ON t.oid = a.atttypid
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

/// Columns whose type stays as it is, and why; as far as one call of `Tables::agree` has found out.
#[derive(Default)]
pub(super) struct Rigid {
    pub(super) columns: HashMap<String, String>,
    /// A change of several columns failed and did not say by which: from then on they are changed one by one.
    pub(super) one_by_one: bool,
}

/// What is known of one table of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    pub(super) table: Table,
    /// Sorted names of the columns of each unique index.
    keys: Vec<Vec<String>>,
}

impl Described {
    /// Whether rows can be written as they were planned.
    pub(super) fn holds(&self, planned: &Plan<'_>) -> bool {
        planned.changes.is_empty() && self.has_key(planned)
    }

    fn has_key(&self, planned: &Plan<'_>) -> bool {
        let mut key: Vec<&str> = planned.key.iter().map(|at| planned.table.columns[*at].name.as_str()).collect();
        key.sort_unstable();
        key.is_empty() || self.keys.iter().any(|known| *known == key)
    }

    /// Says what takes its time, before it does.
    pub(super) fn announce(&self, table: &str, planned: &Plan<'_>) {
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
    pub(super) fn statements(&self, table: &str, planned: &Plan<'_>) -> Vec<String> {
        let key: Vec<String> = planned.key.iter().map(|at| quoted(&planned.table.columns[*at].name)).collect();
        let definition = |name: &str, column_type: &ColumnType| {
            let is_key = planned.table.position(name).is_some_and(|at| planned.key.contains(&at));
            let is_text = matches!(column_type, ColumnType::One(Scalar::Text));
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
pub(super) async fn describe<S>(
    connection: &Connection<S>,
    table: &str,
    rigid: &Rigid,
) -> Result<Described, SinkError> {
    let columns = connection.query(COLUMNS, &[&table]).await.map_err(tables::never_of_a_row)?;
    let mut described = Described { table: read(&columns), keys: Vec::new() };
    for column in &mut described.table.columns {
        column.rigid = rigid.columns.get(&column.name).cloned();
    }
    for row in connection.query(KEYS, &[&table]).await.map_err(tables::never_of_a_row)? {
        described.keys.push(row.get(0));
    }
    Ok(described)
}

/// Columns of a table as [`COLUMNS`] finds them.
pub(super) fn read(rows: &[Row]) -> Table {
    let mut table = Table::default();
    for row in rows {
        let (name, type_name, modifier): (&str, &str, i32) = (row.get(0), row.get(1), row.get(2));
        let (shown, is_of_the_server, is_generated): (String, bool, bool) = (row.get(3), row.get(4), row.get(5));
        let column_type = match (is_generated, is_of_the_server) {
            // A value for it is an error of the statement, which names no row.
            (true, _) => ColumnType::Other(format!("{shown} GENERATED ALWAYS")),
            (false, true) => ColumnType::described(type_name, modifier, &shown),
            (false, false) => ColumnType::Other(shown),
        };
        table.add(name, column_type);
    }
    table
}

/// Whether some columns that were planned for have the types that they had.
///
/// The server makes a value of one type one of another where it is to be stored, and changes it without a word: it rounds
/// an integer of 64 bits where a column is a double by now, a decimal or a time where it has fewer digits, and cuts blanks
/// off a text that is too long.
pub(super) fn are_still(now: &Table, planned: &Table, columns: &[usize]) -> bool {
    columns.iter().all(|at| {
        let column = &planned.columns[*at];
        now.position(&column.name).is_some_and(|at| now.columns[at].column_type == column.column_type)
    })
}
