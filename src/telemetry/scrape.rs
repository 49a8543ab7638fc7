//! The text of `/metrics`: what was recorded, and what is looked up at the moment of asking.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::bus::PartitionStatus;
use crate::runtime::HealthState;

use super::metrics::{
    self, ASSIGNED_PARTITIONS, AWAY_SECONDS, LAG_MESSAGES, LAG_SECONDS, OPEN_MESSAGES, OPEN_SECONDS, TROUBLE_SECONDS,
};
use super::process::Process;

/// Appends how many partitions are assigned: none of them is told from no lag by this alone.
pub fn append_assigned(text: &mut String, common: &[(&'static str, String)], partitions: &[PartitionStatus]) {
    append_family(text, ASSIGNED_PARTITIONS, common, std::iter::once((Vec::new(), partitions.len() as f64)));
}

/// Appends for how long each part has been in trouble; the bus is a part of every writer.
pub fn append_trouble(text: &mut String, common: &[(&'static str, String)], state: &HealthState) {
    let mut seconds = BTreeMap::from([("bus", 0.)]);
    seconds.extend(state.parts.keys().map(|part| (part.as_str(), 0.)));
    // What is done without has gauges of its own, and pages nobody by this one.
    let troubles = state.troubles.iter().filter(|(_, trouble)| !trouble.spared);
    seconds.extend(troubles.map(|(part, trouble)| (part.as_str(), trouble.since.elapsed().as_secs_f64())));
    let samples = seconds.into_iter().map(|(part, seconds)| (vec![("part", part.to_owned())], seconds));
    append_family(text, TROUBLE_SECONDS, common, samples);
}

/// Appends the lag of every assigned partition, and what holds it up, in Prometheus' text format.
pub fn append_lag(text: &mut String, common: &[(&'static str, String)], partitions: &[PartitionStatus]) {
    let samples = |value: fn(&PartitionStatus) -> Option<f64>| {
        partitions.iter().filter_map(move |status| {
            let number = status.partition.number.to_string();
            Some((vec![("topic", status.partition.topic.to_string()), ("partition", number)], value(status)?))
        })
    };
    append_family(text, LAG_MESSAGES, common, samples(|status| lag_messages(status).map(|lag| lag as f64)));
    append_family(text, LAG_SECONDS, common, samples(lag_seconds));
    append_family(text, AWAY_SECONDS, common, samples(|status| Some(away_seconds(status).unwrap_or(0.))));
    append_family(
        text,
        OPEN_MESSAGES,
        common,
        samples(|status| Some(status.held_up.open.map_or(0., |open| open.0 as f64))),
    );
    append_family(text, OPEN_SECONDS, common, samples(|status| Some(open_seconds(status).unwrap_or(0.))));
}

/// For how long a partition cannot be read; `None` of one that can.
pub fn away_seconds(status: &PartitionStatus) -> Option<f64> {
    status.held_up.away.as_ref().map(|(since, _)| since.elapsed().as_secs_f64())
}

/// For how long its oldest open transaction has been that; `None` without one.
pub fn open_seconds(status: &PartitionStatus) -> Option<f64> {
    status.held_up.open.map(|(_, since)| since.elapsed().as_secs_f64())
}

/// Appends the process's own figures, where the system has them.
pub fn append_process(text: &mut String, common: &[(&'static str, String)]) {
    let Some(process) = Process::read() else { return };
    for (name, value) in [
        ("process_cpu_seconds_total", process.cpu_seconds),
        ("process_resident_memory_bytes", process.resident_bytes),
        ("process_open_fds", process.open_files),
        ("process_max_fds", process.max_files),
        ("process_start_time_seconds", process.started_at),
    ] {
        append_family(text, name, common, std::iter::once((Vec::new(), value)));
    }
}

/// Messages of a partition that are not acknowledged, where both ends are known.
pub fn lag_messages(status: &PartitionStatus) -> Option<u64> {
    Some(status.end?.saturating_sub(status.position?).max(0) as u64)
}

/// Age of the oldest message of a partition that is not acknowledged. `None` where messages wait, or
/// may wait, and nothing has been read yet that tells how old they are.
pub fn lag_seconds(status: &PartitionStatus) -> Option<f64> {
    let known = !status.lag.is_zero() || lag_messages(status) == Some(0);
    known.then_some(status.lag.as_secs_f64())
}

fn append_family(
    text: &mut String,
    name: &'static str,
    common: &[(&'static str, String)],
    samples: impl Iterator<Item = (Vec<(&'static str, String)>, f64)>,
) {
    let mut samples = samples.peekable();
    let Some(metric) = metrics::find(name).filter(|_| samples.peek().is_some()) else { return };
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", metric.help, metric.kind.as_str());
    for (own, value) in samples {
        let labels = common.iter().chain(&own);
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let _ = if labels.is_empty() {
            writeln!(text, "{name} {value}")
        } else {
            writeln!(text, "{name}{{{}}} {value}", labels.join(","))
        };
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bus::HeldUp;
    use crate::message::Partition;

    #[test]
    fn a_partition_whose_end_is_unknown_has_no_lag_in_messages_but_one_in_seconds() {
        let status = |number, position, end| PartitionStatus {
            partition: Partition { topic: "a\"b".into(), number },
            position,
            end,
            lag: Duration::from_millis(1500),
            held_up: HeldUp::default(),
        };
        let mut text = String::new();
        append_lag(&mut text, &[("writer", "w".to_owned())], &[status(0, Some(3), Some(10)), status(1, Some(3), None)]);
        let values: Vec<&str> =
            text.lines().filter(|line| line.starts_with(LAG_MESSAGES) || line.starts_with(LAG_SECONDS)).collect();
        assert_eq!(
            values,
            [
                r#"chalk_writer_lag_messages{writer="w",topic="a\"b",partition="0"} 7"#,
                r#"chalk_writer_lag_seconds{writer="w",topic="a\"b",partition="0"} 1.5"#,
                r#"chalk_writer_lag_seconds{writer="w",topic="a\"b",partition="1"} 1.5"#,
            ]
        );
    }

    #[test]
    fn messages_that_wait_unread_have_no_age_and_never_the_age_zero() {
        let status = |number, end| PartitionStatus {
            partition: Partition { topic: "t".into(), number },
            position: Some(3),
            end,
            lag: Duration::ZERO,
            held_up: HeldUp::default(),
        };
        assert_eq!(lag_seconds(&status(0, Some(10))), None);
        assert_eq!(lag_seconds(&status(0, None)), None);
        assert_eq!(lag_seconds(&status(0, Some(3))), Some(0.));
        let mut text = String::new();
        append_lag(&mut text, &[], &[status(0, Some(10)), status(1, Some(3))]);
        assert!(!text.contains(r#"lag_seconds{topic="t",partition="0"}"#), "{text}");
        assert!(text.contains(r#"lag_seconds{topic="t",partition="1"} 0"#), "{text}");
    }

    #[test]
    fn a_partition_that_cannot_be_read_has_no_lag_and_says_for_how_long() {
        let since =
            std::time::Instant::now().checked_sub(Duration::from_secs(90)).expect("the machine is up for longer");
        let held_up = [
            HeldUp { away: Some((since, "no broker leads it".to_owned())), open: None },
            HeldUp { away: None, open: Some((4, since)) },
        ];
        let status = |(number, held_up)| PartitionStatus {
            partition: Partition { topic: "t".into(), number },
            position: Some(3),
            end: (number == 1).then_some(3),
            lag: Duration::ZERO,
            held_up,
        };
        let mut text = String::new();
        append_lag(&mut text, &[], &(0..).zip(held_up).map(status).collect::<Vec<_>>());
        let value = |metric: &str, partition| {
            let start = format!("{metric}{{topic=\"t\",partition=\"{partition}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.parse::<f64>().expect("a number"))
        };
        assert_eq!((value(LAG_MESSAGES, 0), value(LAG_SECONDS, 0)), (None, None), "{text}");
        assert_eq!((value(LAG_MESSAGES, 1), value(OPEN_MESSAGES, 1)), (Some(0.), Some(4.)), "{text}");
        assert!(value(AWAY_SECONDS, 0) >= Some(90.) && value(OPEN_SECONDS, 1) >= Some(90.), "{text}");
        assert_eq!([value(AWAY_SECONDS, 1), value(OPEN_MESSAGES, 0), value(OPEN_SECONDS, 0)], [Some(0.); 3], "{text}");
    }

    #[test]
    fn a_part_in_trouble_says_for_how_long_and_one_that_works_says_0() {
        let health = crate::runtime::Health::default();
        health.failed("store a", "connection reset", false);
        let mut state = health.state();
        let trouble = state.troubles.get_mut("store a").expect("in trouble");
        trouble.since = trouble.since.checked_sub(Duration::from_secs(90)).expect("the machine is up for longer");
        state.parts.extend([("store a".to_owned(), true), ("store b".to_owned(), true)]);
        let mut text = String::new();
        append_trouble(&mut text, &[], &state);
        let value = |part: &str| {
            let line = text.lines().find(|line| line.contains(&format!("part=\"{part}\"")));
            line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<f64>().ok())
        };
        assert_eq!((value("bus"), value("store b")), (Some(0.), Some(0.)), "{text}");
        assert!(value("store a").is_some_and(|seconds| seconds >= 90.), "{text}");
    }

    #[test]
    fn without_partitions_there_is_not_even_a_heading() {
        let mut text = String::new();
        append_lag(&mut text, &[], &[]);
        assert_eq!(text, "");
    }
}
