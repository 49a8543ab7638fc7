//! What all parts of one JSON message share, and the parts that are a single value.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use bytestring::ByteString;
use serde::de;

use super::part::Part;
use crate::value::time;

/// The message while it is read.
pub(super) struct Reader<'de> {
    pub(super) text: &'de ByteString,
    /// Integers are told from doubles by their text; slower, and only needed for a message that has
    /// a number beyond 64 bits.
    pub(super) exact: bool,
    /// Such a number has come.
    pub(super) doubtful: Cell<bool>,
    /// Depth of the last `{}` that stood for itself: among a row's values it is an absent one.
    pub(super) empty_at: Cell<usize>,
    fault: RefCell<Option<String>>,
    /// There is a fault that is not named yet.
    unnamed: Cell<bool>,
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de ByteString, exact: bool) -> Self {
        Self {
            text,
            exact,
            doubtful: Cell::new(false),
            empty_at: Cell::new(0),
            fault: RefCell::new(None),
            unnamed: Cell::new(false),
        }
    }

    /// Text as a slice of the message.
    #[inline]
    pub(super) fn slice(&self, text: &'de str) -> ByteString {
        self.text.slice_ref(text)
    }

    /// Remembers what is wrong with the row in hand; the first fault is the one that is told.
    #[cold]
    pub(super) fn fault(&self, what: impl Display) {
        let mut fault = self.fault.borrow_mut();
        if fault.is_none() {
            *fault = Some(what.to_string());
            self.unnamed.set(true);
        }
    }

    /// Puts a name before a fault that came since the last call.
    #[inline]
    pub(super) fn name_fault(&self, name: &str) {
        if self.unnamed.take() {
            let mut fault = self.fault.borrow_mut();
            *fault = fault.take().map(|what| format!("`{}`: {what}", &name[..name.floor_char_boundary(80)]));
        }
    }

    /// The fault of the row that ends here.
    pub(super) fn take_fault(&self) -> Option<String> {
        self.unnamed.set(false);
        self.fault.borrow_mut().take()
    }
}

/// The error for a field of another kind.
#[cold]
pub(super) fn unexpected<E: de::Error>(field: &str, expected: &str, found: &str) -> E {
    E::custom(format_args!("`{field}`: expected {expected}, found {found}"))
}

/// A text of the message; null is none.
pub(super) struct Text<'r, 'de>(pub(super) &'r Reader<'de>, pub(super) &'static str, pub(super) usize);

impl<'de> Part<'de> for Text<'_, 'de> {
    type Output = ByteString;

    fn depth(&self) -> usize {
        self.2
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<ByteString, E> {
        Err(unexpected(self.1, "text", found))
    }

    fn null<E: de::Error>(self) -> Result<ByteString, E> {
        Ok(ByteString::new())
    }

    fn text<E: de::Error>(self, value: &str) -> Result<ByteString, E> {
        Ok(value.into())
    }

    fn borrowed<E: de::Error>(self, value: &'de str) -> Result<ByteString, E> {
        Ok(self.0.slice(value))
    }
}

/// A time of the message itself.
pub(super) struct Time(pub(super) &'static str, pub(super) usize);

impl Part<'_> for Time {
    type Output = Option<i64>;

    fn depth(&self) -> usize {
        self.1
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Option<i64>, E> {
        Err(unexpected(self.0, "an RFC 3339 time", found))
    }

    fn null<E: de::Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn text<E: de::Error>(self, value: &str) -> Result<Option<i64>, E> {
        match time::parse_timestamp(value) {
            Some(micros) => Ok(Some(micros)),
            None => self.wrong(&format!("`{}`", &value[..value.floor_char_boundary(40)])),
        }
    }
}

/// A flag; `None` where it is null.
pub(super) struct Flag(pub(super) &'static str, pub(super) usize);

impl Part<'_> for Flag {
    type Output = Option<bool>;

    fn depth(&self) -> usize {
        self.1
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Option<bool>, E> {
        Err(unexpected(self.0, "true or false", found))
    }

    fn null<E: de::Error>(self) -> Result<Option<bool>, E> {
        Ok(None)
    }

    fn bool<E: de::Error>(self, value: bool) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }
}

/// A number of 64 bits, as a number or as text.
pub(super) struct Integer(pub(super) &'static str, pub(super) usize);

impl Part<'_> for Integer {
    type Output = i64;

    fn depth(&self) -> usize {
        self.1
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<i64, E> {
        Err(unexpected(self.0, "a 64-bit integer", found))
    }

    fn null<E: de::Error>(self) -> Result<i64, E> {
        Ok(0)
    }

    fn int<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn text<E: de::Error>(self, value: &str) -> Result<i64, E> {
        value.parse().or_else(|_| self.wrong("text"))
    }
}

/// A number of an enum, by name (with or without the enum's prefix) or number. A name that this
/// version does not know is 0, as a protobuf reader of an older version has it.
pub(super) struct Enum<F> {
    pub(super) field: &'static str,
    pub(super) prefix: &'static str,
    pub(super) by_name: F,
    pub(super) depth: usize,
}

impl<F: Fn(&str) -> Option<i32>> Part<'_> for Enum<F> {
    type Output = i32;

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<i32, E> {
        Err(unexpected(self.field, "a name or a number", found))
    }

    fn null<E: de::Error>(self) -> Result<i32, E> {
        Ok(0)
    }

    fn int<E: de::Error>(self, value: i64) -> Result<i32, E> {
        i32::try_from(value).or_else(|_| self.wrong("a number beyond 32 bits"))
    }

    fn text<E: de::Error>(self, name: &str) -> Result<i32, E> {
        let number = (self.by_name)(name).or_else(|| (self.by_name)(&format!("{}{name}", self.prefix)));
        Ok(number.unwrap_or_default())
    }
}
