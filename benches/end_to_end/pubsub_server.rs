//! A server that speaks as much of Pub/Sub as reading a subscription takes, and nothing more: Google's emulator gives some
//! thousand messages a second and takes longer for each the more wait, so it would be measured, and not its readers.
//!
//! Every subscription has a backlog of its own of the same results. Flow control is Google's: a stream gets no more than its
//! messages and bytes that are out. Acknowledgement ids are as long as Google's. Leases do not end, and what a stream that
//! broke off has had does not come again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use self::wire::{
    AcknowledgeRequest, ModifyAckDeadlineRequest, PubsubMessage, ReceivedMessage, StreamingPullRequest,
    StreamingPullResponse, Timestamp,
};
use crate::Failure;
use crate::results::{Finished, Results};

/// Messages of one answer, as the emulator has them.
const TOGETHER: usize = 100;
/// Bytes of an acknowledgement id; Google's have between 150 and 200.
const LENGTH_OF_ID: usize = 176;

/// Serves until it is killed, at the address that it prints.
pub(crate) async fn serve(count: usize, encode: fn(&Finished) -> Vec<u8>) -> Result<(), Failure> {
    let mut results = Results::new();
    let bodies: Arc<[Bytes]> = (0..count).map(|_| Bytes::from(encode(&results.next()))).collect();
    let server = Server { bodies, state: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let rest = Router::new()
        .route("/v1/projects/{project}/subscriptions/{name}", get(subscription))
        .route("/v1/projects/{project}/topics/{name}", get(topic))
        .route_service("/google.pubsub.v1.Subscriber/{*call}", Calls(server));
    Ok(axum::serve(listener, rest).await?)
}

async fn subscription(Path((project, name)): Path<(String, String)>) -> Json<serde_json::Value> {
    let (name, topic) =
        (format!("projects/{project}/subscriptions/{name}"), format!("projects/{project}/topics/results"));
    Json(
        json!({"name": name, "topic": topic, "ackDeadlineSeconds": 60, "messageRetentionDuration": "604800s", "expirationPolicy": {}}),
    )
}

async fn topic(Path((project, name)): Path<(String, String)>) -> Json<serde_json::Value> {
    Json(json!({"name": format!("projects/{project}/topics/{name}"), "messageRetentionDuration": "604800s"}))
}

#[derive(Clone)]
struct Server {
    bodies: Arc<[Bytes]>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    backlogs: HashMap<String, Backlog>,
    streams: Vec<Out>,
}

/// What waits in a subscription.
#[derive(Default)]
struct Backlog {
    next: usize,
    handed_back: Vec<usize>,
}

/// What a stream has been given and has not acknowledged.
struct Out {
    subscription: String,
    messages: i64,
    bytes: i64,
    most_messages: i64,
    most_bytes: i64,
    changed: Arc<Notify>,
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, request: StreamingPullRequest) -> (usize, Arc<Notify>) {
        // 0 is no limit.
        let most = |limit: i64| if limit > 0 { limit } else { i64::MAX };
        let changed = Arc::new(Notify::new());
        let out = Out {
            subscription: request.subscription,
            messages: 0,
            bytes: 0,
            most_messages: most(request.max_outstanding_messages),
            most_bytes: most(request.max_outstanding_bytes),
            changed: Arc::clone(&changed),
        };
        let mut state = self.lock();
        state.streams.push(out);
        (state.streams.len() - 1, changed)
    }

    /// The next messages for a stream; waits for some, and for room.
    async fn deliver(&self, stream: usize, changed: &Notify) -> StreamingPullResponse {
        loop {
            let taken = self.take(stream);
            if !taken.is_empty() {
                let received_messages = taken.into_iter().map(|number| self.received(stream, number)).collect();
                return StreamingPullResponse { received_messages };
            }
            // One that came since is not missed: it is remembered.
            changed.notified().await;
        }
    }

    fn take(&self, stream: usize) -> Vec<usize> {
        let state = &mut *self.lock();
        let out = &mut state.streams[stream];
        let backlog = state.backlogs.entry(out.subscription.clone()).or_default();
        let mut taken = Vec::with_capacity(TOGETHER);
        while taken.len() < TOGETHER && out.messages < out.most_messages && out.bytes < out.most_bytes {
            let number = match backlog.handed_back.pop() {
                Some(number) => number,
                None if backlog.next < self.bodies.len() => {
                    backlog.next += 1;
                    backlog.next - 1
                }
                None => break,
            };
            out.messages += 1;
            out.bytes += self.bodies[number].len() as i64;
            taken.push(number);
        }
        taken
    }

    fn received(&self, stream: usize, number: usize) -> ReceivedMessage {
        let message = PubsubMessage {
            data: self.bodies[number].clone(),
            message_id: (1_000_000_000_000_000 + number).to_string(),
            publish_time: Some(Timestamp { seconds: 1_748_772_000, nanos: 0 }),
        };
        ReceivedMessage {
            ack_id: format!("{stream:08}{number:0>width$}", width = LENGTH_OF_ID - 8),
            message: Some(message),
        }
    }

    /// These are out no more; with `again` they are delivered once more.
    fn settle(&self, ack_ids: &[String], again: bool) -> Result<(), Status> {
        let state = &mut *self.lock();
        for id in ack_ids {
            let Some((stream, number)) = parsed(id).filter(|(_, number)| *number < self.bodies.len()) else {
                return Err(Status::invalid_argument(format!("`{id}` is none of this server's")));
            };
            let Some(out) = state.streams.get_mut(stream) else {
                return Err(Status::invalid_argument(format!("`{id}` is of no stream")));
            };
            out.messages -= 1;
            out.bytes -= self.bodies[number].len() as i64;
            out.changed.notify_one();
            if again {
                state.backlogs.entry(out.subscription.clone()).or_default().handed_back.push(number);
            }
        }
        if again {
            state.streams.iter().for_each(|out| out.changed.notify_one());
        }
        Ok(())
    }
}

/// The stream and the message that an acknowledgement id names.
fn parsed(id: &str) -> Option<(usize, usize)> {
    let (stream, number) = id.split_at_checked(8)?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

/// The gRPC calls.
#[derive(Clone)]
struct Calls(Server);

impl tower_service::Service<axum::http::Request<axum::body::Body>> for Calls {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<axum::body::Body>) -> Self::Future {
        let server = self.0.clone();
        let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            Ok(match &*call {
                "StreamingPull" => Grpc::new(ProstCodec::default()).streaming(Pull(server), request).await,
                "Acknowledge" => Grpc::new(ProstCodec::default()).unary(Acknowledge(server), request).await,
                "ModifyAckDeadline" => Grpc::new(ProstCodec::default()).unary(Modify(server), request).await,
                other => Status::unimplemented(format!("this server has no {other}")).into_http(),
            })
        })
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

struct Pull(Server);

impl StreamingService<StreamingPullRequest> for Pull {
    type Response = StreamingPullResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<StreamingPullResponse, Status>> + Send>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<StreamingPullRequest>>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move {
            let mut requests = request.into_inner();
            let first =
                requests.message().await?.ok_or_else(|| Status::invalid_argument("a stream without a request"))?;
            let opened = server.open(first);
            // Keep-alives are read and answered by nothing; the end of them is the end of the stream.
            let ended = async move { while let Some(Ok(_)) = requests.next().await {} };
            let delivered = stream::unfold((server, opened), |(server, (stream, changed))| async move {
                Some((Ok(server.deliver(stream, &changed).await), (server, (stream, changed))))
            });
            let answers: Self::ResponseStream = Box::pin(delivered.take_until(Box::pin(ended)));
            Ok(Response::new(answers))
        })
    }
}

struct Acknowledge(Server);

impl UnaryService<AcknowledgeRequest> for Acknowledge {
    type Response = ();
    type Future = Answer<()>;

    fn call(&mut self, request: Request<AcknowledgeRequest>) -> Self::Future {
        let answer = self.0.settle(&request.get_ref().ack_ids, false).map(Response::new);
        Box::pin(async move { answer })
    }
}

struct Modify(Server);

impl UnaryService<ModifyAckDeadlineRequest> for Modify {
    type Response = ();
    type Future = Answer<()>;

    fn call(&mut self, request: Request<ModifyAckDeadlineRequest>) -> Self::Future {
        let ModifyAckDeadlineRequest { ack_deadline_seconds, ack_ids } = request.get_ref();
        let answer = if *ack_deadline_seconds == 0 { self.0.settle(ack_ids, true) } else { Ok(()) };
        Box::pin(async move { answer.map(Response::new) })
    }
}

/// Messages of the public API (`google/pubsub/v1/pubsub.proto`), as far as this server needs them.
mod wire {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct StreamingPullRequest {
        #[prost(string, tag = "1")]
        pub(super) subscription: String,
        #[prost(int64, tag = "7")]
        pub(super) max_outstanding_messages: i64,
        #[prost(int64, tag = "8")]
        pub(super) max_outstanding_bytes: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct StreamingPullResponse {
        #[prost(message, repeated, tag = "1")]
        pub(super) received_messages: Vec<ReceivedMessage>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct ReceivedMessage {
        #[prost(string, tag = "1")]
        pub(super) ack_id: String,
        #[prost(message, optional, tag = "2")]
        pub(super) message: Option<PubsubMessage>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct PubsubMessage {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) data: Bytes,
        #[prost(string, tag = "3")]
        pub(super) message_id: String,
        #[prost(message, optional, tag = "4")]
        pub(super) publish_time: Option<Timestamp>,
    }

    /// `google.protobuf.Timestamp`
    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub(super) struct Timestamp {
        #[prost(int64, tag = "1")]
        pub(super) seconds: i64,
        #[prost(int32, tag = "2")]
        pub(super) nanos: i32,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct AcknowledgeRequest {
        #[prost(string, repeated, tag = "2")]
        pub(super) ack_ids: Vec<String>,
    }

    #[derive(Clone, PartialEq, Eq, prost::Message)]
    pub(super) struct ModifyAckDeadlineRequest {
        #[prost(int32, tag = "3")]
        pub(super) ack_deadline_seconds: i32,
        #[prost(string, repeated, tag = "4")]
        pub(super) ack_ids: Vec<String>,
    }
}
