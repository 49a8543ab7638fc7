//! The server that the mirror asks: it answers with what it was asked for, and remembers whom it answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Ends with its runtime.
pub struct Api {
    url: String,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    is_away: AtomicBool,
    asked: Mutex<BTreeSet<i64>>,
}

impl Api {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let asked = seen.clone();
        let answer = move |Json(request): Json<Value>| {
            let asked = asked.clone();
            async move { asked.answer(&request) }
        };
        let router = Router::new().route("/v1/query/online", post(answer));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// It answers 503 from here on, or no longer.
    pub fn be_away(&self, is_away: bool) {
        self.seen.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Whether it ever was asked this, in trouble or not.
    pub fn was_asked(&self, number: i64) -> bool {
        self.seen.asked.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }
}

impl Seen {
    fn answer(&self, request: &Value) -> (StatusCode, Json<Value>) {
        let number = request["inputs"]["user.id"].as_i64().expect("the number of a query");
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        if self.is_away.load(Ordering::SeqCst) {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
        }
        (StatusCode::OK, Json(json!({"data": [{"field": "user.id", "value": number}]})))
    }
}
