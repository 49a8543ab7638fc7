//! Makes the tuning of one writer: defaults, the file's top level, the writer's own entry.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::errors::Problem;
use super::found::found;
use super::layers::overlay;
use super::leaf::{Given, Leaf, Memory};
use super::raw::{RawTuning, RawWriter, get};
use super::schema;
use super::settings::Tuning;
use super::units::show_size;
use super::{defaults, memory};
use crate::writer_type::WriterType;

/// Assumed where neither a control group nor the machine says how much memory there is.
const UNKNOWN_MEMORY: u64 = 512 << 20;

/// A tuning, and what else the tuning's fields say.
#[derive(Clone, Debug)]
pub(super) struct Tuned {
    pub(super) tuning: Tuning,
    pub(super) listen: Option<String>,
    pub(super) skip_offline_writes_for_online_cached_features: bool,
    /// Rules that are broken, by path below the writer.
    pub(super) errors: Vec<(&'static str, Problem)>,
    /// Settings that contradict each other.
    pub(super) warnings: Vec<(&'static str, String)>,
}

/// So many bad messages in a row are no limit any more.
const NEVER_IN_A_ROW: u64 = 10_000;

/// Memory of this machine or container, in bytes.
pub(super) fn machine_memory() -> u64 {
    memory::limit(Path::new("/sys/fs/cgroup"), Path::new("/proc")).unwrap_or(UNKNOWN_MEMORY)
}

/// The tuning of a writer from the whole file and from its entry.
pub(super) fn tune(writer_type: WriterType, file: &Value, entry: &Value, raw: &RawWriter, machine: u64) -> Tuned {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut own = fields(entry);
    if let (Some(rows), Value::Object(own)) = (entry.get("max_batch_size"), &mut own) {
        let batch = own.entry("batch").or_insert_with(|| Value::Object(Map::new()));
        match batch.get("max_rows") {
            None => batch["max_rows"] = rows.clone(),
            Some(other) if read::<std::num::NonZeroUsize>(other) != get(raw.max_batch_size.as_ref()) => {
                let problem = Problem::TwoSpellings {
                    first: "max_batch_size".to_owned(),
                    first_value: found(rows),
                    second: "batch.max_rows".to_owned(),
                    second_value: found(other),
                };
                errors.push(("max_batch_size", problem));
            }
            Some(_) => {}
        }
    }
    let given = overlay([fields(file), own]);
    let bytes_given = given.pointer("/batch/max_bytes").is_some();
    let all = overlay([defaults::layer(writer_type), given]);
    let raw_tuning = RawTuning::deserialize(&all).unwrap_or_default();

    let parts = writer_type.info().in_flight + 2;
    let limit = need(raw_tuning.memory_limit.as_ref());
    let limit_given = matches!(limit, Memory::Bytes(_));
    let memory_limit = match limit {
        Memory::Bytes(bytes) => bytes,
        Memory::Auto => memory::share(machine).min(writer_type.info().auto_memory_most) as usize,
    };
    let wanted = need(raw_tuning.batch.max_bytes.as_ref()).0;
    let batch_max_bytes = if bytes_given { wanted } else { wanted.min(memory_limit / parts).max(1) };
    if batch_max_bytes.saturating_mul(parts) > memory_limit {
        let text = format!(
            "{parts} batches of {} may be held at once, more than the memory limit of {}; lower `batch.max_bytes` or \
             raise `memory_limit`",
            show_size(batch_max_bytes as u64),
            show_size(memory_limit as u64)
        );
        // Of a limit that the machine sets nobody can know beforehand.
        if limit_given {
            errors.push(("batch.max_bytes", Problem::Rule(text)));
        } else {
            warnings.push(("batch.max_bytes", text));
        }
    }
    let dlq_max_ratio = need(raw_tuning.dlq.max_ratio.as_ref()).0;
    let dlq_max_consecutive = usize::from(need(raw_tuning.dlq.max_consecutive.as_ref())) as u64;
    if dlq_max_ratio >= 1.0 && dlq_max_consecutive >= NEVER_IN_A_ROW {
        warnings.push((
            "dlq.max_ratio",
            format!(
                "no number of bad messages stops this writer (`max_ratio` {dlq_max_ratio}, `max_consecutive` \
                 {dlq_max_consecutive}): where a producer or the configuration is wrong, every message becomes a dead letter"
            ),
        ));
    }
    let max_message_bytes = need(raw_tuning.max_message_bytes.as_ref()).0;
    let unpacking = (max_message_bytes as u64).saturating_mul(2);
    if unpacking > machine.saturating_sub(memory_limit as u64) {
        warnings.push((
            "max_message_bytes",
            format!(
                "a compressed message may take {} while it is unpacked (twice `max_message_bytes`: the body, and the \
                 window it is made in), beside the memory limit of {}, and there are {} in all; lower \
                 `max_message_bytes` or give it more memory",
                show_size(unpacking),
                show_size(memory_limit as u64),
                show_size(machine)
            ),
        ));
    }
    let (first, longest) = (need(raw_tuning.retry.first_pause.as_ref()), need(raw_tuning.retry.max_pause.as_ref()));
    if first > longest || first.is_zero() {
        let text = "`first_pause` is above 0 and no longer than `max_pause`".to_owned();
        errors.push(("retry.first_pause", Problem::Rule(text)));
    }
    let (park_after, parking_topic) = (get(raw_tuning.park_after.as_ref()), get(raw_tuning.parking_topic.as_ref()));
    if park_after.is_some_and(|after| after.is_zero()) {
        let text = "is above 0: each store is tried before anything is moved aside".to_owned();
        errors.push(("park_after", Problem::Rule(text)));
    }
    match (park_after, &parking_topic) {
        (Some(_), None) => {
            let text = "needs `parking_topic`: messages for a destination that is away are kept there".to_owned();
            errors.push(("park_after", Problem::Rule(text)));
        }
        (None, Some(_)) => {
            warnings.push((
                "parking_topic",
                "is not used without `park_after`; a destination that is away is waited for".to_owned(),
            ));
        }
        _ => {}
    }
    if park_after.is_some() && [WriterType::METRICS, WriterType::QUERY_MIRROR].contains(&writer_type) {
        let text = format!(
            "is for writers with stores; {} publishes, and a bus that is away is waited for",
            writer_type.as_str()
        );
        errors.push(("park_after", Problem::Rule(text)));
    }
    let concurrency = get(raw.message_processing_concurrency.as_ref())
        .map_or_else(|| defaults::of("message_processing_concurrency", writer_type).parse().unwrap_or(1), usize::from);
    Tuned {
        tuning: Tuning {
            batch_max_rows: need(raw_tuning.batch.max_rows.as_ref()).into(),
            batch_max_bytes,
            batch_max_age: need(raw_tuning.batch.max_age.as_ref()),
            concurrency,
            memory_limit,
            retry_max_pause: longest,
            retry_first_pause: first,
            dlq_max_ratio,
            dlq_max_consecutive,
            drain_timeout: need(raw_tuning.drain_timeout.as_ref()),
            max_future_skew: need(raw_tuning.max_future_skew.as_ref()),
            tombstone_retention: need(raw_tuning.tombstone_retention.as_ref()),
            max_message_bytes,
            on_gap: need(raw_tuning.on_gap.as_ref()),
            park_after,
            parking_topic,
        },
        listen: need(raw_tuning.http.listen.as_ref()).0,
        skip_offline_writes_for_online_cached_features: need(
            raw_tuning.skip_offline_writes_for_online_cached_features.as_ref(),
        ),
        errors,
        warnings,
    }
}

/// The tuning's fields of an object.
fn fields(object: &Value) -> Value {
    let known = schema::tuning_fields();
    let picked = object.as_object().into_iter().flatten().filter(|(name, _)| known.contains(*name));
    Value::Object(picked.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn read<T: Leaf>(value: &Value) -> Option<T> {
    T::read(value).ok()
}

/// A field that the table of defaults has.
fn need<T: Clone>(field: Option<&Given<T>>) -> T {
    get(field).expect("the table has a default for every field; a test walks it")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn tuned(writer_type: WriterType, file: Value, entry: Value, machine: u64) -> Tuned {
        let raw = RawWriter::deserialize(&entry).expect("a writer");
        tune(writer_type, &file, &entry, &raw, machine)
    }

    #[test]
    fn every_default_has_a_field_and_every_type_gets_all_it_needs() {
        for writer_type in WriterType::ALL {
            let tuned = tuned(writer_type, json!({}), json!({}), 4 * GIB);
            assert!(tuned.errors.is_empty() && tuned.warnings.is_empty());
        }
        for default in defaults::defaults() {
            let pointer = format!("/properties/{}", default.field.replace('.', "/properties/"));
            let writer = &schema::root()["properties"]["writers"]["items"];
            assert!(writer.pointer(&pointer).is_some(), "{}", default.field);
            assert!(!default.reason.is_empty());
        }
    }

    #[test]
    fn the_documented_defaults_hold_on_a_large_machine() {
        let online = tuned(WriterType::ONLINE, json!({}), json!({}), 64 * GIB).tuning;
        assert_eq!((online.batch_max_rows, online.batch_max_bytes), (10_000, 8 << 20));
        assert_eq!((online.batch_max_age, online.memory_limit), (Duration::from_millis(500), 64 << 20));
        let offline = tuned(WriterType::OFFLINE, json!({}), json!({}), 64 * GIB).tuning;
        assert_eq!((offline.batch_max_rows, offline.batch_max_bytes), (100_000, 48 << 20));
        assert_eq!((offline.batch_max_age, offline.memory_limit), (Duration::from_secs(10), 192 << 20));
        assert_eq!(offline.drain_timeout, Duration::from_secs(25));
    }

    #[test]
    fn a_small_container_makes_small_batches() {
        let small = json!({"max_message_bytes": "16MiB"});
        let tuned = tuned(WriterType::OFFLINE, small, json!({}), 64 << 20);
        assert_eq!(tuned.tuning.memory_limit, 32 << 20);
        assert_eq!(tuned.tuning.batch_max_bytes, 8 << 20);
        assert!(tuned.warnings.is_empty());
    }

    #[test]
    fn a_message_that_does_not_fit_beside_the_memory_limit_is_warned_of() {
        let warnings = |machine| tuned(WriterType::ONLINE, json!({}), json!({}), machine).warnings;
        assert_eq!(warnings(192 << 20), []);
        assert_eq!(
            warnings(128 << 20),
            [(
                "max_message_bytes",
                "a compressed message may take 128MiB while it is unpacked (twice `max_message_bytes`: the body, and \
                 the window it is made in), beside the memory limit of 64MiB, and there are 128MiB in all; lower \
                 `max_message_bytes` or give it more memory"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn the_writers_own_entry_is_stronger_than_the_top_level() {
        let file = json!({"batch": {"max_rows": 5, "max_age": "1s"}, "memory_limit": "1GiB"});
        let tuned =
            tuned(WriterType::ONLINE, file, json!({"max_batch_size": "7", "batch": {"max_bytes": "1MiB"}}), GIB);
        assert_eq!((tuned.tuning.batch_max_rows, tuned.tuning.batch_max_bytes), (7, 1 << 20));
        assert_eq!((tuned.tuning.batch_max_age, tuned.tuning.memory_limit), (Duration::from_secs(1), 1 << 30));
    }

    #[test]
    fn batches_above_the_memory_limit_are_refused_and_above_what_the_machine_gives_warned_of() {
        let batch = json!({"batch": {"max_bytes": "8MiB"}});
        let expected = |limit: &str| {
            format!(
                "3 batches of 8MiB may be held at once, more than the memory limit of {limit}; lower `batch.max_bytes` \
                 or raise `memory_limit`"
            )
        };
        let given = tuned(WriterType::ONLINE, json!({"memory_limit": "20MiB"}), batch.clone(), GIB);
        assert_eq!(given.errors, [("batch.max_bytes", Problem::Rule(expected("20MiB")))]);
        let small = json!({"max_message_bytes": "1MiB"});
        let auto = tuned(WriterType::ONLINE, small, batch, 32 << 20);
        assert_eq!((auto.errors, auto.warnings), (Vec::new(), vec![("batch.max_bytes", expected("16MiB"))]));
    }
}
