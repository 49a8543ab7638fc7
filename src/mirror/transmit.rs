//! The frame of Chalk's binary answers (`ByteBaseModel`): a magic word, then named parts with their lengths.
//!
//! ```text
//! CHALK_BYTE_TRANSMISSION
//! u64 length, JSON object    plain attributes
//! u64 length, JSON object    attributes that are objects of their own, as text
//! u64 length, JSON {name: length}, then those bytes one after the other
//! u64 length, JSON {name: length}, then those bytes: parts that are such frames themselves
//! ```
//!
//! Lengths are eight bytes, the highest first. A part stands where the order of its map says.

use bytes::Bytes;

use super::object::Object;

const MAGIC: &[u8] = b"CHALK_BYTE_TRANSMISSION";

/// An opened frame; its parts are slices of it.
#[derive(Debug)]
pub(super) struct Frame {
    /// Plain attributes.
    pub(super) attributes: Object,
    /// Parts that are bytes, in their order.
    pub(super) bytes: Vec<(String, Bytes)>,
    /// Parts that are frames themselves.
    pub(super) frames: Vec<(String, Bytes)>,
}

impl Frame {
    pub(super) fn read(body: &Bytes) -> Result<Self, String> {
        let mut rest = body.clone();
        if !rest.starts_with(MAGIC) {
            return Err(format!("does not begin with {}", String::from_utf8_lossy(MAGIC)));
        }
        let _ = rest.split_to(MAGIC.len());
        let attributes = object(&mut rest, "attributes")?;
        let _objects = object(&mut rest, "objects")?;
        let bytes = parts(&mut rest, "bytes")?;
        let frames = parts(&mut rest, "frames")?;
        if !rest.is_empty() {
            return Err(format!("{} bytes behind its end", rest.len()));
        }
        Ok(Self { attributes, bytes, frames })
    }
}

fn part(rest: &mut Bytes, length: u64, what: &str) -> Result<Bytes, String> {
    match usize::try_from(length).ok().filter(|length| *length <= rest.len()) {
        Some(length) => Ok(rest.split_to(length)),
        None => Err(format!("{what}: {length} bytes said, {} there", rest.len())),
    }
}

fn object(rest: &mut Bytes, what: &str) -> Result<Object, String> {
    let length = part(rest, 8, what)?;
    let length = u64::from_be_bytes(length.as_ref().try_into().expect("eight bytes were asked for"));
    let text = part(rest, length, what)?;
    serde_json::from_slice(&text).map_err(|error| format!("{what}: {error}"))
}

fn parts(rest: &mut Bytes, what: &str) -> Result<Vec<(String, Bytes)>, String> {
    let lengths = object(rest, what)?;
    let read = lengths.iter().map(|(name, length)| {
        let length: u64 = serde_json::from_str(length).map_err(|error| format!("{what}, `{name}`: {error}"))?;
        Ok((name.to_owned(), part(rest, length, name)?))
    });
    read.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as servers make it.
    pub(in crate::mirror) fn frame(attributes: &str, bytes: &[(&str, &[u8])], frames: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        let mut text = |text: &str| {
            body.extend_from_slice(&(text.len() as u64).to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        };
        let lengths = |parts: &[(&str, &[u8])]| {
            let each: Vec<String> = parts.iter().map(|(name, part)| format!("{name:?}: {}", part.len())).collect();
            format!("{{{}}}", each.join(", "))
        };
        text(attributes);
        text("{}");
        text(&lengths(bytes));
        body.extend(bytes.iter().flat_map(|(_, part)| part.iter()));
        let text = lengths(frames);
        body.extend_from_slice(&(text.len() as u64).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        body.extend(frames.iter().flat_map(|(_, part)| part.iter()));
        body
    }

    #[test]
    fn parts_come_in_the_order_in_which_they_are_named() {
        let body = frame(r#"{"has_data": true}"#, &[("z", b"last"), ("a", b"")], &[("inner", b"xyz")]);
        let read = Frame::read(&body.into()).expect("a frame");
        assert_eq!(read.attributes.get("has_data"), Some("true"));
        assert_eq!(read.bytes, [("z".to_owned(), Bytes::from("last")), ("a".to_owned(), Bytes::new())]);
        assert_eq!(read.frames, [("inner".to_owned(), Bytes::from("xyz"))]);
    }

    #[test]
    fn a_length_beyond_the_end_is_said_and_not_believed() {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&u64::MAX.to_be_bytes());
        let error = Frame::read(&body.into()).expect_err("no such length");
        assert_eq!(error, format!("attributes: {} bytes said, 0 there", u64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_cut_off_or_longer_is_no_frame(part in prop::collection::vec(any::<u8>(), 0..50), cut in 0..200_usize) {
            let whole = frame("{}", &[("a", &part)], &[("b", &part)]);
            let cut = cut % whole.len();
            prop_assert!(Frame::read(&whole[..cut].to_vec().into()).is_err());
            prop_assert!(Frame::read(&[&whole[..], b"x"].concat().into()).is_err());
            prop_assert!(Frame::read(&whole.into()).is_ok());
        }
    }
}
