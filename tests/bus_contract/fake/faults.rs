//! What goes wrong with the fake on purpose: streams that are refused, a question that has no good answer, a topic that is deleted,
//! acknowledgements that take their time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::Status;

/// What whoever asks about the subscription is told.
#[derive(Clone, Copy, Default)]
pub enum Asked {
    /// How it is set.
    #[default]
    Answers,
    /// Another answer: HTTP's code, and Google's.
    Fails(u16, &'static str),
}

/// What goes wrong from now on.
pub struct Faults {
    streams: watch::Sender<Option<Status>>,
    asked: Mutex<Asked>,
    has_lost_its_topic: AtomicBool,
    has_no_topic: AtomicBool,
    acknowledges_after_ms: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            streams: watch::Sender::new(None),
            asked: Mutex::default(),
            has_lost_its_topic: AtomicBool::default(),
            has_no_topic: AtomicBool::default(),
            acknowledges_after_ms: AtomicU64::default(),
        }
    }
}

impl Faults {
    /// Streams that are open end with this, and none is opened; without it they are again.
    pub fn streams(&self, fail: Option<Status>) {
        self.streams.send_replace(fail);
    }

    /// What questions about the subscription come to.
    pub fn asked(&self, asked: Asked) {
        *self.asked.lock().expect("held") = asked;
    }

    /// Somebody deletes the topic, and may make another one of the same name.
    pub fn delete_topic(&self, made_anew: bool) {
        self.has_no_topic.store(!made_anew, Ordering::Release);
        self.has_lost_its_topic.store(true, Ordering::Release);
    }

    /// The answer about the topic.
    pub(super) fn describe_topic(&self, settings: Value) -> Response {
        if self.has_no_topic.load(Ordering::Acquire) {
            let error = json!({"code": 404, "message": "no such topic", "status": "NOT_FOUND"});
            return (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response();
        }
        Json(settings).into_response()
    }

    /// Acknowledgements are under way for so long.
    pub fn acknowledges_after(&self, delay: Duration) {
        self.acknowledges_after_ms.store(delay.as_millis() as u64, Ordering::Release);
    }

    /// Why a stream cannot be opened now.
    pub(super) fn refuses(&self) -> Option<Status> {
        self.streams.borrow().clone()
    }

    /// Waits until open streams fail.
    pub(super) async fn failure(&self) -> Status {
        let mut streams = self.streams.subscribe();
        let failure = streams.wait_for(Option::is_some).await.expect("it is kept").clone();
        failure.expect("it was waited for")
    }

    /// The answer about a subscription that is set so.
    pub(super) fn describe(&self, mut settings: Value) -> Response {
        let asked = *self.asked.lock().expect("held");
        match asked {
            Asked::Answers => {
                if self.has_lost_its_topic.load(Ordering::Acquire) {
                    settings["topic"] = json!("_deleted-topic_");
                }
                Json(settings).into_response()
            }
            Asked::Fails(code, status) => {
                let error = json!({"code": code, "message": "said so", "status": status});
                let code = StatusCode::from_u16(code).expect("one of HTTP's");
                (code, Json(json!({"error": error}))).into_response()
            }
        }
    }

    /// How long an acknowledgement is under way.
    pub(super) async fn under_way(&self) {
        tokio::time::sleep(Duration::from_millis(self.acknowledges_after_ms.load(Ordering::Acquire))).await;
    }
}
