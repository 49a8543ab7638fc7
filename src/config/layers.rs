//! The layers of a configuration, weakest first: the file, environment variables, flags.
//!
//! Each is walked by itself, so that a finding says where its value came from, and merged by figment.

use std::collections::BTreeMap;
use std::sync::Arc;

use figment::value::{Dict, Map as Profiles};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::{Map, Value};

use super::errors::{ConfigError, Problem};
use super::path::{self, Step};
use super::schema::{marked, other_names};
use super::walk::{Findings, Place, lookup, unknown_key_hint};

/// Prefix of variables that reach any field.
pub(super) const PREFIX: &str = "CHALK_WRITER__";

/// What stands above the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Environment variables, by name. Those that mean nothing here are passed over; of those that seem to be meant for this
    /// program a warning tells.
    pub environment: BTreeMap<String, String>,
    /// Values of command-line flags, in the order in which they were given.
    pub flags: Vec<Flag>,
}

/// The value of a command-line flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag's name (`--listen`), for messages.
    pub name: String,
    /// JSON path of the field that it sets (`http.listen`).
    pub path: String,
    /// The value.
    pub value: Value,
}

impl Overrides {
    /// The variables of this process, and no flags.
    pub fn from_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { environment, flags: Vec::new() }
    }

    /// Adds the value of a flag.
    #[must_use]
    pub fn flag(mut self, name: impl Into<String>, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.flags.push(Flag { name: name.into(), path: path.into(), value: value.into() });
        self
    }
}

/// All layers as one value under the schema's names.
pub(super) fn merge(file: Value, overrides: &Overrides, findings: &mut Findings) -> Value {
    let schema = Arc::clone(&findings.schema);
    let file = findings.walk(&schema, file, &Place::default()).unwrap_or_else(|| Value::Object(Map::new()));
    let mut figment = Figment::from(Layer::new("file", file));
    for (origin, target, value) in variables(overrides, findings) {
        figment = put(figment, origin, &target, value, findings);
    }
    for Flag { name, path, value } in &overrides.flags {
        let origin = format!("flag {name}");
        let Some(steps) = path::parse(path) else {
            figment = put(figment, origin, &Target::Unreadable(path.clone()), value.clone(), findings);
            continue;
        };
        let errors = findings.errors.len();
        figment = put(figment, origin.clone(), &Target::Steps(steps.clone()), value.clone(), findings);
        if findings.errors.len() == errors {
            for steps in in_writers(&steps, &values(&figment)) {
                figment = put(figment, origin.clone(), &Target::Steps(steps), value.clone(), findings);
            }
        }
    }
    values(&figment)
}

/// Where entries of `writers` have a field of their own that a flag sets for all: an entry is
/// stronger than the top level, and a flag stronger than both.
fn in_writers(steps: &[Step], all: &Value) -> Vec<Vec<Step>> {
    let entries = all.get("writers").and_then(Value::as_array).into_iter().flatten().enumerate();
    let has = |entry: &Value| {
        let found = steps.iter().try_fold(entry, |value, step| match step {
            Step::Key(name) => value.get(name),
            Step::Index(number) => value.get(*number),
        });
        found.is_some()
    };
    let own = entries.filter(|(_, entry)| has(entry));
    own.map(|(number, _)| {
        let entry = [Step::Key("writers".to_owned()), Step::Index(number)];
        entry.into_iter().chain(steps.iter().cloned()).collect()
    })
    .collect()
}

/// Lays values of one shape over one another, weakest first.
pub(super) fn overlay(layers: impl IntoIterator<Item = Value>) -> Value {
    values(&layers.into_iter().fold(Figment::new(), |figment, value| figment.merge(Layer::new("layer", value))))
}

fn values(figment: &Figment) -> Value {
    figment.extract().unwrap_or_else(|_| Value::Object(Map::new()))
}

enum Target {
    /// Steps as a flag names them.
    Steps(Vec<Step>),
    /// Words of a variable, in upper case.
    Words(Vec<String>),
    /// Not a path.
    Unreadable(String),
}

/// The variables that mean a field: Chalk's plain names first, which ours are stronger than.
fn variables(overrides: &Overrides, findings: &mut Findings) -> Vec<(String, Target, Value)> {
    let mut found: Vec<(String, Target, Value)> = Vec::new();
    for (steps, names) in plain_names(&findings.schema) {
        let mut given = names
            .iter()
            .filter_map(|name| overrides.environment.get_key_value(name))
            .filter(|(_, value)| !value.is_empty());
        let Some((name, value)) = given.next() else { continue };
        if let Some((other, second)) = given.find(|(_, second)| *second != value) {
            let problem = Problem::TwoSpellings {
                first: name.clone(),
                first_value: Value::from(&**value).to_string(),
                second: other.clone(),
                second_value: Value::from(&**second).to_string(),
            };
            findings.errors.push(ConfigError {
                path: path::join(&steps),
                origin: Some("environment variables".to_owned()),
                problem,
            });
        }
        found.push((format!("environment variable {name}"), Target::Steps(steps), Value::from(&**value)));
    }
    for (name, value) in &overrides.environment {
        if let Some(words) = name.strip_prefix(PREFIX) {
            let words = words.split("__").map(str::to_owned).collect();
            let value = match value.trim_start().as_bytes().first() {
                Some(b'{' | b'[') => serde_json::from_str(value).unwrap_or_else(|_| Value::from(&**value)),
                _ => Value::from(&**value),
            };
            found.push((format!("environment variable {name}"), Target::Words(words), value));
        }
    }
    found
}

/// Fields with plain variables: their steps, and the variables' names.
pub(super) fn plain_names(schema: &Value) -> Vec<(Vec<Step>, Vec<String>)> {
    let common = "common_persistence_specs";
    let objects = [(vec![], schema), (vec![Step::Key(common.to_owned())], &schema["properties"][common])];
    let mut names = Vec::new();
    for (steps, object) in objects {
        for (name, field) in object["properties"].as_object().into_iter().flatten() {
            if marked(field, "x-plain-env") {
                let mut to_field = steps.clone();
                to_field.push(Step::Key(name.clone()));
                let spelled = std::iter::once(name.clone()).chain(other_names(name, field));
                let upper = spelled.filter(|name| !name.contains(char::is_uppercase)).map(|n| n.to_uppercase());
                names.push((to_field, upper.collect()));
            }
        }
    }
    names
}

/// Merges one value from above the file.
fn put(figment: Figment, origin: String, target: &Target, value: Value, findings: &mut Findings) -> Figment {
    let below = values(&figment);
    findings.origin = Some(origin.clone());
    let schema = Arc::clone(&findings.schema);
    let figment = match locate(target, &below, &schema) {
        Ok((steps, node)) => {
            let at = path::join(&steps);
            let place = Place { canonical: at.clone(), given: at };
            match findings.walk(node, value, &place) {
                Some(value) => figment.merge(Layer::new(origin, nest(&steps, value, Some(&below)))),
                None => figment,
            }
        }
        Err((path, problem)) => {
            findings.errors.push(ConfigError { path, origin: findings.origin.clone(), problem });
            figment
        }
    };
    findings.origin = None;
    figment
}

/// The steps of a target by the schema's names, and what the schema says of the place.
fn locate<'a>(target: &Target, below: &Value, schema: &'a Value) -> Result<(Vec<Step>, &'a Value), (String, Problem)> {
    let words: Vec<Step> = match target {
        Target::Steps(steps) => steps.clone(),
        Target::Words(words) => words.iter().map(|word| Step::Key(word.to_lowercase())).collect(),
        Target::Unreadable(path) => {
            return Err((path.clone(), Problem::Rule("is not a path such as `writers[0].batch.max_rows`".to_owned())));
        }
    };
    let mut node = schema;
    let mut value = Some(below);
    let mut steps: Vec<Step> = Vec::new();
    for word in words {
        let at = path::join(&steps);
        if let Some(inner) = node.get("items") {
            let number = match &word {
                Step::Index(number) => Some(*number),
                Step::Key(text) => text.parse().ok(),
            };
            let length = value.and_then(Value::as_array).map_or(0, Vec::len);
            let Some(number) = number.filter(|number| *number < length) else {
                let word = path::join(&[word]);
                return Err((
                    at,
                    Problem::Rule(format!("has {length} entries, counted from 0; `{word}` is none of them")),
                ));
            };
            (node, value) = (inner, value.and_then(|value| value.get(number)));
            steps.push(Step::Index(number));
            continue;
        }
        let Step::Key(word) = word else {
            return Err((at, Problem::Rule("is not a list".to_owned())));
        };
        let name = if let Some(Value::Object(properties)) = node.get("properties") {
            let Some((name, field)) = lookup(properties, &word) else {
                let (hint, _) = unknown_key_hint(schema, properties, &word);
                return Err((path::key(&at, &word), Problem::UnknownKey { hint }));
            };
            node = field;
            name.to_owned()
        } else if let Some(inner) = node.get("additionalProperties").filter(|inner| inner.is_object()) {
            let word = if marked(node, "x-dotted") { word.replace('_', ".") } else { word };
            node = inner;
            let known = value.and_then(Value::as_object).and_then(|entries| {
                entries
                    .keys()
                    .find(|key| **key == word)
                    .or_else(|| entries.keys().find(|key| key.eq_ignore_ascii_case(&word)))
            });
            known.cloned().unwrap_or(word)
        } else {
            return Err((at, Problem::Rule(format!("is a single value and has no `{word}`"))));
        };
        value = value.and_then(|value| value.get(&name));
        steps.push(Step::Key(name));
    }
    Ok((steps, node))
}

/// A value at the end of its steps. A merge replaces a list whole, so one that is reached into is carried along.
fn nest(steps: &[Step], value: Value, below: Option<&Value>) -> Value {
    match steps.split_first() {
        None => value,
        Some((Step::Key(name), rest)) => {
            let inner = nest(rest, value, below.and_then(|below| below.get(name)));
            Value::Object(Map::from_iter([(name.clone(), inner)]))
        }
        Some((Step::Index(number), rest)) => {
            let mut items = below.and_then(Value::as_array).cloned().unwrap_or_default();
            if let Some(item) = items.get_mut(*number) {
                let inner = nest(rest, value, Some(&*item));
                *item = overlay([item.take(), inner]);
            }
            Value::Array(items)
        }
    }
}

struct Layer {
    name: String,
    value: Value,
}

impl Layer {
    fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Profiles<Profile, Dict>, figment::Error> {
        let dict = figment::value::Value::serialize(&self.value)?.into_dict().unwrap_or_default();
        Ok(Profiles::from([(Profile::Default, dict)]))
    }
}
