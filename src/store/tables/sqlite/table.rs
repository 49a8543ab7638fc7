//! A table as the file has it, and as the rows of a write need it.

use hashbrown::HashMap;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use super::types::ColumnType;
use crate::row::table::{Shape, TableRow};
use crate::sink::{ErrorClass, Refusal};
use crate::store::postgres::quoted;
use crate::value::Value;

/// Columns that a table of SQLite may have.
const MOST_COLUMNS: usize = 2_000;

const COLUMNS: &str = "SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid";

/// Columns of every index by which a conflict can be found.
const KEYS: &str = "
    SELECT list.name, info.name FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS info
    WHERE list.\"unique\" AND NOT list.partial";

/// A table; one that is not in the file has no columns there.
pub(super) struct Table {
    name: String,
    /// Types by the column's name, in small letters.
    columns: HashMap<String, ColumnType>,
    /// Columns that are to be made, in their order.
    added: Vec<(String, ColumnType)>,
    /// Sorted names, in small letters, of the columns of each key.
    keys: Vec<Vec<String>>,
}

/// As SQLite compares names.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Table {
    /// The table of a name as it is now.
    pub(super) fn described(connection: &Connection, name: &str) -> rusqlite::Result<Self> {
        let mut table = Self { name: name.to_owned(), columns: HashMap::new(), added: Vec::new(), keys: Vec::new() };
        let (mut primary, mut statement) = (Vec::new(), connection.prepare_cached(COLUMNS)?);
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            let (column, column_type, key): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if key > 0 {
                primary.push(folded(&column));
            }
            table.columns.insert(folded(&column), ColumnType::described(&column_type));
        }
        let mut keys: HashMap<String, Vec<String>> = HashMap::from([(String::new(), primary)]);
        let mut statement = connection.prepare_cached(KEYS)?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            // An index on an expression has no name there, and is no key of columns.
            let column: Option<String> = row.get(1)?;
            keys.entry(row.get(0)?).or_default().push(column.as_deref().map(folded).unwrap_or_default());
        }
        table.keys = keys.into_values().collect();
        table.keys.iter_mut().for_each(|key| key.sort_unstable());
        Ok(table)
    }

    fn is_new(&self) -> bool {
        self.columns.len() == self.added.len()
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(&folded(column))
    }

    /// The values of a row as the columns have them; columns that it needs are added. Or why it is never taken: then
    /// nothing is added.
    pub(super) fn take(&mut self, row: &TableRow) -> Result<Vec<Sql>, Refusal> {
        let shape = &row.shape;
        keyed(row)?;
        let mut added: Vec<(String, ColumnType)> = Vec::new();
        let mut values = Vec::with_capacity(row.values.len());
        for (column, value) in shape.columns.iter().zip(&row.values) {
            let declared = column.data_type.as_ref().map(ColumnType::from);
            let (known, new);
            let column_type = match self.columns.get(&folded(&column.name)) {
                Some(column_type) => {
                    known = column_type;
                    known
                }
                None => match declared.or_else(|| ColumnType::of(value)) {
                    Some(column_type) => {
                        added.push((column.name.to_string(), column_type.clone()));
                        new = column_type;
                        &new
                    }
                    None => {
                        values.push(Sql::Null);
                        continue;
                    }
                },
            };
            values.push(column_type.bind(value).map_err(|(class, message)| {
                Refusal::new(class, format!("column `{}`: {message}", column.name))
                    .about(format!("column `{}`, of type {column_type}", column.name))
            })?);
        }
        if self.columns.len() + added.len() > MOST_COLUMNS {
            let message = format!("table `{}` would have more than {MOST_COLUMNS} columns", self.name);
            return Err(Refusal::new(ErrorClass::ValueRefused, message).harmless());
        }
        for (name, column_type) in added {
            self.columns.insert(folded(&name), column_type.clone());
            self.added.push((name, column_type));
        }
        Ok(values)
    }

    /// What makes the file's table this one; the first of them makes it where it is new.
    pub(super) fn statements(&self, key: &[&str]) -> Vec<String> {
        let table = quoted(&self.name);
        let definition = |(name, column_type): &(String, ColumnType)| format!("{} {column_type}", quoted(name));
        let key_list: Vec<String> = key.iter().map(|column| quoted(column)).collect();
        if self.is_new() {
            let mut parts: Vec<String> = self.added.iter().map(definition).collect();
            if !key.is_empty() {
                parts.push(format!("PRIMARY KEY ({})", key_list.join(", ")));
            }
            return vec![format!("CREATE TABLE {table} ({})", parts.join(", "))];
        }
        let add = |column| format!("ALTER TABLE {table} ADD COLUMN {}", definition(column));
        let mut statements: Vec<String> = self.added.iter().map(add).collect();
        let mut wanted: Vec<String> = key.iter().map(|column| folded(column)).collect();
        wanted.sort_unstable();
        if !key.is_empty() && !self.keys.contains(&wanted) {
            let index = quoted(&format!("{}_key", self.name));
            statements.push(format!("CREATE UNIQUE INDEX {index} ON {table} ({})", key_list.join(", ")));
        }
        statements
    }

    /// Whether [`Self::statements`] make the table.
    pub(super) fn is_made(&self) -> bool {
        self.is_new()
    }
}

/// Whether a shape's names can be names in SQLite.
pub(super) fn named(shape: &Shape) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorClass::ValueRefused, message));
    let sound = |name: &str| !name.is_empty() && !name.contains('\0');
    if !sound(&shape.table) || folded(&shape.table).starts_with("sqlite_") {
        return refuse(format!("a table cannot be named {:?}", &*shape.table));
    }
    let mut names: Vec<String> = shape.columns.iter().map(|column| folded(&column.name)).collect();
    if let Some(name) = names.iter().find(|name| !sound(name)) {
        return refuse(format!("a column cannot be named {name:?}"));
    }
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("two columns are named `{}`, whose case SQLite does not tell apart", pair[0])),
        None => Ok(()),
    }
}

/// A key has to be there.
fn keyed(row: &TableRow) -> Result<(), Refusal> {
    let missing = row.shape.key.iter().find(|at| matches!(row.values.get(**at), None | Some(Value::Null)));
    missing.map_or(Ok(()), |at| {
        let name = &row.shape.columns[*at].name;
        let message = format!("column `{name}` is a part of the key and is null");
        Err(Refusal::new(ErrorClass::ValueRefused, message).harmless())
    })
}
