//! Numbers, sizes and durations, in JSON or as text.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::Value;

use super::{Leaf, wrong};
use crate::config::errors::Problem;
use crate::config::settings::MaxStaleness;
use crate::config::units;

/// A whole number, in JSON or as text.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

impl Leaf for u32 {
    const KIND: &'static str = "small count";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn expected() -> Cow<'static, str> {
        "a small whole number".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        whole(value).and_then(|number| Self::try_from(number).ok()).ok_or_else(|| wrong::<Self>(value))
    }

    fn plain(&self) -> Option<Value> {
        Some((*self).into())
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

    fn plain(&self) -> Option<Value> {
        Some((*self).into())
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
pub(in crate::config) struct Ratio(pub(in crate::config) f64);

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

/// Any number from 0 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Amount(pub(in crate::config) f64);

impl Leaf for Amount {
    const KIND: &'static str = "amount";
    const TYPES: &'static [&'static str] = &["number", "string"];

    fn expected() -> Cow<'static, str> {
        "a number from 0 on".into()
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|amount| (0.0..f64::INFINITY).contains(amount))
        .map(Self)
        .ok_or_else(|| wrong::<Self>(value))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Bytes(pub(in crate::config) usize);

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
pub(in crate::config) enum Memory {
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
