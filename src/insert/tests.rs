//! What is read of a file, and what a stranger can make of one.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64 << 20;

fn batch() -> RecordBatch {
    let texts = (0..1_000).map(|n| (n % 7 > 0).then(|| ["a", "bb", "ccc"][n % 3]));
    let lists = (0..1_000_i64).map(|n| (n % 5 > 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(0..1_000)) as ArrayRef),
        ("text", Arc::new(texts.collect::<StringArray>())),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
    ])
    .expect("columns of one length")
}

fn file(batch: &RecordBatch, compression: Compression, version: WriterVersion, group: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        // They would hold the longest values, unpacked.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(group))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a schema");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

fn files() -> Vec<Vec<u8>> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"));
    let batch = batch();
    [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd]
        .into_iter()
        .flat_map(|compression| {
            [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]
                .map(|version| file(&batch, compression, version, 400))
        })
        .collect()
}

#[test]
fn a_file_is_read_whole() {
    for file in files() {
        let batches = decode(&file.into(), LIMIT).expect("sound");
        let whole = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema");
        assert_eq!(whole, batch());
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in files() {
        let file = Bytes::from(file);
        for cut in 0..file.len() {
            let refusal = decode(&file.slice(..cut), LIMIT).expect_err("cut");
            assert_eq!(refusal.class, ErrorClass::Decode);
        }
    }
}

#[test]
fn bombs_are_too_large() {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"));
    let long = "x".repeat(1 << 20);
    let class = |column: ArrayRef, limit: usize| {
        let batch = RecordBatch::try_from_iter([("x", column)]).expect("a batch");
        let file = file(&batch, zstd, WriterVersion::PARQUET_1_0, 1 << 22);
        assert!(file.len() < limit / 4, "{} of {limit}", file.len());
        decode(&file.into(), limit).map_err(|refusal| refusal.class).map(|batches| batches.len())
    };
    // One page of zeros; one value of a dictionary for each of many rows; a run of nulls.
    let zeros: ArrayRef = Arc::new(StringArray::from(vec!["\0".repeat(8 << 20)]));
    assert_eq!(class(zeros, 1 << 20), Err(ErrorClass::TooLarge));
    let same: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 100]));
    assert_eq!(class(same, 8 << 20), Err(ErrorClass::TooLarge));
    let nulls = arrow::array::new_null_array(&arrow::datatypes::DataType::Int64, 3_000_000);
    assert_eq!(class(nulls, 1 << 20), Err(ErrorClass::TooLarge));
    // Nulls of a type whose every value is large: they take nothing in the file.
    let wide = arrow::array::new_null_array(&arrow::datatypes::DataType::FixedSizeBinary(1 << 20), 100);
    assert_eq!(class(wide.clone(), 1 << 19), Err(ErrorClass::TooLarge), "one row is too large");
    assert_eq!(class(wide, 8 << 20), Err(ErrorClass::TooLarge), "all of them are");
}

#[test]
fn values_that_go_on_from_the_one_before_are_read_within_the_limit() {
    // Each is the one before and a letter: a page of a megabyte stands for hundreds.
    let long = "x".repeat(1 << 20);
    let values: Vec<String> = (0..200).map(|number| format!("{long}{number:03}")).collect();
    let batch = RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(values)) as ArrayRef)]).expect("a batch");
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BYTE_ARRAY)
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    let file = Bytes::from(writer.into_inner().expect("whole"));
    assert!(file.len() < 4 << 20, "{}", file.len());
    assert_eq!(decode(&file, 16 << 20).map_err(|refusal| refusal.class).map(|_| ()), Err(ErrorClass::TooLarge));
    let batches = decode(&file, 400 << 20).expect("it is within that");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 200);
}

#[test]
fn lists_that_lie_about_their_length_are_refused_before_they_are_read() {
    // Field 2, a list of 2^31 structs, and nothing behind it.
    let footer = [0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    let file = [MAGIC, &footer, &(footer.len() as u32).to_le_bytes(), MAGIC].concat();
    let refusal = decode(&file.into(), LIMIT).expect_err("refused");
    assert!(refusal.message.contains("cut off"), "{refusal}");
}

#[test]
fn a_list_that_takes_more_memory_than_bytes_is_refused_before_it_is_read() {
    // Field 2, a list of a million structures of one byte each: the library makes room for all of them.
    let mut footer = vec![0x29, 0xfc, 0xc0, 0x84, 0x3d];
    footer.resize(footer.len() + 1_000_001, 0);
    let file = [MAGIC, &footer, &(footer.len() as u32).to_le_bytes(), MAGIC].concat();
    assert_eq!(decode(&file.into(), 2 << 20).expect_err("refused").class, ErrorClass::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        near_the_end in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0)]), 1..6),
    ) {
        let files = files();
        let mut file = files[which.index(files.len())].clone();
        let from = if near_the_end { file.len() * 2 / 3 } else { 0 };
        for (at, byte) in changes {
            let at = from + at.index(file.len() - from);
            file[at] = byte;
        }
        let _ = decode(&file.into(), 1 << 20);
    }
}
