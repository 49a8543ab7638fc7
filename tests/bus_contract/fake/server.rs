//! A fake of Pub/Sub, written by hand after the public API, for what Google's emulator does otherwise than Google's service:
//! it refuses late acknowledgements of exactly-once subscriptions, holds back the successors of an ordered message that was nacked, and
//! finds something wrong with messages ([`REFUSED`]) and with names, keeps what was handed back from readers for as long as a retry
//! policy says, and has filters. [`Fake::forget`] makes it as if something on the way had forgotten a connection.
//!
//! One subscription, everything in memory, and no leases that end by themselves: [`Fake::expire`] ends them.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request as Asked};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use futures::{Stream, StreamExt, stream};
use prost::Message as _;
use serde_json::json;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Code, Request, Response, Status, Streaming};

use super::faults::Faults;
use super::filter::Filter;
use super::queue::{Queue, Retry, Stored};
use super::wire::{
    AcknowledgeRequest, Any, ErrorInfo, ModifyAckDeadlineRequest, PublishRequest, PublishResponse, RpcStatus,
    StreamingPullRequest, StreamingPullResponse, SubscriptionProperties,
};

/// Between something that has changed and the next look at what waits.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// The body of a message that is never taken.
pub const REFUSED: &str = "refused";
/// A name that is no name of a topic.
pub const NO_NAME: &str = "no-name";

/// The service, to be looked at while it runs.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    exactly_once: bool,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    /// `host:port`
    pub address: String,
}

/// What the subscription is set to.
#[derive(Clone, Copy, Default)]
pub struct Set {
    pub exactly_once: bool,
    pub retry: Option<Retry>,
    pub filter: Option<&'static str>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    acknowledged: Vec<String>,
    refused: Vec<String>,
    /// What streams were opened with.
    opened: Vec<StreamingPullRequest>,
    /// Whether the connection of the next stream is forgotten, and which ones are.
    forgets: bool,
    forgotten: Option<SocketAddr>,
    published: u64,
    /// What calls said of who they are (`authorization`), each once.
    callers: BTreeSet<String>,
    denies: bool,
}

impl Fake {
    /// Starts one with these messages, `(key, id)`.
    pub async fn start(exactly_once: bool, messages: &[(&str, &str)]) -> Self {
        let stored: Vec<Stored<'_>> =
            messages.iter().map(|(key, id)| Stored { key, id, ..Stored::default() }).collect();
        Self::start_set(Set { exactly_once, ..Set::default() }, &stored).await
    }

    /// Starts one whose subscription is set so.
    pub async fn start_set(set: Set, messages: &[Stored<'_>]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let mut state = State::default();
        state.queue.retry = set.retry;
        state.queue.filter = set.filter.map(Filter::parse);
        for stored in messages {
            state.queue.add(stored.message());
        }
        let exactly_once = set.exactly_once;
        let fake = Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
            exactly_once,
            faults: Arc::default(),
            address,
        };
        let (faults, of_topic) = (Arc::clone(&fake.faults), Arc::clone(&fake.faults));
        let mut described = json!({
            "name": "projects/p/subscriptions/s", "topic": "projects/p/topics/t",
            "enableExactlyOnceDelivery": exactly_once, "enableMessageOrdering": true,
            "filter": set.filter.unwrap_or_default(),
        });
        if let Some(Retry { minimum, maximum }) = set.retry {
            let seconds = |duration: Duration| format!("{}s", duration.as_secs_f64());
            described["retryPolicy"] = json!({"minimumBackoff": seconds(minimum), "maximumBackoff": seconds(maximum)});
        }
        let door = fake.clone();
        let rest = Router::new()
            .route("/v1/projects/p/subscriptions/s", get(move || async move { faults.describe(described) }))
            .route(
                "/v1/projects/p/topics/t",
                get(move || async move { of_topic.describe_topic(json!({"name": "projects/p/topics/t"})) }),
            )
            .route(
                "/v1/projects/p/topics/dead-letters",
                get(|| async { Json(json!({"name": "projects/p/topics/dead-letters"})) }),
            )
            .route(
                &format!("/v1/projects/p/topics/{NO_NAME}"),
                get(|| async {
                    let error = json!({"code": 400, "message": "no name of a topic", "status": "INVALID_ARGUMENT"});
                    (StatusCode::BAD_REQUEST, Json(json!({"error": error})))
                }),
            )
            .route_service("/google.pubsub.v1.Publisher/{*call}", Service(fake.clone()))
            .route_service("/google.pubsub.v1.Subscriber/{*call}", Service(fake.clone()))
            .layer(from_fn(move |asked: Asked, next: Next| {
                let is_let_in = door.lets_in(&asked);
                async move { if is_let_in { next.run(asked).await } else { denied() } }
            }))
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, rest).await.expect("it serves") });
        fake
    }

    /// Ends the lease of everything that is delivered: it is delivered again, under another ack id.
    pub fn expire(&self) {
        self.lock().queue.expire(Instant::now());
        self.changed.notify_waiters();
    }

    /// Ids of messages whose acknowledgement was taken, in order.
    pub fn acknowledged(&self) -> Vec<String> {
        self.lock().acknowledged.clone()
    }

    /// How many acknowledgements were refused for being late.
    pub fn refused(&self) -> usize {
        self.lock().refused.len()
    }

    /// How many messages are delivered and neither acknowledged nor handed back.
    pub fn leased(&self) -> usize {
        self.lock().queue.leased()
    }

    /// From now on nobody has any right.
    #[allow(dead_code, reason = "asked by tests/google_identity alone")]
    pub fn deny(&self) {
        self.lock().denies = true;
    }

    /// What calls said of who they are, each once.
    #[allow(dead_code, reason = "asked by tests/google_identity alone")]
    pub fn callers(&self) -> Vec<String> {
        self.lock().callers.iter().cloned().collect()
    }

    fn lets_in(&self, asked: &Asked) -> bool {
        let said = asked.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut state = self.lock();
        state.callers.insert(said.to_owned());
        !state.denies
    }

    /// Looks at what the subscription holds.
    pub fn look<T>(&self, at: impl FnOnce(&Queue) -> T) -> T {
        at(&self.lock().queue)
    }

    /// The connection by which the next stream is opened is forgotten: nothing comes by it any more, and nothing ends it.
    pub fn forget(&self) {
        self.lock().forgets = true;
    }

    /// What streams were opened with so far: messages and bytes that may be held.
    pub fn opened(&self) -> Vec<(i64, i64)> {
        let state = self.lock();
        state.opened.iter().map(|request| (request.max_outstanding_messages, request.max_outstanding_bytes)).collect()
    }

    /// Messages that were published.
    pub fn published(&self) -> u64 {
        self.lock().published
    }

    /// All of them, or none.
    fn publish(&self, request: &PublishRequest) -> Result<PublishResponse, Status> {
        if request.topic.ends_with(NO_NAME) {
            return Err(Status::invalid_argument("no name of a topic"));
        }
        if request.messages.iter().any(|message| message.data == REFUSED.as_bytes()) {
            return Err(Status::invalid_argument("a message does not have the schema of the topic"));
        }
        let mut state = self.lock();
        let first = state.published;
        state.published += request.messages.len() as u64;
        Ok(PublishResponse { message_ids: (first..state.published).map(|id| id.to_string()).collect() })
    }

    /// Whether a stream comes by a connection that is forgotten.
    fn open(&self, request: StreamingPullRequest, from: Option<SocketAddr>) -> bool {
        let mut state = self.lock();
        state.opened.push(request);
        if std::mem::take(&mut state.forgets) {
            state.forgotten = from;
        }
        state.forgotten.is_some() && state.forgotten == from
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    fn acknowledge(&self, ack_ids: Vec<String>) -> Result<(), Status> {
        let mut failures = HashMap::new();
        let mut state = self.lock();
        for id in ack_ids {
            match state.queue.acknowledge(&id) {
                Some(message) => state.acknowledged.push(message),
                None if self.exactly_once => {
                    state.refused.push(id.clone());
                    failures.insert(id, "PERMANENT_FAILURE_INVALID_ACK_ID".to_owned());
                }
                None => {}
            }
        }
        drop(state);
        self.changed.notify_waiters();
        if failures.is_empty() {
            return Ok(());
        }
        let info =
            ErrorInfo { reason: "INVALID_ACK_ID".into(), domain: "pubsub.googleapis.com".into(), metadata: failures };
        let detail = Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(), value: info.encode_to_vec() };
        let text = "some acknowledgement ids are not valid any more";
        let status = RpcStatus { code: Code::FailedPrecondition as i32, message: text.into(), details: vec![detail] };
        Err(Status::with_details(Code::FailedPrecondition, text, status.encode_to_vec().into()))
    }

    fn modify(&self, request: &ModifyAckDeadlineRequest) {
        let now = Instant::now();
        let queue = &mut self.lock().queue;
        for id in &request.ack_ids {
            if request.ack_deadline_seconds == 0 {
                queue.hand_back(id, now);
            } else {
                queue.extend(id);
            }
        }
        self.changed.notify_waiters();
    }

    /// The next messages for a stream; waits for some. Of a key only one is out at a time where one of it was handed back before.
    async fn deliver(&self) -> StreamingPullResponse {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (received_messages, due) = {
                let queue = &mut self.lock().queue;
                (queue.take(Instant::now()), queue.next_due())
            };
            if !received_messages.is_empty() {
                let subscription_properties = Some(SubscriptionProperties {
                    exactly_once_delivery_enabled: self.exactly_once,
                    message_ordering_enabled: true,
                });
                return StreamingPullResponse { received_messages, subscription_properties };
            }
            match due {
                // One that is due and behind another of its key waits for a change.
                Some(due) if due > Instant::now() => {
                    let _ = tokio::time::timeout_at(due.into(), changed).await;
                }
                Some(_) | None => changed.await,
            }
            // A stream that its reader has cut off is gone by then: what it handed back behind that would be given to it once more,
            // and here no lease runs out by itself.
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// What Google's service says to whoever may not do something.
fn denied() -> axum::response::Response {
    let error =
        json!({"code": 403, "message": "User not authorized to perform this action.", "status": "PERMISSION_DENIED"});
    (StatusCode::FORBIDDEN, Json(json!({"error": error}))).into_response()
}

/// The gRPC calls.
#[derive(Clone)]
struct Service(Fake);

impl NamedService for Service {
    const NAME: &'static str = "google.pubsub.v1.Subscriber";
}

impl tower_service::Service<axum::http::Request<axum::body::Body>> for Service {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<axum::body::Body>) -> Self::Future {
        let fake = self.0.clone();
        let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        Box::pin(async move {
            Ok(match &*call {
                "StreamingPull" => {
                    Grpc::new(tonic_prost::ProstCodec::default()).streaming(StreamingPull(fake, from), request).await
                }
                "Publish" => Grpc::new(tonic_prost::ProstCodec::default()).unary(Publish(fake), request).await,
                "Acknowledge" => Grpc::new(tonic_prost::ProstCodec::default()).unary(Acknowledge(fake), request).await,
                "ModifyAckDeadline" => {
                    Grpc::new(tonic_prost::ProstCodec::default()).unary(ModifyAckDeadline(fake), request).await
                }
                other => Status::unimplemented(format!("the fake has no {other}")).into_http(),
            })
        })
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

struct StreamingPull(Fake, Option<SocketAddr>);

impl StreamingService<StreamingPullRequest> for StreamingPull {
    type Response = StreamingPullResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<StreamingPullResponse, Status>> + Send>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<StreamingPullRequest>>) -> Self::Future {
        let (fake, from) = (self.0.clone(), self.1);
        Box::pin(async move {
            // Keep-alives are read and answered by nothing; the end of them is the end of the stream.
            let mut requests = request.into_inner();
            let first = requests.message().await?.unwrap_or_default();
            if fake.open(first, from) {
                return std::future::pending().await;
            }
            if let Some(refusal) = fake.faults.refuses() {
                return Err(refusal);
            }
            let ended = async move { while let Some(Ok(_)) = requests.next().await {} };
            let delivered = stream::unfold(Some(fake), |fake| async move {
                let fake = fake?;
                let faults = Arc::clone(&fake.faults);
                tokio::select! {
                    failure = faults.failure() => Some((Err(failure), None)),
                    response = fake.deliver() => Some((Ok(response), Some(fake))),
                }
            });
            let answers: Self::ResponseStream = Box::pin(delivered.take_until(Box::pin(ended)));
            Ok(Response::new(answers))
        })
    }
}

struct Publish(Fake);

impl UnaryService<PublishRequest> for Publish {
    type Response = PublishResponse;
    type Future = Answer<PublishResponse>;

    fn call(&mut self, request: Request<PublishRequest>) -> Self::Future {
        let answer = self.0.publish(request.get_ref()).map(Response::new);
        Box::pin(async move { answer })
    }
}

struct Acknowledge(Fake);

impl UnaryService<AcknowledgeRequest> for Acknowledge {
    type Response = ();
    type Future = Answer<()>;

    fn call(&mut self, request: Request<AcknowledgeRequest>) -> Self::Future {
        let fake = self.0.clone();
        Box::pin(async move {
            fake.faults.under_way().await;
            fake.acknowledge(request.into_inner().ack_ids).map(Response::new)
        })
    }
}

struct ModifyAckDeadline(Fake);

impl UnaryService<ModifyAckDeadlineRequest> for ModifyAckDeadline {
    type Response = ();
    type Future = Answer<()>;

    fn call(&mut self, request: Request<ModifyAckDeadlineRequest>) -> Self::Future {
        self.0.modify(request.get_ref());
        Box::pin(async { Ok(Response::new(())) })
    }
}
