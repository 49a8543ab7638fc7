//! Text with a form of its own: brokers, buckets, addresses.

use std::borrow::Cow;

use serde_json::Value;

use super::{Leaf, wrong};
use crate::config::errors::Problem;

impl Leaf for String {
    const KIND: &'static str = "text";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "text".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        value.as_str().map(str::to_owned).ok_or_else(|| wrong::<Self>(value))
    }
}

/// Text, a number or a boolean, kept as text: Kubernetes quantities, librdkafka properties.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Scalar(pub(in crate::config) String);

impl Leaf for Scalar {
    const KIND: &'static str = "scalar";
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];

    fn expected() -> Cow<'static, str> {
        "text, a number or a boolean".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::String(text) => Ok(Self(text.clone())),
            Value::Number(_) | Value::Bool(_) => Ok(Self(value.to_string())),
            _ => Err(wrong::<Self>(value)),
        }
    }
}

/// Kafka brokers, `host:port` each.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Brokers(pub(in crate::config) Vec<String>);

impl Leaf for Brokers {
    const KIND: &'static str = "brokers";
    const TYPES: &'static [&'static str] = &["string", "array"];

    fn expected() -> Cow<'static, str> {
        "`host:port` of one broker or more, separated by commas".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let parts: Vec<&str> = match value {
            Value::String(text) => text.split(',').collect(),
            Value::Array(items) => {
                items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(|| wrong::<Self>(value))?
            }
            _ => return Err(wrong::<Self>(value)),
        };
        let brokers: Vec<String> = parts.iter().map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect();
        let address = |broker: &String| {
            let broker = broker.split_once("://").map_or(&**broker, |(_, address)| address);
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
            })
        };
        match brokers.iter().find(|broker| !address(broker)) {
            Some(broker) => Err(wrong::<Self>(&Value::from(&**broker))),
            None if brokers.is_empty() => Err(wrong::<Self>(value)),
            None => Ok(Self(brokers)),
        }
    }
}

/// A bucket with its scheme; `gcs://` is `gs://`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Bucket(pub(in crate::config) String);

impl Leaf for Bucket {
    const KIND: &'static str = "bucket";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "a bucket with its scheme, such as `s3://…` or `gs://…`".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let text = value.as_str().ok_or_else(|| wrong::<Self>(value))?;
        match text.split_once("://") {
            Some(("gcs", path)) => Ok(Self(format!("gs://{path}"))),
            Some((scheme, _)) if ["s3", "gs", "az", "abfss", "file"].contains(&scheme) => Ok(Self(text.to_owned())),
            _ => Err(wrong::<Self>(value)),
        }
    }
}

/// An address to listen on, or `off`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) struct Listen(pub(in crate::config) Option<String>);

impl Leaf for Listen {
    const KIND: &'static str = "listen";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "`address:port` such as `0.0.0.0:9090`, or `off`".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let text = value.as_str().ok_or_else(|| wrong::<Self>(value))?;
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        text.rsplit_once(':')
            .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            .map(|_| Self(Some(text.to_owned())))
            .ok_or_else(|| wrong::<Self>(value))
    }
}
