//! JSON text, token by token: what stands where, borrowed from the message.
//!
//! Written out because it is what every message costs first. A general reader has to give a number as
//! one of its own types, so it cannot tell an integer of many digits from a double, and reading through it
//! takes a tenth longer. It accepts what RFC 8259 accepts and nothing else, says the same words as
//! `serde_json` where it refuses, and a property test holds the two together.

use std::borrow::Cow;

use super::part::Part;
use super::plain::plain;
use crate::result::DEEPEST;
use crate::sink::ErrorClass;

/// The place that reading has come to when the fault is told.
const HERE: usize = usize::MAX;

/// Why the message is refused, and where: bytes of it that were read.
#[derive(Debug)]
pub(super) struct Fault(Box<What>);

#[derive(Debug)]
struct What {
    class: ErrorClass,
    message: String,
    at: usize,
}

impl Fault {
    /// A fault at the place that reading has come to, which [`Scanner::read`] adds.
    #[cold]
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(Box::new(What { class: ErrorClass::Decode, message: what.into(), at: HERE }))
    }

    /// The message would take more memory than it may.
    #[cold]
    pub(super) fn too_large(message: String) -> Self {
        Self(Box::new(What { class: ErrorClass::TooLarge, message, at: HERE }))
    }

    #[cold]
    fn at(what: &str, at: usize) -> Self {
        Self(Box::new(What { class: ErrorClass::Decode, message: what.to_owned(), at }))
    }

    /// Its class, what is wrong, and how many bytes had been read.
    pub(super) fn into_parts(self) -> (ErrorClass, String, usize) {
        let What { class, message, at } = *self.0;
        (class, message, at)
    }
}

/// A number as it stands in the text.
enum Number<'de> {
    Int(i64),
    /// An integer that does not fit 64 bits.
    Big(&'de str),
    Double(f64),
}

/// A message and the place in it that is read next.
pub(super) struct Scanner<'de> {
    text: &'de str,
    at: usize,
    /// Lists and objects around that place.
    depth: usize,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Reads the whole text as one part.
    pub(super) fn read<P: Part<'de>>(mut self, part: P) -> Result<P::Output, Fault> {
        let whole = self.value(part).and_then(|read| match self.peek() {
            None => Ok(read),
            Some(_) => Err(self.unexpected("trailing characters")),
        });
        whole.map_err(|mut fault| {
            if fault.0.at == HERE {
                fault.0.at = self.at;
            }
            fault
        })
    }

    /// The next byte that is no white space; it is not passed over.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// The byte at hand is not one that may stand there.
    #[cold]
    fn unexpected(&self, what: &str) -> Fault {
        Fault::at(what, self.at + 1)
    }

    #[cold]
    fn cut_off(&self, inside: &str) -> Fault {
        Fault::at(&format!("EOF while parsing {inside}"), self.text.len())
    }

    /// Reads one value.
    #[inline]
    fn value<P: Part<'de>>(&mut self, part: P) -> Result<P::Output, Fault> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                match self.string()? {
                    Cow::Borrowed(text) => part.borrowed(text),
                    Cow::Owned(text) => part.text(&text),
                }
            }
            Some(b'-' | b'0'..=b'9') => match self.number()? {
                Number::Int(number) => part.int(number),
                Number::Double(number) => part.double(number),
                Number::Big(digits) => part.big(digits),
            },
            Some(b'{') => {
                self.enter()?;
                let read = part.object(Object { scanner: self, first: true })?;
                self.depth -= 1;
                Ok(read)
            }
            Some(b'[') => {
                self.enter()?;
                let read = part.list(List { scanner: self, first: true })?;
                self.depth -= 1;
                Ok(read)
            }
            Some(b'n') => self.word("null").and_then(|()| part.null()),
            Some(b't') => self.word("true").and_then(|()| part.bool(true)),
            Some(b'f') => self.word("false").and_then(|()| part.bool(false)),
            Some(_) => Err(self.unexpected("expected value")),
            None => Err(self.cut_off("a value")),
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth >= DEEPEST {
            return Err(Fault::at(&format!("nested deeper than {DEEPEST}"), self.at + 1));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let same = rest.iter().zip(word.as_bytes()).take_while(|(one, other)| one == other).count();
        self.at += same;
        match same {
            same if same == word.len() => Ok(()),
            same if same == rest.len() => Err(self.cut_off("a value")),
            _ => Err(self.unexpected("expected ident")),
        }
    }

    /// A text, of which the opening quote was read.
    #[inline]
    fn string(&mut self) -> Result<Cow<'de, str>, Fault> {
        let start = self.at;
        self.at += plain(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        self.unescaped(start).map(Cow::Owned)
    }

    /// A text that is not plain up to its end, from its start.
    #[cold]
    fn unescaped(&mut self, start: usize) -> Result<String, Fault> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => {
                    return Err(self.unexpected("control character (\\u0000-\\u001F) found while parsing a string"));
                }
                None => return Err(self.cut_off("a string")),
            }
            let length = plain(&self.text.as_bytes()[self.at..]);
            text.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let Some(kind) = self.text.as_bytes().get(self.at) else { return Err(self.cut_off("a string")) };
        let single = match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(self.unexpected("invalid escape")),
        };
        self.at += 1;
        Ok(single)
    }

    /// A character by its number: four digits, or two times four for one beyond 16 bits.
    fn code_point(&mut self) -> Result<char, Fault> {
        let lone = |at| Fault::at("lone leading surrogate in hex escape", at);
        let high = self.four_digits()?;
        let number = match high {
            0xdc00..=0xdfff => return Err(lone(self.at)),
            0xd800..=0xdbff => {
                for expected in [b'\\', b'u'] {
                    match self.text.as_bytes().get(self.at) {
                        Some(found) if *found == expected => self.at += 1,
                        Some(_) => return Err(self.unexpected("unexpected end of hex escape")),
                        None => return Err(self.cut_off("a string")),
                    }
                }
                match self.four_digits()? {
                    low @ 0xdc00..=0xdfff => 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(lone(self.at)),
                }
            }
            other => other,
        };
        char::from_u32(number).ok_or_else(|| lone(self.at))
    }

    fn four_digits(&mut self) -> Result<u32, Fault> {
        if self.text.len() - self.at < 4 {
            return Err(self.cut_off("a string"));
        }
        let mut number = 0;
        for _ in 0..4 {
            match char::from(self.text.as_bytes()[self.at]).to_digit(16) {
                Some(digit) => number = number << 4 | digit,
                None => return Err(self.unexpected("invalid escape")),
            }
            self.at += 1;
        }
        Ok(number)
    }

    #[inline]
    fn number(&mut self) -> Result<Number<'de>, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let negative = bytes[start] == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut number: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = bytes.get(self.at) {
            // Beyond 19 digits the sum is not looked at.
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        match self.at - first {
            0 if self.at == bytes.len() => return Err(self.cut_off("a value")),
            0 => return Err(self.unexpected("invalid number")),
            digits if digits > 1 && bytes[first] == b'0' => {
                self.at = first + 1;
                return Err(self.unexpected("invalid number"));
            }
            _ => {}
        }
        if let Some(b'.' | b'e' | b'E') = bytes.get(self.at) {
            return self.double(start);
        }
        Ok(match (negative, number) {
            (true, 0) if self.at == first + 1 => Number::Double(-0.0),
            _ if self.at - first > 19 => Number::Big(&self.text[start..self.at]),
            (false, _) if i64::try_from(number).is_ok() => Number::Int(number as i64),
            (true, _) if number <= i64::MAX as u64 + 1 => Number::Int((number as i64).wrapping_neg()),
            _ => Number::Big(&self.text[start..self.at]),
        })
    }

    /// A number from its start, with what makes it a double ahead.
    fn double(&mut self, start: usize) -> Result<Number<'de>, Fault> {
        let bytes = self.text.as_bytes();
        if bytes[self.at] == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.text[start..self.at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Number::Double(number)),
            _ => Err(Fault::at("number out of range", self.at)),
        }
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        let first = self.at;
        while let Some(b'0'..=b'9') = bytes.get(self.at) {
            self.at += 1;
        }
        match self.at - first {
            0 if self.at == bytes.len() => Err(self.cut_off("a value")),
            0 => Err(self.unexpected("invalid number")),
            _ => Ok(()),
        }
    }
}

/// An object that is being read; to its end, or reading ends in an error.
pub(super) struct Object<'s, 'de> {
    scanner: &'s mut Scanner<'de>,
    first: bool,
}

impl<'de> Object<'_, 'de> {
    /// Lists and objects around its values, itself included.
    pub(super) fn depth(&self) -> usize {
        self.scanner.depth
    }

    /// The next key; its value has to be read before the one after it.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<Cow<'de, str>>, Fault> {
        let scanner = &mut *self.scanner;
        let first = std::mem::replace(&mut self.first, false);
        match scanner.peek() {
            Some(b'}') => {
                scanner.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                scanner.at += 1;
                match scanner.peek() {
                    Some(b'"') => {}
                    Some(b'}') => return Err(scanner.unexpected("trailing comma")),
                    Some(_) => return Err(scanner.unexpected("key must be a string")),
                    None => return Err(scanner.cut_off("a value")),
                }
            }
            Some(b'"') if first => {}
            Some(_) if first => return Err(scanner.unexpected("key must be a string")),
            Some(_) => return Err(scanner.unexpected("expected `,` or `}`")),
            None => return Err(scanner.cut_off("an object")),
        }
        scanner.at += 1;
        let key = scanner.string()?;
        match scanner.peek() {
            Some(b':') => {
                scanner.at += 1;
                Ok(Some(key))
            }
            Some(_) => Err(scanner.unexpected("expected `:`")),
            None => Err(scanner.cut_off("an object")),
        }
    }

    /// The next key, if it is this one, which has nothing in it that would be escaped. It is compared where it stands,
    /// which costs a third of reading it.
    #[inline]
    pub(super) fn key_if(&mut self, likely: &str) -> Option<&'de str> {
        let scanner = &mut *self.scanner;
        let text: &'de str = scanner.text;
        let mut start = scanner.at;
        if !self.first {
            start += usize::from(text.as_bytes().get(start) == Some(&b','));
            start += usize::from(start > scanner.at && text.as_bytes().get(start) == Some(&b' '));
            if start == scanner.at {
                return None;
            }
        }
        let rest = text.as_bytes()[start..].strip_prefix(b"\"")?.strip_prefix(likely.as_bytes())?;
        if !rest.starts_with(b"\":") {
            return None;
        }
        self.first = false;
        let name = start + 1..start + 1 + likely.len();
        scanner.at = name.end + 2;
        Some(&text[name])
    }

    /// The value of the key.
    #[inline]
    pub(super) fn value<P: Part<'de>>(&mut self, part: P) -> Result<P::Output, Fault> {
        self.scanner.value(part)
    }
}

/// A list that is being read; to its end, or reading ends in an error.
pub(super) struct List<'s, 'de> {
    scanner: &'s mut Scanner<'de>,
    first: bool,
}

impl<'de> List<'_, 'de> {
    /// Lists and objects around its items, itself included.
    pub(super) fn depth(&self) -> usize {
        self.scanner.depth
    }

    /// Whether there is another item, which has to be read then.
    #[inline]
    pub(super) fn more(&mut self) -> Result<bool, Fault> {
        let scanner = &mut *self.scanner;
        let first = std::mem::replace(&mut self.first, false);
        match scanner.peek() {
            Some(b']') => {
                scanner.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                scanner.at += 1;
                if scanner.peek() == Some(b']') {
                    return Err(scanner.unexpected("trailing comma"));
                }
            }
            Some(_) if first => {}
            Some(_) => return Err(scanner.unexpected("expected `,` or `]`")),
            None => return Err(scanner.cut_off("a list")),
        }
        Ok(true)
    }

    /// The item that there is.
    #[inline]
    pub(super) fn item<P: Part<'de>>(&mut self, part: P) -> Result<P::Output, Fault> {
        self.scanner.value(part)
    }

    /// The next item.
    #[inline]
    pub(super) fn next<P: Part<'de>>(&mut self, part: P) -> Result<Option<P::Output>, Fault> {
        if self.more()? { self.item(part).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    /// Reads anything as `serde_json` does.
    struct Tree;

    impl<'de> Part<'de> for Tree {
        type Output = Value;

        fn wrong(self, found: &str) -> Result<Value, Fault> {
            Err(Fault::new(found))
        }

        fn null(self) -> Result<Value, Fault> {
            Ok(Value::Null)
        }

        fn bool(self, value: bool) -> Result<Value, Fault> {
            Ok(value.into())
        }

        fn int(self, value: i64) -> Result<Value, Fault> {
            Ok(value.into())
        }

        fn big(self, digits: &'de str) -> Result<Value, Fault> {
            match (digits.parse::<u64>(), digits.parse::<f64>()) {
                (Ok(number), _) => Ok(number.into()),
                (_, Ok(number)) if number.is_finite() => Ok(number.into()),
                _ => Err(Fault::new("number out of range")),
            }
        }

        fn double(self, value: f64) -> Result<Value, Fault> {
            Ok(value.into())
        }

        fn text(self, value: &str) -> Result<Value, Fault> {
            Ok(value.into())
        }

        fn list(self, mut list: List<'_, 'de>) -> Result<Value, Fault> {
            let mut items = Vec::new();
            while let Some(item) = list.next(Self)? {
                items.push(item);
            }
            Ok(Value::Array(items))
        }

        fn object(self, mut object: Object<'_, 'de>) -> Result<Value, Fault> {
            let mut fields = Map::new();
            while let Some(key) = object.key()? {
                let key = key.into_owned();
                fields.insert(key, object.value(Self)?);
            }
            Ok(Value::Object(fields))
        }
    }

    /// What a text says, or why it is refused: by us, and by `serde_json`.
    fn both(text: &str) -> [Result<Value, String>; 2] {
        let ours = Scanner::new(text).read(Tree).map_err(|fault| fault.into_parts().1);
        let theirs = serde_json::from_str::<Value>(text).map_err(|error| {
            let place = format!(" at line {} column {}", error.line(), error.column());
            let what = error.to_string();
            what.strip_suffix(&place).unwrap_or(&what).to_owned()
        });
        [ours, theirs]
    }

    #[test]
    fn what_is_hard_is_read_as_the_general_reader_reads_it() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "00",
            "01",
            "-01",
            "-",
            "+1",
            ".5",
            "1.",
            "1.e1",
            "1e",
            "1e+",
            "1E5",
            "1e400",
            "-1e400",
            "1e-400",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "123456789012345678901234567890",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "123456789.12345679",
            "2.2250738585072011e-308",
            "0e1",
            "null",
            "nul",
            "nulL",
            "true",
            "tru",
            "false",
            "falsy",
            "nulls",
            "",
            " ",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,]",
            "[1 2]",
            "{",
            "{}",
            "{,}",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "\"",
            "\"a",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u123",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\\ud83d\\ude00\"",
            "\"\\u0000\"",
            "\"\n\"",
            "\"\u{7f}\u{80}é😀\"",
            "\"0123456789abcdef\\n0123456789\"",
            "\"01234567\u{1f}\"",
            "\"éééééééééé\\u00e9\"",
            "1 2",
            "[] x",
            "\u{feff}1",
        ] {
            let [ours, theirs] = both(text);
            assert_eq!(ours, theirs, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn anything_like_json_is_read_as_the_general_reader_reads_it(
            text in r#"([\[\]{}",:a-c0-9.eE+\\ un\x00-\x20é😀-]|true|null|\\u[0-9a-dD]{4}|"a":|[0-9]{17,20}){0,24}"#,
        ) {
            let [ours, theirs] = both(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn every_double_keeps_its_bits(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let [ours, _] = both(&format!("{number:?}"));
            prop_assert_eq!(ours.ok().and_then(|value| value.as_f64()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn a_text_ends_where_it_ends(text in any::<String>()) {
            let [ours, theirs] = both(&serde_json::to_string(&text).expect("text"));
            prop_assert_eq!(&ours, &Ok(Value::from(text)));
            prop_assert_eq!(ours, theirs);
        }
    }
}
