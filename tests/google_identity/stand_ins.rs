//! Stand-ins, on the loopback, for what gives Google's tokens: the metadata server of a machine or pod, and the token
//! endpoint of identity pools. They speak as Google documents them, and check nothing that they are told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

/// How a stand-in answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answers {
    /// With this token.
    Token(&'static str),
    Refuses,
    /// With a page for people.
    Rubbish,
}

/// A running stand-in.
#[derive(Clone)]
pub struct StandIn {
    /// `host:port`
    pub address: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    pub async fn start(answers: Answers) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let stand_in = Self { address, answers: Arc::new(Mutex::new(answers)), asked: Arc::default() };
        let answering = stand_in.clone();
        let every = any(move |request: Request| answering.clone().answer(request));
        let router = Router::new().route("/{*path}", every);
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        stand_in
    }

    /// From now on it answers so.
    pub fn answers(&self, answers: Answers) {
        *self.answers.lock().expect("no panic while it is held") = answers;
    }

    /// What it was asked for a token: the path with its query, and the body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while it is held").clone()
    }

    async fn answer(self, request: Request) -> Response {
        let is_flavoured = request.headers().get("metadata-flavor").is_some_and(|flavour| flavour == "Google");
        let target = request.uri().to_string();
        // The metadata server knows no universe but Google's own, and answers nobody who may have been sent by somebody else.
        if target.contains("/universe") || (target.starts_with("/computeMetadata") && !is_flavoured) {
            return StatusCode::NOT_FOUND.into_response();
        }
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
        let asked = format!("{target} {}", String::from_utf8_lossy(&body));
        self.asked.lock().expect("no panic while it is held").push(asked);
        let json = [("content-type", "application/json")];
        match *self.answers.lock().expect("no panic while it is held") {
            Answers::Token(token) => {
                let kind = "urn:ietf:params:oauth:token-type:access_token";
                let text = format!(
                    r#"{{"access_token": "{token}", "expires_in": 3600, "token_type": "Bearer", "issued_token_type": "{kind}"}}"#
                );
                (json, text).into_response()
            }
            Answers::Refuses => (StatusCode::FORBIDDEN, json, r#"{"error": "not yours"}"#).into_response(),
            Answers::Rubbish => ([("content-type", "text/html")], "<html>Sign in to the Wi-Fi</html>").into_response(),
        }
    }
}
