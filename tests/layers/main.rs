//! Who may import whom: reads the `crate::` paths of every source file and refuses an edge that is
//! not in the table; and that no files import one another.

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chalk_writer::bus::BUSES;

/// Each module of the crate with those that it may use. From the bottom up: data, then traits, then
/// buses and stores, then the runtime, then the writers that put them together, then the commands.
const MAY_USE: &[(&str, &[&str])] = &[
    ("nearest", &[]),
    ("panics", &[]),
    ("proto", &[]),
    ("sink", &[]),
    ("sketch", &[]),
    ("tls", &[]),
    ("causes", &[]),
    ("cut", &[]),
    ("google", &["causes"]),
    ("secrets", &["causes", "google"]),
    ("http", &["causes", "tls"]),
    ("value", &["cut", "sink"]),
    ("row", &["proto", "sink", "value"]),
    ("message", &["cut", "sink", "value"]),
    ("writer_type", &["message", "nearest"]),
    ("config", &["google", "nearest", "secrets", "value", "writer_type"]),
    ("decode", &["message", "sink"]),
    ("result", &["cut", "message", "panics", "proto", "sink", "value"]),
    ("generate", &["message", "proto", "result", "sketch", "value"]),
    ("insert", &["causes", "cut", "panics", "result", "row", "sink", "value"]),
    ("bus", &["causes", "config", "google", "http", "message", "panics", "tls"]),
    ("mirror", &["config", "http", "proto", "result", "sink", "sketch", "tls", "value"]),
    ("store", &["causes", "config", "insert", "row", "sink", "sketch", "tls", "value"]),
    ("metadata", &["causes", "config", "proto", "store", "tls"]),
    ("dead_letter", &["cut", "message", "sink", "value"]),
    // Never a backend: only the traits of buses, decoders and sinks.
    ("runtime", &["bus", "dead_letter", "decode", "message", "sink", "value"]),
    ("telemetry", &["bus", "message", "panics", "runtime"]),
    // The only place that names concrete decoders, rows and stores together.
    (
        "writer",
        &[
            "bus",
            "config",
            "dead_letter",
            "decode",
            "insert",
            "message",
            "mirror",
            "proto",
            "result",
            "row",
            "runtime",
            "sink",
            "sketch",
            "store",
            "value",
            "writer_type",
        ],
    ),
    (
        "cli",
        &[
            "bus",
            "config",
            "dead_letter",
            "generate",
            "message",
            "metadata",
            "result",
            "row",
            "runtime",
            "sink",
            "store",
            "telemetry",
            "value",
            "writer",
        ],
    ),
];

/// Modules that work with any bus, and so may name none.
const OF_ANY_BUS: &[&str] = &["runtime", "telemetry", "writer"];

/// The folders of the buses, as the registry names them.
fn buses() -> Vec<String> {
    BUSES.iter().map(|kind| kind.name.to_lowercase()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names after `crate::` in a file, outside comments.
fn uses(text: &str) -> BTreeSet<String> {
    named_after("crate::", text)
}

/// The names after a part of a path, outside comments.
fn named_after(part: &str, text: &str) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split(part).skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<(&str, &str)> =
        MAY_USE.iter().flat_map(|(module, uses)| uses.iter().map(|used| (*module, *used))).collect();
    for file in files {
        let relative = file.strip_prefix(&root).expect("under src").display().to_string();
        let module = relative.split(['/', '.']).next().expect("a first part").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = table.get(module.as_str()) else {
            wrong.push(format!("{relative}: `{module}` is not in the table"));
            continue;
        };
        let text = fs::read_to_string(&file).expect("a source file");
        if text.contains("crate::{") {
            wrong.push(format!("{relative}: `crate::{{` hides edges; write one `use` a module"));
        }
        for used in uses(&text) {
            unused.retain(|edge| *edge != (module.as_str(), used.as_str()));
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{relative}: `{module}` may not use `{used}`"));
            }
        }
        if OF_ANY_BUS.contains(&module.as_str()) {
            let named = named_after("bus::", &text);
            let known = buses().into_iter().filter(|bus| named.contains(bus));
            wrong.extend(known.map(|bus| format!("{relative}: `{module}` is of any bus and may not use `bus::{bus}`")));
        }
    }
    wrong.extend(unused.iter().map(|(module, used)| format!("`{module}` does not use `{used}`: take it away")));
    assert!(wrong.is_empty(), "edges that are not in the table of tests/layers:\n{}", wrong.join("\n"));
}

#[test]
fn each_bus_has_a_folder_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bus");
    let missing: Vec<String> = buses().into_iter().filter(|bus| !root.join(bus).is_dir()).collect();
    assert!(missing.is_empty(), "{missing:?}: the rule of modules of any bus looks for these names");
}

#[test]
fn the_table_has_no_cycle() {
    let mut settled = BTreeSet::new();
    loop {
        let next: Vec<&str> = MAY_USE
            .iter()
            .filter(|(module, uses)| !settled.contains(module) && uses.iter().all(|used| settled.contains(used)))
            .map(|(module, _)| *module)
            .collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    let stuck: Vec<&str> =
        MAY_USE.iter().map(|(module, _)| *module).filter(|module| !settled.contains(module)).collect();
    assert!(stuck.is_empty(), "these use one another in a circle: {stuck:?}");
}
