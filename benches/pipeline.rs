//! The whole way but for bus and store: messages that are there already, decoded, put into batches, collapsed by
//! entity, given to a store that keeps nothing, acknowledged.

mod kit;
#[path = "end_to_end/results.rs"]
mod results;

use std::sync::Arc;

use async_trait::async_trait;
use chalk_writer::bus::{BusError, Received, Source, Subscription};
use chalk_writer::message::{Delivery, Message};
use chalk_writer::row::feature::FeatureRow;
use chalk_writer::runtime::{Destination, Health, Pipeline, Run as _};
use chalk_writer::store::{ONLINE, StoreLimits, StoreOptions};
use chalk_writer::writer::Writer as _;
use chalk_writer::writer::destinations::To;
use chalk_writer::writer::online::OnlineWriter;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use kit::cpu_time::CpuTime;
use kit::{COUNT, Encoding};

/// Chunks of messages in one run.
const CHUNKS: usize = 20;

/// Delivers messages in chunks, numbered as a bus numbers them.
struct Prepared {
    messages: Arc<Vec<Message>>,
    delivered: usize,
    acknowledged: Option<Delivery>,
}

#[async_trait]
impl Source for Prepared {
    async fn next(&mut self) -> Result<Received, BusError> {
        if self.delivered == CHUNKS * COUNT {
            return Ok(Received::End);
        }
        let mut messages = self.messages[self.delivered..self.delivered + COUNT].to_vec();
        for message in &mut messages {
            message.delivery = Delivery(self.delivered as u64);
            self.delivered += 1;
        }
        Ok(Received::Messages(messages))
    }

    fn acknowledge(&mut self, last: Delivery) {
        self.acknowledged = Some(last);
    }

    async fn close(&mut self) -> Result<(), BusError> {
        assert_eq!(self.acknowledged, Some(Delivery((CHUNKS * COUNT - 1) as u64)));
        Ok(())
    }
}

fn pipeline(messages: &Arc<Vec<Message>>) -> Pipeline<FeatureRow> {
    let settings = kit::online_settings();
    let plan = OnlineWriter.plan(&settings).expect("a plan");
    let To::Store(planned) = &plan.destinations[0].to else { panic!("an online store") };
    let limits = StoreLimits { concurrency: 4, memory_limit: 64 << 20, ..StoreLimits::default() };
    let options = StoreOptions::new(&planned.settings, "blackhole:".to_owned().into(), limits);
    let sink = ONLINE.open(&options).expect("a store");
    Pipeline {
        subscription: Subscription {
            source: Box::new(Prepared { messages: messages.clone(), delivered: 0, acknowledged: None }),
            handovers: mpsc::channel(1).1,
            status: watch::channel(Vec::new()).1,
            transactions: None,
        },
        decoder: plan.decoder,
        destinations: vec![Destination { name: "blackhole".to_owned(), sink }],
        emission: None,
        dead_letters: None,
        parking: None,
        away: Arc::default(),
        policy: plan.policy,
        health: Arc::new(Health::default()),
    }
}

fn all(criterion: &mut Criterion<CpuTime>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements((CHUNKS * COUNT) as u64));
    for (name, encoding) in [("json", Encoding::Json), ("protobuf", Encoding::Protobuf)] {
        let messages = Arc::new(kit::many(encoding, CHUNKS * COUNT));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Box::new(pipeline(&messages)),
                |pipeline| runtime.block_on(pipeline.run(CancellationToken::new())).expect("an end"),
                criterion::BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = all);
criterion_main!(benches);
