//! Thrift's compact protocol, as far as it takes to see that no length in it lies, and to read a page's header.

use super::{malformed, too_large};
use crate::sink::Refusal;

/// Deeper than any structure of the parquet format.
const DEEPEST: usize = 32;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// What an element of a list takes once it is read, in bytes and at most: a column of a group of rows, or one of the schema.
/// In a file it may be 20, or a single one where nothing in it is as it should be.
const STRUCTURE: usize = 512;
/// The same for texts and numbers.
const PLAIN: usize = 32;
/// How often `limit` what is read may take, as with rows.
const AS_READ: usize = 8;

/// Whether bytes begin with a structure in which every text and every list has room, and whose lists take no more than 8 times
/// `limit` bytes once they are read.
///
/// Whoever reads it then may take memory by a list's length.
pub(super) fn check(bytes: &[u8], limit: usize) -> Result<(), Refusal> {
    Reader { bytes, at: 0, left: limit.saturating_mul(AS_READ), limit }.structure(0, &mut |_, _| {})
}

/// What a page says of itself.
#[derive(Debug, Default)]
pub(super) struct PageHeader {
    pub(super) unpacked: i64,
    pub(super) packed: i64,
    pub(super) values: i64,
    pub(super) dictionary: bool,
    /// Whether values are told by what they have in common with the one before.
    pub(super) prefixes: bool,
    /// Bytes of the header.
    pub(super) size: usize,
}

/// Reads the header of a page.
pub(super) fn page(bytes: &[u8]) -> Result<PageHeader, Refusal> {
    let mut header = PageHeader::default();
    // Nothing of it is a list that is kept.
    let mut reader = Reader { bytes, at: 0, left: usize::MAX, limit: usize::MAX };
    reader.structure(0, &mut |path, number| match path {
        [2] => header.unpacked = number,
        [3] => header.packed = number,
        [kind @ (5 | 7 | 8), 1] => {
            header.values = number;
            header.dictionary = *kind == 7;
        }
        // The encoding of values: DELTA_BYTE_ARRAY.
        [5, 2] | [8, 4] => header.prefixes = number == 7,
        _ => {}
    })?;
    header.size = reader.at;
    Ok(header)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes that elements of lists may still take.
    left: usize,
    limit: usize,
}

impl Reader<'_> {
    fn cut(&self) -> Refusal {
        malformed(format_args!("a structure that is cut off after {} bytes", self.at))
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.cut())?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: u64) -> Result<(), Refusal> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(self.cut());
        }
        self.at += count as usize;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed("a number without an end"))
    }

    fn number(&mut self) -> Result<i64, Refusal> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// Reads a structure; `found` is told the numbers in it, each by the path of its fields.
    fn structure(&mut self, depth: usize, found: &mut dyn FnMut(&[i16], i64)) -> Result<(), Refusal> {
        self.fields(&mut Vec::new(), depth, found)
    }

    fn fields(&mut self, path: &mut Vec<i16>, depth: usize, found: &mut dyn FnMut(&[i16], i64)) -> Result<(), Refusal> {
        let mut field = 0_i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            field = match header >> 4 {
                0 => self.number()? as i16,
                delta => field.wrapping_add(i16::from(delta)),
            };
            path.push(field);
            match header & 0xf {
                TRUE | FALSE => {}
                kind => self.value(kind, path, depth, found)?,
            }
            path.pop();
        }
    }

    fn value(
        &mut self,
        kind: u8,
        path: &mut Vec<i16>,
        depth: usize,
        found: &mut dyn FnMut(&[i16], i64),
    ) -> Result<(), Refusal> {
        if depth > DEEPEST {
            return Err(malformed(format_args!("nested deeper than {DEEPEST}")));
        }
        match kind {
            TRUE | FALSE | BYTE => self.skip(1),
            I16..=I64 => {
                let number = self.number()?;
                found(path, number);
                Ok(())
            }
            DOUBLE => self.skip(8),
            BINARY => {
                let length = self.varint()?;
                self.skip(length)
            }
            LIST | SET => {
                let header = self.byte()?;
                let count = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
                self.room(count, &[header & 0xf])?;
                for _ in 0..count {
                    self.value(header & 0xf, path, depth + 1, &mut |_, _| {})?;
                }
                Ok(())
            }
            MAP => {
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    self.room(count, &[kinds >> 4, kinds & 0xf])?;
                    for _ in 0..count {
                        self.value(kinds >> 4, path, depth + 1, &mut |_, _| {})?;
                        self.value(kinds & 0xf, path, depth + 1, &mut |_, _| {})?;
                    }
                }
                Ok(())
            }
            STRUCT => self.fields(path, depth + 1, found),
            other => Err(malformed(format_args!("a value of kind {other}"))),
        }
    }

    /// Whether there is room for so many elements, each of the kinds.
    fn room(&mut self, count: u64, kinds: &[u8]) -> Result<(), Refusal> {
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(self.cut());
        }
        let one: usize = kinds.iter().map(|kind| if matches!(*kind, LIST..=STRUCT) { STRUCTURE } else { PLAIN }).sum();
        self.left = (count as usize)
            .checked_mul(one)
            .and_then(|taken| self.left.checked_sub(taken))
            .ok_or_else(|| too_large(self.limit))?;
        Ok(())
    }
}
