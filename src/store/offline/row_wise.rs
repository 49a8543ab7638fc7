//! A store that writes row by row, made one that takes columns too.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};

use crate::row::table::{TableRow, TableRows};
use crate::sink::{Outcome, Refusal, Sink, SinkError, Write};

/// Rows that columns are taken apart into at a time: as rows they take many times their bytes.
const AT_ONCE: usize = 8_192;

/// Gives a store of rows the rows of columns as well.
///
/// Where nothing came in columns a write is passed on as it is. Else it goes in several calls, each
/// under an id of its own that a repetition has again.
pub struct RowWise<S>(S);

impl<S: Sink<TableRow> + 'static> RowWise<S> {
    /// Around a store.
    pub fn around(store: S) -> Arc<dyn Sink<TableRows>> {
        Arc::new(Self(store))
    }

    /// Writes some rows and halves them while the store cannot say which of them is at fault: the runtime
    /// would halve no further than to the whole that they are of.
    async fn write_some(&self, id: String, rows: &[&TableRow], concurrency: usize) -> Result<Outcome, SinkError> {
        let mut whole = Outcome::default();
        let mut parts = VecDeque::from([(id, 0, rows.len())]);
        while let Some((id, from, count)) = parts.pop_front() {
            let write = Write { id: &id, rows: &rows[from..from + count], concurrency };
            match self.0.write(write).await {
                Err(SinkError::Poisoned(refusal)) if count == 1 => whole.refused.push((from, refusal)),
                Err(SinkError::Poisoned(_)) => {
                    let half = count / 2;
                    parts.push_front((format!("{id}-h1"), from + half, count - half));
                    parts.push_front((format!("{id}-h0"), from, half));
                }
                answer => {
                    let outcome = answer?;
                    whole.again.extend(outcome.again.into_iter().map(|at| from + at));
                    whole.refused.extend(outcome.refused.into_iter().map(|(at, refusal)| (from + at, refusal)));
                    whole.stored += outcome.stored;
                    whole.stale += outcome.stale;
                }
            }
        }
        Ok(whole)
    }
}

/// Each row with the index of what it is of.
fn apart<'a>(rows: &[&'a TableRows]) -> impl Iterator<Item = (usize, Cow<'a, TableRow>)> {
    let pieces = rows.iter().enumerate().flat_map(|(at, rows)| {
        let count = match rows {
            TableRows::Row(_) => 1,
            TableRows::Columns(columns) => columns.rows,
        };
        (0..count).step_by(AT_ONCE).map(move |from| (at, *rows, from, AT_ONCE.min(count - from)))
    });
    pieces.flat_map(|(at, rows, from, count)| {
        let each: Box<dyn Iterator<Item = Cow<'a, TableRow>> + Send> = match rows {
            TableRows::Row(row) => Box::new(std::iter::once(Cow::Borrowed(row))),
            TableRows::Columns(columns) => Box::new(columns.each(from, count).map(Cow::Owned)),
        };
        each.map(move |row| (at, row))
    })
}

#[async_trait]
impl<S: Sink<TableRow> + 'static> Sink<TableRows> for RowWise<S> {
    async fn write(&self, write: Write<'_, TableRows>) -> Result<Outcome, SinkError> {
        let plain = write.rows.iter().map(|rows| match rows {
            TableRows::Row(row) => Some(row),
            TableRows::Columns(_) => None,
        });
        let plain: Option<Vec<&TableRow>> = plain.collect();
        if let Some(rows) = plain {
            return self.0.write(Write { id: write.id, rows: &rows, concurrency: write.concurrency }).await;
        }
        let (mut again, mut refused): (HashSet<usize>, HashMap<usize, Refusal>) = Default::default();
        let mut outcome = Outcome::default();
        let mut rows = apart(write.rows);
        for number in 0.. {
            let (of, some): (Vec<usize>, Vec<Cow<'_, TableRow>>) = rows.by_ref().take(AT_ONCE).unzip();
            if some.is_empty() {
                break;
            }
            let some: Vec<&TableRow> = some.iter().map(AsRef::as_ref).collect();
            let part = self.write_some(format!("{}-c{number}", write.id), &some, write.concurrency).await?;
            again.extend(part.again.into_iter().map(|at| of[at]));
            for (at, refusal) in part.refused {
                refused.entry(of[at]).or_insert(refusal);
            }
            outcome.stored += part.stored;
            outcome.stale += part.stale;
        }
        // What is written again meets its refusals again.
        outcome.refused = refused.into_iter().filter(|(at, _)| !again.contains(at)).collect();
        outcome.refused.sort_unstable_by_key(|(at, _)| *at);
        outcome.again = again.into_iter().collect();
        outcome.again.sort_unstable();
        Ok(outcome)
    }

    /// Rows of tables have no key that the runtime knows, so it collapses none; the newest stands for all.
    fn collapse(&self, rows: &[&TableRows]) -> TableRows {
        (*rows[rows.len() - 1]).clone()
    }
}
