//! Which encoding a body is in: what the envelope says, else what its first bytes say.

use crate::cut::{QUOTED, cut};
use crate::sink::{ErrorClass, Refusal};

/// An encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// proto3's JSON mapping, and the rows as a person would write them.
    Json,
    /// Protobuf.
    Protobuf,
    /// An Arrow IPC file.
    ArrowFile,
    /// An Arrow IPC stream.
    ArrowStream,
    /// A parquet file.
    Parquet,
}

impl Encoding {
    /// Content types by name; the first of each encoding is the one that is written.
    const NAMES: [(&'static str, Self); 6] = [
        ("application/protobuf", Self::Protobuf),
        ("application/json", Self::Json),
        ("application/vnd.apache.arrow.file", Self::ArrowFile),
        ("application/vnd.apache.arrow.stream", Self::ArrowStream),
        ("application/vnd.apache.parquet", Self::Parquet),
        ("application/x-protobuf", Self::Protobuf),
    ];

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/protobuf",
            Self::Json => "application/json",
            Self::ArrowFile => "application/vnd.apache.arrow.file",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The encoding of a body, by its content type, or by its first bytes where it has none (or
    /// `application/octet-stream`, which says as much).
    pub fn of(content_type: Option<&str>, body: &[u8]) -> Result<Self, Refusal> {
        let Some(content_type) = content_type else { return Ok(Self::sniff(body)) };
        // A parameter (`; charset=utf-8`) says nothing that is not so anyway.
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/octet-stream") {
            return Ok(Self::sniff(body));
        }
        match Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(essence)) {
            Some((_, encoding)) => Ok(*encoding),
            None => {
                let known = Self::NAMES.map(|(name, _)| name).join(", ");
                let message = format!("unknown content type `{}`; known are {known}", cut(essence, QUOTED));
                Err(Refusal::new(ErrorClass::Decode, message))
            }
        }
    }

    /// By the first bytes.
    ///
    /// A line feed is also how a protobuf message with a text in its first field starts, and the
    /// length of that text may be a brace. So where white space comes before the brace, what follows
    /// it and the last byte must be those of JSON too.
    pub fn sniff(body: &[u8]) -> Self {
        if starts_with(body, b"{[") {
            return Self::Json;
        }
        if body.starts_with(b"ARROW1") {
            return Self::ArrowFile;
        }
        if body.starts_with(&[0xff; 4]) {
            return Self::ArrowStream;
        }
        if body.starts_with(b"PAR1") {
            return Self::Parquet;
        }
        let body = without_mark(body);
        let text = body.trim_ascii();
        let whole = match (text.first(), text.last()) {
            (Some(b'{'), Some(b'}')) => starts_with(text[1..].trim_ascii_start(), b"\"}"),
            (Some(b'['), Some(b']')) => starts_with(text[1..].trim_ascii_start(), b"]{[\"-0123456789tfn"),
            _ => false,
        };
        if whole || starts_with(body, b"{[") { Self::Json } else { Self::Protobuf }
    }
}

fn starts_with(body: &[u8], any: &[u8]) -> bool {
    body.first().is_some_and(|first| any.contains(first))
}

/// The body behind a UTF-8 byte order mark, which some tools put before JSON.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_a_content_type_is_known_by_its_first_bytes() {
        for (body, encoding) in [
            (&b"{}"[..], Encoding::Json),
            (b" \r\n\t[1]", Encoding::Json),
            (b"\xef\xbb\xbf {}", Encoding::Json),
            (b"ARROW1\0\0", Encoding::ArrowFile),
            (b"\xff\xff\xff\xff\x10", Encoding::ArrowStream),
            (b"PAR1", Encoding::Parquet),
            (b"\x0a\x04prod", Encoding::Protobuf),
            (b"", Encoding::Protobuf),
            (b"\n{", Encoding::Protobuf),
            (b"\n[\x22\x01", Encoding::Protobuf),
            (b"{\"a", Encoding::Json),
        ] {
            assert_eq!(Encoding::of(None, body), Ok(encoding), "{body:?}");
            assert_eq!(Encoding::of(Some("application/octet-stream"), body), Ok(encoding));
        }
    }

    #[test]
    fn a_content_type_goes_before_the_first_bytes() {
        let of = |content_type| Encoding::of(Some(content_type), b"{}");
        assert_eq!(of("Application/Protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(of("application/json; charset=utf-8"), Ok(Encoding::Json));
        for encoding in
            [Encoding::Json, Encoding::Protobuf, Encoding::ArrowFile, Encoding::ArrowStream, Encoding::Parquet]
        {
            assert_eq!(of(encoding.content_type()), Ok(encoding));
        }
        let refusal = of("text/plain").expect_err("unknown");
        assert_eq!(refusal.class, ErrorClass::Decode);
        assert!(refusal.message.starts_with("unknown content type `text/plain`; known are application/protobuf, "));
    }
}
