//! From a message to rows: the decoders that the writers use, on the results that `./dev bench` uses.

mod kit;
#[path = "end_to_end/results.rs"]
mod results;

use std::hint::black_box;

use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::message::Message;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use kit::cpu_time::CpuTime;
use kit::{COUNT, Encoding};

fn decode<R>(criterion: &mut Criterion<CpuTime>, writer: &str, decoder: &dyn Decoder<R>) {
    let mut group = criterion.benchmark_group(format!("decode/{writer}"));
    group.throughput(Throughput::Elements(COUNT as u64));
    for (name, encoding) in [("json", Encoding::Json), ("protobuf", Encoding::Protobuf)] {
        let messages = kit::messages(encoding);
        group.bench_function(name, |bencher| {
            let mut decoded = Decoded::default();
            bencher.iter(|| {
                for message in &messages {
                    let message: &Message = black_box(message);
                    decoded.clear();
                    decoder.decode(message, &mut decoded);
                    assert!(decoded.rows.len() == 1 && decoded.refused.is_empty());
                    black_box(&decoded.rows);
                }
            });
        });
    }
}

/// What the text costs by itself, as a measure of the machine: the general reader over the same messages, which
/// checks the syntax and keeps nothing.
fn syntax_alone(criterion: &mut Criterion<CpuTime>) {
    let messages = kit::messages(Encoding::Json);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("syntax alone, by serde_json", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                let text = std::str::from_utf8(message.body()).expect("text");
                black_box(serde_json::from_str::<serde::de::IgnoredAny>(text).expect("JSON"));
            }
        });
    });
}

fn all(criterion: &mut Criterion<CpuTime>) {
    decode(criterion, "online", &kit::online());
    decode(criterion, "offline", &kit::offline());
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = syntax_alone, all);
criterion_main!(benches);
