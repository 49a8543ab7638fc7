//! Environment variables whose names say that they are meant for this program, and that nothing reads.
//!
//! `CHALK_WRITER_BATCH__MAX_AGE`, with one underscore too few, would be passed over like any other program's. It is
//! warned of and not refused: whoever names a Service of Kubernetes `chalk-writer` has every pod beside it
//! started with variables that begin so, and those are not warned of either.

use std::collections::BTreeMap;

use serde_json::Value;

use super::layers::{PREFIX, plain_names};
use super::schema::root;
use super::warning::Warning;
use crate::nearest::nearest;

/// How the names of all of them begin, without underscores.
const OURS: &str = "CHALKWRITER";

/// What is read elsewhere: by the build, by the developer's script and by the tests.
const KNOWN: [&str; 3] = ["CHALK_WRITER_CACHE", "CHALK_WRITER_REVISION", "CHALK_WRITER_TEST_"];

/// A warning of each, with the variable that was probably meant.
pub(super) fn strays(environment: &BTreeMap<String, String>) -> Vec<Warning> {
    let is_stray = |name: &str| {
        !name.starts_with(PREFIX)
            && bare(name).starts_with(OURS)
            && !KNOWN.iter().any(|known| name.starts_with(known))
            && !is_of_a_service(name)
    };
    let strays: Vec<&String> = environment.keys().filter(|name| is_stray(name)).collect();
    if strays.is_empty() {
        return Vec::new();
    }
    let known = variables();
    let warning = |name: &&String| {
        let meant = bare(name);
        let meant = meant.strip_prefix(OURS).unwrap_or_default();
        let near = nearest(meant, known.keys().map(String::as_str)).and_then(|near| known.get(near));
        let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let message = format!("is not read; {hint}this program's begin with `{PREFIX}` and have `__` between levels");
        Warning { path: format!("environment variable {name}"), message }
    };
    strays.iter().map(warning).collect()
}

/// A name without underscores and in upper case: what is left of it when they are the mistake.
fn bare(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_uppercase()).collect()
}

/// Whether Kubernetes makes it of a Service whose name begins as this program's: `CHALK_WRITER_SERVICE_HOST`,
/// `CHALK_WRITER_ONLINE_PORT_9090_TCP_ADDR`.
fn is_of_a_service(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(numbered)
}

/// Variables that reach a field outside of lists and maps, by their bare names without the prefix.
fn variables() -> BTreeMap<String, String> {
    fn search(node: &Value, steps: &mut Vec<String>, found: &mut BTreeMap<String, String>) {
        for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
            steps.push(name.to_uppercase());
            found.insert(bare(&steps.join("")), format!("{PREFIX}{}", steps.join("__")));
            search(field, steps, found);
            steps.pop();
        }
    }
    let mut found = BTreeMap::new();
    search(root(), &mut Vec::new(), &mut found);
    for name in plain_names(root()).into_iter().flat_map(|(_, names)| names) {
        found.entry(bare(&name)).or_insert(name);
    }
    found
}
