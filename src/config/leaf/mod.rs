//! Single values of the file: each kind knows what it reads, and how its schema describes it.
//!
//! A kind is registered in [`kind`]; the schema names it under `x-kind`, and [`super::walk`] looks
//! it up there to judge a value before the raw types of [`super::raw`] are made from it.

mod number;
mod text;
mod word;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::choice;
use super::errors::Problem;
use super::found::found;
use super::settings::{CacheStrategy, MaxStaleness, OfflineMode, OnError, OnGap};
use crate::value::Metric;
use crate::value::dtype::DataType;

pub(super) use number::{Amount, Bytes, Memory, Ratio};
pub(super) use text::{Brokers, Bucket, Listen, Scalar};
pub(super) use word::{Caching, Endless};

/// A kind of single value.
pub trait Leaf: Sized + PartialEq {
    /// Its name under `x-kind`; unique.
    const KIND: &'static str;
    /// JSON types that it is written in.
    const TYPES: &'static [&'static str];

    /// What it accepts, for people.
    fn expected() -> Cow<'static, str>;

    /// Reads a value that is neither null nor empty text.
    fn read(value: &Value) -> Result<Self, Problem>;

    /// The one way in which it is written of several that mean the same; `None` where it is not told apart.
    fn plain(&self) -> Option<Value> {
        None
    }
}

/// A value of a kind, as a field of the raw types.
#[derive(Clone, Debug, PartialEq)]
pub struct Given<T>(pub T);

/// A value that may be absent. Its type says how it is written in the file, and how the schema describes it.
pub type Maybe<T> = Option<Given<T>>;

/// The value itself, where it is given.
pub fn given<T: Clone>(value: Option<&Given<T>>) -> Option<T> {
    value.map(|given| given.0.clone())
}

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

/// What is asked of a kind without knowing its type.
pub(super) struct Kind {
    name: &'static str,
    /// Judges a value.
    pub(super) check: fn(&Value) -> Result<(), Problem>,
    /// Whether two values mean the same.
    pub(super) same: fn(&Value, &Value) -> bool,
    /// A value as all that mean the same are written.
    pub(super) plain: fn(&Value) -> Option<Value>,
}

/// The kind of a name under `x-kind`.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    const fn of<T: Leaf>() -> Kind {
        Kind {
            name: T::KIND,
            check: |value| T::read(value).map(drop),
            same: |one, other| T::read(one).ok() == T::read(other).ok(),
            plain: |value| T::read(value).ok()?.plain(),
        }
    }
    static KINDS: &[Kind] = &[
        of::<String>(),
        of::<Scalar>(),
        of::<Brokers>(),
        of::<Bucket>(),
        of::<bool>(),
        of::<u32>(),
        of::<u64>(),
        of::<NonZeroUsize>(),
        of::<Ratio>(),
        of::<Amount>(),
        of::<Bytes>(),
        of::<Memory>(),
        of::<Duration>(),
        of::<MaxStaleness>(),
        of::<DataType>(),
        of::<Caching>(),
        of::<Listen>(),
        of::<Endless>(),
        of::<choice::BusBackend>(),
        of::<choice::SecretClientName>(),
        of::<choice::MetadataProvider>(),
        of::<choice::SecurityProtocol>(),
        of::<choice::SaslMechanism>(),
        of::<choice::ClickHouseWriteMode>(),
        of::<choice::MetricsEmissionMode>(),
        of::<choice::MirrorBodyName>(),
        of::<OfflineMode>(),
        of::<OnError>(),
        of::<OnGap>(),
        of::<CacheStrategy>(),
        of::<Metric>(),
    ];
    KINDS.iter().find(|kind| kind.name == name)
}

fn wrong<T: Leaf>(value: &Value) -> Problem {
    Problem::WrongValue { expected: T::expected().into_owned(), found: found(value) }
}
