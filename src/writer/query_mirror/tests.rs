//! The mirror as a writer: what it makes of logged queries, and what becomes of them in front of a server over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpListener;

use super::*;
use crate::bus::{BusError, Placed, Publisher, Undelivered, all_landed};
use crate::decode::{Decoded, Decoder};
use crate::message::{Outgoing, Partition};
use crate::mirror::Query;
use crate::proto::writer::v1::{LoggedQuery, MirrorOutcome, QueryAnswer};
use crate::sink::{ErrorClass, Outcome, SinkError, Write};
use crate::writer::outlet::Outlet;
use crate::writer::skip;
use crate::writer::testing::{message, publishes, settings};

/// 2026-11-22T18:32:00Z, the time of the messages.
const NOW: i64 = 1_795_372_320_000_000;

fn with(change: impl FnOnce(&mut MirrorSettings)) -> WriterSettings {
    let mut settings = settings(WriterType::QUERY_MIRROR, &[]);
    settings.of_type.mirror.server = Some("http://127.0.0.1:1".to_owned());
    change(&mut settings.of_type.mirror);
    settings
}

fn logged(request: &str) -> LoggedQuery {
    LoggedQuery {
        operation_id: "op-1".to_owned(),
        environment_id: "prod".to_owned(),
        query_timestamp: Some(pbjson_types::Timestamp { seconds: NOW / 1_000_000, nanos: 0 }),
        request: request.to_owned(),
        recorded: Some(QueryAnswer {
            outputs: Some(r#"{"user.score":0.5}"#.to_owned()),
            duration_seconds: Some(0.01),
            ..QueryAnswer::default()
        }),
        ..LoggedQuery::default()
    }
}

fn decoded(settings: &WriterSettings, headers: &[(&str, &str)], logged: &LoggedQuery, at: i64) -> Decoded<Mirrored> {
    let mut message = message(headers);
    message.payload = Some(Bytes::from(logged.encode_to_vec()));
    let mut decoded = Decoded::default();
    decoder(settings, Arc::new(move || at)).decode(&message, &mut decoded);
    decoded
}

#[test]
fn a_logged_query_is_a_row_whose_event_time_is_the_querys() {
    let found = decoded(&with(|_| ()), &[("ce_id", "event-1")], &logged("{}"), NOW);
    let [row] = found.rows.as_slice() else { panic!("{found:?}") };
    assert_eq!(&*row.environment, "prod");
    assert_eq!(found.environment.as_deref(), Some("prod"));
    assert!(found.refused.is_empty() && found.skipped.is_empty());
    let shown = serde_json::to_value(row.shown()).expect("plain data");
    assert_eq!(shown[0]["what"], "request");
}

#[test]
fn an_outcome_is_named_after_its_event_whatever_source_that_is_of() {
    let name = |source, id| {
        let found = decoded(&with(|_| ()), &[("ce_source", source), ("ce_id", id)], &logged("{}"), NOW);
        found.rows.into_iter().next().expect("a row").event
    };
    let names = [name("a", "1"), name("b", "1"), name("a/b", "c"), name("a", "b/c"), name("", "a/b/c")];
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len(), "{names:?}");
    assert_eq!(names[0], name("a", "1"));
}

#[test]
fn what_is_not_asked_again_says_why() {
    let mirrored = r#"{"context":{"tags":["chalk-mirror"]}}"#;
    let old = NOW + 301_000_000;
    for (settings, headers, request, at, reason) in [
        (with(|mirror| mirror.sample_ratio = 0.0), None, "{}", NOW, skip::NOT_SAMPLED),
        (with(|_| ()), None, mirrored, NOW, skip::MIRRORED_ALREADY),
        (with(|_| ()), None, "{}", old, skip::TOO_OLD),
        (with(|_| ()), Some(("ce_type", "chalk.query_mirror.v1")), "{}", NOW, skip::OTHER_TYPE),
    ] {
        let headers: Vec<_> = headers.into_iter().collect();
        let found = decoded(&settings, &headers, &logged(request), at);
        assert_eq!(found.skipped, [(reason, 1)]);
        assert!(found.rows.is_empty() && found.refused.is_empty());
    }
}

#[test]
fn a_query_that_cannot_be_read_is_refused_without_its_values() {
    let found = decoded(&with(|_| ()), &[], &logged(r#"{"inputs":"hunter2"}"#), NOW);
    let refusal = &found.refused[0];
    assert_eq!(refusal.class, ErrorClass::Decode);
    assert!(refusal.message.starts_with("request.inputs: has another type"), "{}", refusal.message);
}

#[test]
fn with_a_list_of_environments_another_one_is_unknown() {
    let mut listed = settings(WriterType::QUERY_MIRROR, &[("dev", Environment::default())]);
    listed.of_type.mirror.server = Some("http://127.0.0.1:1".to_owned());
    let found = decoded(&listed, &[], &logged("{}"), NOW);
    assert_eq!(found.refused[0].class, ErrorClass::UnknownEnvironment);
}

#[test]
fn a_server_that_cannot_be_one_is_told_by_its_field() {
    let error = |server: Option<&str>| {
        let settings = with(|mirror| mirror.server = server.map(str::to_owned));
        QueryMirrorConsumer.plan(&settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error(None).contains("`api_server_host` is missing"));
    assert!(error(Some("ftp://a")).contains("`api_server_host` has scheme `ftp`; known are http, https"));
}

/// A bus that takes everything, but for the first so many times, and then but for the first so many messages.
#[derive(Default)]
struct Bus {
    published: Mutex<Vec<Outgoing>>,
    fails: AtomicUsize,
    loses: AtomicUsize,
    most: Option<usize>,
}

#[async_trait]
impl Publisher for Bus {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let counts_down = |left: &AtomicUsize| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        if counts_down(&self.fails) {
            return Err(Undelivered::all(BusError::Unavailable("away".to_owned()), messages.len()));
        }
        let too_large =
            |message: &Outgoing| self.most.is_some_and(|most| message.payload.as_ref().map_or(0, Bytes::len) > most);
        let land = |message: &Outgoing| {
            if counts_down(&self.loses) {
                return Err(BusError::Unavailable("away".to_owned()));
            }
            if too_large(message) {
                return Err(BusError::TooLarge("too large".to_owned()));
            }
            self.published.lock().expect("no panic").push(message.clone());
            Ok(Placed { partition: Partition { topic: message.topic.as_str().into(), number: 0 }, offset: 0 })
        };
        all_landed(messages.iter().map(land).collect())
    }
}

impl Bus {
    fn outcomes(&self) -> Vec<MirrorOutcome> {
        let published = self.published.lock().expect("no panic");
        let read = |message: &Outgoing| {
            assert_eq!(message.topic, "outcomes");
            assert_eq!(message.headers.get_str("ce_type"), Some("chalk.query_mirror.v1"));
            MirrorOutcome::decode(message.payload.clone().expect("a body")).expect("an outcome")
        };
        published.iter().map(read).collect()
    }
}

/// A server that answers as it is told, and counts.
async fn serve<F>(answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = Response> + Send + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new().fallback(move || answer(count.fetch_add(1, Ordering::SeqCst)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    (url, asked)
}

async fn agrees(_: usize) -> Response {
    r#"{"data":[{"field":"user.score","value":0.5}]}"#.into_response()
}

fn sink(url: &str, bus: &Arc<Bus>, limits: Limits, deadline: Duration) -> MirrorSink {
    sink_that_keeps(1 << 20, url, bus, limits, deadline)
}

fn sink_that_keeps(bytes: usize, url: &str, bus: &Arc<Bus>, limits: Limits, deadline: Duration) -> MirrorSink {
    let settings = with(|mirror| {
        mirror.server = Some(url.to_owned());
        mirror.deadline = deadline;
    });
    let client = Arc::new(client(&settings).expect("a client"));
    let tolerance = Tolerance { absolute: 0.0, relative: 0.0 };
    let outlet = Outlet::new(Arc::clone(bus) as Arc<dyn Publisher>, publishes("outcomes"), None);
    MirrorSink::new(client, limits, tolerance, outlet, "chalk-mirror", bytes)
}

fn rows(count: usize) -> Vec<Mirrored> {
    let request = r#"{"inputs":{"user.id":1}}"#;
    let row = |at| Mirrored {
        event: format!("event-{at}"),
        environment: "prod".into(),
        logged: LoggedQuery { operation_id: format!("op-{at}"), ..logged(request) },
        query: Query::read(request).expect("a query"),
    };
    (0..count).map(row).collect()
}

async fn write(sink: &MirrorSink, id: &str, rows: &[Mirrored]) -> Result<Outcome, SinkError> {
    let rows: Vec<&Mirrored> = rows.iter().collect();
    sink.write(Write { id, rows: &rows, concurrency: 1 }).await
}

/// What a summary counts under a name, in `shed` too.
fn counted(sink: &MirrorSink, name: &str) -> u64 {
    let summary = sink.summary().expect("a summary");
    summary[name].as_u64().or_else(|| summary["shed"][name].as_u64()).unwrap_or_default()
}

const PATIENT: Duration = Duration::from_secs(60);

/// Pauses that no test comes to the end of.
fn long_pauses(ceiling: usize) -> Limits {
    Limits {
        first_pause: Duration::from_hours(1),
        longest_pause: Duration::from_hours(1),
        ..Limits::new(ceiling, None)
    }
}

#[tokio::test]
async fn every_query_is_asked_once_and_its_outcome_published_and_summed_up() {
    let (url, asked) = serve(agrees).await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(4, None), PATIENT);
    let outcome = write(&sink, "batch", &rows(20)).await.expect("written");
    assert_eq!((outcome.stored, outcome.refused.len(), asked.load(Ordering::SeqCst)), (20, 0, 20));
    let mut outcomes = bus.outcomes();
    assert!(outcomes.iter().all(|outcome| outcome.agreed && outcome.differences.is_empty()));
    outcomes.sort_by_key(|outcome| outcome.operation_id.len());
    assert_eq!(outcomes.len(), 20);
    let headers = bus.published.lock().expect("no panic")[0].headers.clone();
    assert!(headers.get_str("ce_id").is_some_and(|id| id.starts_with("event-") && id.ends_with("/mirror")));
    assert_eq!((counted(&sink, "mirrored"), counted(&sink, "agreed")), (20, 20));
    let summary = sink.summary().expect("a summary");
    assert!(summary["recorded_seconds"]["p50"].as_f64().is_some_and(|p50| (0.0099..0.0101).contains(&p50)));
    assert!(summary["mirrored_seconds"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0));
}

#[tokio::test]
async fn a_repeated_write_publishes_what_is_known_and_asks_nobody() {
    let (url, asked) = serve(agrees).await;
    let bus = Arc::new(Bus { fails: AtomicUsize::new(2), ..Bus::default() });
    let sink = sink(&url, &bus, Limits::new(4, None), PATIENT);
    let rows = rows(3);
    for _ in 0..2 {
        assert!(matches!(write(&sink, "batch", &rows).await, Err(SinkError::Transient { .. })));
    }
    assert_eq!(write(&sink, "batch", &rows).await.expect("written").stored, 3);
    assert_eq!((asked.load(Ordering::SeqCst), bus.outcomes().len()), (3, 3));
    // The next batch is asked.
    write(&sink, "another", &rows).await.expect("written");
    assert_eq!((asked.load(Ordering::SeqCst), bus.outcomes().len()), (6, 6));
}

#[tokio::test]
async fn an_outcome_that_landed_beside_others_that_did_not_is_not_published_again() {
    let (url, asked) = serve(agrees).await;
    let bus = Arc::new(Bus { loses: AtomicUsize::new(2), ..Bus::default() });
    let sink = sink(&url, &bus, Limits::new(4, None), PATIENT);
    let rows = rows(3);
    assert!(matches!(write(&sink, "batch", &rows).await, Err(SinkError::Transient { .. })));
    assert_eq!(bus.outcomes().len(), 1);
    assert_eq!(write(&sink, "batch", &rows).await.expect("written").stored, 3);
    assert_eq!((asked.load(Ordering::SeqCst), bus.outcomes().len()), (3, 3));
}

// Seen to fail when all outcomes of a batch were kept until its last query was answered.
#[tokio::test]
async fn outcomes_beyond_what_may_be_kept_are_published_before_more_is_asked() {
    let (url, asked) = serve(agrees).await;
    let bus = Arc::new(Bus { fails: AtomicUsize::new(1), ..Bus::default() });
    let sink = sink_that_keeps(2_000, &url, &bus, Limits::new(1, None), PATIENT);
    let rows = rows(40);
    assert!(matches!(write(&sink, "batch", &rows).await, Err(SinkError::Transient { .. })));
    let first = asked.load(Ordering::SeqCst);
    assert!((2..20).contains(&first), "{first}");
    // What had been asked is published, and only the rest is asked.
    assert_eq!(write(&sink, "batch", &rows).await.expect("written").stored, 40);
    let operations: std::collections::BTreeSet<_> =
        bus.outcomes().into_iter().map(|outcome| outcome.operation_id).collect();
    assert_eq!((asked.load(Ordering::SeqCst), bus.outcomes().len(), operations.len()), (40, 40, 40));
}

#[tokio::test]
async fn a_write_that_is_given_up_and_repeated_asks_nobody_twice() {
    let (url, asked) =
        serve(|at| async move { if at == 5 { std::future::pending().await } else { agrees(at).await } }).await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(1, None), PATIENT);
    let rows = rows(10);
    {
        let mut writing = Box::pin(write(&sink, "batch", &rows));
        while asked.load(Ordering::SeqCst) < 6 {
            assert!(futures::poll!(&mut writing).is_pending());
            tokio::task::yield_now().await;
        }
    }
    // The sixth was asked; nobody knows what was answered.
    assert_eq!(write(&sink, "batch", &rows).await.expect("written").stored, 9);
    assert_eq!((asked.load(Ordering::SeqCst), bus.outcomes().len()), (10, 9));
}

#[tokio::test]
async fn a_server_that_fails_at_everything_or_lets_nobody_in_is_soon_left_alone_and_that_is_told() {
    for (status, told) in [
        (StatusCode::INTERNAL_SERVER_ERROR, "the server fails at queries: it answered 500"),
        (StatusCode::UNAUTHORIZED, "the server denies queries: it answered 401"),
        (StatusCode::FORBIDDEN, "the server denies queries: it answered 403"),
    ] {
        let (url, asked) = serve(move |_| async move { status.into_response() }).await;
        let bus = Arc::new(Bus::default());
        let sink = sink(&url, &bus, long_pauses(64), PATIENT);
        for batch in 0..3 {
            write(&sink, &format!("batch-{batch}"), &rows(100)).await.expect("written");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 8, "one after the other, until it is no longer about the queries");
        assert_eq!((counted(&sink, "failed"), counted(&sink, "backing_off"), bus.outcomes().len()), (8, 292, 8));
        assert_eq!(sink.summary().expect("a summary")["last_trouble"], told);
    }
}

/// A server that slows down with what it has under way, its other users' queries included: four at once are as fast
/// as one, eight take four times as long, and so on.
#[derive(Default)]
struct Loaded {
    under_way: AtomicUsize,
    most: AtomicUsize,
    others: AtomicUsize,
}

impl Loaded {
    async fn answer(&self, at: usize) -> Response {
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(under_way, Ordering::SeqCst);
        let load = (under_way + self.others.load(Ordering::SeqCst)) as f64 / 4.0;
        tokio::time::sleep(Duration::from_millis(25).mul_f64(load.max(1.0).powi(2))).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        agrees(at).await
    }
}

// Seen to fail when answers that are too slow counted as good ones.
#[tokio::test]
async fn a_server_that_slows_down_under_load_is_asked_little_at_once_and_hardly_once_others_need_it() {
    let server = Arc::new(Loaded::default());
    let loaded = Arc::clone(&server);
    let (url, asked) = serve(move |at| {
        let loaded = Arc::clone(&loaded);
        async move { loaded.answer(at).await }
    })
    .await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(64, None), PATIENT);
    write(&sink, "quiet", &rows(600)).await.expect("written");
    let most = server.most.load(Ordering::SeqCst);
    // A machine that is itself slow at times only makes it fewer.
    assert!((2..=16).contains(&most), "{most} of 64 at once");

    server.others.store(20, Ordering::SeqCst);
    let (before, shed) = (asked.load(Ordering::SeqCst), counted(&sink, "backing_off"));
    write(&sink, "busy", &rows(300)).await.expect("written");
    let (asked, shed) = (asked.load(Ordering::SeqCst) - before, counted(&sink, "backing_off") - shed);
    assert!(asked <= 60 && shed >= 240, "{asked} asked, {shed} shed");
}

#[tokio::test]
async fn a_server_that_asks_for_less_gets_one_query_and_the_rest_is_shed() {
    let (url, asked) =
        serve(|_| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "600")]).into_response() }).await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(8, None), PATIENT);
    // Trouble is no error of the sink: the runtime must not repeat it.
    for batch in 0..3 {
        write(&sink, &format!("batch-{batch}"), &rows(100)).await.expect("written");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!((counted(&sink, "throttled"), counted(&sink, "backing_off")), (1, 299));
    let outcomes = bus.outcomes();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].mirrored.as_ref().map(|mirrored| mirrored.http_status), Some(503));
    assert_eq!(outcomes[0].error.as_deref(), Some("the server asks for less: it answered 503"));
}

#[tokio::test]
async fn a_server_that_stops_answering_is_left_alone() {
    // The first ten come at once, then nothing does.
    let (url, asked) =
        serve(|at| async move { if at < 10 { agrees(at).await } else { std::future::pending().await } }).await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, long_pauses(8), Duration::from_secs(2));
    for batch in 0..5 {
        write(&sink, &format!("batch-{batch}"), &rows(100)).await.expect("written");
    }
    // Of the 490 that it would not have answered it was sent those that were under way together.
    let unanswered = counted(&sink, "timed_out") as usize;
    assert!((1..=8).contains(&unanswered), "{unanswered}");
    assert!(asked.load(Ordering::SeqCst) <= 18);
    assert!(counted(&sink, "backing_off") >= 300);
}

#[tokio::test]
async fn never_more_are_under_way_than_the_ceiling() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, seen) = (Arc::clone(&now), Arc::clone(&most));
    let (url, asked) = serve(move |at| {
        let (inside, seen) = (Arc::clone(&inside), Arc::clone(&seen));
        async move {
            seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
            agrees(at).await
        }
    })
    .await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(3, None), PATIENT);
    write(&sink, "batch", &rows(200)).await.expect("written");
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert!(asked.load(Ordering::SeqCst) > 3);
}

#[tokio::test]
async fn beyond_the_rate_queries_are_shed() {
    let (url, asked) = serve(agrees).await;
    let bus = Arc::new(Bus::default());
    // One in a thousand seconds: the first, and no other however slow this machine is.
    let sink = sink(&url, &bus, Limits::new(8, Some(0.001)), PATIENT);
    write(&sink, "batch", &rows(50)).await.expect("written");
    assert_eq!((asked.load(Ordering::SeqCst), counted(&sink, "rate")), (1, 49));
}

#[tokio::test]
async fn an_outcome_that_the_topic_does_not_take_buries_its_query_and_no_other() {
    let (url, asked) = serve(agrees).await;
    let mut rows = rows(3);
    rows[1].logged.deployment_id = "x".repeat(4_000);
    let bus = Arc::new(Bus { most: Some(3_000), ..Bus::default() });
    let sink = sink(&url, &bus, Limits::new(1, None), PATIENT);
    let outcome = write(&sink, "batch", &rows).await.expect("written");
    assert_eq!(
        outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect::<Vec<_>>(),
        [(1, ErrorClass::TooLarge)]
    );
    assert_eq!((outcome.stored, bus.outcomes().len(), asked.load(Ordering::SeqCst)), (2, 2, 3));
}

#[tokio::test]
async fn a_write_that_is_given_up_gives_its_places_back() {
    let (url, asked) =
        serve(|at| async move { if at == 0 { std::future::pending().await } else { agrees(at).await } }).await;
    let bus = Arc::new(Bus::default());
    let sink = sink(&url, &bus, Limits::new(1, None), PATIENT);
    {
        let rows = rows(1);
        let mut writing = Box::pin(write(&sink, "lost", &rows));
        while asked.load(Ordering::SeqCst) == 0 {
            assert!(futures::poll!(&mut writing).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(write(&sink, "next", &rows(2)).await.expect("written").stored, 2);
}
