//! Words with a meaning: flags, data types, choices.

use std::borrow::Cow;

use serde_json::Value;

use super::{Leaf, wrong};
use crate::config::choice::{Choice, listed};
use crate::config::errors::Problem;
use crate::config::found::found;
use crate::config::settings::MaxStaleness;
use crate::value::dtype::DataType;

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

    fn plain(&self) -> Option<Value> {
        Some((*self).into())
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
pub(in crate::config) enum Caching {
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

/// Only `infinity`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Endless;

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
