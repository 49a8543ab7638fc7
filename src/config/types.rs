//! What the command `types` shows: each writer type, and whether this version has it.

use std::fmt::Write;

use serde::Serialize;

use super::registry::Registry;
use crate::writer_type::{TypeInfo, WriterType};

/// A writer type as it is listed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListedType {
    /// What is fixed about it.
    #[serde(flatten)]
    pub info: &'static TypeInfo,
    /// Whether this version runs it.
    pub works: bool,
    /// What it guarantees, where it does.
    pub guarantee: Option<&'static str>,
}

/// Every type, in the order of the documentation.
pub fn types(registry: &Registry) -> Vec<ListedType> {
    let listed = |known: WriterType| ListedType {
        info: known.info(),
        works: registry.runs(known),
        guarantee: registry.guarantees.get(&known).copied(),
    };
    WriterType::ALL.map(listed).to_vec()
}

/// The types for a terminal, one paragraph each.
pub fn types_text(registry: &Registry) -> String {
    let mut text = String::new();
    for ListedType { info, guarantee, .. } in types(registry) {
        let parts = [
            ("reads", Some(info.reads)),
            ("publishes to", info.publishes),
            ("republishes", info.republishes),
            ("store", info.store),
            ("also named", info.aliases.first().copied()),
            ("guarantee", guarantee),
        ];
        let _ = write!(text, "{} ({})\n  {}\n", info.name, registry.state(info.writer_type()), info.summary);
        let messages = info.messages.iter().map(|message| message.as_str()).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  {:<13} {messages}", "messages");
        for (title, part) in parts {
            if let Some(part) = part {
                let _ = writeln!(text, "  {title:<13} {part}");
            }
        }
        text.push('\n');
    }
    text.push_str("A prefix GO_, PYTHON_ or RUST_ before a name changes nothing.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::root;

    #[test]
    fn every_field_that_a_type_names_exists() {
        let common = root()["properties"]["common_persistence_specs"]["properties"].clone();
        let environment = root()["properties"]["environments"]["additionalProperties"]["properties"].clone();
        for known in WriterType::ALL.map(WriterType::info) {
            for field in
                [Some(known.reads), known.reads_topic, known.publishes, known.republishes].into_iter().flatten()
            {
                assert!(common[field].is_object(), "{field}");
            }
            assert!(known.store.is_none_or(|store| environment[store].is_object()));
        }
    }

    #[test]
    fn the_list_shows_every_type_and_which_of_them_work() {
        let registry = Registry { writers: vec![WriterType::METRICS], ..Registry::default() };
        let text = types_text(&registry);
        for known in WriterType::ALL {
            let state = if known == WriterType::METRICS { "works" } else { "not in this version" };
            assert!(text.contains(&format!("{known} ({state})\n")), "{text}");
        }
    }
}
