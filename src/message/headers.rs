//! Headers in one block of bytes: a message with eight of them costs one slice, not sixteen.

use bytes::{BufMut, Bytes, BytesMut};

/// The headers of a message, in order; names may repeat, values may be null (Kafka has both).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Per header: name length (u16), value length + 1 or 0 for null (u32), name, value.
    block: Bytes,
}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self { block: Bytes::new() }
    }

    /// Takes a block that [`append`] or [`Headers::as_block`] produced.
    ///
    /// A block from elsewhere is read as far as it is well formed.
    pub const fn from_block(block: Bytes) -> Self {
        Self { block }
    }

    /// The block itself, for storing.
    pub fn as_block(&self) -> &Bytes {
        &self.block
    }

    /// Names and values in order; `None` is a null value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        Iter { rest: &self.block }
    }

    /// The last value under a name (Kafka's own rule for repeated headers), as it is.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(n, _)| *n == name).last().and_then(|(_, value)| value)
    }

    /// The same, where it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.block.len()
    }
}

impl<'a> FromIterator<(&'a str, Option<&'a [u8]>)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, Option<&'a [u8]>)>>(headers: T) -> Self {
        let mut block = BytesMut::new();
        for (name, value) in headers {
            append(&mut block, name, value);
        }
        Self { block: block.freeze() }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        headers.into_iter().map(|(name, value)| (name, Some(value.as_bytes()))).collect()
    }
}

/// Appends one header to a block that [`Headers::from_block`] reads.
///
/// A name longer than 65,535 bytes is cut at that length on a character boundary.
pub fn append(block: &mut BytesMut, name: &str, value: Option<&[u8]>) {
    let name = &name[..name.floor_char_boundary(usize::from(u16::MAX))];
    block.put_u16(name.len() as u16);
    block.put_u32(value.map_or(0, |value| value.len() as u32 + 1));
    block.put_slice(name.as_bytes());
    block.put_slice(value.unwrap_or_default());
}

struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_length, rest) = self.rest.split_first_chunk::<2>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*name_length)))?;
        let name = std::str::from_utf8(name).ok()?;
        let value_length = u32::from_be_bytes(*value_length) as usize;
        let (value, rest) = rest.split_at_checked(value_length.saturating_sub(1))?;
        self.rest = rest;
        Some((name, (value_length > 0).then_some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_repetition_and_null_survive() {
        let given: Vec<(&str, Option<&[u8]>)> =
            vec![("a", Some(b"1")), ("b", None), ("a", Some(b"")), ("", Some(&[0xff, 0]))];
        let headers: Headers = given.iter().copied().collect();
        assert_eq!(headers.iter().collect::<Vec<_>>(), given);
        assert_eq!(headers.get("a"), Some(&b""[..]));
        assert_eq!(headers.get("b"), None);
        let again = Headers::from_block(headers.as_block().clone());
        assert_eq!(again, headers);
    }

    #[test]
    fn a_block_cut_anywhere_is_read_as_far_as_it_goes() {
        let whole: Headers = [("name", "value"), ("other", "x")].into_iter().collect();
        for length in 0..whole.size() {
            let cut = Headers::from_block(whole.as_block().slice(..length));
            assert!(cut.iter().count() < 2);
        }
    }
}
