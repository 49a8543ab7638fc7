//! A message that waits for something holds what is behind it, and nothing of what is before it.

use std::sync::Arc;
use std::time::Duration;

use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::message::Message;
use chalk_writer::runtime::{Destination, Health, Pipeline, Run as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::kit::{TestDecoder, encode, policy};
use super::store::{Faults, FaultyStore, TestRow, Value};

/// Lets the message of one offset wait until then.
struct Waiting {
    offset: i64,
    until: Instant,
}

impl Decoder<TestRow> for Waiting {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TestRow>) {
        if message.offset == self.offset && Instant::now() < self.until {
            decoded.waits_for = Some("its environment".to_owned());
            return;
        }
        TestDecoder.decode(message, decoded);
    }
}

fn waiting(for_seconds: u64) -> (Broker, Arc<FaultyStore>, Arc<Health>, Box<Pipeline<TestRow>>) {
    let (broker, subscription) = Broker::new(2, 100, Box::new(|_, _| ()));
    let (store, health) = (Arc::new(FaultyStore::new(1, Faults::default())), Arc::<Health>::default());
    let pipeline = Box::new(Pipeline {
        subscription,
        decoder: Arc::new(Waiting { offset: 1, until: Instant::now() + Duration::from_secs(for_seconds) }),
        destinations: vec![Destination { name: "store".to_owned(), sink: store.clone() }],
        emission: None,
        dead_letters: None,
        parking: None,
        away: Arc::default(),
        policy: policy(),
        health: health.clone(),
    });
    for serial in 0..3 {
        let value = Value { time: 0, serial };
        broker.append(0, encode(&Some(vec![TestRow { destination: 0, key: Some(serial), value, bad: false }])));
    }
    (broker, store, health, pipeline)
}

#[tokio::test(start_paused = true)]
async fn what_is_before_it_is_written_and_what_is_behind_it_comes_after_it() {
    let (broker, store, health, pipeline) = waiting(60);
    let running = tokio::spawn(pipeline.run(CancellationToken::new()));
    sleep(Duration::from_secs(30)).await;
    assert_eq!((broker.committed()[&0], store.newest().len()), (1, 1));
    let troubles = health.state().troubles;
    assert_eq!(troubles["environments"].reason, "its environment");
    broker.complete();
    running.await.unwrap().unwrap();
    assert_eq!((broker.committed()[&0], store.newest().len()), (3, 3), "the end waits for it too");
    assert!(health.state().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_end_does_not_wait_for_it_and_leaves_it_to_the_bus() {
    let (broker, store, health, pipeline) = waiting(3_600);
    let stop = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(stop.clone()));
    sleep(Duration::from_secs(30)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!((broker.committed()[&0], store.newest().len()), (1, 1));
    assert!(health.state().troubles.is_empty(), "it waits no more");
}
