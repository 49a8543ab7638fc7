//! Files that are loaded into the lake: copied, each into files of its own, which a repetition replaces by name.
//!
//! A file is cut into parts by the size of its values, and each part into days; the name of what becomes of it says the load, the
//! file and the part, and nothing else. What was made of all files of a load is staged first and moved into place at
//! the end, so that a load with a bad file leaves nothing; the moves are one by one, and a reader may see a part of a
//! load for that moment. The last thing is a file in `_loads` that says that the load has landed, by which it is passed
//! over from then on.

use std::convert::Infallible;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::kept::Kept;
use super::layout::{self, LOADS};
use super::write::Lake;
use crate::insert::object::{Buckets, Unread};
use crate::insert::rows::FileRows;
use crate::insert::stored::Stored;
use crate::row::load::{FileLoad, Load};
use crate::row::table::{TableColumns, TableRows};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::load::work::Work;
use crate::value::time::{format_timestamp, now};

/// Weight of a part at the most, but for one row that weighs more; the same in every version, as file names hang on it.
const PART: u64 = 32 << 20;
/// Rows of a part at the most.
const ROWS: usize = 1 << 20;

/// A lake as files are loaded into it.
pub(super) struct Loads {
    lake: Lake,
    buckets: Buckets,
    /// Bytes of one file that may be in memory at once.
    limit: usize,
}

/// What `_loads` has of a load.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// Of this description; 1.
    format: u32,
    environment_id: String,
    load_id: String,
    table: String,
    /// What has landed.
    files: Vec<String>,
    /// What was left out.
    skipped: Vec<String>,
    rows: u64,
    loaded_at: String,
}

/// A file that is whole and not in its place yet.
struct Staged {
    staged: Path,
    folder: Path,
    name: String,
}

/// What may be in the lake of a load that is given up: files are moved into place one by one, and nothing takes back what an
/// attempt had moved that was cut off.
const REMAINS: &str = ", unless an attempt before this one was cut off while it moved files into place: those are `load-*` in \
                       the table's folders, and nothing below `_loads` names this load";

impl Loads {
    pub(super) fn new(lake: Lake, limit: usize) -> Self {
        Self { lake, buckets: Buckets::default(), limit }
    }

    /// Loads what is pending of one load; the rows that landed.
    async fn land(&self, work: &mut Work<'_>, at: usize) -> Result<u64, Unread> {
        let load = work.loads[at].load;
        let name = marker(load);
        let before = self.marker(&name).await?;
        if let Some(marker) = &before {
            let item = &mut work.loads[at];
            item.is_old = marker.skipped.is_empty();
            item.landed.extend(marker.files.iter().cloned());
        }
        let kept = self.lake.files.keep();
        let (mut staged, mut landed, mut rows) = (Vec::new(), Vec::new(), 0);
        let pending: Vec<usize> = work.loads[at].pending().map(|(file, _)| file).collect();
        for file in pending {
            if !work.loads[at].is_pending() {
                break;
            }
            let mut of_file = Vec::new();
            match self.stage(load, file, work.loads[at].destination, &kept, &mut of_file).await {
                Ok(count) => {
                    staged.append(&mut of_file);
                    landed.push(load.files[file].uri.to_string());
                    rows += count;
                }
                Err(unread) => {
                    self.discard(&of_file).await;
                    match unread {
                        Unread::Refused(refusal) => work.loads[at].spoil(file, refusal),
                        Unread::Store(error) => {
                            self.discard(&staged).await;
                            return Err(Unread::Store(error));
                        }
                    }
                }
            }
        }
        let item = &work.loads[at];
        let aborted = !item.bad.is_empty() && !load.skips_bad_files;
        if aborted || landed.is_empty() {
            work.loads[at].remains = REMAINS;
            self.discard(&staged).await;
            return Ok(0);
        }
        for Staged { staged: from, folder, name } in &staged {
            if let Err(error) = self.lake.files.place(from, folder, name).await {
                // Those that were moved are replaced by the next attempt, which stages all of them again.
                self.discard(&staged).await;
                return Err(Unread::Store(error));
            }
        }
        let earlier = before.map(|marker| (marker.files, marker.rows)).unwrap_or_default();
        let marker = Marker {
            format: 1,
            environment_id: load.environment.to_string(),
            load_id: load.id.to_string(),
            table: load.target.table.to_string(),
            files: [earlier.0, landed].concat(),
            skipped: item.bad.keys().map(|file| load.files[*file].shown()).collect(),
            rows: earlier.1 + rows,
            loaded_at: format_timestamp(now()),
        };
        let text = serde_json::to_vec_pretty(&marker).map_err(|error| bug(&error))?;
        let published = self.lake.files.publish(&Path::from(LOADS), &name, PutPayload::from(text)).await;
        published.map_err(Unread::Store)?;
        Ok(rows)
    }

    async fn marker(&self, name: &str) -> Result<Option<Marker>, Unread> {
        let place = layout::file(&Path::from(LOADS), name);
        let found: Option<Bytes> = self.lake.files.read(&place).await.map_err(Unread::Store)?;
        let Some(text) = found else { return Ok(None) };
        let refused = |what: String| {
            let reason = format!("{place} of the lake: {what}");
            Unread::Store(SinkError::Transient { reason })
        };
        let marker: Marker = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        match marker.format {
            1 => Ok(Some(marker)),
            other => Err(refused(format!("format {other} was written by a newer version; this one knows format 1"))),
        }
    }

    /// Makes the lake's files of one file, and stages them; its rows.
    async fn stage(
        &self,
        load: &Load,
        file: usize,
        destination: usize,
        kept: &Kept,
        staged: &mut Vec<Staged>,
    ) -> Result<u64, Unread> {
        let uri = &load.files[file].uri;
        let stored = Stored::open(&self.buckets, &load.files[file], self.limit).await?;
        let file_rows = FileRows::new(load, stored.schema(), self.limit)?;
        let hash = xxh3_128(format!("{}\0{}\0{uri}", load.environment, load.id).as_bytes());
        let inserted_at = now();
        let (mut part, mut cut, mut number, mut before) = (Vec::new(), Cut::default(), 0, 0);
        let mut batches = stored.batches();
        while let Some(batch) = batches.next().await {
            let mut batch = batch?;
            while batch.num_rows() > 0 {
                let some = cut.room_for(batch.num_rows(), |rows| file_rows.weight(&batch.slice(0, rows)));
                if some > 0 {
                    part.push(file_rows.of(destination, &batch.slice(0, some))?);
                    batch = batch.slice(some, batch.num_rows() - some);
                } else {
                    let name = format!("load-{hash:032x}-{number:05}.parquet");
                    self.part(std::mem::take(&mut part), before, (&name, inserted_at), kept, staged).await?;
                    number += 1;
                    before += std::mem::take(&mut cut).rows;
                }
            }
        }
        if cut.rows > 0 {
            let name = format!("load-{hash:032x}-{number:05}.parquet");
            self.part(part, before, (&name, inserted_at), kept, staged).await?;
        }
        Ok(stored.rows())
    }

    /// Makes a file for each day of a part, and stages it. `before` is how many rows of the file come before it.
    async fn part(
        &self,
        part: Vec<TableColumns>,
        before: usize,
        (name, inserted_at): (&str, i64),
        kept: &Kept,
        staged: &mut Vec<Staged>,
    ) -> Result<(), Unread> {
        let rows: Vec<TableRows> = part.into_iter().map(|columns| TableRows::Columns(Box::new(columns))).collect();
        let rows: Vec<&TableRows> = rows.iter().collect();
        let mut outcome = Outcome::default();
        let units = self.lake.sort(&rows, &mut outcome).await.map_err(Unread::Store)?;
        if !outcome.refused.is_empty() {
            let (_, refusal) = outcome.refused.swap_remove(0);
            let row = format!("{}, after row {before}", refusal.row.as_deref().unwrap_or_default());
            return Err(Unread::Refused(refusal.row(row)));
        }
        for unit in units {
            let folder = unit.folder.clone();
            let bytes = self.lake.encoded(unit, inserted_at).await.map_err(Unread::Store)?;
            let placed = self.lake.files.stage(&layout::file(&folder, name), PutPayload::from(bytes)).await;
            let placed = placed.map_err(Unread::Store)?;
            kept.add(&placed);
            staged.push(Staged { staged: placed, folder, name: name.to_owned() });
        }
        Ok(())
    }

    async fn discard(&self, staged: &[Staged]) {
        for Staged { staged, .. } in staged {
            self.lake.files.discard(staged).await;
        }
    }
}

/// What is held of a part. Where a part ends hangs on the rows alone, however often the file is read and in whatever
/// batches, as the weight of rows is the sum of that of each.
#[derive(Debug, Default)]
struct Cut {
    rows: usize,
    weight: u64,
}

impl Cut {
    /// How many of the next rows, of which the first so many weigh as `weight` says, are of this part, which has them
    /// from then on; none where it is full.
    fn room_for(&mut self, rows: usize, weight: impl Fn(usize) -> u64) -> usize {
        let most = rows.min(ROWS - self.rows);
        let fits = |rows: usize| self.weight.saturating_add(weight(rows)) <= PART;
        let mut some = most;
        if !fits(most) {
            // `some` rows fit, and `beyond` do not.
            let mut beyond = most;
            some = 0;
            while some + 1 < beyond {
                let middle = some.midpoint(beyond);
                if fits(middle) { some = middle } else { beyond = middle }
            }
        }
        if self.rows == 0 {
            some = some.max(1);
        }
        self.weight = self.weight.saturating_add(weight(some));
        self.rows += some;
        some
    }
}

/// The name of the file that says that a load has landed.
fn marker(load: &Load) -> String {
    format!("{:032x}.json", xxh3_128(format!("{}\0{}", load.environment, load.id).as_bytes()))
}

fn bug(error: &dyn std::error::Error) -> Unread {
    Unread::Store(SinkError::Bug { reason: error.to_string() })
}

#[async_trait]
impl Sink<FileLoad> for Loads {
    async fn write(&self, write: Write<'_, FileLoad>) -> Result<Outcome, SinkError> {
        let mut work = Work::new(write.rows);
        let (mut stored, mut away) = (0, None);
        for at in 0..work.loads.len() {
            match self.land(&mut work, at).await {
                Ok(rows) => stored += rows,
                Err(Unread::Store(error @ SinkError::Bug { .. })) => return Err(error),
                Err(Unread::Store(error)) => {
                    work.loads[at].away = Some(error.to_string());
                    away.get_or_insert(error);
                }
                Err(Unread::Refused(refusal)) => work.loads[at].refused = Some(refusal),
            }
        }
        let outcome = work.outcome(stored);
        match away {
            Some(error) if outcome.again.len() == write.rows.len() => Err(error),
            _ => Ok(outcome),
        }
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.lake.files.probe().await
    }

    /// No load has a key: a file of the lake knows it by its id.
    fn collapse(&self, key: &Infallible, _: &[&FileLoad]) -> FileLoad {
        match *key {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of each part of a file of rows that weigh so much, where they are read in batches of so many rows.
    fn parts(rows: &[u64], batch: usize) -> Vec<usize> {
        let (mut parts, mut cut) = (Vec::new(), Cut::default());
        for mut batch in rows.chunks(batch) {
            while !batch.is_empty() {
                match cut.room_for(batch.len(), |rows| batch[..rows].iter().sum()) {
                    0 => parts.push(std::mem::take(&mut cut).rows),
                    some => batch = &batch[some..],
                }
            }
        }
        parts.push(cut.rows);
        parts
    }

    #[test]
    fn parts_hang_on_the_rows_alone() {
        let rows: Vec<u64> = (0..5_000_u64).map(|n| n * 7_919 % 100_000).collect();
        let whole = parts(&rows, rows.len());
        assert!(whole.len() > 5, "{whole:?}");
        for batch in [1, 7, 100, 1_024] {
            assert_eq!(parts(&rows, batch), whole, "{batch}");
        }
        let mut from = 0;
        for part in &whole[..whole.len() - 1] {
            let weight: u64 = rows[from..from + part].iter().sum();
            assert!(weight <= PART && weight + rows[from + part] > PART, "{weight}");
            from += part;
        }
    }

    #[test]
    fn a_row_too_heavy_for_a_part_is_one_by_itself_and_rows_of_nothing_end_too() {
        assert_eq!(parts(&[1, PART + 1, 1, PART, 1], 5), [1, 1, 1, 1, 1]);
        assert_eq!(parts(&vec![0; ROWS + 1], 1_000), [ROWS, 1]);
    }
}
