//! A store that writes row by row, made one that takes columns too.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};

use crate::row::table::{TableRow, TableRows};
use crate::sink::{Outcome, Refusal, Sink, SinkError, Write};
use crate::value::Value;

/// Rows that columns are taken apart into at a time, and bytes that their values may take without what they
/// hold: as rows they take many times their bytes.
const AT_ONCE: usize = 8_192;
const BYTES: usize = 16 << 20;

/// Bytes of so many values.
const fn bytes(values: usize) -> usize {
    values * size_of::<Value>()
}

/// Gives a store of rows the rows of columns as well.
///
/// Where nothing came in columns a write is passed on as it is. Else it goes in several calls, each
/// under an id of its own that a repetition has again.
pub struct RowWise<S>(pub(super) S);

impl<S: Sink<TableRow> + 'static> RowWise<S> {
    /// Around a store.
    pub fn around(store: S) -> Arc<Self> {
        Arc::new(Self(store))
    }

    /// Writes some rows and halves them while the store cannot say which of them is at fault: the runtime
    /// would halve no further than to the whole that they are of.
    async fn write_some(&self, id: String, rows: &[&TableRow], concurrency: usize) -> Result<Outcome, SinkError> {
        let mut whole = Outcome::default();
        let mut parts = VecDeque::from([(id, 0, rows.len())]);
        while let Some((id, from, count)) = parts.pop_front() {
            let write = Write { id: &id, rows: &rows[from..from + count], concurrency };
            let answer = self.0.write(write).await;
            whole.poisoned += u64::from(matches!(answer, Err(SinkError::Poisoned(_))));
            match answer {
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
                    whole.poisoned += outcome.poisoned;
                }
            }
        }
        Ok(whole)
    }
}

/// Each row with the index of what it is of.
pub(super) fn apart<'a>(rows: &[&'a TableRows]) -> impl Iterator<Item = (usize, Cow<'a, TableRow>)> {
    let pieces = rows.iter().enumerate().flat_map(|(at, rows)| {
        let (count, width) = match rows {
            TableRows::Row(_) => (1, 1),
            TableRows::Columns(columns) => (columns.rows, columns.columns.len()),
        };
        let at_once = (BYTES / bytes(width.max(1))).clamp(1, AT_ONCE);
        (0..count).step_by(at_once).map(move |from| (at, *rows, from, at_once.min(count - from)))
    });
    pieces.flat_map(|(at, rows, from, count)| {
        let each: Box<dyn Iterator<Item = Cow<'a, TableRow>> + Send> = match rows {
            TableRows::Row(row) => Box::new(std::iter::once(Cow::Borrowed(row))),
            TableRows::Columns(columns) => Box::new(columns.each(from, count).map(Cow::Owned)),
        };
        each.map(move |row| (at, row))
    })
}

/// As many of the next rows as go in one call, each with the index of what it is of; none at the end.
pub(super) fn some<'a>(
    rows: &mut impl Iterator<Item = (usize, Cow<'a, TableRow>)>,
) -> (Vec<usize>, Vec<Cow<'a, TableRow>>) {
    let (mut of, mut some, mut left) = (Vec::new(), Vec::new(), BYTES);
    while some.len() < AT_ONCE
        && left > 0
        && let Some((at, row)) = rows.next()
    {
        left = left.saturating_sub(bytes(row.values.len()));
        of.push(at);
        some.push(row);
    }
    (of, some)
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
            let (of, some) = some(&mut rows);
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
            outcome.poisoned += part.poisoned;
        }
        // What is written again meets its refusals again.
        outcome.refused = refused.into_iter().filter(|(at, _)| !again.contains(at)).collect();
        outcome.refused.sort_unstable_by_key(|(at, _)| *at);
        outcome.again = again.into_iter().collect();
        outcome.again.sort_unstable();
        Ok(outcome)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.0.probe().await
    }

    /// No row of a table has a key.
    fn collapse(&self, key: &Infallible, _: &[&TableRows]) -> TableRows {
        match *key {}
    }

    fn summary(&self) -> Option<serde_json::Value> {
        self.0.summary()
    }

    fn enough(&self) -> Option<usize> {
        self.0.enough()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::row::table::{Column, ColumnData, Repeats, Shape, TableColumns, When};
    use crate::sink::ErrorClass;

    /// Remembers ids and rows of each call; refuses negative numbers, and for `silent` without saying which.
    #[derive(Default)]
    struct Store {
        calls: Arc<Mutex<Vec<(String, Vec<i64>)>>>,
        silent: bool,
    }

    fn number(row: &TableRow) -> i64 {
        match row.values[0] {
            Value::Int(number) => number,
            _ => panic!("a number"),
        }
    }

    #[async_trait]
    impl Sink<TableRow> for Store {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, write: Write<'_, TableRow>) -> Result<Outcome, SinkError> {
            let numbers: Vec<i64> = write.rows.iter().map(|row| number(row)).collect();
            let refusal = |row: &TableRow| Refusal::new(ErrorClass::ValueRefused, "negative").row(row.name());
            let mut outcome = Outcome::default();
            for (at, row) in write.rows.iter().enumerate() {
                match number(row) {
                    0 => outcome.again.push(at),
                    ..0 => outcome.refused.push((at, refusal(row))),
                    _ => outcome.stored += 1,
                }
            }
            if self.silent && !outcome.refused.is_empty() {
                return Err(SinkError::Poisoned(outcome.refused.swap_remove(0).1));
            }
            self.calls.lock().expect("no panic").push((write.id.to_owned(), numbers));
            Ok(outcome)
        }

        fn collapse(&self, key: &Infallible, _: &[&TableRow]) -> TableRow {
            match *key {}
        }
    }

    fn shape() -> Arc<Shape> {
        let columns = vec![Column { name: "n".into(), data_type: None }];
        Arc::new(Shape {
            schema: None,
            table: "t".into(),
            columns,
            time: When::Column(0),
            name: 0,
            key: vec![],
            repeats: Repeats::First,
            create: true,
            of: crate::row::table::Of::Anything,
        })
    }

    fn row(number: i64) -> TableRows {
        TableRows::Row(TableRow { destination: 0, shape: shape(), values: vec![Value::Int(number)] })
    }

    fn columns(numbers: impl IntoIterator<Item = i64>) -> TableRows {
        let values: Vec<Value> = numbers.into_iter().map(Value::Int).collect();
        let (rows, columns) = (values.len(), vec![ColumnData::Values(values)]);
        TableRows::Columns(Box::new(TableColumns { destination: 0, shape: shape(), rows, columns }))
    }

    async fn write(store: Store, rows: &[TableRows]) -> Outcome {
        let rows: Vec<&TableRows> = rows.iter().collect();
        let store = RowWise::around(store);
        store.write(Write { id: "w", rows: &rows, concurrency: 1 }).await.expect("an answer")
    }

    #[tokio::test]
    async fn rows_alone_are_passed_on_as_they_are() {
        let store = Store::default();
        let calls = store.calls.clone();
        let outcome = write(store, &[row(1), row(-2)]).await;
        assert_eq!((outcome.stored, outcome.refused[0].0), (1, 1));
        assert_eq!(*calls.lock().expect("no panic"), [("w".to_owned(), vec![1, -2])]);
    }

    #[tokio::test]
    async fn columns_are_taken_apart_in_order_some_at_a_time() {
        let store = Store::default();
        let calls = store.calls.clone();
        let many = AT_ONCE as i64 + 5;
        let outcome = write(store, &[row(7), columns(1..=many), row(8)]).await;
        assert_eq!((outcome.stored, outcome.refused.len()), (many as u64 + 2, 0));
        let calls = calls.lock().expect("no panic");
        let ids: Vec<&str> = calls.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["w-c0", "w-c1"]);
        let all: Vec<i64> = calls.iter().flat_map(|(_, numbers)| numbers).copied().collect();
        assert_eq!(all, std::iter::once(7).chain(1..=many).chain([8]).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_refused_of_columns_names_them_once_and_what_is_to_come_again_comes_whole() {
        let outcome = write(Store::default(), &[columns([1, -2, -3, 4]), columns([5, -6, 0]), row(-7)]).await;
        assert_eq!((outcome.stored, outcome.again), (3, vec![1]));
        let refused: Vec<_> =
            outcome.refused.iter().map(|(at, refusal)| (*at, refusal.row.as_deref().unwrap_or_default())).collect();
        assert_eq!(refused, [(0, "t/-2"), (2, "t/-7")]);
    }

    #[tokio::test]
    async fn a_store_that_cannot_say_which_row_is_bad_gets_halves_until_it_can() {
        let store = Store { silent: true, ..Store::default() };
        let calls = store.calls.clone();
        let outcome = write(store, &[columns([1, 2, 3, -4, 5, -6, 7]), row(8)]).await;
        assert_eq!(outcome.stored, 6);
        // Of 8 rows in one call: all, the half of each bad one, its quarter and itself.
        assert_eq!(outcome.poisoned, 7);
        let [(0, refusal)] = &outcome.refused[..] else { panic!("one refusal: {:?}", outcome.refused) };
        assert_eq!(refusal.row.as_deref(), Some("t/-4"));
        let mut stored: Vec<i64> = calls.lock().expect("no panic").iter().flat_map(|(_, rows)| rows.clone()).collect();
        stored.sort_unstable();
        assert_eq!(stored, [1, 2, 3, 5, 7, 8]);
    }
}
