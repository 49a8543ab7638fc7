//! Rows on their way into stores: the bytes of Redis values, and a parquet file of the lake, written for real.

mod kit;
#[path = "end_to_end/results.rs"]
mod results;

use std::hint::black_box;

use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::sink::Write;
use chalk_writer::store::{OFFLINE, StoreLimits, StoreOptions};
use chalk_writer::value::msgpack;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use kit::cpu_time::CpuTime;
use kit::{COUNT, Encoding};

fn rows<R>(decoder: &dyn Decoder<R>) -> Vec<R> {
    let mut rows = Vec::new();
    for message in kit::messages(Encoding::Json) {
        let mut decoded = Decoded::default();
        decoder.decode(&message, &mut decoded);
        rows.append(&mut decoded.rows);
    }
    assert_eq!(rows.len(), COUNT);
    rows
}

fn values(criterion: &mut Criterion<CpuTime>) {
    let rows = rows(&kit::online());
    let mut group = criterion.benchmark_group("stores");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("MessagePack of the values", |bencher| {
        let mut bytes = Vec::new();
        bencher.iter(|| {
            bytes.clear();
            for cell in rows.iter().flat_map(|row| &row.cells) {
                msgpack::write(cell.value.as_ref().expect("a value"), &mut bytes);
            }
            black_box(&bytes);
        });
    });
}

fn lake(criterion: &mut Criterion<CpuTime>) {
    let rows = rows(&kit::offline());
    // As many rows as a file of the writer has.
    let rows: Vec<_> = std::iter::repeat_n(&rows, 20).flatten().collect();
    let folder = tempfile::tempdir().expect("a folder");
    let uri = format!("file://{}", folder.path().display());
    let limits = StoreLimits { concurrency: 1, memory_limit: 192 << 20, ..StoreLimits::default() };
    let options = StoreOptions::of(&uri, limits);
    let lake = OFFLINE.open(&options).expect("a lake");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let mut group = criterion.benchmark_group("stores");
    group.throughput(Throughput::Elements(rows.len() as u64)).sample_size(20);
    // One name, so that a file takes the place of the one before it.
    group.bench_function("a parquet file of the lake", |bencher| {
        bencher.iter(|| {
            let write = Write { id: "bench", rows: &rows, concurrency: 1 };
            let outcome = runtime.block_on(lake.write(write)).expect("written");
            assert_eq!(outcome.stored, rows.len() as u64);
        });
    });
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = values, lake);
criterion_main!(benches);
