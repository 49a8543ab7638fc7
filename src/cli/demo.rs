//! `demo`: the whole way from a bus into the stores, in a folder, with nothing installed.

mod api;
mod configuration;
mod messages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use crate::bus;
use crate::config::settings::WriterSettings;
use crate::row::feature::Entity;
use crate::runtime::{Health, HealthState};
use crate::telemetry::metrics::recorder;
use crate::telemetry::watched::Watched;
use crate::writer::{self, WriterType};

use super::deployment::{Deployment, Selection};
use super::exit::{Exit, Failure, OrExit};
use super::get::{self, Stored};
use super::output::{count, grouped, line};
use super::plans::Plans;
use super::session::{Session, Stop, identity};
use super::topic::make_topic;
use super::{dlq, show, text};
use api::Api;
use configuration::{TOPICS, WRITERS};

/// See it work: publishes made-up results, runs the writers, shows what landed where
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The folder for everything; a demo that is there already goes on
    #[arg(long, value_name = "FOLDER", default_value = "chalk-writer-demo")]
    dir: PathBuf,
    /// How many results to publish, beside some messages of every other kind
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: u64,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = make_folder(&arguments.dir)?;
    let config = folder.join("chalk.json");
    let api = Api::start().await.or_exit(Exit::Failed)?;
    configuration::write(&folder, &config, api.url())?;
    line(format!("everything of this demo is in {}\n", folder.display()))?;

    let deployment = Deployment::load(&config)?;
    let bus = deployment.bus()?;
    for topic in TOPICS {
        make_topic(&*bus, deployment.bus_settings(), topic, None).await?;
    }
    let example = messages::publish(&*bus, arguments.messages, &api, &folder).await?;
    for writer in WRITERS {
        drain(Selection::of(writer, &config).load()?).await?;
    }
    if let Some(entity) = &example {
        show_entity(&deployment, entity).await?;
    }
    // Several write into one lake. Of the online store one entity tells more than its tables, and what is published
    // for another writer is in that one's store.
    let mut shown = BTreeSet::from(["online_store"]);
    for writer in WRITERS.into_iter().filter(|writer| *writer != WriterType::METRICS) {
        if writer.info().store.is_none_or(|store| shown.insert(store)) {
            show::overview(&Selection::of(writer, &config).load()?).await?;
        }
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

/// Runs a writer until the bus is empty, as `--drain` does.
async fn drain(settings: WriterSettings) -> Result<(), Failure> {
    let began = Instant::now();
    let plans = Plans::Fixed(Some(writer::plan(&settings)?));
    let bus = bus::open(&settings.bus)?;
    let recorded = recorder(&[]).or_exit(Exit::Failed)?.handle();
    let health = Arc::new(Health::default());
    let watched = Watched::new(identity(&settings), Arc::clone(&health), recorded, settings.tuning.drain_timeout);
    let stop = Stop { signals: None, limit: None, within: settings.tuning.drain_timeout };
    Session { plans, bus, watched, drain: true, again: None }.run(stop).await?;
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
