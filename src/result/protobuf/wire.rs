//! The protobuf wire format, borrowed: fields of a message one after another, nothing allocated.

#![allow(clippy::inline_always, reason = "a field that is handed back through memory costs more than reading it does")]

use bytes::Bytes;
use bytestring::ByteString;
use prost::encoding::decode_varint;

use crate::result::DEEPEST;
use crate::result::allowance::Allowance;
use crate::sink::{ErrorClass, Refusal};

/// Why the body is refused; boxed, because every field is read into a result that could be this.
pub(super) type Malformed = Box<Refusal>;

/// A refusal of the body.
#[cold]
pub(super) fn refused(message: String) -> Malformed {
    Box::new(Refusal::new(ErrorClass::Decode, message))
}

/// A refusal of what the message would take in memory.
#[cold]
fn too_large(message: String) -> Malformed {
    Box::new(Refusal::new(ErrorClass::TooLarge, format!("protobuf: {message}")).harmless())
}

/// What a field is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Varint,
    Fixed64,
    Fixed32,
    Length,
}

/// One field as it stands on the wire.
///
/// A kind beside plain members, not an enum with them inside: a field is handed on in registers then. There
/// are some forty in a small message, and copying each through memory cost more than reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) kind: Kind,
    /// The number, of all kinds but the last.
    pub(super) bits: u64,
    /// The bytes, of the last kind.
    pub(super) content: &'a [u8],
}

/// A message, or a part of one, and what is left of it.
#[derive(Clone, Copy)]
pub(super) struct Wire<'a> {
    whole: &'a Bytes,
    allowance: &'a Allowance,
    rest: &'a [u8],
    /// Messages around this one.
    pub(super) depth: usize,
    /// Where the field that was read last begins.
    start: usize,
}

impl<'a> Wire<'a> {
    pub(super) fn new(whole: &'a Bytes, allowance: &'a Allowance) -> Self {
        Self { whole, allowance, rest: whole, depth: 0, start: 0 }
    }

    /// Accounts for one more of a type.
    #[inline]
    pub(super) fn take<T>(&self) -> Result<(), Malformed> {
        self.allowance.take::<T>().map_err(too_large)
    }

    /// Accounts for several of a type.
    pub(super) fn take_many<T>(&self, count: usize) -> Result<(), Malformed> {
        self.allowance.take_many::<T>(count).map_err(too_large)
    }

    /// The text of the field that is next, if that is of this key and shorter than 128 bytes.
    #[inline]
    pub(super) fn text_ahead(&self, key: u8) -> Option<&'a str> {
        let [found, length @ ..0x80, rest @ ..] = self.rest else { return None };
        let text = rest.get(..usize::from(*length)).filter(|_| *found == key)?;
        std::str::from_utf8(text).ok()
    }

    /// What is in the field that is next, and what is behind it, if that is of this key and shorter than 16 KiB.
    #[inline(always)]
    pub(super) fn content_ahead(&self, key: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = match self.rest {
            [found, length @ ..0x80, rest @ ..] if *found == key => (usize::from(*length), rest),
            [found, low, high @ ..0x80, rest @ ..] if *found == key => {
                (usize::from(low & 0x7f) | usize::from(*high) << 7, rest)
            }
            _ => return None,
        };
        rest.split_at_checked(length)
    }

    /// Goes on with what is behind that which was read ahead.
    #[inline(always)]
    pub(super) fn go_on(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    /// What is left of it.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field and its number; groups, which are not in use any more, are passed over.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            self.start = self.offset();
            let (number, wire_type) = self.key()?;
            match wire_type {
                3 => self.pass_over_group(number)?,
                4 => return Err(self.malformed("the end of a group that has not begun")),
                wire_type => return Ok(Some((number, self.field(wire_type)?))),
            }
        }
        Ok(None)
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = self.varint()?;
        match u32::try_from(key >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok((number, (key & 7) as u8)),
            _ => Err(self.malformed(&format!("field number {}", key >> 3))),
        }
    }

    #[inline(always)]
    fn field(&mut self, wire_type: u8) -> Result<Field<'a>, Malformed> {
        let number = |kind, bits| Field { kind, bits, content: &[] };
        Ok(match wire_type {
            0 => number(Kind::Varint, self.varint()?),
            1 => number(Kind::Fixed64, u64::from_le_bytes(*self.take_array("a number of 8 bytes")?)),
            5 => number(Kind::Fixed32, u64::from(u32::from_le_bytes(*self.take_array("a number of 4 bytes")?))),
            2 => {
                let length = self.varint()?;
                match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
                    Some((content, rest)) => {
                        self.rest = rest;
                        Field { kind: Kind::Length, bits: 0, content }
                    }
                    None => return Err(self.lying(length)),
                }
            }
            _ => return Err(self.malformed(&format!("wire type {wire_type}"))),
        })
    }

    #[cold]
    fn lying(&self, length: u64) -> Malformed {
        self.malformed(&format!("a length of {length} with {} bytes left", self.rest.len()))
    }

    /// Passes over a group whose beginning was read, groups inside it included.
    #[cold]
    fn pass_over_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            if self.depth + open.len() > DEEPEST {
                return Err(self.too_deep());
            }
            if self.rest.is_empty() {
                return Err(self.malformed("a group without an end"));
            }
            match self.key()? {
                (number, 3) => open.push(number),
                (number, 4) if number == *innermost => drop(open.pop()),
                (_, 4) => return Err(self.malformed("the end of a group that has not begun")),
                (_, wire_type) => drop(self.field(wire_type)?),
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((byte, rest)) = self.rest.split_first()
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        // Most are lengths of some hundred bytes.
        if let [low, high @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(low & 0x7f) | u64::from(*high) << 7);
        }
        let mut rest = self.rest;
        match decode_varint(&mut rest) {
            Ok(value) => {
                self.rest = rest;
                Ok(value)
            }
            Err(_) => Err(self.malformed("an integer without an end")),
        }
    }

    #[inline(always)]
    fn take_array<const N: usize>(&mut self, what: &str) -> Result<&'a [u8; N], Malformed> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(array)
            }
            None => Err(self.malformed(&format!("{what} with {} left", self.rest.len()))),
        }
    }

    fn offset(&self) -> usize {
        self.rest.as_ptr() as usize - self.whole.as_ptr() as usize
    }

    /// The body is not protobuf, or cut off.
    #[cold]
    fn malformed(&self, what: &str) -> Malformed {
        refused(format!("protobuf: {what} at byte {}", self.start))
    }

    #[cold]
    fn too_deep(&self) -> Malformed {
        self.malformed(&format!("nested deeper than {DEEPEST}"))
    }

    /// A field of ours has another type on the wire.
    #[cold]
    pub(super) fn mistyped(&self, name: &str, field: Field<'_>) -> Malformed {
        let found = match field.kind {
            Kind::Varint => "a varint",
            Kind::Fixed64 => "8 bytes",
            Kind::Fixed32 => "4 bytes",
            Kind::Length => "a length-delimited field",
        };
        self.malformed(&format!("`{name}` is {found}"))
    }

    /// The bytes in a field.
    #[inline(always)]
    pub(super) fn content(&self, name: &str, field: Field<'a>) -> Result<&'a [u8], Malformed> {
        if field.kind == Kind::Length { Ok(field.content) } else { Err(self.mistyped(name, field)) }
    }

    /// The message in a field.
    #[inline(always)]
    pub(super) fn message(&self, name: &str, field: Field<'a>) -> Result<Self, Malformed> {
        let content = self.content(name, field)?;
        if self.depth >= DEEPEST {
            return Err(self.too_deep());
        }
        Ok(Self { rest: content, depth: self.depth + 1, ..*self })
    }

    /// The bytes in a field, as a slice of the message.
    #[inline]
    pub(super) fn bytes(&self, name: &str, field: Field<'a>) -> Result<Bytes, Malformed> {
        Ok(self.whole.slice_ref(self.content(name, field)?))
    }

    /// The text in a field.
    #[inline]
    pub(super) fn str(&self, name: &str, field: Field<'a>) -> Result<&'a str, Malformed> {
        let content = self.content(name, field)?;
        std::str::from_utf8(content).map_err(|_| self.malformed(&format!("`{name}` is not UTF-8")))
    }

    /// A text of the message, as a slice of it.
    pub(super) fn slice(&self, text: &'a str) -> ByteString {
        ByteString::try_from(self.whole.slice_ref(text.as_bytes())).expect("it is text already")
    }

    /// Bytes of the message as text, as a slice of it, if they are.
    #[inline]
    pub(super) fn text_of(&self, content: &'a [u8]) -> Option<ByteString> {
        ByteString::try_from(self.whole.slice_ref(content)).ok()
    }

    /// The text in a field, as a slice of the message.
    #[inline]
    pub(super) fn text(&self, name: &str, field: Field<'a>) -> Result<ByteString, Malformed> {
        ByteString::try_from(self.bytes(name, field)?).map_err(|_| self.malformed(&format!("`{name}` is not UTF-8")))
    }

    #[inline(always)]
    pub(super) fn integer(&self, name: &str, field: Field<'a>) -> Result<u64, Malformed> {
        if field.kind == Kind::Varint { Ok(field.bits) } else { Err(self.mistyped(name, field)) }
    }
}

/// The elements of a packed or repeated field of numbers.
pub(super) fn elements<'a, const N: usize>(wire: &Wire<'a>, field: Field<'a>) -> Result<&'a [[u8; N]], Malformed> {
    let content = wire.content("elements", field)?;
    let (chunks, rest) = content.as_chunks::<N>();
    if rest.is_empty() { Ok(chunks) } else { Err(refused(format!("protobuf: `elements` of {} bytes", content.len()))) }
}
