//! Servers of one's own, instead of those that a run starts itself: what the environment says of them, and whether it can
//! be true. What is wrong ends the process before anything is sent.
//!
//! Nothing of theirs is touched but what has the run's name: topics and groups that begin with it, keys that do, a schema
//! of that name. They are made by the run, must not be there before, and are removed in its end.

mod kafka;
mod postgres;
mod redis;

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::LazyLock;

pub use kafka::{Access, Theirs};
pub use postgres::{OwnPostgres, Sql};
pub use redis::OwnRedis;

use super::SEED;

/// Exit code of what is wrong with the environment, as the program has it of a configuration.
const MISCONFIGURED: i32 = 78;

/// Servers that are not ours.
pub struct Own {
    /// What everything of the run begins with.
    pub name: String,
    pub kafka: Option<Theirs>,
    pub redis: Option<OwnRedis>,
    pub postgres: Option<OwnPostgres>,
}

/// What the environment names, if it does.
pub static OWN: LazyLock<Option<Own>> = LazyLock::new(|| {
    let kafka = ["TORTURE_KAFKA", "TORTURE_KAFKA_PROPERTIES", "TORTURE_KAFKA_SECRET"].map(variable);
    let (redis, postgres) = (variable("TORTURE_REDIS"), variable("TORTURE_POSTGRES"));
    if kafka.iter().chain([&redis, &postgres]).all(Option::is_none) {
        return None;
    }
    let name = variable("TORTURE_NAME").unwrap_or_else(|| format!("torture-{}", *SEED));
    let is_sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_sound) {
        fail("TORTURE_NAME", "at most 40 of a-z, 0-9 and `-`: topics, groups, keys and a schema begin with it");
    }
    let [bootstrap, properties, secret] = kafka;
    let kafka = (bootstrap.is_some() || properties.is_some() || secret.is_some()).then(|| {
        let read = |variable: &'static str, path: String| {
            let path = std::path::absolute(&path).unwrap_or_else(|_| PathBuf::from(&path));
            match std::fs::read_to_string(&path) {
                Ok(text) => (path, text),
                Err(error) => fail(variable, format!("{}: {error}", path.display())),
            }
        };
        let properties = properties.map(|path| read("TORTURE_KAFKA_PROPERTIES", path).1);
        let secret = secret.map(|path| read("TORTURE_KAFKA_SECRET", path));
        Theirs::of(bootstrap.as_deref(), properties.as_deref(), secret)
            .unwrap_or_else(|(variable, error)| fail(variable, error))
    });
    let redis = redis.map(|uri| OwnRedis::of(&uri, &name).unwrap_or_else(|error| fail("TORTURE_REDIS", error)));
    let postgres =
        postgres.map(|uri| OwnPostgres::of(&uri, &name).unwrap_or_else(|error| fail("TORTURE_POSTGRES", error)));
    Some(Own { name, kafka, redis, postgres })
});

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// Ends the process: nothing was begun, and there is nothing to keep. `error` never has a credential in it.
pub fn fail(variable: &str, error: impl Display) -> ! {
    eprintln!("\ntorture: {variable}: {error}");
    std::process::exit(MISCONFIGURED);
}
