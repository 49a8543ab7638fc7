//! Event notifications of S3: JSON with `Records`, each an object that was made or removed.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value as Json;

use super::object::Object;
use crate::row::load::Which;
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::parse_timestamp;

/// A notification, as far as it is needed.
#[derive(Debug)]
pub(super) struct Notification {
    /// Each by itself: what is wrong with one says nothing of the others.
    records: Vec<Result<Record, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    event_time: Option<String>,
    s3: S3,
}

#[derive(Debug, Deserialize)]
struct S3 {
    bucket: Bucket,
    object: S3Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Object {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

impl Notification {
    /// Whether JSON text, which is sound, is one.
    pub(super) fn is_one(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Keys {
            #[serde(rename = "Records")]
            records: Option<serde::de::IgnoredAny>,
            #[serde(rename = "Event")]
            event: Option<String>,
        }
        let keys = serde_json::from_str::<Keys>(text);
        keys.is_ok_and(|keys| keys.records.is_some() || keys.event.is_some_and(|event| event.starts_with("s3:")))
    }

    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Read {
            #[serde(rename = "Records")]
            records: Option<Vec<Json>>,
            /// `s3:TestEvent`, which S3 sends when notifications are set up.
            #[serde(rename = "Event")]
            event: Option<String>,
        }
        let Read { records, event } = serde_json::from_str(text).map_err(refused)?;
        let records = records.unwrap_or_default();
        if records.is_empty() && event.is_none() {
            return Err(refused("`Records` is empty"));
        }
        let record = |record| Record::deserialize::<Json>(record).map_err(|error| error.to_string());
        Ok(Self { records: records.into_iter().map(record).collect() })
    }

    /// Its records: objects that were made, and `None` for what else has happened.
    pub(super) fn objects(&self) -> Vec<Result<Option<Object<'_>>, Refusal>> {
        // A test of the notifications has no records.
        if self.records.is_empty() {
            return vec![Ok(None)];
        }
        let records = self.records.iter().enumerate().map(|(at, record)| match record {
            Ok(record) => record.object().map_err(|what| refused(format_args!("Records[{at}].{what}"))),
            Err(error) => Err(refused(format_args!("Records[{at}]: {error}"))),
        });
        records.collect()
    }
}

fn refused(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("S3 event notification: {what}"))
}

impl Record {
    fn object(&self) -> Result<Option<Object<'_>>, &'static str> {
        let name = self.event_name.strip_prefix("s3:").unwrap_or(&self.event_name);
        if !name.starts_with("ObjectCreated:") {
            return Ok(None);
        }
        let S3Object { key, size, e_tag, version_id, sequencer } = &self.s3.object;
        // As in a form: a space is `+`, everything else that needs it is escaped.
        let plain = key.replace('+', " ");
        let key = percent_decode_str(&plain).decode_utf8().map_err(|_| "s3.object.key: not UTF-8 once unescaped")?;
        let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let (which, identity) = match (given(version_id), given(e_tag), given(sequencer)) {
            (Some(version), _, _) => (Which::Version(version.as_str().into()), version),
            (None, Some(tag), _) => {
                let tag = tag.trim_matches('"').to_owned();
                (Which::Tag(tag.as_str().into()), tag)
            }
            // Known by its place among the events of its key alone.
            (None, None, Some(place)) => (Which::Newest, place),
            (None, None, None) => {
                return Err("s3.object: none of `versionId`, `eTag` and `sequencer` says which object is meant");
            }
        };
        Ok(Some(Object {
            scheme: "s3",
            bucket: &self.s3.bucket.name,
            key: key.into_owned(),
            which,
            identity,
            bytes: *size,
            time: self.event_time.as_deref().and_then(parse_timestamp),
        }))
    }
}
