//! One part of a JSON message: what it makes of each kind of JSON value.
//!
//! serde's visitor, with what is the same for every part done once: nesting is bounded, keys of an
//! object are unique, parts that nobody asks for are passed over but still checked.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashSet;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::result::DEEPEST;

/// A part of a message. Each method takes one kind of JSON value; those that a part does not expect
/// end in [`Part::wrong`], after the value has been passed over.
pub(super) trait Part<'de>: Sized {
    type Output;

    /// Lists and objects around it.
    fn depth(&self) -> usize;

    /// It is something else than expected: an error of the message, or a fault that is remembered.
    fn wrong<E: de::Error>(self, found: &str) -> Result<Self::Output, E>;

    fn null<E: de::Error>(self) -> Result<Self::Output, E> {
        self.wrong("null")
    }

    fn bool<E: de::Error>(self, _value: bool) -> Result<Self::Output, E> {
        self.wrong("a boolean")
    }

    fn int<E: de::Error>(self, _value: i64) -> Result<Self::Output, E> {
        self.wrong("an integer")
    }

    /// An integer of 64 bits that has no sign.
    fn unsigned<E: de::Error>(self, value: u64) -> Result<Self::Output, E> {
        self.wrong(&format!("integer {value}, which does not fit 64 bits"))
    }

    /// A number with a fraction, an exponent, or more digits than 64 bits have.
    fn double<E: de::Error>(self, _value: f64) -> Result<Self::Output, E> {
        self.wrong("a number that is no 64-bit integer")
    }

    /// Text that had to be unescaped.
    fn text<E: de::Error>(self, _value: &str) -> Result<Self::Output, E> {
        self.wrong("text")
    }

    /// Text as it stands in the message.
    fn borrowed<E: de::Error>(self, value: &'de str) -> Result<Self::Output, E> {
        self.text(value)
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Output, A::Error> {
        pass_over_list(&mut list, self.depth() + 1)?;
        self.wrong("a list")
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Output, A::Error> {
        pass_over_object(&mut object, self.depth() + 1)?;
        self.wrong("an object")
    }
}

/// Reads a part with serde.
pub(super) struct Seed<P>(pub(super) P);

impl<'de, P: Part<'de>> DeserializeSeed<'de> for Seed<P> {
    type Value = P::Output;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<P::Output, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Part<'de>> Visitor<'de> for Seed<P> {
    type Value = P::Output;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<P::Output, E> {
        self.0.null()
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<P::Output, E> {
        self.0.bool(value)
    }

    #[inline]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<P::Output, E> {
        self.0.int(value)
    }

    #[inline]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<P::Output, E> {
        match i64::try_from(value) {
            Ok(value) => self.0.int(value),
            Err(_) => self.0.unsigned(value),
        }
    }

    #[inline]
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<P::Output, E> {
        self.0.double(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<P::Output, E> {
        self.0.text(value)
    }

    #[inline]
    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<P::Output, E> {
        self.0.borrowed(value)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<P::Output, A::Error> {
        bounded(self.0.depth())?;
        self.0.list(list)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<P::Output, A::Error> {
        bounded(self.0.depth())?;
        self.0.object(object)
    }
}

fn bounded<E: de::Error>(depth: usize) -> Result<(), E> {
    if depth < DEEPEST { Ok(()) } else { Err(E::custom(format_args!("nested deeper than {DEEPEST}"))) }
}

/// The key of an object, borrowed where nothing had to be unescaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }

    #[inline]
    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
}

/// The next key of an object.
#[inline]
pub(super) fn next_key<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    object.next_key_seed(Key)
}

/// What an object has had already.
#[derive(Default)]
pub(super) struct Seen<'de> {
    known: u32,
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    const FEW: usize = 16;

    /// A field that the part knows by number, whichever way it is spelt.
    #[inline]
    pub(super) fn field<E: de::Error>(&mut self, number: u32, name: &str) -> Result<(), E> {
        let before = self.known;
        self.known |= 1 << number;
        if self.known == before { Err(twice(name)) } else { Ok(()) }
    }

    /// Whether any field that the part knows has come.
    pub(super) const fn any(&self) -> bool {
        self.known != 0
    }

    /// A key that the part does not know.
    pub(super) fn key<E: de::Error>(&mut self, key: Cow<'de, str>) -> Result<(), E> {
        if self.few.len() < Self::FEW {
            if self.few.contains(&key) {
                return Err(twice(&key));
            }
            self.few.push(key);
            return Ok(());
        }
        if self.few.contains(&key) || self.many.contains(&key) {
            return Err(twice(&key));
        }
        self.many.insert(key);
        Ok(())
    }
}

/// The error for a key that stands twice in an object.
#[cold]
pub(super) fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("key `{}` stands twice in one object", &key[..key.floor_char_boundary(80)]))
}

/// Passes over a part that nobody asks for.
pub(super) struct Ignored(pub(super) usize);

impl Part<'_> for Ignored {
    type Output = ();

    fn depth(&self) -> usize {
        self.0
    }

    fn wrong<E: de::Error>(self, _found: &str) -> Result<(), E> {
        Ok(())
    }
}

fn pass_over_list<'de, A: SeqAccess<'de>>(list: &mut A, depth: usize) -> Result<(), A::Error> {
    while list.next_element_seed(Seed(Ignored(depth)))?.is_some() {}
    Ok(())
}

fn pass_over_object<'de, A: MapAccess<'de>>(object: &mut A, depth: usize) -> Result<(), A::Error> {
    let mut seen = Seen::default();
    while let Some(key) = next_key(object)? {
        seen.key(key)?;
        object.next_value_seed(Seed(Ignored(depth)))?;
    }
    Ok(())
}
