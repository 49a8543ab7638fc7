//! The same on Google Pub/Sub, with Google's own client: a backlog in several subscriptions, and the
//! barest reader there can be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use chalk_writer::google::anonymous;
use futures::FutureExt as _;
use google_cloud_pubsub::client::{BasePublisher, Subscriber, SubscriptionAdmin, TopicAdmin};
use google_cloud_pubsub::model::Message;
use google_cloud_pubsub::subscriber::{MessageStream, ShutdownToken};
use tokio::task::JoinSet;

use crate::Failure;
use crate::results::{Finished, Results};

/// Published and not confirmed at the most.
const UNDER_WAY: usize = 20_000;
/// Connections of one client, as the writer has them.
const CONNECTIONS: usize = 4;

fn topic_name(topic: &str) -> String {
    format!("projects/bench/topics/{topic}")
}

fn subscription_name(subscription: &str) -> String {
    format!("projects/bench/subscriptions/{subscription}")
}

/// Makes a topic and subscriptions of it; each gets all that is published from then on.
pub(crate) async fn make(address: &str, topic: &str, subscriptions: &[&str]) -> Result<(), Failure> {
    let endpoint = format!("http://{address}");
    let topics = TopicAdmin::builder().with_endpoint(&endpoint).with_credentials(anonymous()).build().await?;
    topics.create_topic().set_name(topic_name(topic)).send().await?;
    let admin = SubscriptionAdmin::builder().with_endpoint(&endpoint).with_credentials(anonymous()).build().await?;
    for subscription in subscriptions {
        let call = admin.create_subscription().set_name(subscription_name(subscription)).set_topic(topic_name(topic));
        call.set_ack_deadline_seconds(60).send().await?;
    }
    Ok(())
}

/// Publishes results without a key, all of them confirmed when it returns.
pub(crate) async fn produce(
    address: &str,
    topic: &str,
    count: u64,
    encode: fn(&Finished) -> Vec<u8>,
) -> Result<(), Failure> {
    let builder = BasePublisher::builder().with_endpoint(format!("http://{address}"));
    let base = builder.with_credentials(anonymous()).build().await?;
    let publisher = base.publisher(topic_name(topic)).set_message_count_threshold(1000_u32).build();
    let mut results = Results::new();
    let mut under_way = VecDeque::new();
    let mut bytes = 0;
    for _ in 0..count {
        let body = encode(&results.next());
        bytes += body.len();
        if under_way.len() == UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        under_way.push_back(publisher.publish(Message::new().set_data(body)));
    }
    for one in under_way {
        one.await?;
    }
    println!("{{\"messages\":{count},\"mean_bytes\":{:.1}}}", bytes as f64 / count.max(1) as f64);
    Ok(())
}

/// Reads so many messages by so many streams, acknowledges each at once and only counts them. It returns when all
/// acknowledgements are sent.
pub(crate) async fn count(address: &str, subscription: &str, count: u64, streams: usize) -> Result<(), Failure> {
    let builder = Subscriber::builder().with_endpoint(format!("http://{address}")).with_credentials(anonymous());
    let subscriber = builder.with_grpc_subchannel_count(streams.min(CONNECTIONS)).build().await?;
    let begun = Instant::now();
    let (seen, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let opened = (0..streams).map(|_| subscriber.subscribe(subscription_name(subscription)).build());
    let opened: Vec<MessageStream> = opened.collect();
    let all: Arc<[ShutdownToken]> = opened.iter().map(MessageStream::shutdown_token).collect();
    let mut tasks = JoinSet::new();
    for mut stream in opened {
        let (seen, bytes, all) = (Arc::clone(&seen), Arc::clone(&bytes), Arc::clone(&all));
        tasks.spawn(async move {
            while let Some(delivered) = stream.next().await {
                let (message, handler) = delivered?;
                bytes.fetch_add(message.data.len() as u64, Ordering::Relaxed);
                handler.ack();
                if seen.fetch_add(1, Ordering::Relaxed) + 1 == count {
                    for token in &*all {
                        // Asked for here; that everything is sent is waited for below.
                        token.shutdown().now_or_never();
                    }
                }
            }
            Ok::<_, google_cloud_pubsub::Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    for token in &*all {
        token.shutdown().await;
    }
    println!(
        "{{\"messages\":{},\"bytes\":{},\"seconds\":{:.3}}}",
        seen.load(Ordering::Relaxed),
        bytes.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
