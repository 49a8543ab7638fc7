//! What is read of a stored file, within which memory, and what a stranger can make of one.

use std::path::Path;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;

use super::*;
use crate::row::load::Which;
use crate::sink::ErrorClass;

const LIMIT: usize = 64 << 20;

fn batch() -> RecordBatch {
    let texts = (0..1_000).map(|n| (n % 7 > 0).then(|| ["a", "bb", "ccc"][n % 3]));
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(0..1_000)) as ArrayRef),
        ("text", Arc::new(texts.collect::<StringArray>())),
    ])
    .expect("columns of one length")
}

fn file(batch: &RecordBatch, compression: Compression, group: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(group))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a schema");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"))
}

/// Writes a file of these bytes, over the one before.
fn put(folder: &Path, bytes: &[u8]) -> LoadFile {
    let path = folder.join("file.parquet");
    std::fs::write(&path, bytes).expect("written");
    let uri = format!("file://{}", path.display());
    LoadFile { uri: uri.into(), rows: None, bytes: None, which: Which::Newest }
}

/// Reads a file of these bytes; its batches, or why not.
async fn read(folder: &Path, bytes: &[u8], limit: usize) -> Result<Vec<RecordBatch>, Unread> {
    let file = put(folder, bytes);
    let stored = Stored::open(&Buckets::default(), &file, limit).await?;
    batches(&stored).await
}

async fn batches(stored: &Stored) -> Result<Vec<RecordBatch>, Unread> {
    let (mut reading, mut batches) = (stored.batches(), Vec::new());
    while let Some(batch) = reading.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

fn refused(read: Result<Vec<RecordBatch>, Unread>) -> String {
    match read.expect_err("refused") {
        Unread::Refused(refusal) => {
            assert_eq!(refusal.class, ErrorClass::FileInvalid, "{refusal}");
            refusal.message
        }
        Unread::Store(error) => panic!("a verdict, not {error}"),
    }
}

#[tokio::test]
async fn a_file_of_several_groups_is_read_whole_and_one_without_rows_too() {
    let folder = tempfile::tempdir().expect("a folder");
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd()] {
        let batches = read(folder.path(), &file(&batch(), compression, 300), LIMIT).await.expect("sound");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [300, 300, 300, 100]);
        assert_eq!(concat_batches(&batch().schema(), &batches).expect("one schema"), batch());
    }
    let none = read(folder.path(), &file(&batch().slice(0, 0), zstd(), 300), LIMIT).await.expect("sound");
    assert_eq!(none.len(), 0);
}

#[tokio::test]
async fn a_value_that_many_rows_share_makes_no_batch_larger_than_there_is_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let same: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000); 1_000]));
    let shared = RecordBatch::try_from_iter([("x", same)]).expect("a batch");
    let bytes = file(&shared, zstd(), 1_000);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let batches = read(folder.path(), &bytes, 1 << 20).await.expect("read");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
    let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().expect("some");
    assert!(largest < 3 << 20, "{largest}");
}

#[tokio::test]
async fn a_page_or_a_group_larger_than_there_is_memory_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let zeros: ArrayRef = Arc::new(StringArray::from(vec!["\0".repeat(8 << 20)]));
    let zeros = RecordBatch::try_from_iter([("x", zeros)]).expect("a batch");
    let page = refused(read(folder.path(), &file(&zeros, zstd(), 10), 1 << 20).await);
    assert!(page.contains("unpacked") && page.contains("`memory_limit`"), "{page}");
    let group = refused(read(folder.path(), &file(&zeros, Compression::UNCOMPRESSED, 10), 1 << 20).await);
    assert!(group.contains("a group of rows of") && group.contains("`memory_limit`"), "{group}");
}

#[tokio::test]
async fn a_footer_that_lies_about_its_lists_is_refused_before_they_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let footer = [0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    let bytes = [MAGIC, &footer, &(footer.len() as u32).to_le_bytes(), MAGIC].concat();
    let message = refused(read(folder.path(), &bytes, LIMIT).await);
    assert!(message.contains("cut off"), "{message}");
    let bytes = [MAGIC, &u32::MAX.to_le_bytes(), MAGIC].concat();
    let message = refused(read(folder.path(), &bytes, LIMIT).await);
    assert!(message.contains("a footer of 4294967295 bytes in a file of 12"), "{message}");
}

#[tokio::test]
async fn a_file_that_was_closed_is_opened_again_and_nothing_of_its_footer_is_held_between() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(TAIL as usize);
    // The footer of the second is not in what is read first.
    for name in ["x", &long] {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        let whole = RecordBatch::try_from_iter([(name, column)]).expect("a batch");
        let named = put(folder.path(), &file(&whole, zstd(), 300));
        let stored = Stored::open(&Buckets::default(), &named, LIMIT).await.expect("sound");
        let footer = Arc::downgrade(stored.metadata.metadata());
        let closed = stored.close();
        assert_eq!(footer.strong_count(), 0);
        for _ in 0..2 {
            let stored = closed.open().await.expect("as it was");
            let read = batches(&stored).await.expect("read");
            assert_eq!(concat_batches(&whole.schema(), &read).expect("one schema"), whole);
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_or_went_while_it_was_closed_ends_as_one_that_does_while_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = put(folder.path(), &file(&batch(), zstd(), 300));
    let closed = Stored::open(&Buckets::default(), &named, LIMIT).await.expect("sound").close();
    // As where the store tells no object from the next.
    let other = Closed { hash: !closed.hash, ..closed.clone() };
    let untold = other.open().await.expect_err("another footer");
    put(folder.path(), &file(&batch().slice(0, 10), zstd(), 300));
    let told = closed.open().await.expect_err("another object");
    for changed in [untold, told] {
        let Unread::Store(SinkError::Transient { reason }) = changed else { panic!("opened anew, not {changed:?}") };
        assert!(reason.contains("another object took its place"), "{reason}");
    }
    std::fs::remove_file(folder.path().join("file.parquet")).expect("removed");
    let Err(Unread::Refused(refusal)) = closed.open().await else { panic!("it is gone") };
    assert_eq!(refusal.class, ErrorClass::FileMissing);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_read_or_refused(
        packed in any::<bool>(),
        near_the_end in any::<bool>(),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0)]), 1..6),
    ) {
        let mut bytes = file(&batch(), if packed { zstd() } else { Compression::UNCOMPRESSED }, 400);
        let from = if near_the_end { bytes.len() * 2 / 3 } else { 0 };
        for (at, byte) in changes {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        match runtime.block_on(read(folder.path(), &bytes, 1 << 20)) {
            Ok(_) | Err(Unread::Refused(_)) => {}
            Err(Unread::Store(error)) => prop_assert!(false, "a verdict, not {error}"),
        }
    }
}
