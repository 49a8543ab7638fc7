//! What all parts of one JSON message share, and the parts that are a single value.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use bytestring::ByteString;

use super::part::Part;
use super::scan::Fault;
use crate::result::allowance::Allowance;
use crate::value::time;

/// The message while it is read.
pub(super) struct Reader<'de> {
    pub(super) text: &'de ByteString,
    /// Depth of the last `{}` that stood for itself: among a row's values it is an absent one.
    pub(super) empty_at: Cell<usize>,
    allowance: Allowance,
    fault: RefCell<Option<String>>,
    /// There is a fault that is not named yet.
    unnamed: Cell<bool>,
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de ByteString, limit: usize) -> Self {
        let allowance = Allowance::new(limit);
        Self { text, empty_at: Cell::new(0), allowance, fault: RefCell::new(None), unnamed: Cell::new(false) }
    }

    /// Accounts for one more of a type.
    #[inline]
    pub(super) fn take<T>(&self) -> Result<(), Fault> {
        self.allowance.take::<T>().map_err(Fault::too_large)
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
pub(super) fn unexpected(field: &str, expected: &str, found: &str) -> Fault {
    Fault::new(format!("`{field}`: expected {expected}, found {found}"))
}

/// A text of the message; null is none.
pub(super) struct Text<'r, 'de>(pub(super) &'r Reader<'de>, pub(super) &'static str);

impl<'de> Part<'de> for Text<'_, 'de> {
    type Output = ByteString;

    fn wrong(self, found: &str) -> Result<ByteString, Fault> {
        Err(unexpected(self.1, "text", found))
    }

    fn null(self) -> Result<ByteString, Fault> {
        Ok(ByteString::new())
    }

    fn text(self, value: &str) -> Result<ByteString, Fault> {
        Ok(value.into())
    }

    fn borrowed(self, value: &'de str) -> Result<ByteString, Fault> {
        Ok(self.0.slice(value))
    }
}

/// A text that is kept apart from the message; null is none.
pub(super) struct OwnedText<'r, 'de>(pub(super) Text<'r, 'de>);

impl<'de> Part<'de> for OwnedText<'_, 'de> {
    type Output = String;

    fn wrong(self, found: &str) -> Result<String, Fault> {
        self.0.wrong(found).map(|text| text.to_string())
    }

    fn null(self) -> Result<String, Fault> {
        Ok(String::new())
    }

    fn text(self, value: &str) -> Result<String, Fault> {
        Ok(value.to_owned())
    }
}

/// The same, told apart from an empty one where it is null.
pub(super) struct OptionalText<'r, 'de>(pub(super) Text<'r, 'de>);

impl<'de> Part<'de> for OptionalText<'_, 'de> {
    type Output = Option<String>;

    fn wrong(self, found: &str) -> Result<Option<String>, Fault> {
        OwnedText(self.0).wrong(found).map(Some)
    }

    fn null(self) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    fn text(self, value: &str) -> Result<Option<String>, Fault> {
        Ok(Some(value.to_owned()))
    }
}

/// A time of the message itself.
pub(super) struct Time(pub(super) &'static str);

impl Part<'_> for Time {
    type Output = Option<i64>;

    fn wrong(self, found: &str) -> Result<Option<i64>, Fault> {
        Err(unexpected(self.0, "an RFC 3339 time", found))
    }

    fn null(self) -> Result<Option<i64>, Fault> {
        Ok(None)
    }

    fn text(self, value: &str) -> Result<Option<i64>, Fault> {
        match time::parse_timestamp(value) {
            Some(micros) => Ok(Some(micros)),
            None => self.wrong(&format!("`{}`", &value[..value.floor_char_boundary(40)])),
        }
    }
}

/// A flag; `None` where it is null.
pub(super) struct Flag(pub(super) &'static str);

impl Part<'_> for Flag {
    type Output = Option<bool>;

    fn wrong(self, found: &str) -> Result<Option<bool>, Fault> {
        Err(unexpected(self.0, "true or false", found))
    }

    fn null(self) -> Result<Option<bool>, Fault> {
        Ok(None)
    }

    fn bool(self, value: bool) -> Result<Option<bool>, Fault> {
        Ok(Some(value))
    }
}

/// A number of 64 bits, as a number or as text.
pub(super) struct Integer(pub(super) &'static str);

impl Part<'_> for Integer {
    type Output = i64;

    fn wrong(self, found: &str) -> Result<i64, Fault> {
        Err(unexpected(self.0, "a 64-bit integer", found))
    }

    fn null(self) -> Result<i64, Fault> {
        Ok(0)
    }

    fn int(self, value: i64) -> Result<i64, Fault> {
        Ok(value)
    }

    fn text(self, value: &str) -> Result<i64, Fault> {
        value.parse().or_else(|_| self.wrong("text"))
    }
}

/// A number as a number, or as text for those that JSON has no number for; `None` where it is null.
pub(super) struct Double(pub(super) &'static str);

impl<'de> Part<'de> for Double {
    type Output = Option<f64>;

    fn wrong(self, found: &str) -> Result<Option<f64>, Fault> {
        Err(unexpected(self.0, "a number", found))
    }

    fn null(self) -> Result<Option<f64>, Fault> {
        Ok(None)
    }

    fn int(self, value: i64) -> Result<Option<f64>, Fault> {
        Ok(Some(value as f64))
    }

    fn big(self, digits: &'de str) -> Result<Option<f64>, Fault> {
        self.text(digits)
    }

    fn double(self, value: f64) -> Result<Option<f64>, Fault> {
        Ok(Some(value))
    }

    fn text(self, value: &str) -> Result<Option<f64>, Fault> {
        value.parse().map(Some).or_else(|_| self.wrong("text"))
    }
}

/// A number of an enum, by name (with or without the enum's prefix) or number. A name that this
/// version does not know is 0, as a protobuf reader of an older version has it.
pub(super) struct Enum<F> {
    pub(super) field: &'static str,
    pub(super) prefix: &'static str,
    /// The name of a number; they count up from 0.
    pub(super) name_of: F,
}

impl<F: Fn(i32) -> Option<&'static str>> Part<'_> for Enum<F> {
    type Output = i32;

    fn wrong(self, found: &str) -> Result<i32, Fault> {
        Err(unexpected(self.field, "a name or a number", found))
    }

    fn null(self) -> Result<i32, Fault> {
        Ok(0)
    }

    fn int(self, value: i64) -> Result<i32, Fault> {
        i32::try_from(value).or_else(|_| self.wrong("a number beyond 32 bits"))
    }

    fn text(self, name: &str) -> Result<i32, Fault> {
        let known = (0..).map_while(|number| Some((number, (self.name_of)(number)?)));
        let mut named = known.filter(|(_, known)| *known == name || known.strip_prefix(self.prefix) == Some(name));
        Ok(named.next().map_or(0, |(number, _)| number))
    }
}
