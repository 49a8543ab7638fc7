//! What whoever is called at night reads: which errors are for a person, and what they say to do.

use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::SinkError;

use super::place::{cell, entity, int, row, store, stored, stored_at_last, write};
use crate::certificates::Authority;
use crate::logs::Logs;
use crate::postgres::{PostgresServer, Version};

fn user(time: i64) -> [FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time))])]
}

async fn denied(uri: &str) -> String {
    match write(&*store(uri), &user(1)).await {
        Err(SinkError::Denied { reason }) => reason,
        other => panic!("expected a denial, found {other:?}"),
    }
}

#[tokio::test]
async fn settings_of_a_session_that_are_refused_are_no_verdict_on_a_row() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let reason = denied(&format!("{}?options=-c%20work_mem=abc", server.uri())).await;
    assert!(reason.starts_with("postgres://127.0.0.1:"), "{reason}");
    assert!(reason.contains("the session's settings are refused: invalid value for parameter \"work_mem\""), "{reason}");
}
