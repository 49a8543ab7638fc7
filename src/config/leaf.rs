//! Single values of the file: each kind knows what it reads, and how its schema describes it.
//!
//! A kind is registered in [`kind`]; the schema names it under `x-kind`, and [`super::walk`] looks
//! it up there to judge a value before the raw types of [`super::raw`] are made from it.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::choice::{Choice, listed};
use super::errors::Problem;
use super::settings::{CacheStrategy, MaxStaleness};
use super::units;
use crate::bus::OnGap;
use crate::value::dtype::DataType;

/// A kind of single value.
pub(super) trait Leaf: Sized + PartialEq {
    /// Its name under `x-kind`; unique.
    const KIND: &'static str;
    /// JSON types that it is written in.
    const TYPES: &'static [&'static str];

    /// What it accepts, for people.
    fn expected() -> Cow<'static, str>;

    /// Reads a value that is neither null nor empty text.
    fn read(value: &Value) -> Result<Self, Problem>;
}

/// A value of a kind, as a field of the raw types.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given<T>(pub(super) T);

impl<'de, T: Leaf> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        T::read(&value).map(Given).map_err(serde::de::Error::custom)
    }
}

impl<T: Leaf> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::KIND.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": T::TYPES, "x-kind": T::KIND, "x-expected": T::expected() })
    }
}

/// The two things that the walk asks of a kind without knowing its type.
pub(super) struct Kind {
    name: &'static str,
    /// Judges a value.
    pub(super) check: fn(&Value) -> Result<(), Problem>,
    /// Whether two values mean the same.
    pub(super) same: fn(&Value, &Value) -> bool,
}

/// The kind of a name under `x-kind`.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    const fn of<T: Leaf>() -> Kind {
        Kind {
            name: T::KIND,
            check: |value| T::read(value).map(drop),
            same: |one, other| T::read(one).ok() == T::read(other).ok(),
        }
    }
    static KINDS: &[Kind] = &[
        of::<String>(),
        of::<Scalar>(),
        of::<Brokers>(),
        of::<Bucket>(),
        of::<bool>(),
        of::<u64>(),
        of::<NonZeroUsize>(),
        of::<Ratio>(),
        of::<Bytes>(),
        of::<Memory>(),
        of::<Duration>(),
        of::<MaxStaleness>(),
        of::<DataType>(),
        of::<Caching>(),
        of::<Listen>(),
        of::<Endless>(),
        of::<super::choice::BusBackend>(),
        of::<super::choice::SecretClientName>(),
        of::<super::choice::MetadataProvider>(),
        of::<super::choice::SecurityProtocol>(),
        of::<super::choice::SaslMechanism>(),
        of::<super::choice::ClickHouseWriteMode>(),
        of::<super::choice::MetricsEmissionMode>(),
        of::<OnGap>(),
        of::<CacheStrategy>(),
    ];
    KINDS.iter().find(|kind| kind.name == name)
}

/// A value for people: text in quotes and cut short, larger things by their type. Hides the user
/// part of a URI.
pub(super) fn found(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.contains("://") && text.contains('@') => "a URI with credentials".to_owned(),
        Value::String(text) => {
            let cut: String = text.chars().take(LONGEST).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            Value::from(format!("{cut}{more}")).to_string()
        }
        plain => plain.to_string(),
    }
}

/// Only the type of a value, where the value may be a secret.
pub(super) fn found_type(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text (not shown)",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
    .to_owned()
}

fn wrong<T: Leaf>(value: &Value) -> Problem {
    Problem::WrongValue { expected: T::expected().into_owned(), found: found(value) }
}

/// A whole number, in JSON or as text.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

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
pub(super) struct Scalar(pub(super) String);

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
pub(super) struct Brokers(pub(super) Vec<String>);

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
pub(super) struct Bucket(pub(super) String);

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

impl Leaf for bool {
    const KIND: &'static str = "flag";
    const TYPES: &'static [&'static str] = &["boolean", "string", "integer"];

    fn expected() -> Cow<'static, str> {
        "true or false (also \"1\" or \"0\")".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if matches!(&*text.to_ascii_lowercase(), "1" | "true") => Ok(true),
            Value::String(text) if matches!(&*text.to_ascii_lowercase(), "0" | "false") => Ok(false),
            Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
            Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
            _ => Err(wrong::<Self>(value)),
        }
    }
}

impl Leaf for u64 {
    const KIND: &'static str = "count";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn expected() -> Cow<'static, str> {
        "a whole number".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        whole(value).ok_or_else(|| wrong::<Self>(value))
    }
}

impl Leaf for NonZeroUsize {
    const KIND: &'static str = "positive count";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn expected() -> Cow<'static, str> {
        "a whole number above 0".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        whole(value)
            .and_then(|number| usize::try_from(number).ok())
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio(pub(super) f64);

impl Leaf for Ratio {
    const KIND: &'static str = "ratio";
    const TYPES: &'static [&'static str] = &["number", "string"];

    fn expected() -> Cow<'static, str> {
        "a number from 0 to 1".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .map(Self)
        .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bytes(pub(super) usize);

impl Leaf for Bytes {
    const KIND: &'static str = "size";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn expected() -> Cow<'static, str> {
        "a size above 0 such as `64MiB`, or a number of bytes".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => units::size(text),
            _ => None,
        }
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .map(Self)
        .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A number of bytes, or as many as the machine suggests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Memory {
    /// `auto`
    Auto,
    /// A fixed number.
    Bytes(usize),
}

impl Leaf for Memory {
    const KIND: &'static str = "memory";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn expected() -> Cow<'static, str> {
        "`auto`, a size such as `256MiB`, or a number of bytes".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        if value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
            return Ok(Self::Auto);
        }
        Bytes::read(value).map(|bytes| Self::Bytes(bytes.0)).map_err(|_| wrong::<Self>(value))
    }
}

impl Leaf for Duration {
    const KIND: &'static str = "duration";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "a duration such as `250ms`, `10s`, `1h` or `7d`".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        value.as_str().and_then(units::duration).ok_or_else(|| wrong::<Self>(value))
    }
}

impl Leaf for MaxStaleness {
    const KIND: &'static str = "staleness";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "a duration such as `0s`, `1h` or `7d`, or `infinity`".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let text = value.as_str().ok_or_else(|| wrong::<Self>(value))?;
        if ["infinity", "infinite", "inf"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
            return Ok(Self::Infinity);
        }
        units::duration(text).map(Self::For).ok_or_else(|| wrong::<Self>(value))
    }
}

impl Leaf for DataType {
    const KIND: &'static str = "data type";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "a data type such as `int64`, `list<string>` or `decimal(18,2)`".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let text = value.as_str().ok_or_else(|| wrong::<Self>(value))?;
        text.parse().map_err(|error| Problem::Rule(format!("data type {}: {error}", found(value))))
    }
}

/// `cache_nulls` and `cache_defaults`: kept, ignored, or removing what is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Caching {
    /// `true`
    Keep,
    /// `false`
    Ignore,
    /// `"evict_nulls"` or `"evict_defaults"`
    Evict,
}

impl Leaf for Caching {
    const KIND: &'static str = "caching";
    const TYPES: &'static [&'static str] = &["boolean", "string"];

    fn expected() -> Cow<'static, str> {
        "true, false, \"evict_nulls\" or \"evict_defaults\"".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        if let Ok(flag) = bool::read(value) {
            return Ok(if flag { Self::Keep } else { Self::Ignore });
        }
        match value.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("evict_nulls" | "evict_defaults" | "evict") => Ok(Self::Evict),
            _ => Err(wrong::<Self>(value)),
        }
    }
}

/// An address to listen on, or `off`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listen(pub(super) Option<String>);

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

/// Only `infinity`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Endless;

impl Leaf for Endless {
    const KIND: &'static str = "endless";
    const TYPES: &'static [&'static str] = &["string"];

    fn expected() -> Cow<'static, str> {
        "`infinity` (a writer retries without end, because giving up would lose messages)".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match MaxStaleness::read(value) {
            Ok(MaxStaleness::Infinity) => Ok(Self),
            _ => Err(wrong::<Self>(value)),
        }
    }
}

impl<C: Choice> Leaf for C {
    const KIND: &'static str = C::NAME;
    const TYPES: &'static [&'static str] = &["string", "integer"];

    fn expected() -> Cow<'static, str> {
        format!("one of {}", listed::<C>().join(", ")).into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::String(text) => C::parse(text),
            Value::Number(number) if !C::PREFIX.is_empty() => number
                .as_u64()
                .and_then(|at| C::ALL.get(usize::try_from(at).ok()?))
                .map(|(_, choice)| *choice)
                .ok_or_else(|| wrong::<Self>(value)),
            _ => Err(wrong::<Self>(value)),
        }
    }
}
