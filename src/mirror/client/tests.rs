//! The client against a server over HTTP: what it is asked with, and what becomes of each kind of answer.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body as AxumBody, to_bytes};
use axum::extract::Request;
use axum::response::Response as AxumResponse;
use tokio::net::TcpListener;

use super::super::transmit::tests::frame;
use super::*;
use crate::config::secret::SecretRef;
use crate::result::arrow::{Budget, encode, values};
use crate::value::Value;

/// A request as the server got it.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

fn says(status: u16, headers: &[(&str, &str)], body: impl Into<AxumBody>) -> AxumResponse {
    let response = headers
        .iter()
        .fold(AxumResponse::builder().status(status), |response, (name, value)| response.header(*name, *value));
    response.body(body.into()).expect("a response")
}

/// A server; it never answers where `answer` gives nothing.
async fn serve(answer: impl Fn(&Asked) -> Option<AxumResponse> + Clone + Send + Sync + 'static) -> (Url, Log) {
    let log = Log::default();
    let asked = Arc::clone(&log);
    let app = Router::new().fallback(move |request: Request| {
        let (asked, answer) = (Arc::clone(&asked), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.expect("a body");
            let request = Asked { path: parts.uri.path().to_owned(), headers: parts.headers, body };
            asked.lock().expect("no panic").push(request.clone());
            match answer(&request) {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = server(&format!("http://{}", listener.local_addr().expect("an address")), false).expect("a server");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    (url, log)
}

fn options(url: Url) -> Options {
    Options {
        url,
        credentials: None,
        branch: None,
        deadline: Duration::from_secs(60),
        body: Body::Auto,
        most_bytes: 1 << 20,
        at_once: 4,
        bytes_at_once: 4 << 20,
    }
}

fn query(text: &str) -> Query {
    Query::read(text).expect("a query")
}

const ONE: &str = r#"{"inputs":{"user.id":42},"outputs":["user.score"],"query_name":"fraud_check"}"#;
const MANY: &str = r#"{"inputs":{"user.id":[1,2]},"outputs":["user.score"]}"#;

#[tokio::test]
async fn a_query_of_one_entity_is_asked_as_the_public_clients_ask_it() {
    let (url, log) = serve(|_| Some(says(200, &[], r#"{"data":[{"field":"user.score","value":0.5}]}"#))).await;
    let reply = Client::new(options(url)).expect("a client").ask(&query(ONE), "prod").await;
    let Reply::Answered { status: 200, answer: Ok(answer), .. } = reply else { panic!("{reply:?}") };
    assert_eq!(answer.outputs["user.score"], "0.5");
    let asked = log.lock().expect("no panic").pop().expect("asked");
    assert_eq!(asked.path, "/v1/query/online");
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-chalk-env-id", "prod"),
        ("x-chalk-deployment-type", "engine"),
        ("x-chalk-query-name", "fraud_check"),
        ("user-agent", concat!("chalk-writer/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    assert_eq!((asked.header("x-chalk-branch-id"), asked.header("authorization")), (None, None));
    assert_eq!(
        std::str::from_utf8(&asked.body),
        Ok(
            r#"{"inputs":{"user.id":42},"outputs":["user.score"],"query_name":"fraud_check","context":{"tags":["chalk-mirror"]}}"#
        )
    );
}

#[tokio::test]
async fn a_branch_is_asked_as_a_branch() {
    let (url, log) = serve(|_| Some(says(200, &[], "{}"))).await;
    let on_a_branch = query(r#"{"branch_id":"own"}"#);
    for (set, branch) in [(None, "own"), (Some("next".to_owned()), "next")] {
        let client = Client::new(Options { branch: set, ..options(url.clone()) }).expect("a client");
        client.ask(&on_a_branch, "prod").await;
        let asked = log.lock().expect("no panic").pop().expect("asked");
        assert_eq!(asked.header("x-chalk-deployment-type"), Some("branch"));
        assert_eq!(asked.header("x-chalk-branch-id"), Some(branch));
        assert!(std::str::from_utf8(&asked.body).expect("text").contains(&format!(r#""branch_id":"{branch}""#)));
    }
}

#[tokio::test]
async fn a_query_of_many_rows_is_asked_as_tables_unless_told_otherwise() {
    let array = encode::column("user.score", vec![Value::Double(0.5), Value::Double(0.25)]).expect("one type");
    let field = arrow::datatypes::Field::new("user.score", array.data_type().clone(), true);
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let batch = arrow::array::RecordBatch::try_new(schema, vec![array]).expect("a batch");
    let table = encode::ipc(&batch, std::collections::BTreeMap::new(), encode::Form::File).expect("a file");
    let one = frame(r#"{"has_data":true,"errors":null,"meta":null}"#, &[("scalar_data", &table)], &[]);
    let body = frame("{}", &[], &[("query_results_bytes", &frame("{}", &[("0", &one)], &[]))]);
    let (url, log) = serve(move |asked| {
        let feather = asked.path == "/v1/query/feather";
        Some(if feather { says(200, &[], body.clone()) } else { says(200, &[], "{}") })
    })
    .await;
    let reply = Client::new(options(url.clone())).expect("a client").ask(&query(MANY), "prod").await;
    let Reply::Answered { answer: Ok(answer), .. } = reply else { panic!("{reply:?}") };
    assert_eq!(answer.outputs["user.score"], "[0.5,0.25]");
    let asked = log.lock().expect("no panic").pop().expect("asked");
    assert_eq!(asked.header("content-type"), Some("application/octet-stream"));
    let header = u64::from_be_bytes(asked.body[5..13].try_into().expect("eight")) as usize;
    let inputs = asked.body.slice(13 + header + 8..);
    let inputs = values(&inputs, &mut Budget::new(1 << 20)).expect("a table");
    assert_eq!(inputs, [("user.id".into(), vec![Value::Int(1), Value::Int(2)])]);

    let path = |body, request| {
        let (url, log) = (url.clone(), Arc::clone(&log));
        async move {
            let reply =
                Client::new(Options { body, ..options(url) }).expect("a client").ask(&query(request), "e").await;
            (reply, log.lock().expect("no panic").pop().map(|asked| asked.path))
        }
    };
    assert_eq!(path(Body::Json, MANY).await.1.as_deref(), Some("/v1/query/online"));
    assert_eq!(path(Body::Auto, ONE).await.1.as_deref(), Some("/v1/query/online"));
    let (reply, asked) = path(Body::Feather, ONE).await;
    assert_eq!((reply, asked), (Reply::Unaskable("input `user.id` is no list, one value a row".to_owned()), None));
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let (url, log) = serve(|asked| {
        Some(match &*asked.path {
            "/v1/oauth/token" => says(200, &[], r#"{"access_token":"good","expires_in":3600}"#),
            _ if asked.header("x-chalk-env-id") == Some("strange") => says(401, &[], "{}"),
            _ => says(200, &[], "{}"),
        })
    })
    .await;
    let credentials = Credentials { client_id: "id".to_owned(), client_secret: SecretRef::plain("secret") };
    let client = Client::new(Options { credentials: Some(credentials), ..options(url) }).expect("a client");
    for environment in ["prod", "prod", "strange", "prod"] {
        client.ask(&query(ONE), environment).await;
    }
    let asked = log.lock().expect("no panic").clone();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(paths, ["token", "online", "online", "online", "token", "online"]);
    assert_eq!(asked[1].header("authorization"), Some("Bearer good"));
    let body: serde_json::Value = serde_json::from_slice(&asked[0].body).expect("JSON");
    let expected =
        serde_json::json!({"client_id": "id", "client_secret": "secret", "grant_type": "client_credentials"});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_token_is_kept_for_nearly_as_long_as_it_is_good_however_long_that_is() {
    // The longest is more than a clock can count to; of the shortest a tenth is not used, and not all.
    for expires_in in [u64::MAX, 60] {
        let (url, log) = serve(move |asked| {
            Some(match &*asked.path {
                "/v1/oauth/token" => says(200, &[], format!(r#"{{"access_token":"good","expires_in":{expires_in}}}"#)),
                _ => says(200, &[], "{}"),
            })
        })
        .await;
        let credentials = Credentials { client_id: "id".to_owned(), client_secret: SecretRef::plain("secret") };
        let client = Client::new(Options { credentials: Some(credentials), ..options(url) }).expect("a client");
        for _ in 0..2 {
            let reply = client.ask(&query(ONE), "prod").await;
            assert!(matches!(reply, Reply::Answered { status: 200, .. }), "{reply:?}");
        }
        assert_eq!(log.lock().expect("no panic").len(), 3, "a token and two queries");
    }
}

#[tokio::test]
async fn a_token_that_has_no_end_is_none() {
    let (url, log) = serve(|_| Some(says(200, &[], "x".repeat(1 << 20)))).await;
    let credentials = Credentials { client_id: "id".to_owned(), client_secret: SecretRef::plain("secret") };
    let client = Client::new(Options { credentials: Some(credentials), ..options(url) }).expect("a client");
    let reply = client.ask(&query(ONE), "prod").await;
    assert_eq!(reply, Reply::NoToken("/v1/oauth/token answered more than 65536 bytes".to_owned()));
    assert_eq!(log.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn without_a_token_a_query_is_not_asked_and_the_secret_not_said() {
    let (url, log) = serve(|_| Some(says(403, &[], "secret"))).await;
    let credentials = Credentials { client_id: "id".to_owned(), client_secret: SecretRef::plain("secret") };
    let client = Client::new(Options { credentials: Some(credentials), ..options(url) }).expect("a client");
    let reply = client.ask(&query(ONE), "prod").await;
    assert_eq!(reply, Reply::NoToken("/v1/oauth/token answered 403 Forbidden".to_owned()));
    assert_eq!(log.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_less_is_heard_and_nothing_is_sent_twice() {
    for (status, after, heard) in [
        (429, Some("7"), Some(Duration::from_secs(7))),
        (503, None, None),
        (502, Some("no time"), None),
        (504, None, None),
    ] {
        let (url, log) = serve(move |_| {
            let headers: Vec<_> = after.map(|after| ("retry-after", after)).into_iter().collect();
            Some(says(status, &headers, "busy"))
        })
        .await;
        let reply = Client::new(options(url)).expect("a client").ask(&query(ONE), "prod").await;
        let Reply::Throttled { status: told, after, .. } = reply else { panic!("{reply:?}") };
        assert_eq!((told, after), (status, heard));
        assert_eq!(log.lock().expect("no panic").len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
    let (url, log) = serve(|_| None).await;
    let deadline = Duration::from_millis(50);
    let client = Client::new(Options { deadline, ..options(url) }).expect("a client");
    let reply = client.ask(&query(ONE), "prod").await;
    assert!(matches!(reply, Reply::TimedOut { took } if took >= deadline / 2), "{reply:?}");
    assert!(log.lock().expect("no panic").len() <= 1);
}

#[tokio::test]
async fn other_answers_are_outcomes_with_their_status() {
    for (status, body, expected) in [
        (500, "oops", Err("the server answered 500 Internal Server Error")),
        (302, "", Err("the server answered 302 Found")),
        (400, r#"{"errors":[{"code":"PARSE_FAILED","message":"no"}]}"#, Ok(1)),
        (200, "<html>", Err("not an answer: expected value at line 1 column 1")),
    ] {
        let (url, log) = serve(move |_| Some(says(status, &[("location", "/elsewhere")], body))).await;
        let reply = Client::new(options(url)).expect("a client").ask(&query(ONE), "prod").await;
        let Reply::Answered { status: told, answer, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(told, status);
        assert_eq!(answer.map(|answer| answer.errors.len()), expected.map_err(str::to_owned));
        assert_eq!(log.lock().expect("no panic").len(), 1, "no redirection is followed");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_kept() {
    let (url, _) = serve(|_| Some(says(200, &[], "x".repeat(2_000)))).await;
    let client = Client::new(Options { most_bytes: 1_000, ..options(url) }).expect("a client");
    let reply = client.ask(&query(ONE), "prod").await;
    let Reply::Answered { answer: Err(why), .. } = reply else { panic!("{reply:?}") };
    assert_eq!(why, "the answer is larger than 1000 bytes");
}

#[tokio::test]
async fn nobody_there_is_said_without_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = server(&format!("http://{address}"), false).expect("a server");
    let reply = Client::new(options(url)).expect("a client").ask(&query(ONE), "prod").await;
    let Reply::Unreachable(why) = reply else { panic!("{reply:?}") };
    assert!(why.starts_with("no connection: ") && !why.contains(&address.to_string()), "{why}");
}

#[test]
fn a_server_is_a_url_or_a_host() {
    for (host, insecure, url) in [
        ("api.example.com", false, "https://api.example.com/"),
        ("chalk-api:8080", true, "http://chalk-api:8080/"),
        ("http://api.svc.cluster.local:80", false, "http://api.svc.cluster.local/"),
        ("https://example.com/chalk", true, "https://example.com/chalk/"),
    ] {
        assert_eq!(server(host, insecure).map(String::from).as_deref(), Ok(url));
    }
    for (host, why) in [
        ("grpc://a", "scheme `grpc`"),
        ("", "is no URL"),
        ("http://user:secret@a", "more than a host"),
        ("http://a?b=c", "more than a host"),
    ] {
        let error = server(host, false).expect_err(host);
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }
}
