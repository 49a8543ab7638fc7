//! `get`: what an online store holds of one entity.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::Selection;
use crate::row::feature::Entity;
use crate::store::online::StoredFeature;
use crate::value::json;
use crate::writer::WriterType;

use super::deployment::Deployment;
use super::exit::{Exit, Failure, OrExit};
use super::{output, text};

/// Show an entity's features as the online store has them
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The environment
    #[arg(long, value_name = "ID")]
    environment: String,
    /// The writer whose store it is, where the file has several online writers
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
    /// The namespace (`user`)
    namespace: String,
    /// The primary key
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `get --json` prints.
#[derive(Debug, Serialize)]
struct Found {
    environment: String,
    namespace: String,
    key: String,
    features: Vec<Stored>,
}

/// One feature as it stands in a store.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    /// Persistence key without its namespace.
    pub feature: String,
    /// Absent for one that was evicted.
    pub value: Option<Box<RawValue>>,
    /// RFC 3339, UTC.
    pub observed_at: String,
    /// RFC 3339, UTC; `None` is never.
    pub expires_at: Option<String>,
    /// Since it was observed.
    pub age_seconds: f64,
    /// What a reader makes of it.
    pub state: State,
    #[serde(skip)]
    age: String,
    #[serde(skip)]
    expires: String,
}

/// What a reader makes of a stored feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// A value to be used.
    Fresh,
    /// Past its expiry: absent for readers.
    Expired,
    /// Removed by a cache strategy: absent for readers, and kept so that nothing older comes back.
    Evicted,
}

impl Stored {
    /// A stored feature as it looks at a time, in microseconds since 1970.
    pub(super) fn at(stored: &StoredFeature, now: i64) -> Self {
        let expired = stored.expires_at.is_some_and(|expires| expires <= now);
        let state = match &stored.value {
            None => State::Evicted,
            Some(_) if expired => State::Expired,
            Some(_) => State::Fresh,
        };
        Self {
            feature: stored.feature.clone(),
            value: stored.value.as_ref().and_then(|value| RawValue::from_string(json::to_text(value)).ok()),
            observed_at: text::time(stored.observed_at),
            expires_at: stored.expires_at.map(text::time),
            age_seconds: now.saturating_sub(stored.observed_at) as f64 / 1e6,
            state,
            age: text::since(stored.observed_at, now),
            expires: stored.expires_at.map_or_else(|| "never".to_owned(), |expires| text::until(expires, now)),
        }
    }

    /// The value in a line, shortened.
    pub(super) fn shown(&self) -> String {
        let value = self.value.as_deref().map_or("–", RawValue::get);
        match self.state {
            State::Fresh => output::shortened(value, 60),
            State::Expired => format!("{} (expired)", output::shortened(value, 50)),
            State::Evicted => "(evicted)".to_owned(),
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let deployment = Deployment::load(&arguments.config)?;
    let which = arguments.writer.clone().map_or_else(online_writer, Selection::Writer);
    let store = deployment.online_store(&which, &arguments.environment).await?;
    let entity = Entity {
        environment: arguments.environment.as_str().into(),
        namespace: arguments.namespace.as_str().into(),
        primary_key: arguments.key.as_str().into(),
    };
    let now = text::now_micros();
    let features = store.read(&entity).await.or_exit(Exit::Failed)?;
    let features: Vec<_> = features.iter().map(|stored| Stored::at(stored, now)).collect();
    let nothing = features.is_empty();
    if arguments.json {
        let Arguments { environment, namespace, key, .. } = arguments;
        output::json(&Found { environment, namespace, key, features })?;
    } else if nothing {
        let Arguments { environment, namespace, key, .. } = arguments;
        output::line(format!("nothing is stored of {namespace}/{key} in {environment}"))?;
    } else {
        output::line(table(&features))?;
    }
    if nothing { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

/// The only online writer of a file.
pub(super) fn online_writer() -> Selection {
    Selection::Type(WriterType::ONLINE.as_str().to_owned())
}

/// Features as a table.
pub(super) fn table(features: &[Stored]) -> String {
    let mut table = output::table(["feature", "value", "observed at", "age", "expires"]);
    for stored in features {
        output::row(
            &mut table,
            [
                stored.feature.clone(),
                stored.shown(),
                stored.observed_at.clone(),
                stored.age.clone(),
                stored.expires.clone(),
            ],
        );
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn what_readers_pass_over_is_marked() {
        let stored = |value, expires_at| StoredFeature {
            feature: "score".to_owned(),
            observed_at: 1_000_000,
            expires_at,
            value,
        };
        let at = |stored| Stored::at(&stored, 5_000_000);
        let fresh = at(stored(Some(Value::Double(0.7)), Some(6_000_000)));
        assert_eq!((fresh.state, fresh.shown(), fresh.expires), (State::Fresh, "0.7".to_owned(), "in 1.0s".to_owned()));
        let expired = at(stored(Some(Value::Int(7)), Some(4_000_000)));
        assert_eq!((expired.state, expired.shown()), (State::Expired, "7 (expired)".to_owned()));
        assert_eq!(expired.expires, "1.0s ago");
        let evicted = at(stored(None, None));
        assert_eq!(
            (evicted.state, evicted.shown(), evicted.age),
            (State::Evicted, "(evicted)".to_owned(), "4.0s".to_owned())
        );
    }
}
