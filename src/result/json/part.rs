//! One part of a JSON message: what it makes of each kind of JSON value.
//!
//! What is the same for every part is done once: keys of an object are unique, parts that nobody asks
//! for are passed over but still checked.

use std::borrow::Cow;

use hashbrown::HashSet;

use super::scan::{Fault, List, Object};
use crate::cut::{QUOTED, cut};

/// A part of a message. Each method takes one kind of JSON value; those that a part does not expect
/// end in [`Part::wrong`], after the value has been passed over.
pub(super) trait Part<'de>: Sized {
    type Output;

    /// It is something else than expected: an error of the message, or a fault that is remembered.
    fn wrong(self, found: &str) -> Result<Self::Output, Fault>;

    fn null(self) -> Result<Self::Output, Fault> {
        self.wrong("null")
    }

    fn bool(self, _value: bool) -> Result<Self::Output, Fault> {
        self.wrong("a boolean")
    }

    fn int(self, _value: i64) -> Result<Self::Output, Fault> {
        self.wrong("an integer")
    }

    /// An integer that does not fit 64 bits.
    fn big(self, digits: &'de str) -> Result<Self::Output, Fault> {
        self.wrong(&format!("integer {}, which does not fit 64 bits", cut(digits, QUOTED)))
    }

    /// A number with a fraction or an exponent.
    fn double(self, _value: f64) -> Result<Self::Output, Fault> {
        self.wrong("a number that is no 64-bit integer")
    }

    /// Text that had to be unescaped.
    fn text(self, _value: &str) -> Result<Self::Output, Fault> {
        self.wrong("text")
    }

    /// Text as it stands in the message.
    fn borrowed(self, value: &'de str) -> Result<Self::Output, Fault> {
        self.text(value)
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<Self::Output, Fault> {
        pass_over_list(&mut list)?;
        self.wrong("a list")
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<Self::Output, Fault> {
        pass_over_object(&mut object)?;
        self.wrong("an object")
    }
}

/// What an object has had already.
#[derive(Default)]
pub(super) struct Seen<'de> {
    known: u32,
    few: Vec<Cow<'de, str>>,
    /// Beyond a few, which no message of ours has.
    many: Option<Box<HashSet<Cow<'de, str>>>>,
}

impl<'de> Seen<'de> {
    const FEW: usize = 16;

    /// A field that the part knows by number, whichever way it is spelt.
    #[inline]
    pub(super) fn field(&mut self, number: u32, name: &str) -> Result<(), Fault> {
        let before = self.known;
        self.known |= 1 << number;
        if self.known == before { Err(twice(name)) } else { Ok(()) }
    }

    /// Whether any field that the part knows has come.
    pub(super) const fn any(&self) -> bool {
        self.known != 0
    }

    /// A key that the part does not know.
    pub(super) fn key(&mut self, key: Cow<'de, str>) -> Result<(), Fault> {
        if self.few.len() < Self::FEW {
            if self.few.contains(&key) {
                return Err(twice(&key));
            }
            self.few.push(key);
            return Ok(());
        }
        let many = self.many.get_or_insert_default();
        if self.few.contains(&key) || many.contains(&key) {
            return Err(twice(&key));
        }
        many.insert(key);
        Ok(())
    }
}

/// The error for a key that stands twice in an object.
#[cold]
pub(super) fn twice(key: &str) -> Fault {
    Fault::new(format!("key `{}` stands twice in one object", &key[..key.floor_char_boundary(80)]))
}

/// A list of parts alike; null is an empty one.
pub(super) struct Each<F> {
    pub(super) field: &'static str,
    /// Makes the part that reads one.
    pub(super) of: F,
}

impl<'de, P: Part<'de>, F: Fn() -> P> Part<'de> for Each<F> {
    type Output = Vec<P::Output>;

    fn wrong(self, found: &str) -> Result<Self::Output, Fault> {
        Err(Fault::new(format!("`{}`: expected a list, found {found}", self.field)))
    }

    fn null(self) -> Result<Self::Output, Fault> {
        Ok(Vec::new())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<Self::Output, Fault> {
        let mut found = Vec::new();
        while let Some(one) = list.next((self.of)())? {
            found.push(one);
        }
        Ok(found)
    }
}

/// Passes over a part that nobody asks for.
pub(super) struct Ignored;

impl<'de> Part<'de> for Ignored {
    type Output = ();

    fn wrong(self, _found: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn big(self, _digits: &'de str) -> Result<(), Fault> {
        Ok(())
    }
}

fn pass_over_list(list: &mut List<'_, '_>) -> Result<(), Fault> {
    while list.next(Ignored)?.is_some() {}
    Ok(())
}

fn pass_over_object(object: &mut Object<'_, '_>) -> Result<(), Fault> {
    let mut seen = Seen::default();
    while let Some(key) = object.key()? {
        seen.key(key)?;
        object.value(Ignored)?;
    }
    Ok(())
}
