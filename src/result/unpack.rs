//! Compressed bodies: what `content-encoding` says, undone within a bound.

use std::io::{self, Read};

use bytes::Bytes;

use crate::cut::{QUOTED, cut};
use crate::sink::{ErrorClass, Refusal};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, RFC 8878.
    Zstd,
    /// gzip, RFC 1952.
    Gzip,
    /// LZ4 in its frame format.
    Lz4,
}

/// Windows of this size every decoder of Zstandard should take (RFC 8878), 2^23 bytes: who compresses a stream
/// says how large its window is before it knows how little there will be. So this is the least also where bodies
/// are to be smaller.
const LEAST_WINDOW: u32 = 23;

/// What the library says of a window that is larger.
const WINDOW_TOO_LARGE: &str = "requires too much memory";

impl Compression {
    /// Every one by its name in `content-encoding`.
    pub const ALL: [(&'static str, Self); 3] = [("zstd", Self::Zstd), ("gzip", Self::Gzip), ("lz4", Self::Lz4)];

    /// Its name in `content-encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        }
    }

    /// What a `content-encoding` names; `None` where that is no compression.
    pub fn named(content_encoding: Option<&str>) -> Result<Option<Self>, Refusal> {
        let Some(name) = content_encoding else { return Ok(None) };
        let name = name.trim();
        if name.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        match Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, compression)) => Ok(Some(compression)),
            None => {
                let known = Self::ALL.map(|(known, _)| known).join(", ");
                let name = cut(name, QUOTED);
                let message = format!("unknown content-encoding `{name}`; known are {known} and identity");
                Err(Refusal::new(ErrorClass::Decode, message))
            }
        }
    }

    /// Compresses a body.
    pub fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::encode_all(body, zstd::DEFAULT_COMPRESSION_LEVEL),
            Self::Gzip => {
                let mut packed = Vec::new();
                flate2::read::GzEncoder::new(body, flate2::Compression::default()).read_to_end(&mut packed)?;
                Ok(packed)
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                io::Write::write_all(&mut encoder, body)?;
                encoder.finish().map_err(io::Error::from)
            }
        }
    }

    /// The body, all of its frames; refused as too large at the first byte beyond `limit`, however
    /// large it claims or would turn out to be.
    pub fn unpack(self, packed: &[u8], limit: usize) -> Result<Bytes, Refusal> {
        let mut body = Vec::new();
        let read = match self {
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(packed).and_then(|mut decoder| {
                // Memory is taken for the window that the frame asks for, beside what comes out: no more than
                // the limit once more.
                decoder.window_log_max(largest_window(limit))?;
                bounded(decoder, &mut body, limit)
            }),
            Self::Gzip => bounded(flate2::bufread::MultiGzDecoder::new(packed), &mut body, limit),
            Self::Lz4 => lz4(packed, &mut body, limit),
        };
        let name = self.as_str();
        match read {
            Ok(()) if body.len() > limit => {
                let message = format!("a {name} body of more than {limit} bytes once unpacked (`max_message_bytes`)");
                Err(Refusal::new(ErrorClass::TooLarge, message).harmless())
            }
            Ok(()) => {
                body.shrink_to_fit();
                Ok(body.into())
            }
            Err(error) if self == Self::Zstd && error.to_string().contains(WINDOW_TOO_LARGE) => {
                let wanted = window(packed).map_or_else(String::new, |bytes| format!(", of {bytes} bytes,"));
                let taken = 1_u64 << largest_window(limit);
                let message = format!(
                    "a zstd body whose window{wanted} is larger than the {taken} bytes that are taken here \
                     (`max_message_bytes`, at most 128 MiB): compress it without `--long`"
                );
                Err(Refusal::new(ErrorClass::TooLarge, message).harmless())
            }
            Err(error) => Err(Refusal::new(ErrorClass::Decode, format!("content-encoding {name}: {error}"))),
        }
    }
}

/// The binary logarithm of the largest window that is taken.
fn largest_window(limit: usize) -> u32 {
    limit.max(1).ilog2().clamp(LEAST_WINDOW, 27)
}

/// The window that the first frame of a Zstandard body asks for (RFC 8878, 3.1.1.1).
fn window(packed: &[u8]) -> Option<u64> {
    let (descriptor, rest) = packed.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?.split_first()?;
    if descriptor & 0x20 == 0 {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // A frame of a single segment: its window is its content.
    let (dictionary, size) = ([0, 1, 2, 4][usize::from(descriptor & 3)], 1 << (descriptor >> 6));
    let mut content = [0; 8];
    content[..size].copy_from_slice(rest.get(dictionary..dictionary + size)?);
    Some(u64::from_le_bytes(content) + if size == 2 { 256 } else { 0 })
}

/// Reads until the end, or one byte beyond the limit.
fn bounded(reader: impl Read, body: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let room = (limit as u64 + 1).saturating_sub(body.len() as u64);
    reader.take(room).read_to_end(body).map(drop)
}

/// One frame after the other: the decoder stops at the end of each.
fn lz4(packed: &[u8], body: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let mut rest = Rest { bytes: packed, exhausted: false };
    while !rest.bytes.is_empty() && body.len() <= limit {
        bounded(lz4_flex::frame::FrameDecoder::new(&mut rest), body, limit)?;
        // The decoder takes the end of its input for the end of a frame. A frame that was whole ended
        // with its mark, and nobody asked for more.
        if rest.exhausted {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete frame"));
        }
    }
    Ok(())
}

/// Bytes that remember whether more was asked of them than they had.
struct Rest<'a> {
    bytes: &'a [u8],
    exhausted: bool,
}

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.exhausted |= self.bytes.is_empty() && !buffer.is_empty();
        self.bytes.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 3] = [Compression::Zstd, Compression::Gzip, Compression::Lz4];

    fn body() -> Vec<u8> {
        (0..200_000_u32).flat_map(|at| (at.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked_also_in_several_frames() {
        let body = body();
        for compression in ALL {
            let pack = |part: &[u8]| compression.pack(part).expect("packed");
            let whole = pack(&body);
            assert_eq!(compression.unpack(&whole, body.len()), Ok(body.clone().into()), "{compression:?}");
            let (one, two) = body.split_at(body.len() / 3);
            let frames = [pack(one), pack(b""), pack(two)].concat();
            assert_eq!(compression.unpack(&frames, body.len()), Ok(body.clone().into()), "{compression:?}");
        }
    }

    #[test]
    fn one_byte_too_many_is_too_large_and_so_is_a_bomb() {
        let body = body();
        let zeros = vec![0; 100 << 20];
        for compression in ALL {
            let packed = compression.pack(&body).expect("packed");
            let refusal = compression.unpack(&packed, body.len() - 1).expect_err("too large");
            assert_eq!(refusal.class, ErrorClass::TooLarge);
            let bomb = compression.pack(&zeros).expect("packed");
            assert!(bomb.len() < 1 << 20, "{compression:?}: {}", bomb.len());
            let refusal = compression.unpack(&bomb, 1 << 20).expect_err("too large");
            assert_eq!(refusal.class, ErrorClass::TooLarge, "{compression:?}");
            assert!(refusal.message.contains("more than 1048576 bytes once unpacked"), "{refusal}");
        }
    }

    #[test]
    fn a_window_that_is_not_taken_is_named_with_the_one_that_is() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.window_log(27).expect("a window");
        io::Write::write_all(&mut encoder, b"few").expect("written");
        let packed = encoder.finish().expect("packed");
        let refusal = Compression::Zstd.unpack(&packed, 16 << 20).expect_err("a window of 128 MiB");
        assert_eq!(refusal.class, ErrorClass::TooLarge, "{refusal}");
        assert!(refusal.message.contains("of 134217728 bytes, is larger than the 16777216 bytes"), "{refusal}");
    }

    // Seen to fail for lz4: its decoder takes the end of its input, between two blocks or behind the first
    // four bytes of a header, for the end of the frame.
    #[test]
    fn a_body_cut_anywhere_is_refused() {
        let body = &body()[..20_000];
        for compression in ALL {
            let one = compression.pack(body).expect("packed");
            let two = [&one[..], &one].concat();
            for cut in (0..two.len()).filter(|cut| *cut != one.len()) {
                let cut_off = compression.unpack(&two[..cut], 1 << 20);
                match cut_off {
                    Err(refusal) => assert_eq!(refusal.class, ErrorClass::Decode),
                    Ok(body) => assert!(cut == 0 && body.is_empty(), "{compression:?} cut at {cut}"),
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_harmless() {
        let body = &body()[..5_000];
        for compression in ALL {
            let packed = compression.pack(body).expect("packed");
            for at in 0..packed.len() {
                let mut changed = packed.clone();
                changed[at] ^= 0x41;
                let _ = compression.unpack(&changed, 1 << 20);
            }
        }
    }

    #[test]
    fn a_name_is_read_in_any_case_and_an_unknown_one_refused_with_the_known() {
        assert_eq!(Compression::named(None), Ok(None));
        assert_eq!(Compression::named(Some("identity")), Ok(None));
        assert_eq!(Compression::named(Some("ZSTD")), Ok(Some(Compression::Zstd)));
        for (name, compression) in Compression::ALL {
            assert_eq!((Compression::named(Some(name)), compression.as_str()), (Ok(Some(compression)), name));
        }
        let refusal = Compression::named(Some("br")).expect_err("unknown");
        assert_eq!(
            refusal.to_string(),
            "DECODE: unknown content-encoding `br`; known are zstd, gzip, lz4 and identity"
        );
    }
}
