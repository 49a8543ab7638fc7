//! The one HTTP port: probes, metrics, status, and a page for people. It answers while a writer
//! drains as well, and until the process ends.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::status::{NotReady, Status};
use super::watched::Watched;

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {reason}; `--listen ADDR` takes another address, `--listen off` opens none")]
pub struct ListenError {
    address: String,
    reason: std::io::Error,
}

/// Opens the port; `off` opens none. Port 0 is a free one: the address returned is the one in use.
pub async fn listen(address: &str) -> Result<Option<(TcpListener, SocketAddr)>, ListenError> {
    if address == "off" {
        return Ok(None);
    }
    let failed = |reason| ListenError { address: address.to_owned(), reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, address)))
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, writer: Arc<Watched>) {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status.json", get(async |State(writer): State<Arc<Watched>>| Json(Status::of(&writer))))
        .route("/", get(async || Html(include_str!("page.html"))))
        .with_state(writer);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "the HTTP port is closed");
    }
}

/// 503 asks for a new process: the pipeline has ended, or its loop is stuck.
async fn livez(State(writer): State<Arc<Watched>>) -> Response {
    match writer.dead() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Ready, but with nothing to do: the group may have more members than the topic partitions.
const IDLE: &str = "no partitions assigned";

/// 503 says what is missing, a line per part; JSON for those who accept it.
async fn readyz(State(writer): State<Arc<Watched>>, headers: HeaderMap) -> Response {
    let not_ready = writer.not_ready();
    let code = if not_ready.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|a| a.contains("json"));
    if json {
        let ready = not_ready.is_empty();
        let parts: Vec<_> = not_ready.into_iter().map(|(part, reason)| NotReady { part, reason }).collect();
        let note = writer.is_idle().then_some(IDLE);
        return (code, Json(serde_json::json!({ "ready": ready, "not_ready": parts, "note": note }))).into_response();
    }
    let text: String = not_ready.iter().map(|(part, reason)| format!("{part}: {reason}\n")).collect();
    let ok = || if writer.is_idle() { format!("ok: {IDLE}\n") } else { "ok\n".to_owned() };
    (code, if text.is_empty() { ok() } else { text }).into_response()
}

async fn metrics(State(writer): State<Arc<Watched>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], writer.exposition()).into_response()
}
