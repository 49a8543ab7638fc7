//! A server of the demo for the mirror to ask: it answers as the log says, but for some queries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// What is answered, by the inputs of the query.
type Answers = Arc<Mutex<HashMap<String, Map<String, Value>>>>;

/// Answers for as long as the process runs.
pub(super) struct Api {
    url: String,
    answers: Answers,
}

impl Api {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the server that the mirror asks")?;
        let url = format!("http://{}", listener.local_addr()?);
        let answers = Answers::default();
        let router = Router::new().route("/v1/query/online", post(answer)).with_state(Arc::clone(&answers));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, answers })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Takes what was logged, in JSON, for what is to be answered.
    pub(super) fn learn(&self, logged: &[u8]) {
        let text = |value: &Value| serde_json::from_str::<Value>(value.as_str()?).ok();
        let Ok(logged) = serde_json::from_slice::<Value>(logged) else { return };
        let (request, outputs) = (text(&logged["request"]), text(&logged["recorded"]["outputs"]));
        let (Some(request), Some(Value::Object(mut outputs))) = (request, outputs) else { return };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // The next version of a model, say.
        if answers.len() % 10 == 9
            && let Some(output) = outputs.values_mut().find(|output| output.is_f64())
        {
            *output = json!(output.as_f64().unwrap_or_default() * 1.01);
        }
        answers.insert(request["inputs"].to_string(), outputs);
    }
}

async fn answer(State(answers): State<Answers>, Json(request): Json<Value>) -> Json<Value> {
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let outputs = answers.get(&request["inputs"].to_string()).into_iter().flatten();
    let data: Vec<_> = outputs.map(|(field, value)| json!({ "field": field, "value": value })).collect();
    Json(json!({ "data": data }))
}
