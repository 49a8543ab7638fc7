//! The messages of the demo: many results, and some of every other kind that does not come of results.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;

use super::api::Api;
use super::configuration::{ENVIRONMENT, LOADS, QUERY_LOG, RESULTS, USAGE};
use crate::bus::Bus;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::made::with_its_files;
use crate::cli::output::{count, line};
use crate::cli::publish::Publishing;
use crate::cli::{input, text};
use crate::generate::{Generator, Kind, Messages, Options};
use crate::message::Outgoing;
use crate::row::feature::Entity;

/// How many there are of what is no result.
const OTHERS: [(Kind, &str, usize); 5] = [
    (Kind::BulkInsert, LOADS, 3),
    (Kind::Usage, USAGE, 200),
    (Kind::NodeStatus, USAGE, 20),
    (Kind::PodStatus, USAGE, 40),
    (Kind::QueryLog, QUERY_LOG, 100),
];

/// Messages as they go wrong in life: cut off, of another shape, of a type that nobody knows.
const BAD: [(&str, &str); 3] = [
    ("chalk.result.v1", r#"{"environment_id": "prod", "operation_id": "cut-off", "tables": [{"names"#),
    ("chalk.result.v1", r#"{"environment_id": "prod", "operation_id": "wrong-shape", "tables": 5}"#),
    ("acme.order.v1", r#"{"environment_id": "prod", "order": 17}"#),
];

/// Publishes all of them; returns the entity of one result.
pub(super) async fn publish(bus: &dyn Bus, results: u64, api: &Api, folder: &Path) -> Result<Option<Entity>, Failure> {
    let began = Instant::now();
    // Another seed for each run, and the time up to now: a repeated demo shows newer values.
    let now = text::now_micros();
    let step = Options::default().step;
    let start = now.saturating_sub((results as i64).saturating_mul(step));
    let options = |topic: &str| Options {
        topic: topic.to_owned(),
        environment: ENVIRONMENT.to_owned(),
        start,
        ..Options::default()
    };
    let generator = Generator::new(now as u64, options(RESULTS));
    let mut publishing = Publishing::to(bus, RESULTS).await?;
    let mut example = None;
    for (number, message) in generator.take(results as usize).enumerate() {
        if example.is_none() {
            example = entity_of(&message);
        }
        publishing.push(message).await?;
        if let Some((ce_type, body)) = BAD.get(number / 10).copied().filter(|_| number % 10 == 5) {
            publishing.push(input::message(&Bytes::from_static(body.as_bytes()), ce_type)).await?;
        }
    }
    publishing.flush().await?;
    let mut published = publishing.finish().messages;
    let files = folder.join("files");
    std::fs::create_dir_all(&files).with_context(|| files.display().to_string()).or_exit(Exit::Failed)?;
    for (kind, topic, number) in OTHERS {
        let mut publishing = Publishing::to(bus, topic).await?;
        for made in Messages::new(kind, now as u64, options(topic), files.clone()).take(number) {
            if let (Kind::QueryLog, Some(body)) = (kind, &made.message.payload) {
                api.learn(body);
            }
            publishing.push(with_its_files(made)?).await?;
        }
        publishing.flush().await?;
        published += publishing.finish().messages;
    }
    line(format!(
        "published {}, most of them to `{RESULTS}`, in {:.1}s",
        count(published, "message"),
        began.elapsed().as_secs_f64()
    ))?;
    Ok(example)
}

/// The entity that a message's key names: `<environment>/<namespace>/<primary key>`.
fn entity_of(message: &Outgoing) -> Option<Entity> {
    let key = std::str::from_utf8(message.key.as_deref()?).ok()?;
    let mut parts = key.splitn(3, '/');
    let (environment, namespace, primary_key) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Entity { environment: environment.into(), namespace: namespace.into(), primary_key: primary_key.into() })
}
