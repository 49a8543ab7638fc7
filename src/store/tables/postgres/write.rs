//! One write: one transaction, in which each table's rows are copied to the side and inserted from there.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::SinkExt;
use hashbrown::{HashMap, HashSet};
use tokio_postgres::Statement;

use super::describe::{self, COLUMNS, are_still};
use super::encode::{self, HEAD, Misplaced, TAIL};
use super::insert::{insert_new, insert_newest, newer};
use super::layout::Layout;
use super::plan::{INSERTED_AT, Plan, Table};
use super::table::{Name, Tables};
use super::types::ColumnType;
use crate::config::secret::SecretRef;
use crate::row::table::{Repeats, Shape, TableRow};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::store::postgres::connection::{self, Pool};
use crate::store::postgres::{ONLINE_TABLE, quoted};
use crate::value::Value;

/// Bytes that are sent at a time.
pub(super) const CHUNK: usize = 256 * 1024;

/// Rows of this many bytes are worth a transaction: measured with 8 to 24 MiB, the writer's CPU time and the
/// server's are the same, and the writer takes a third less memory.
const ENOUGH: usize = 8 << 20;

/// Whatever the session's default is: what a table is like is asked for within the transaction, and must not be what it was
/// like when that began.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Temporary tables that one connection keeps for the next write; one that has as many starts over between two
/// writes. A single write may have more.
const STAGES: usize = 200;

type Connection = connection::Connection<Session>;

/// What is prepared on a connection: temporary tables by what is copied into them and goes on from there.
#[derive(Default)]
pub(super) struct Session {
    stages: HashMap<String, Arc<Stage>>,
    /// Temporary tables that were ever made on it, so that no two have one name.
    made: u64,
    /// Asks for the columns of a table.
    columns: Option<Statement>,
}

struct Stage {
    copy: Statement,
    insert: Statement,
}

/// A store in a database; see [`super`].
pub(super) struct Postgres {
    pub(super) pool: Pool<Session>,
    pub(super) tables: Tables,
}

impl Postgres {
    pub(super) fn new(layout: &'static Layout, uri: SecretRef) -> Self {
        Self { pool: Pool::new(layout.store, uri), tables: Tables::new(layout) }
    }

    /// Writes rows in one transaction; it is over when this returns without an error, or with a verdict.
    ///
    /// A verdict of the server's is one on rows only where they were judged by the types that the table has.
    async fn transaction(&self, connection: &mut Connection, rows: &[&TableRow]) -> Result<Outcome, SinkError> {
        let mut parts = Vec::new();
        let done = self.attempt(connection, rows, &mut parts).await;
        if let Err(SinkError::Poisoned(_)) = &done {
            // The server ended the statement, not the connection.
            connection.run("ROLLBACK").await?;
            for part in &parts {
                let now = part.columns_now(connection).await?;
                part.must_be(&now, connection)?;
            }
        }
        done
    }

    /// The same; after a verdict the transaction is still open. What is written goes into `parts`.
    async fn attempt<'a>(
        &self,
        connection: &mut Connection,
        rows: &[&'a TableRow],
        parts: &mut Vec<Part<'a>>,
    ) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let mut agreed = Vec::new();
        for (table, rows) in by_table(rows, self.tables.layout, &mut outcome.refused) {
            let mut planned = self.tables.agree(connection, &table, &rows).await?;
            outcome.refused.append(&mut planned.refused);
            if !planned.rows.is_empty() {
                agreed.push((table, planned));
            }
        }
        *parts = staged_all(connection, self.tables.layout, agreed).await?;
        if parts.is_empty() {
            return Ok(outcome);
        }
        if connection.state.columns.is_none() {
            connection.state.columns = Some(connection.within(connection.client.prepare(COLUMNS)).await?);
        }
        connection.run(BEGIN).await?;
        for part in &*parts {
            copy(connection, &part.planned, &part.columns, &part.stage.copy).await?;
            // The question follows without waiting. Nobody changes the table from the insertion on until the end.
            let insertion = connection.execute(&part.stage.insert, &[]);
            let (stored, now) = tokio::join!(insertion, part.columns_now(connection));
            let stored = stored?;
            part.must_be(&now?, connection)?;
            outcome.stored += stored;
            outcome.stale += (part.planned.rows.len() as u64).saturating_sub(stored);
        }
        connection.run("COMMIT").await?;
        Ok(outcome)
    }
}

#[async_trait]
impl Sink<TableRow> for Postgres {
    async fn write(&self, write: Write<'_, TableRow>) -> Result<Outcome, SinkError> {
        let mut connection = self.pool.take().await?;
        let done = self.transaction(&mut connection, write.rows).await;
        match &done {
            Ok(_) | Err(SinkError::Poisoned(_)) => self.pool.give_back(connection),
            Err(_) => self.tables.forget(),
        }
        match (done, write.rows) {
            // The server names no row; where there is one alone, it is that.
            (Err(SinkError::Poisoned(refusal)), [row]) => {
                Err(SinkError::Poisoned(refusal.row(row.name()).table(&row.shape.table)))
            }
            (done, _) => done,
        }
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.pool.give_back(self.pool.take().await?);
        Ok(())
    }

    /// No row of a table has a key.
    fn collapse(&self, key: &Infallible, _: &[&TableRow]) -> TableRow {
        match *key {}
    }

    fn enough(&self) -> Option<usize> {
        Some(ENOUGH)
    }
}

/// What rows of one table must have in common to be put into it by one statement: their key, what a repeated one does,
/// and where that is to replace columns, which. A column that a row does not have must not be replaced by nothing.
#[derive(PartialEq)]
struct Alike<'a> {
    key: Vec<&'a str>,
    newer: Vec<&'a str>,
    columns: Vec<&'a str>,
}

impl<'a> Alike<'a> {
    fn of(shape: &'a Shape) -> Self {
        let name = |at: usize| shape.columns.get(at).map_or("", |column| &*column.name);
        let key: Vec<&str> = shape.key.iter().map(|at| name(*at)).collect();
        let further = match shape.repeats {
            // Nothing is replaced.
            Repeats::First => return Self { key, newer: Vec::new(), columns: Vec::new() },
            Repeats::Newest => None,
            Repeats::Furthest(column) => Some(column),
        };
        let newer = further.into_iter().chain(shape.time.column()).map(name).chain(["newest"]).collect();
        let mut columns: Vec<&str> = (0..shape.columns.len()).map(name).collect();
        columns.sort_unstable();
        Self { key, newer, columns }
    }
}

/// Rows by their table, and in one table by what they have in common; in the order of the tables' names, in which every
/// writer locks them.
pub(super) fn by_table<'a>(
    rows: &[&'a TableRow],
    layout: &Layout,
    refused: &mut Vec<(usize, Refusal)>,
) -> Vec<(Name, Vec<(usize, &'a TableRow)>)> {
    let mut groups: Vec<(Name, Alike<'a>, Vec<(usize, &'a TableRow)>)> = Vec::new();
    let mut of_shape: HashMap<usize, Result<usize, String>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let group = of_shape.entry(Arc::as_ptr(&row.shape).addr()).or_insert_with(|| {
            let name = named(&row.shape, layout)?;
            let alike = Alike::of(&row.shape);
            let known = groups.iter().position(|(of, known, _)| *of == name && *known == alike);
            Ok(known.unwrap_or_else(|| {
                groups.push((name, alike, Vec::new()));
                groups.len() - 1
            }))
        });
        match group {
            Ok(group) => groups[*group].2.push((index, *row)),
            Err(message) => {
                let refusal = Refusal::new(ErrorClass::ValueRefused, message.clone());
                refused.push((index, refusal.row(row.name()).table(&row.shape.table)));
            }
        }
    }
    let mut tables: Vec<_> = groups.into_iter().map(|(name, _, rows)| (name, rows)).collect();
    tables.sort_by(|(one, _), (other, _)| one.cmp(other));
    tables
}

/// The name of a shape's table, or why it cannot be that of one.
fn named(shape: &Shape, layout: &Layout) -> Result<Name, String> {
    match Name::of(shape) {
        Some(name) if name.table == ONLINE_TABLE => {
            Err(format!("`{ONLINE_TABLE}` is the online store's table; a namespace in Postgres needs another name"))
        }
        Some(name) => match name.kept_back(layout) {
            Some(why) => Err(why),
            None => Ok(name),
        },
        None => Err("the name of a table, or of its schema, must not be empty, nor hold U+0000".to_owned()),
    }
}

/// The columns of the table that some row of the plan may have a value of.
pub(super) fn staged(planned: &Plan<'_>) -> Vec<usize> {
    let all = planned.table.columns.iter().enumerate();
    let typed = all.filter(|(_, column)| !matches!(column.column_type, ColumnType::Unknown | ColumnType::Other(_)));
    let ours = typed.filter(|(_, column)| !(planned.history && column.name == INSERTED_AT));
    let used: HashSet<usize> = planned.used();
    ours.map(|(at, _)| at).filter(|at| used.contains(at)).collect()
}

/// What goes into one table.
struct Part<'a> {
    /// The table's quoted name.
    target: String,
    planned: Plan<'a>,
    /// Those of its columns that are copied.
    columns: Vec<usize>,
    stage: Arc<Stage>,
}

impl Part<'_> {
    /// What the table is like now.
    async fn columns_now(&self, connection: &Connection) -> Result<Table, SinkError> {
        let rows = match &connection.state.columns {
            Some(prepared) => connection.query(prepared, &[&self.target]).await?,
            None => connection.query(COLUMNS, &[&self.target]).await?,
        };
        Ok(describe::read(&rows))
    }

    /// An error that passes where the table has other types than its rows were judged by.
    fn must_be(&self, now: &Table, connection: &Connection) -> Result<(), SinkError> {
        if are_still(now, &self.planned.table, &self.columns) {
            return Ok(());
        }
        let reason = format!("{}: table {} was changed by others meanwhile", connection.address, self.target);
        Err(SinkError::Transient { reason })
    }
}

/// Finds or makes the temporary table of each plan.
///
/// New ones are made in one transaction: the end of any that touches a temporary table empties all there are.
async fn staged_all<'a>(
    connection: &mut Connection,
    layout: &Layout,
    agreed: Vec<(Name, Plan<'a>)>,
) -> Result<Vec<Part<'a>>, SinkError> {
    // Not later: the parts of a write hold on to their temporary tables.
    if connection.state.stages.len() >= STAGES {
        connection.state.stages.clear();
        connection.run("DISCARD TEMP").await?;
    }
    let (mut parts, mut made) = (Vec::with_capacity(agreed.len()), Vec::new());
    for (table, planned) in agreed {
        let columns = staged(&planned);
        let target = table.quoted_for(connection, layout);
        let stage = stage(connection, &target, &planned, &columns, &mut made).await?;
        parts.push(Part { target, planned, columns, stage });
    }
    if !made.is_empty() {
        connection.run("COMMIT").await?;
        connection.state.stages.extend(made);
    }
    Ok(parts)
}

/// The temporary table of such columns of a table. Where it is new it is made on this connection and goes into `made`, in a
/// transaction that begins with the first of them.
async fn stage(
    connection: &mut Connection,
    target: &str,
    planned: &Plan<'_>,
    columns: &[usize],
    made: &mut Vec<(String, Arc<Stage>)>,
) -> Result<Arc<Stage>, SinkError> {
    let column = |at: &usize| &planned.table.columns[*at];
    let definitions: Vec<String> =
        columns.iter().map(|at| format!("{} {}", quoted(&column(at).name), column(at).column_type)).collect();
    let names: Vec<String> = columns.iter().map(|at| quoted(&column(at).name)).collect();
    let key: Vec<String> = planned.key.iter().map(|at| quoted(&column(at).name)).collect();
    let newer = newer(&planned.table, &planned.newer, columns);
    let Plan { history, repeats, .. } = planned;
    let known = format!("{target} ({}) {} {newer:?} {history} {repeats:?}", definitions.join(", "), key.join(", "));
    if let Some(stage) = connection.state.stages.get(&known) {
        return Ok(stage.clone());
    }
    if made.is_empty() {
        connection.run("BEGIN").await?;
    }
    let name = format!("pg_temp.chalk_stage_{}", connection.state.made);
    connection.state.made += 1;
    connection
        .run(&format!("CREATE TEMP TABLE {} ({}) ON COMMIT DELETE ROWS", &name[8..], definitions.join(", ")))
        .await?;
    let insert = if *repeats == Repeats::First || key.is_empty() {
        insert_new(target, &name, &names, &key, *history)
    } else {
        insert_newest(target, &name, &names, &key, &newer)
    };
    let prepare = async |text: String| connection.within(connection.client.prepare(&text)).await;
    let stage = Arc::new(Stage {
        copy: prepare(format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", names.join(", "))).await?,
        insert: prepare(insert).await?,
    });
    made.push((known, stage.clone()));
    Ok(stage)
}

/// Sends the rows of a plan to the temporary table.
async fn copy(
    connection: &Connection,
    planned: &Plan<'_>,
    columns: &[usize],
    statement: &Statement,
) -> Result<(), SinkError> {
    let types: Vec<&ColumnType> = columns.iter().map(|at| &planned.table.columns[*at].column_type).collect();
    let places: Vec<Vec<Option<usize>>> = planned.bindings.iter().map(|binding| binding.places(columns)).collect();
    let count = i16::try_from(columns.len()).map_err(|_| SinkError::Bug { reason: "too many columns".to_owned() })?;
    let mut sink = pin!(connection.within(connection.client.copy_in::<_, Bytes>(statement)).await?);
    let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 4);
    chunk.extend_from_slice(HEAD);
    for (binding, row) in &planned.rows {
        chunk.extend_from_slice(&count.to_be_bytes());
        for (place, column_type) in places[*binding].iter().zip(&types) {
            let value = place.map_or(&Value::Null, |place| &row.values[place]);
            encode::field(column_type, value, &mut chunk).map_err(|Misplaced| SinkError::Bug {
                reason: format!("a value of table `{}` that was not held against {column_type}", row.shape.table),
            })?;
        }
        if chunk.len() >= CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
            connection.within(sink.send(Bytes::from(full))).await?;
        }
    }
    chunk.extend_from_slice(&TAIL);
    connection.within(sink.send(Bytes::from(chunk))).await?;
    connection.within(sink.finish()).await?;
    Ok(())
}
