//! Headers that have no room among a message's attributes, folded into its body.
//!
//! A message has at most 100 attributes. A dead letter, a message that is parked and one that is sent again have headers of this
//! program's own beside those that the message came with, so that together they may be more. Those that do not fit go before the
//! body, and [`FOLDED`] says how many bytes they take there. Whoever reads such a message by this program sees none of it.
//!
//! Layout: a header after the other, as in [`Headers::as_block`]: length of the name (u16, big-endian), length of the value plus
//! one (u32), name, value.
//!
//! Only messages that this program reads itself are folded, which it knows by its own headers: anybody else would not know what
//! stands before the body.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::limits::{LONGEST_ATTRIBUTE, LONGEST_NAME, MOST_ATTRIBUTES};
use crate::message::Headers;
use crate::message::headers::append;

/// The attribute that says how many bytes of the body are headers.
pub(super) const FOLDED: &str = "chalk_folded_headers";
/// What the program's own headers begin with.
const OURS: [&str; 2] = ["chalk_", "__connect.errors."];

/// Whether a message with these headers is read by this program.
pub(super) fn is_ours(headers: &Headers) -> bool {
    headers.iter().any(|(name, _)| name.starts_with(OURS[0]))
}

/// Those headers that stay attributes, by the names of this program, and the block of those that do not.
pub(super) fn split(headers: &Headers) -> (Headers, Option<Bytes>) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (name, _) in headers.iter() {
        *times.entry(name).or_default() += 1;
    }
    // An attribute is text, there once, and not too long; and what the block is known by is nobody else's.
    let fits = |name: &str, value: Option<&[u8]>| {
        let is_text = value.is_some_and(|value| value.len() <= LONGEST_ATTRIBUTE && std::str::from_utf8(value).is_ok());
        is_text && name.len() <= LONGEST_NAME && times.get(name) == Some(&1) && name != FOLDED
    };
    let count = headers.iter().count();
    if count <= MOST_ATTRIBUTES && headers.iter().all(|(name, value)| fits(name, value)) {
        return (headers.clone(), None);
    }
    // The envelope stays first, and what whoever looks at dead letters without this program looks for.
    let rank = |name: &str| match name {
        name if name.starts_with("ce_") => 0,
        name if OURS.iter().any(|prefix| name.starts_with(prefix)) => 1,
        _ => 2,
    };
    let mut in_order: Vec<(usize, &str)> = headers
        .iter()
        .enumerate()
        .filter(|(_, (name, value))| fits(name, *value))
        .map(|(at, (name, _))| (at, name))
        .collect();
    in_order.sort_by_key(|(_, name)| rank(name));
    let mut stays = vec![false; count];
    // One attribute is taken by that which says how many are not there.
    for (at, _) in in_order.into_iter().take(MOST_ATTRIBUTES - 1) {
        stays[at] = true;
    }
    let (mut plain, mut folded) = (BytesMut::new(), BytesMut::new());
    for (stays, (name, value)) in stays.into_iter().zip(headers.iter()) {
        append(if stays { &mut plain } else { &mut folded }, name, value);
    }
    (Headers::from_block(plain.freeze()), Some(folded.freeze()))
}

/// The headers before a body, and the body, where so many bytes of it are headers; `None` where they are not, and somebody else
/// uses that name for something.
pub(super) fn unfold(said: &str, body: &Bytes) -> Option<(Headers, Bytes)> {
    let length: usize = said.parse().ok().filter(|length| *length > 0 && *length <= body.len())?;
    let headers = Headers::from_block(body.slice(..length));
    let read: usize = headers.iter().map(|(name, value)| 6 + name.len() + value.map_or(0, <[u8]>::len)).sum();
    (read == length).then(|| (headers, body.slice(length..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<(String, String)> {
        (0..count).map(|number| (format!("own-{number}"), format!("value {number}"))).collect()
    }

    fn of(given: &[(String, String)]) -> Headers {
        given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let headers = of(&numbered(MOST_ATTRIBUTES));
        assert_eq!(split(&headers), (headers, None));
    }

    #[test]
    fn what_does_not_fit_comes_back_from_before_the_body_and_the_envelope_and_notes_stay_attributes() {
        let mut given = numbered(MOST_ATTRIBUTES);
        given.push(("ce_id".to_owned(), "e-1".to_owned()));
        given.push(("chalk_dlq_topic".to_owned(), "results".to_owned()));
        given.push(("__connect.errors.topic".to_owned(), "results".to_owned()));
        let (plain, folded) = split(&of(&given));
        assert_eq!(plain.iter().count(), MOST_ATTRIBUTES - 1);
        assert!(["ce_id", "chalk_dlq_topic", "__connect.errors.topic"].iter().all(|name| plain.get(name).is_some()));
        let folded = folded.expect("four have no room");
        let body = Bytes::from([&folded[..], b"body"].concat());
        let (headers, body) = unfold(&folded.len().to_string(), &body).expect("it was folded");
        assert_eq!(body, "body");
        assert_eq!(headers, of(&given[96..100]));
    }

    #[test]
    fn what_is_no_attribute_is_folded_whatever_the_number() {
        let long = "x".repeat(LONGEST_ATTRIBUTE + 1);
        let name = "n".repeat(LONGEST_NAME + 1);
        let given: Vec<(&str, Option<&[u8]>)> = vec![
            ("text", Some(b"stays")),
            ("long", Some(long.as_bytes())),
            (&name, Some(b"x")),
            ("bytes", Some(&[0xff])),
            ("null", None),
            ("twice", Some(b"1")),
            ("twice", Some(b"2")),
            (FOLDED, Some(b"12")),
        ];
        let (plain, folded) = split(&given.iter().copied().collect());
        assert_eq!(plain.iter().collect::<Vec<_>>(), given[..1]);
        let folded = folded.expect("all others");
        let (headers, body) = unfold(&folded.len().to_string(), &folded).expect("it was folded");
        assert_eq!(headers.iter().collect::<Vec<_>>(), given[1..]);
        assert!(body.is_empty());
    }

    #[test]
    fn what_others_call_so_is_nothing_of_ours() {
        let body = Bytes::from_static(b"\0\x01\0\0\0\x02ax");
        for said in ["", "x", "-1", "0", "7", "9", "99999999999999999999"] {
            assert_eq!(unfold(said, &body), None, "{said}");
        }
        assert!(unfold("8", &body).is_some());
    }
}
