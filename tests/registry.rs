//! What is known of the writers in several places says the same in all of them: the registry, the README's table,
//! the pages of the documentation, the examples of configurations, the schema, the list of messages.
//!
//! A writer that is registered and missing in one of them fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chalk_writer::config;
use chalk_writer::writer::{self, Facts, WRITERS, WriterType};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn registered() -> impl Iterator<Item = &'static Facts> {
    WRITERS.iter().map(|writer| writer.facts())
}

/// Whether all nine are there; until then those that are not must be called so.
fn absent() -> BTreeSet<WriterType> {
    WriterType::ALL.into_iter().filter(|known| writer::find(*known).is_none()).collect()
}

/// The types that a text names between backquotes.
fn named(text: &str) -> Vec<WriterType> {
    let names: BTreeMap<&str, WriterType> = WriterType::ALL.into_iter().map(|known| (known.as_str(), known)).collect();
    text.split('`').skip(1).step_by(2).filter_map(|name| names.get(name).copied()).collect()
}

/// The lines of the README's table of writers.
fn rows() -> Vec<String> {
    let readme = text("README.md");
    let (_, rest) = readme.split_once("<!-- the table of writers -->").expect("where the table begins");
    let (table, _) = rest.split_once("<!-- end -->").expect("where the table ends");
    table.trim().lines().skip(2).map(str::to_owned).collect()
}

/// The page of a writer, as the README's table links it.
fn page(of: WriterType) -> PathBuf {
    let rows = rows();
    let row = rows.iter().find(|row| named(row.split('|').nth(1).unwrap_or_default()) == [of]);
    let row = row.unwrap_or_else(|| panic!("the README's table has no line of {of} alone"));
    let link = row.split("](").nth(1).and_then(|rest| rest.split_once(')')).map(|(link, _)| link);
    let link = link.filter(|link| link.starts_with("docs/writers/"));
    PathBuf::from(link.unwrap_or_else(|| panic!("the README's line of {of} links no page in docs/writers")))
}

/// A text as one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_has_a_line_of_each_writer_and_says_which_are_still_to_come() {
    let mut told = BTreeMap::new();
    for row in rows() {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [writers, what, state] = cells[..] else { panic!("three cells: {row}") };
        for writer in named(writers) {
            assert!(told.insert(writer, state.to_owned()).is_none(), "{writer} has two lines");
            if state == "works" {
                assert!(!what.is_empty(), "what {writer} does");
            }
        }
    }
    for known in WriterType::ALL {
        let state = told.get(&known).unwrap_or_else(|| panic!("the README's table does not name {known}"));
        assert_eq!(state == "works", !absent().contains(&known), "{known}: {state}");
    }
}

#[test]
fn each_writer_has_its_page_with_its_guarantee_and_all_that_it_reads_and_names() {
    let mut pages = BTreeSet::new();
    for Facts { writer_type, guarantee, .. } in registered() {
        let page = page(*writer_type);
        let (text, info) = (text(&page), writer_type.info());
        let page = page.display().to_string();
        for part in ["## What it reads", "## What it writes", "## Guarantee", "## Settings", "## Limits"] {
            assert!(text.lines().any(|line| line == part), "{page} has no part `{part}`");
        }
        let mut words = vec![info.name, info.reads];
        words.extend(info.messages.iter().map(|message| message.as_str()));
        words.extend(info.reads_topic.into_iter().chain(info.publishes).chain(info.store));
        for word in words {
            assert!(text.contains(&format!("`{word}`")), "{page} does not name `{word}`");
        }
        let unquoted = flat(&text).replace('`', "").to_lowercase();
        assert!(unquoted.contains(&guarantee.replace('`', "").to_lowercase()), "{page} does not say: {guarantee}");
        pages.insert(page);
    }
    let there = std::fs::read_dir(root().join("docs/writers")).expect("a folder of pages");
    let there = there.map(|entry| format!("docs/writers/{}", entry.expect("an entry").file_name().display()));
    let unlinked: Vec<_> = there.filter(|page| !pages.contains(page)).collect();
    assert!(unlinked.is_empty(), "pages of no writer: {unlinked:?}");
}

#[test]
fn each_writer_is_in_an_example_and_one_example_has_them_all() {
    let mut examples = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("config")).expect("a folder of examples") {
        let path = entry.expect("an entry").path();
        let file: serde_json::Value = serde_json::from_str(&text(&path)).expect("JSON");
        let writers = file["writers"].as_array().expect("writers").iter();
        let of = |writer: &serde_json::Value| writer["bus_subscriber_type"].as_str().expect("a type").parse();
        let writers: Result<BTreeSet<WriterType>, _> = writers.map(of).collect();
        examples.insert(path.file_name().expect("a name").to_owned(), writers.expect("known types"));
    }
    let plant = examples.remove(std::ffi::OsStr::new("plant.json")).expect("config/plant.json");
    for Facts { writer_type, .. } in registered() {
        assert!(plant.contains(writer_type), "config/plant.json has no {writer_type}");
        let of_its_own = examples.values().any(|writers| writers.contains(writer_type));
        assert!(of_its_own, "no example of config/ but plant.json has {writer_type}");
    }
}

#[test]
fn each_writer_reads_what_the_list_of_messages_says() {
    let list = text("proto/README.md");
    let (_, list) = list.split_once("\n## Types\n").expect("the types of messages");
    let (table, _) = list.split_once("\n## ").expect("what comes after them");
    let mut readers: BTreeMap<String, BTreeSet<WriterType>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        for message in cells[0].split('`').skip(1).step_by(2) {
            readers.insert(message.to_owned(), named(cells[3]).into_iter().collect());
        }
    }
    for known in WriterType::ALL {
        let reads: BTreeSet<&str> = known.info().messages.iter().map(|message| message.as_str()).collect();
        for (message, readers) in &readers {
            let reads = reads.contains(message.as_str());
            assert_eq!(readers.contains(&known), reads, "proto/README.md: whether {known} reads {message}");
        }
        let unlisted: Vec<_> = reads.into_iter().filter(|message| !readers.contains_key(*message)).collect();
        assert!(unlisted.is_empty(), "proto/README.md does not list {unlisted:?}");
    }
}

#[test]
fn what_the_program_lists_is_the_registry() {
    let registry = writer::registry();
    for listed in config::types(&registry) {
        let facts = registered().find(|facts| facts.writer_type == listed.info.writer_type());
        assert_eq!(listed.works, facts.is_some(), "{}", listed.info.name);
        assert_eq!(listed.guarantee, facts.map(|facts| facts.guarantee), "{}", listed.info.name);
    }
    let shown = config::types_text(&registry);
    for Facts { writer_type, guarantee, .. } in registered() {
        assert!(shown.contains(&format!("{writer_type} (works)")) && shown.contains(guarantee), "{writer_type}");
    }
    let schema = config::schema(&registry);
    let common = &schema["properties"]["common_persistence_specs"]["properties"];
    let environment = &schema["properties"]["environments"]["additionalProperties"]["properties"];
    for info in WriterType::ALL.map(WriterType::info) {
        for field in [Some(info.reads), info.reads_topic, info.publishes].into_iter().flatten() {
            assert!(common[field].is_object(), "the schema has no `{field}`, which {} names", info.name);
        }
        assert!(info.store.is_none_or(|store| environment[store].is_object()), "the store of {}", info.name);
    }
}

/// The parts of the example, from one heading to the next.
fn parts(example: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in example.lines() {
        match parts.last_mut() {
            _ if line.starts_with("// --- ") => parts.push(String::new()),
            Some(part) => *part += &format!("{line}\n"),
            None => {}
        }
    }
    parts
}

#[test]
fn the_page_of_a_tenth_writer_has_the_code_of_the_example() {
    let (page, example) = (text("docs/adding-a-writer.md"), text("examples/tenth_writer.rs"));
    let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    let parts = parts(&example);
    assert_eq!(parts.iter().map(|part| part.trim()).collect::<Vec<_>>(), blocks);
    assert_eq!(parts.len(), 6, "each part of the example");
}

#[test]
fn the_page_of_a_new_store_has_the_descriptions_that_there_are_and_the_list() {
    let page = text("docs/adding-a-store.md");
    let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    let [smallest, with_settings, list] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    assert_eq!(smallest, text("src/store/stores/blackhole.rs").trim());
    assert_eq!(with_settings, text("src/store/stores/redis.rs").trim());
    assert!(text("src/store/stores/mod.rs").contains(list));
}

#[test]
fn the_readme_has_every_scheme_of_every_store() {
    let readme = text("README.md");
    for store in chalk_writer::store::STORES {
        // The second name of Postgres is libpq's.
        for scheme in store.schemes.iter().filter(|scheme| **scheme != "postgresql") {
            assert!(
                readme.contains(&format!("`{scheme}:")),
                "README.md does not have `{scheme}:`, a scheme of {}",
                store.name
            );
        }
    }
}
