//! A configuration in which nothing is wrong, and the writer that is picked out of it.

use std::path::Path;

use url::{Url, form_urlencoded};

use super::errors::ConfigErrors;
use super::examine::{Examined, Text, read};
use super::layers::Overrides;
use super::path;
use super::raw::RawWriter;
use super::registry::Registry;
use super::secret::SecretRef;
use super::settings::{BusSettings, MetadataSettings, WriterSettings};
use super::warning::Warning;
use super::writers::{self, Outline};
use crate::nearest::hint;
use crate::writer_type::{NotAType, TypeInfo, WriterType};

/// Which writer of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By its type, in any spelling (`--type`).
    Type(String),
    /// By its name (`--writer`).
    Writer(String),
    /// The only one that the file has.
    Only,
}

/// A configuration in which nothing is wrong.
#[derive(Debug)]
pub struct Loaded {
    pub(super) examined: Examined,
    bus: BusSettings,
}

/// Reads a file with what stands above it, and judges it by what this version has.
pub fn load(path: &Path, overrides: &Overrides, registry: &Registry) -> Result<Loaded, ConfigErrors> {
    read(path)?.load(overrides, registry)
}

impl Text {
    /// Judges it with what stands above it, by what this version has.
    pub fn load(&self, overrides: &Overrides, registry: &Registry) -> Result<Loaded, ConfigErrors> {
        let mut examined = self.examine(overrides, registry);
        let errors = std::mem::take(&mut examined.errors);
        match examined.bus.clone() {
            Some(bus) if errors.is_empty() => Ok(Loaded { examined, bus }),
            _ => Err(ConfigErrors(errors)),
        }
    }
}

/// Whether a URI in plain text holds what should be a secret; where that is not certain, it does.
fn has_password(uri: &str) -> bool {
    if SecretRef::is_name(uri) {
        return false;
    }
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| tells_a_secret(&name)) {
        return true;
    }
    match Url::parse(uri) {
        // Nobody signs in to a file, and what its path has is no secret.
        Ok(url) if matches!(url.scheme(), "sqlite" | "file") => url.password().is_some(),
        // One that is mistyped may be a URL of another meaning: in `u:1/2@h` a `/` that is not written as `%2F` makes a
        // port and a path of the password.
        Ok(url) if !url.scheme().starts_with("postgres") => {
            url.password().is_some() || may_have_password(without_parameters(uri))
        }
        // Several hosts of Postgres are no URL, and its passwords may have in them what ends a host elsewhere: those of
        // `u:1/2@h` and `u:1#2@h` are, to a URL, a port and more.
        _ => may_have_password(uri),
    }
}

fn tells_a_secret(parameter: &str) -> bool {
    let telling = ["password", "passwd", "secret", "token", "private_key", "access_key"];
    telling.iter().any(|word| parameter.to_ascii_lowercase().contains(word))
}

/// A URI without its query, unless that has an `@` in what is no parameter: then it may be a part of a password.
fn without_parameters(uri: &str) -> &str {
    let Some((before, query)) = uri.split_once('?') else { return uri };
    let is_parameter = |text: &str| text.split_once('@').is_none_or(|(name, _)| name.contains('='));
    if query.split('&').all(is_parameter) { before } else { uri }
}

/// Whether anything stands between a `:` and an `@`, whatever is in it. That is too much where a parameter has an `@`,
/// which is refused in vain; the other way round a password would be given away.
fn may_have_password(uri: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let before = rest.rsplit_once('@').map_or("", |(before, _)| before);
    before.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

impl Loaded {
    /// What should be known of the file.
    pub fn warnings(&self) -> &[Warning] {
        &self.examined.warnings
    }

    /// The bus of the whole file.
    pub fn bus(&self) -> &BusSettings {
        &self.bus
    }

    /// How environments are asked for that are described elsewhere than in the file; as one of its writers does.
    pub fn metadata(&self) -> Option<MetadataSettings> {
        self.examined.writers.iter().find_map(|writer| self.examined.metadata(writer).ok().flatten())
    }

    /// `environments`, under the names of the schema.
    pub fn environments(&self) -> &serde_json::Value {
        self.examined.file.get("environments").unwrap_or(&serde_json::Value::Null)
    }

    /// URIs of stores in plain text that have a password in them, by path.
    pub fn passwords(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (id, environment) in self.examined.raw.environments.iter().flatten() {
            for (kind, field, uri) in environment.uris() {
                if uri.is_some_and(|uri| has_password(&uri)) {
                    found.push(format!("{}.{}.{field}", path::key("environments", id), kind.field()));
                }
            }
        }
        found
    }

    /// Topic of query results: what `publish` publishes to.
    pub fn result_topic(&self) -> Option<String> {
        writers::topic(&self.examined.file, "result_bus_topic_id")
    }

    /// Topic of dead letters.
    pub fn dlq_topic(&self) -> Option<String> {
        writers::common(&self.examined.file, "kafka_dlq_topic")
    }

    /// Names and types of the writers that the file lists.
    pub fn writers(&self) -> impl Iterator<Item = (&str, &'static TypeInfo)> {
        self.examined.writers.iter().map(|writer| (&*writer.name, writer.info))
    }

    /// The settings of one writer.
    pub fn writer(&self, selection: &Selection) -> Result<WriterSettings, ConfigErrors> {
        let outline = self.select(selection)?;
        let (registry, writer_type) = (&self.examined.registry, outline.info.writer_type());
        if !registry.runs(writer_type) {
            return Err(ConfigErrors::selection(registry.refusal(writer_type)));
        }
        self.examined.settings(&outline, &self.bus)
    }

    fn select(&self, selection: &Selection) -> Result<Outline, ConfigErrors> {
        let listed = &self.examined.writers;
        let names = |writers: &[&Outline]| {
            writers.iter().map(|writer| format!("`{}`", writer.name)).collect::<Vec<_>>().join(", ")
        };
        let all: Vec<&Outline> = listed.iter().collect();
        let (meant, implied) = match selection {
            Selection::Writer(name) => {
                let meant: Vec<&Outline> = listed.iter().filter(|writer| writer.name == *name).collect();
                if meant.is_empty() {
                    let known: Vec<&str> = listed.iter().map(|writer| &*writer.name).collect();
                    let hint = hint(name, &known);
                    return Err(ConfigErrors::selection(format!("no writer is named `{name}`; {hint}")));
                }
                (meant, None)
            }
            Selection::Type(given) => {
                let writer_type: WriterType =
                    given.parse().map_err(|error: NotAType| ConfigErrors::selection(error.to_string()))?;
                let meant: Vec<&Outline> =
                    listed.iter().filter(|writer| writer.info.writer_type() == writer_type).collect();
                (meant, listed.is_empty().then_some((given, writer_type.info())))
            }
            Selection::Only => (all.clone(), None),
        };
        match (&*meant, implied) {
            ([one], _) => Ok((*one).clone()),
            ([], Some((given, info))) => {
                let (file, backend) = (&self.examined.file, self.examined.backend);
                Ok(writers::outline(String::new(), None, given, info, &RawWriter::default(), file, backend))
            }
            ([], None) => Err(ConfigErrors::selection(match selection {
                Selection::Type(given) => {
                    format!("`writers` has no {given}; it has {}; add an entry of that type", names(&all))
                }
                _ => "`writers` lists none; choose one with `--type`".to_owned(),
            })),
            (several, _) => Err(ConfigErrors::selection(format!(
                "several writers are meant: {}; choose one with `--writer`",
                names(several)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_in_whatever_a_store_takes_for_a_uri() {
        for uri in [
            "postgres://writer:hunter2@h1:5432,h2:5432/db",
            "postgresql://writer:hunter2@h1,h2:5432/db?sslmode=require",
            "postgres://writer:hun/t?er#2@h1:5432,h2:5432/db",
            "postgres://writer@corp:hunter2@h1:5432,h2:5432/db",
            "postgres://writer@corp:hunter2@h/db",
            "postgres://writer:hunter2@h:port/db",
            "postgres://writer:1/2@h/db",
            "postgres://writer:1#2@h/db",
            "postgres:writer:hunter2@h",
            "postgres://h1:5432,h2:5432/db?user=writer&password=hunter2",
            "postgres://writer@h1:5432,h2:5432/db?pass%77ord=hunter2",
            "postgres:///db?host=h1,h2&user=writer&password=hunter2",
            "redis://:hunter2@h:6379",
            "redis://writer:hunter2@h1:6379,h2:6379",
            "redis://writer:1/2@h",
            "redis://writer:1#2@h:6379/0",
            "redis://writer:1?2@h/0?user=corp",
            "redis:writer:hunter2@h",
            "clickhouse+https://writer:1/2@h:8443/db?user=writer@corp",
            "clickhouse+https://h/db?password=hunter2",
        ] {
            assert!(has_password(uri), "{uri}");
        }
    }

    #[test]
    fn a_uri_without_a_password_may_be_shown() {
        for uri in [
            "secret:postgres",
            "postgres://writer@h/db",
            "postgres://writer:@h1:5432,h2:5432/db",
            "postgres://writer@h1:5432,h2:5432/db?schema=features",
            "postgres://writer@[::1]:5432,[::2]:5432/db",
            "postgres:///db?host=h1,h2&port=5432,5433&user=writer",
            "redis://h:6379/0",
            "redis://writer@h:6379/0",
            "redis://writer:@h:6379/0?name=a:b@c",
            "s3://features@eu/exports",
            "file:///var/lib/a:b@c",
            "sqlite:a@b.sqlite",
            "sqlite:online.sqlite",
            "online.sqlite",
            "clickhouse+https://h:8443/db?user=writer@corp",
        ] {
            assert!(!has_password(uri), "{uri}");
        }
    }
}
