//! Messages from a file of JSON values, and the envelope that each is given.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::message::Outgoing;
use crate::message::envelope::entity_key;

/// JSON objects one after the other, each exactly as it is written in the file.
pub(super) enum Input {
    /// One a line; empty lines are passed over.
    Lines {
        /// What is left of the file.
        rest: Box<dyn BufRead>,
        /// Number of the last line that was read, from 1.
        line: u64,
    },
    /// Anyhow between the values: indented over many lines, or one a line.
    Stream(Box<serde_json::StreamDeserializer<'static, serde_json::de::IoRead<Box<dyn Read>>, Box<RawValue>>>),
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let reader = reader(path)?;
        Ok(match path.extension() {
            Some(extension) if extension == "jsonl" || extension == "ndjson" => {
                Self::Lines { rest: Box::new(BufReader::new(reader)), line: 0 }
            }
            _ => Self::Stream(Box::new(serde_json::Deserializer::from_reader(reader).into_iter())),
        })
    }
}

fn reader(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    Ok(if path == Path::new("-") {
        Box::new(BufReader::new(stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?))
    })
}

/// All of a file, or of standard input for `-`.
pub(super) fn whole(path: &Path) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    reader(path)?.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes.into())
}

impl Iterator for Input {
    type Item = anyhow::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Lines { rest, line } => next_line(rest, line),
            Self::Stream(values) => {
                let value = values.next()?;
                Some(
                    value
                        .map_err(|error| anyhow!("not JSON: {error}"))
                        .and_then(|value| object(value.get().as_bytes())),
                )
            }
        }
    }
}

fn next_line(rest: &mut dyn BufRead, number: &mut u64) -> Option<anyhow::Result<Bytes>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        *number += 1;
        match rest.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(_) => {
                let parsed = serde_json::from_slice::<IgnoredAny>(&line);
                return Some(match parsed {
                    Ok(_) => object(line.trim_ascii()).with_context(|| format!("line {number}")),
                    Err(error) => Err(anyhow!("line {number}, column {}: not JSON: {error}", error.column())),
                });
            }
            Err(error) => return Some(Err(error).with_context(|| format!("line {number}"))),
        }
    }
}

fn object(json: &[u8]) -> anyhow::Result<Bytes> {
    if json.starts_with(b"{") {
        return Ok(Bytes::copy_from_slice(json));
    }
    let found: String = String::from_utf8_lossy(json).chars().take(40).collect();
    Err(anyhow!("expected a JSON object for each message, found `{found}`"))
}

/// A message with a body of JSON: a `CloudEvents` envelope, and the key of its entity where it has
/// but one, so that all writes to one entity stay in one partition and in order.
pub(super) fn message(body: &Bytes, ce_type: &str) -> Outgoing {
    let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| names.iter().find_map(|name| parsed[*name].as_str()).unwrap_or_default();
    let environment = text(["environment_id", "environmentId"]);
    let time = text(["observed_at", "observedAt"]);
    let key = only_entity(&parsed).map(|(namespace, id)| entity_key(environment, namespace, &id));
    Outgoing { key, ..enveloped(body.clone(), ce_type, "application/json", environment, time) }
}

/// A message with a body of any type, which says nothing to its envelope.
pub(super) fn whole_message(body: Bytes, ce_type: &str, content_type: &str) -> Outgoing {
    enveloped(body, ce_type, content_type, "", "")
}

/// A time that is empty is now.
fn enveloped(body: Bytes, ce_type: &str, content_type: &str, environment: &str, time: &str) -> Outgoing {
    let id = uuid::Uuid::now_v7().to_string();
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut headers = vec![
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_source", "chalk-writer publish"),
        ("ce_type", ce_type),
        ("ce_time", if time.is_empty() { now.as_str() } else { time }),
        ("content-type", content_type),
    ];
    if !environment.is_empty() {
        headers.push(("ce_environmentid", environment));
    }
    Outgoing { headers: headers.into_iter().collect(), payload: Some(body), ..Outgoing::default() }
}

/// Namespace and primary key of a result that holds exactly one entity.
fn only_entity(result: &serde_json::Value) -> Option<(&str, String)> {
    let [table] = result["tables"].as_array()?.as_slice() else { return None };
    let [row] = table["rows"]["rows"].as_array()?.as_slice() else { return None };
    let id = row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
    Some((table["namespace"].as_str()?, id))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(name: &str, text: &str) -> Vec<Result<String, String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        Input::open(&path)
            .expect("opened")
            .map(|value| value.map(text).map_err(|error| format!("{error:#}")))
            .take(5)
            .collect()
    }

    #[test]
    fn values_come_out_as_they_are_written() {
        assert_eq!(
            read("a.jsonl", "{\"a\": 1.10}\n\n {\"b\":2}"),
            [Ok("{\"a\": 1.10}".to_owned()), Ok("{\"b\":2}".to_owned())]
        );
        assert_eq!(read("a.json", "{\n \"a\": 1\n}\n{}"), [Ok("{\n \"a\": 1\n}".to_owned()), Ok("{}".to_owned())]);
    }

    #[test]
    fn a_line_that_is_not_json_is_named_by_its_number() {
        let lines = read("a.jsonl", "{}\n\n{\"a\": }\n");
        assert!(lines[1].as_ref().is_err_and(|error| error.starts_with("line 3, column 7: not JSON")), "{lines:?}");
        let stream = read("a.json", "{}\n\n{\"a\": }\n");
        assert!(stream[1].as_ref().is_err_and(|error| error.contains("line 3")), "{stream:?}");
        let number = read("a.jsonl", "42\n");
        assert!(number[0].as_ref().is_err_and(|error| error.contains("expected a JSON object")), "{number:?}");
    }

    #[test]
    fn a_result_of_one_entity_gets_its_key_and_one_of_two_none() {
        let key = |body: &str| message(&Bytes::copy_from_slice(body.as_bytes()), "chalk.result.v1").key;
        let one = r#"{"environment_id":"prod","tables":[{"namespace":"user","rows":{"rows":[{"id":42}]}}]}"#;
        assert_eq!(key(one), Some(Bytes::from("prod/user/42")));
        assert_eq!(key(&one.replace("{\"id\":42}", "{\"id\":42},{\"id\":43}")), None);
        assert_eq!(key("{}"), None);
    }
}
