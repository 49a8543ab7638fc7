//! Files that are loaded into the lake: copied, each into files of its own, which a repetition replaces by name.
//!
//! A file is cut into parts of so many rows, and each part into days; the name of what becomes of it says the load, the
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

use super::layout::{self, LOADS};
use super::write::Lake;
use crate::insert::object::{Buckets, Unread, invalid};
use crate::insert::rows::FileRows;
use crate::insert::stored::Stored;
use crate::row::load::{FileLoad, Load};
use crate::row::table::{TableColumns, TableRows};
use crate::sink::{Outcome, Refusal, Sink, SinkError, Write};
use crate::store::load::work::Work;
use crate::value::time::{format_timestamp, now};

/// Bytes of a part about, by what the file's footer says of its rows; the same in every version, as file names hang
/// on it.
const PART: u64 = 32 << 20;
/// Rows of a part at the most.
const ROWS: u64 = 1 << 20;
/// How many times larger than its footer says the rows of a file may be.
const LARGER: usize = 8;

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
        let (mut staged, mut landed, mut rows) = (Vec::new(), Vec::new(), 0);
        let pending: Vec<usize> = work.loads[at].pending().map(|(file, _)| file).collect();
        for file in pending {
            if !work.loads[at].is_pending() {
                break;
            }
            let mut of_file = Vec::new();
            match self.stage(load, file, work.loads[at].destination, &mut of_file).await {
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
            self.discard(&staged).await;
            return Ok(0);
        }
        for Staged { staged, folder, name } in &staged {
            self.lake.files.place(staged, folder, name).await.map_err(Unread::Store)?;
        }
        let earlier = before.map(|marker| (marker.files, marker.rows)).unwrap_or_default();
        let marker = Marker {
            format: 1,
            environment_id: load.environment.to_string(),
            load_id: load.id.to_string(),
            table: load.target.table.to_string(),
            files: [earlier.0, landed].concat(),
            skipped: item.bad.keys().map(|file| load.files[*file].uri.to_string()).collect(),
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
        staged: &mut Vec<Staged>,
    ) -> Result<u64, Unread> {
        let uri = &load.files[file].uri;
        let stored = Stored::open(&self.buckets, &load.files[file], self.limit).await?;
        let file_rows = FileRows::new(load, stored.schema(), self.limit)?;
        let most = part_rows(stored.rows(), stored.unpacked());
        let hash = xxh3_128(format!("{}\0{}\0{uri}", load.environment, load.id).as_bytes());
        let inserted_at = now();
        let (mut part, mut held, mut size, mut number, mut before) = (Vec::new(), 0, 0, 0, 0);
        let mut batches = stored.batches();
        while let Some(batch) = batches.next().await {
            let mut batch = batch?;
            while batch.num_rows() > 0 {
                let some = batch.num_rows().min(most - held);
                let columns = file_rows.of(destination, &batch.slice(0, some))?;
                batch = batch.slice(some, batch.num_rows() - some);
                held += some;
                size += columns.size();
                part.push(columns);
                if size > LARGER * PART as usize {
                    return Err(
                        invalid(format!("has rows of {size} bytes where its footer says less than {PART}")).into()
                    );
                }
                if held == most {
                    let name = format!("load-{hash:032x}-{number:05}.parquet");
                    self.part(std::mem::take(&mut part), before, &name, inserted_at, staged).await?;
                    number += 1;
                    before += std::mem::take(&mut held);
                    size = 0;
                }
            }
        }
        if held > 0 {
            let name = format!("load-{hash:032x}-{number:05}.parquet");
            self.part(part, before, &name, inserted_at, staged).await?;
        }
        Ok(stored.rows())
    }

    /// Makes a file for each day of a part, and stages it. `before` is how many rows of the file come before it.
    async fn part(
        &self,
        part: Vec<TableColumns>,
        before: usize,
        name: &str,
        inserted_at: i64,
        staged: &mut Vec<Staged>,
    ) -> Result<(), Unread> {
        let rows: Vec<TableRows> = part.into_iter().map(|columns| TableRows::Columns(Box::new(columns))).collect();
        let rows: Vec<&TableRows> = rows.iter().collect();
        let mut outcome = Outcome::default();
        let units = self.lake.sort(&rows, &mut outcome).await.map_err(Unread::Store)?;
        if !outcome.refused.is_empty() {
            let (_, refusal) = outcome.refused.swap_remove(0);
            let row = refusal.row.as_deref().unwrap_or_default();
            return Err(Unread::Refused(Refusal { row: Some(format!("{row}, after row {before}")), ..refusal }));
        }
        for unit in units {
            let folder = unit.folder.clone();
            let bytes = self.lake.encoded(unit, inserted_at).await.map_err(Unread::Store)?;
            let placed = self.lake.files.stage(&layout::file(&folder, name), PutPayload::from(bytes)).await;
            staged.push(Staged { staged: placed.map_err(Unread::Store)?, folder, name: name.to_owned() });
        }
        Ok(())
    }

    async fn discard(&self, staged: &[Staged]) {
        for Staged { staged, .. } in staged {
            self.lake.files.discard(staged).await;
        }
    }
}

/// Rows of a part of a file with so many rows, which take so many bytes unpacked, by what its footer says: the same
/// however often it is read, and with whatever memory.
fn part_rows(rows: u64, unpacked: u64) -> usize {
    let one = unpacked.div_ceil(rows.max(1)).max(1);
    (PART / one).clamp(1, ROWS) as usize
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

    #[test]
    fn parts_hang_on_the_file_alone() {
        assert_eq!(part_rows(0, 0), ROWS as usize);
        assert_eq!(part_rows(1_000_000, 32_000_000), (PART / 32) as usize);
        assert_eq!(part_rows(10, 10 << 30), 1);
    }
}
