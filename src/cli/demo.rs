//! `demo`: the whole way from a bus into the stores, in a folder, with nothing installed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;

use crate::bus::{self, Bus};
use crate::config::settings::WriterSettings;
use crate::generate::{Generator, Options};
use crate::message::Outgoing;
use crate::row::feature::Entity;
use crate::runtime::{Health, HealthState};
use crate::telemetry::metrics::recorder;
use crate::telemetry::watched::Watched;
use crate::writer::{self, WriterType};

use super::deployment::{Deployment, Selection};
use super::exit::{Exit, Failure, OrExit};
use super::get::{self, Stored};
use super::output::{count, grouped, line};
use super::publish::{Publishing, make_topic};
use super::session::{Session, Stop, identity};
use super::{dlq, input, show, text};

/// See it work: publishes made-up results, runs the writers, shows what landed where
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The folder for everything; a demo that is there already goes on
    #[arg(long, value_name = "FOLDER", default_value = "chalk-writer-demo")]
    dir: PathBuf,
    /// How many results to publish
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: u64,
}

/// The writers that it runs, each after those whose messages it reads. A mirror has no server to ask here.
const SHOWN: [WriterType; 5] = [
    WriterType::ONLINE,
    WriterType::OFFLINE,
    WriterType::METRICS,
    WriterType::METRICS_BUS,
    WriterType::ONLINE_VECTOR_STORE,
];

const RESULTS: &str = "results";
const METRICS: &str = "metrics";
const DEAD_LETTERS: &str = "dead-letters";
const ENVIRONMENT: &str = "prod";

/// Messages as they go wrong in life: cut off, of another shape, of a type that nobody knows.
const BAD: [(&str, &str); 3] = [
    ("chalk.result.v1", r#"{"environment_id": "prod", "operation_id": "cut-off", "tables": [{"names"#),
    ("chalk.result.v1", r#"{"environment_id": "prod", "operation_id": "wrong-shape", "tables": 5}"#),
    ("acme.order.v1", r#"{"environment_id": "prod", "order": 17}"#),
];

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = make_folder(&arguments.dir)?;
    let config = folder.join("chalk.json");
    write_configuration(&folder, &config)?;
    line(format!("everything of this demo is in {}\n", folder.display()))?;

    let deployment = Deployment::load(&config)?;
    let bus = deployment.bus()?;
    for topic in [RESULTS, METRICS, DEAD_LETTERS] {
        make_topic(&*bus, deployment.bus_settings(), topic, None).await?;
    }
    let example = publish(&*bus, arguments.messages).await?;
    for writer in SHOWN {
        drain(Selection::of(writer, &config).load(None)?).await?;
    }
    if let Some(entity) = &example {
        show_entity(&deployment, entity).await?;
    }
    for writer in SHOWN.into_iter().skip(1) {
        show::overview(&Selection::of(writer, &config).load(None)?).await?;
    }
    show_dead_letters(&config).await?;
    show_commands(&config, example.as_ref())?;
    Ok(())
}

/// Makes the folder, and names it from the root: the commands shown at the end work from anywhere.
fn make_folder(asked: &Path) -> Result<PathBuf, Failure> {
    let made = std::fs::create_dir_all(asked).and_then(|()| std::fs::canonicalize(asked));
    made.with_context(|| format!("cannot make {}; `--dir` takes another folder", asked.display())).or_exit(Exit::Failed)
}

/// A configuration for one machine: embedded bus, embedded stores.
fn write_configuration(folder: &Path, config: &Path) -> Result<(), Failure> {
    let path = |name: &str| folder.join(name).display().to_string();
    let json = serde_json::json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "kafka_dlq_topic": DEAD_LETTERS,
            "result_bus_topic_id": RESULTS,
            "result_bus_online_store_subscription_id": RESULTS,
            "result_bus_offline_store_subscription_id": RESULTS,
            "metrics_bus_topic_id": METRICS,
        },
        "metadata_provider": "CONFIG",
        "local_bus_path": path("bus.sqlite"),
        "writers": SHOWN.map(|writer| serde_json::json!({ "bus_subscriber_type": writer.as_str() })),
        "environments": {
            ENVIRONMENT: {
                "default_max_staleness": "7d",
                "online_store": { "uri": format!("sqlite:{}", path("online.sqlite")) },
                "offline_store": { "uri": format!("file://{}", path("lake")) },
                "metrics_store": { "uri": format!("sqlite:{}", path("metrics.sqlite")) },
                "vector_store": { "uri": format!("sqlite:{}", path("vectors.sqlite")) },
            }
        }
    });
    let text = serde_json::to_string_pretty(&json).or_exit(Exit::Failed)? + "\n";
    std::fs::write(config, text).with_context(|| config.display().to_string()).or_exit(Exit::Failed)
}

/// Publishes results and, among them, some bad messages; returns the entity of one result.
async fn publish(bus: &dyn Bus, messages: u64) -> Result<Option<Entity>, Failure> {
    let began = Instant::now();
    // Another seed for each run, and the time up to now: a repeated demo shows newer values.
    let now = text::now_micros();
    let step = Options::default().step;
    let start = now.saturating_sub((messages as i64).saturating_mul(step));
    let options =
        Options { topic: RESULTS.to_owned(), environment: ENVIRONMENT.to_owned(), start, ..Options::default() };
    let generator = Generator::new(now as u64, options);
    let mut publishing = Publishing::to(bus, RESULTS).await?;
    let mut example = None;
    for (number, message) in generator.take(messages as usize).enumerate() {
        if example.is_none() {
            example = entity_of(&message);
        }
        publishing.push(message).await?;
        if let Some((ce_type, body)) = BAD.get(number / 10).copied().filter(|_| number % 10 == 5) {
            publishing.push(input::message(&Bytes::from_static(body.as_bytes()), ce_type)).await?;
        }
    }
    publishing.flush().await?;
    let published = publishing.finish();
    line(format!(
        "published {} to `{RESULTS}` in {:.1}s",
        count(published.messages, "message"),
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

/// Runs a writer until the bus is empty, as `--drain` does.
async fn drain(settings: WriterSettings) -> Result<(), Failure> {
    let began = Instant::now();
    let plan = writer::plan(&settings)?;
    let bus = bus::open(&settings.bus)?;
    let recorded = recorder(&[]).or_exit(Exit::Failed)?.handle();
    let health = Arc::new(Health::default());
    let watched = Watched::new(identity(&settings), Arc::clone(&health), recorded, settings.tuning.drain_timeout);
    Session { plan, bus, watched, drain: true, again: None }.run(Stop { signals: None, limit: None }).await?;
    let HealthState { acknowledged, stored, stale, buried, .. } = health.state();
    let seconds = began.elapsed().as_secs_f64();
    line(format!(
        "{}: {} in {seconds:.1}s ({}/s): {} stored, {} stale, {}",
        settings.writer_type.as_str(),
        count(acknowledged, "message"),
        grouped((acknowledged as f64 / seconds) as u64),
        count(stored, "value"),
        grouped(stale),
        count(buried, "dead letter")
    ))?;
    Ok(())
}

async fn show_entity(deployment: &Deployment, entity: &Entity) -> Result<(), Failure> {
    let store = deployment.online_store(&get::online_writer(), &entity.environment).await?;
    let features = store.read(entity).await.or_exit(Exit::Failed)?;
    let now = text::now_micros();
    let features: Vec<_> = features.iter().map(|stored| Stored::at(stored, now)).collect();
    line(format!("\nonline store, {}/{}:", entity.namespace, entity.primary_key))?;
    Ok(line(get::table(&features))?)
}

async fn show_dead_letters(config: &Path) -> Result<(), Failure> {
    line("\ndead letters, the newest three:")?;
    dlq::list(dlq::List::newest(config, 3)).await
}

fn show_commands(config: &Path, example: Option<&Entity>) -> anyhow::Result<()> {
    let program = std::env::current_exe().unwrap_or_else(|_| "chalk-writer".into());
    let (program, config) = (quoted(&program), quoted(config));
    line("\nto look further:")?;
    if let Some(Entity { environment, namespace, primary_key }) = example {
        line(format!("  {program} get --config {config} --environment {environment} {namespace} {primary_key}"))?;
    }
    for command in [
        "peek --config CONFIG --type ONLINE_WRITER --last 1",
        "show --config CONFIG --type OFFLINE_WRITER --table user",
        "dlq list --config CONFIG",
        "publish --config CONFIG --topic results --generate 1000",
        "--config CONFIG --type ONLINE_WRITER --drain --listen off",
        "--config CONFIG --type ONLINE_WRITER --listen 127.0.0.1:9090   # then open http://127.0.0.1:9090/",
    ] {
        line(format!("  {program} {}", command.replace("CONFIG", &config)))?;
    }
    Ok(())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
