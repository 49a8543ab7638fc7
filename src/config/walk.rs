//! Checks a value against the schema, all of it, and makes one spelling out of every name.
//!
//! What is wrong is found and left out, so that the rest can still be judged; the raw types are
//! then made from what is left and cannot fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::errors::{ConfigError, Problem};
use super::found::{found, found_type};
use super::leaf::kind;
use super::path;
use super::schema::{camel_case, marked, other_names, strings};
use crate::nearest::nearest;

/// Where a value stands: by the names of the schema, and as the file spells it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// With the schema's names.
    pub(super) canonical: String,
    /// As it was given.
    pub(super) given: String,
}

/// A field that is given and that only some types of writers use.
#[derive(Clone, Debug)]
pub(super) struct ReadBy {
    /// Where it stands.
    pub(super) place: Place,
    /// Names of those types.
    pub(super) types: Vec<String>,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What is checked against.
    pub(super) schema: Arc<Value>,
    /// Everything that is wrong.
    pub(super) errors: Vec<ConfigError>,
    /// Paths, by the schema's names, of values that were wrong or of an unknown name near them.
    pub(super) wrong: BTreeSet<String>,
    /// Fields that are known and not used.
    pub(super) unused: BTreeSet<String>,
    /// Fields that only some types of writers use.
    pub(super) read_by: Vec<ReadBy>,
    /// Deprecated spellings in use, with what replaces them.
    pub(super) deprecated: BTreeMap<String, String>,
    /// Fields in use that Chalk has no use for any more.
    pub(super) retired: Vec<Place>,
    /// Paths that the file spells differently, by the schema's names.
    pub(super) spelled: BTreeMap<String, String>,
    /// Whose values are being walked; `None` is the file.
    pub(super) origin: Option<String>,
}

impl Findings {
    /// Checks a value; `None` where nothing of it is left.
    pub(super) fn walk(&mut self, node: &Value, value: Value, place: &Place) -> Option<Value> {
        if value.is_null() || value.as_str().is_some_and(str::is_empty) && node.get("x-kind").is_some() {
            return None; // proto3 writes what is not given as null or as empty text
        }
        if let Some(kind) = node.get("x-kind").and_then(Value::as_str).and_then(kind) {
            return match (kind.check)(&value) {
                Ok(()) => Some(value),
                Err(problem) => {
                    self.wrong(place, hide(problem, node, &value));
                    None
                }
            };
        }
        if let Some(Value::Object(properties)) = node.get("properties") {
            return self.object(properties, node, value, place);
        }
        if let Some(inner) = node.get("additionalProperties").filter(|inner| inner.is_object()) {
            return self.map(inner, node, value, place);
        }
        if let Some(inner) = node.get("items") {
            return self.list(inner, value, place);
        }
        Some(value)
    }

    fn object(&mut self, properties: &Map<String, Value>, node: &Value, value: Value, place: &Place) -> Option<Value> {
        let Value::Object(entries) = value else { return self.expected("an object", &value, place) };
        let mut read: Map<String, Value> = Map::new();
        let mut first: BTreeMap<&str, String> = BTreeMap::new();
        let mut meant = Vec::new();
        for (key, value) in entries {
            let given = path::key(&place.given, &key);
            let Some((name, field)) = lookup(properties, &key) else {
                meant.extend(self.unknown_key(properties, &key, given));
                continue;
            };
            let at = Place { canonical: path::key(&place.canonical, name), given };
            if marked(field, "x-unused") && !value.is_null() {
                self.unused.insert(at.given.clone());
            }
            let types = strings(field, "x-read-by").into_iter().map(str::to_owned).collect::<Vec<_>>();
            if !types.is_empty() && !value.is_null() {
                self.read_by.push(ReadBy { place: at.clone(), types });
            }
            if strings(field, "x-deprecated").iter().any(|old| *old == key || camel_case(old) == key) {
                self.deprecated.insert(at.given.clone(), format!("use `{name}`"));
            } else if marked(field, "deprecated") {
                self.retired.push(at.clone());
            }
            let secret = marked(node, "x-secret");
            let Some(value) = self.walk(field, value, &at) else { continue };
            match (read.remove(name), first.get(name)) {
                (Some(other), Some(earlier)) => {
                    let earlier = Place { canonical: at.canonical.clone(), given: earlier.clone() };
                    let joined = self.join(field, (other, &earlier), (value, &at), secret);
                    read.insert(name.to_owned(), joined);
                }
                _ => {
                    if at.given != at.canonical {
                        self.spelled.insert(at.canonical.clone(), at.given.clone());
                    }
                    first.insert(name, at.given);
                    read.insert(name.to_owned(), value);
                }
            }
        }
        // What is misspelt is not missing too.
        let misspelt = meant.into_iter().filter(|name| !read.contains_key(name));
        self.wrong.extend(misspelt.map(|name| path::key(&place.canonical, &name)));
        Some(Value::Object(read))
    }

    /// One value out of two spellings of one field.
    fn join(&mut self, node: &Value, one: (Value, &Place), other: (Value, &Place), secret: bool) -> Value {
        let secret = secret || marked(node, "x-secret");
        match (one.0, other.0) {
            (Value::Object(mut left), Value::Object(right)) => {
                for (key, value) in right {
                    let field = node.get("properties").and_then(|properties| properties.get(&key)).unwrap_or(node);
                    let below = |place: &Place| Place {
                        canonical: path::key(&place.canonical, &key),
                        given: path::key(&place.given, &key),
                    };
                    let value = match left.remove(&key) {
                        Some(earlier) => self.join(field, (earlier, &below(one.1)), (value, &below(other.1)), secret),
                        None => value,
                    };
                    left.insert(key, value);
                }
                Value::Object(left)
            }
            (left, right) => {
                let kind = node.get("x-kind").and_then(Value::as_str).and_then(kind);
                let same = kind.map_or_else(|| left == right, |kind| (kind.same)(&left, &right));
                if !same {
                    let show = if secret { found_type } else { found };
                    let problem = Problem::TwoSpellings {
                        first: one.1.given.clone(),
                        first_value: show(&left),
                        second: other.1.given.clone(),
                        second_value: show(&right),
                    };
                    self.errors.push(ConfigError { path: String::new(), origin: self.origin.clone(), problem });
                }
                left
            }
        }
    }

    fn map(&mut self, inner: &Value, node: &Value, value: Value, place: &Place) -> Option<Value> {
        let Value::Object(entries) = value else { return self.expected("an object", &value, place) };
        let secret = marked(node, "x-secret");
        let mut read = Map::new();
        for (key, value) in entries {
            let at = Place { canonical: path::key(&place.canonical, &key), given: path::key(&place.given, &key) };
            let shown = secret.then(|| found_type(&value));
            let errors = self.errors.len();
            if let Some(value) = self.walk(inner, value, &at) {
                read.insert(key, value);
            }
            if let (Some(shown), Some(ConfigError { problem: Problem::WrongValue { found, .. }, .. })) =
                (shown, self.errors.get_mut(errors))
            {
                *found = shown;
            }
        }
        Some(Value::Object(read))
    }

    fn list(&mut self, inner: &Value, value: Value, place: &Place) -> Option<Value> {
        let Value::Array(items) = value else { return self.expected("a list", &value, place) };
        let read = items.into_iter().enumerate().map(|(number, item)| {
            let at =
                Place { canonical: path::index(&place.canonical, number), given: path::index(&place.given, number) };
            let empty = if inner.get("properties").is_some() { Value::Object(Map::new()) } else { Value::Null };
            self.walk(inner, item, &at).unwrap_or(empty) // keeps the numbers of those behind it
        });
        Some(Value::Array(read.collect()))
    }

    fn expected(&mut self, expected: &str, value: &Value, place: &Place) -> Option<Value> {
        self.wrong(place, Problem::WrongValue { expected: expected.to_owned(), found: found_type(value) });
        None
    }

    fn wrong(&mut self, place: &Place, problem: Problem) {
        self.wrong.insert(place.canonical.clone());
        self.errors.push(ConfigError { path: place.given.clone(), origin: self.origin.clone(), problem });
    }

    /// Adds the error; returns the field that was probably meant.
    fn unknown_key(&mut self, properties: &Map<String, Value>, key: &str, given: String) -> Option<String> {
        let (hint, meant) = unknown_key_hint(&self.schema, properties, key);
        self.errors.push(ConfigError {
            path: given,
            origin: self.origin.clone(),
            problem: Problem::UnknownKey { hint },
        });
        meant
    }
}

/// The field of a name in any of its spellings.
pub(super) fn lookup<'a>(properties: &'a Map<String, Value>, key: &str) -> Option<(&'a str, &'a Value)> {
    properties
        .get_key_value(key)
        .or_else(|| properties.iter().find(|(name, field)| other_names(name, field).iter().any(|other| other == key)))
        .map(|(name, field)| (name.as_str(), field))
}

/// What to say of a key that its object does not have, and which of the object's fields was probably meant.
pub(super) fn unknown_key_hint(schema: &Value, properties: &Map<String, Value>, key: &str) -> (String, Option<String>) {
    let elsewhere = places_of(schema, key);
    if !elsewhere.is_empty() {
        return (format!("it belongs under {}", elsewhere.join(" or ")), None);
    }
    let others: Vec<(String, &str)> = properties
        .iter()
        .flat_map(|(name, field)| {
            std::iter::once(name.clone()).chain(other_names(name, field)).map(move |other| (other, name.as_str()))
        })
        .collect();
    match nearest(key, others.iter().map(|(other, _)| other.as_str())) {
        Some(near) => {
            let meant = others.iter().find(|(other, _)| other == near).map(|(_, name)| (*name).to_owned());
            (format!("did you mean `{near}`?"), meant)
        }
        None => {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            (format!("known are {}", known.join(", ")), None)
        }
    }
}

/// Paths of objects that have a field of this name.
fn places_of(schema: &Value, key: &str) -> Vec<String> {
    fn search(node: &Value, at: &str, key: &str, found: &mut Vec<String>) {
        if let Some(Value::Object(properties)) = node.get("properties") {
            if lookup(properties, key).is_some() {
                found.push(if at.is_empty() { "the top level".to_owned() } else { format!("`{at}`") });
            }
            for (name, field) in properties {
                search(field, &path::key(at, name), key, found);
            }
        }
        if let Some(inner) = node.get("items") {
            search(inner, &format!("{at}[]"), key, found);
        }
        if let Some(inner) = node.get("additionalProperties") {
            search(inner, &format!("{at}.<id>"), key, found);
        }
    }
    let mut found = Vec::new();
    search(schema, "", key, &mut found);
    found.truncate(3);
    found
}

/// Takes the value out of a message about a secret field.
fn hide(problem: Problem, node: &Value, value: &Value) -> Problem {
    match problem {
        Problem::WrongValue { expected, .. } if marked(node, "x-secret") => {
            Problem::WrongValue { expected, found: found_type(value) }
        }
        problem => problem,
    }
}
