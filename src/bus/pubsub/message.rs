//! Messages as Pub/Sub has them, and as everybody else here has them.
//!
//! Headers are attributes: text, each name once, in no order. The envelope's are called `ce-…` there, and `ce_…` in the program.
//! Names that begin with `goog` are Google's own, and cannot be sent. What has no room among the attributes of a message of our own
//! is [folded](super::fold).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use google_cloud_pubsub::model::Message as Given;

use super::fold;
use super::limits::{LARGEST, LONGEST_ATTRIBUTE, LONGEST_KEY, LONGEST_NAME, MOST_ATTRIBUTES};
use crate::bus::BusError;
use crate::message::headers::append;
use crate::message::{DELIVERY_ATTEMPT, Delivery, Headers, Message, Outgoing, Partition};

/// What names of Google's own begin with.
const RESERVED: &str = "goog";

/// The offset of a message: its id, which is a number wherever one was seen; of another kind of id a stable number.
pub(super) fn offset(id: &str) -> i64 {
    id.parse().unwrap_or_else(|_| (xxhash_rust::xxh3::xxh3_64(id.as_bytes()) >> 1) as i64)
}

/// A message that was delivered, as places in a block that has others beside it.
pub(super) struct Entry {
    offset: i64,
    pub(super) published_ms: Option<i64>,
    key: Option<Range<usize>>,
    headers: Range<usize>,
    body: Range<usize>,
}

impl Entry {
    /// The message, of the block that it was written to.
    pub(super) fn message(self, block: &Bytes, topic: &Arc<str>, delivery: Delivery) -> Message {
        let slice = |range: Range<usize>| if range.is_empty() { Bytes::new() } else { block.slice(range) };
        Message {
            delivery,
            partition: Partition { topic: Arc::clone(topic), number: 0 },
            offset: self.offset,
            timestamp_ms: self.published_ms,
            key: self.key.map(slice),
            headers: Headers::from_block(slice(self.headers)),
            payload: Some(slice(self.body)),
        }
    }
}

/// Bytes that a message takes in a block, about.
pub(super) fn room(given: &Given) -> usize {
    let attributes = given.attributes.iter().map(|(name, value)| 16 + name.len() + value.len());
    given.data.len() + given.ordering_key.len() + 64 + attributes.sum::<usize>()
}

/// Appends a message that was delivered to a block. Without an id of its own it has the bus's.
pub(super) fn write(given: &Given, attempt: Option<i32>, block: &mut BytesMut) -> Entry {
    let begin = block.len();
    let mut has_id = false;
    let said = given.attributes.get(fold::FOLDED);
    let (folded, body) = match said.and_then(|said| fold::unfold(said, &given.data)) {
        Some((folded, body)) => (Some(folded), body),
        None => (None, given.data.clone()),
    };
    for (name, value) in &given.attributes {
        if folded.is_some() && name == fold::FOLDED {
            continue;
        }
        // Inside of the program the envelope has the names that it has on other buses.
        let prefixed = name.strip_prefix("ce-").map(|name| format!("ce_{name}"));
        let name = prefixed.as_deref().unwrap_or(name);
        has_id |= name == "ce_id" && !value.is_empty();
        append(block, name, Some(value.as_bytes()));
    }
    if let Some(folded) = &folded {
        has_id |= folded.get("ce_id").is_some_and(|id| !id.is_empty());
        block.extend_from_slice(folded.as_block());
    }
    if !has_id {
        append(block, "ce_id", Some(given.message_id.as_bytes()));
    }
    if let Some(attempt) = attempt {
        append(block, DELIVERY_ATTEMPT, Some(attempt.to_string().as_bytes()));
    }
    let headers = begin..block.len();
    let mut place = |bytes: &[u8]| {
        let begin = block.len();
        block.extend_from_slice(bytes);
        begin..block.len()
    };
    Entry {
        offset: offset(&given.message_id),
        published_ms: given.publish_time.map(|time| time.seconds() * 1000 + i64::from(time.nanos()) / 1_000_000),
        key: (!given.ordering_key.is_empty()).then(|| place(given.ordering_key.as_bytes())),
        headers,
        body: place(&body),
    }
}

/// A message to be sent, where Pub/Sub can carry it.
pub(super) fn outgoing(message: &Outgoing) -> Result<Given, BusError> {
    let of = |what: String| format!("a message to topic {}: {what}", message.topic);
    let refused = |what: String| BusError::Refused(of(what));
    let headers: Headers = message.headers.iter().filter(|(name, _)| !name.starts_with(RESERVED)).collect();
    let (headers, folded) = if fold::is_ours(&headers) { fold::split(&headers) } else { (headers, None) };
    let mut attributes = HashMap::new();
    for (name, value) in headers.iter() {
        let value = std::str::from_utf8(value.unwrap_or_default())
            .map_err(|_| refused(format!("header `{name}` is not text, and attributes of Pub/Sub are nothing else")))?;
        if value.len() > LONGEST_ATTRIBUTE {
            return Err(refused(format!(
                "header `{name}` has {} bytes, and an attribute of Pub/Sub at most {LONGEST_ATTRIBUTE}",
                value.len()
            )));
        }
        if name.len() > LONGEST_NAME {
            return Err(refused(format!(
                "the name of header `{name}` has {} bytes, and that of an attribute of Pub/Sub at most {LONGEST_NAME}",
                name.len()
            )));
        }
        // Names are those that the envelope has on this bus. Of repeated ones the last counts, as readers of Kafka's headers have it.
        let name = name.strip_prefix("ce_").map_or_else(|| name.to_owned(), |name| format!("ce-{name}"));
        attributes.insert(name, value.to_owned());
    }
    if attributes.len() > MOST_ATTRIBUTES {
        return Err(refused(format!(
            "it has {} headers, and a message of Pub/Sub at most {MOST_ATTRIBUTES} attributes",
            attributes.len()
        )));
    }
    let key = std::str::from_utf8(message.key.as_deref().unwrap_or_default())
        .map_err(|_| refused("its key is not text, and an ordering key of Pub/Sub is nothing else".to_owned()))?;
    if key.len() > LONGEST_KEY {
        return Err(refused(format!("its key has {} bytes, and an ordering key at most {LONGEST_KEY}", key.len())));
    }
    let mut data = message.payload.clone().unwrap_or_default();
    if let Some(folded) = folded {
        attributes.insert(fold::FOLDED.to_owned(), folded.len().to_string());
        data = [folded, data].concat().into();
    }
    let size = data.len() + key.len() + attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if size > LARGEST {
        return Err(BusError::TooLarge(of(format!("it has {size} bytes, and a message of Pub/Sub at most {LARGEST}"))));
    }
    if data.is_empty() && attributes.is_empty() {
        return Err(refused("it has neither a body nor headers, and Pub/Sub takes no such message".to_owned()));
    }
    Ok(Given::new().set_data(data).set_attributes(attributes).set_ordering_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message by itself, behind another one in the same block.
    fn received(given: &Given, attempt: Option<i32>) -> Message {
        let mut block = BytesMut::from("of another one");
        let entry = write(given, attempt, &mut block);
        entry.message(&block.freeze(), &"t".into(), Delivery(1))
    }

    fn with(name: &str, value: &[u8]) -> Outgoing {
        let mut block = BytesMut::new();
        append(&mut block, name, Some(value));
        Outgoing { topic: "t".to_owned(), headers: Headers::from_block(block.freeze()), ..Outgoing::default() }
    }

    #[test]
    fn what_pub_sub_cannot_carry_is_refused_with_its_reason() {
        for (message, part) in [
            (with("name", &[0xff]), "header `name` is not text"),
            (with("name", &[b'a'; 1025]), "header `name` has 1025 bytes"),
            (with(&"n".repeat(257), b"x"), "has 257 bytes, and that of an attribute"),
            (Outgoing { key: Some(vec![b'k'; 1025].into()), ..with("a", b"b") }, "its key has 1025 bytes"),
            (Outgoing { key: Some(vec![0xff].into()), ..with("a", b"b") }, "its key is not text"),
            (Outgoing { payload: Some(vec![0; LARGEST + 1].into()), ..with("a", b"b") }, "at most 10000000"),
            (Outgoing { topic: "t".to_owned(), ..Outgoing::default() }, "neither a body nor headers"),
        ] {
            let error = outgoing(&message).expect_err("refused");
            let (BusError::Refused(text) | BusError::TooLarge(text)) = &error else { panic!("{error:?}") };
            assert!(text.contains(part), "{error:?}");
            assert_eq!(matches!(error, BusError::TooLarge(_)), part.contains("10000000"), "{error:?}");
        }
    }

    #[test]
    fn a_message_of_ours_has_as_many_headers_as_it_has() {
        let mut block = BytesMut::new();
        for number in 0..120 {
            append(&mut block, &format!("ce_{number}"), Some(number.to_string().as_bytes()));
        }
        append(&mut block, "ce_id", Some(b"own"));
        append(&mut block, "chalk_target_group", Some(b"group"));
        let headers = Headers::from_block(block.freeze());
        let message = Outgoing { topic: "t".to_owned(), headers, payload: Some("body".into()), ..Outgoing::default() };
        let sent = outgoing(&message).expect("it can be sent");
        assert_eq!(sent.attributes.len(), MOST_ATTRIBUTES);
        let back = received(&sent.set_message_id("7"), None);
        let sorted = |headers: &Headers| {
            let mut all: Vec<_> =
                headers.iter().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
            all.sort();
            all
        };
        assert_eq!(sorted(&back.headers), sorted(&message.headers));
        assert_eq!(back.payload, message.payload);
        // One of others is for readers who would not know.
        let others = message.headers.iter().filter(|(name, _)| !name.starts_with("chalk_")).collect();
        let refused = outgoing(&Outgoing { headers: others, ..message });
        assert!(matches!(refused, Err(BusError::Refused(text)) if text.contains("at most 100 attributes")));
    }

    #[test]
    fn the_envelope_has_the_names_of_this_bus() {
        let sent = outgoing(&with("ce_type", b"chalk.result.v1")).expect("it can be sent");
        assert_eq!(sent.attributes.get("ce-type").map(String::as_str), Some("chalk.result.v1"));
        assert_eq!(sent.attributes.len(), 1);
    }

    #[test]
    fn names_of_google_s_own_are_not_sent_again() {
        let sent = outgoing(&Outgoing { payload: Some("body".into()), ..with("googclient_deliveryattempt", b"3") });
        assert!(sent.expect("it can be sent").attributes.is_empty());
    }

    #[test]
    fn a_message_without_an_id_has_that_of_the_bus() {
        let given = Given::new().set_message_id("1234567890123456").set_data("body");
        let message = received(&given, Some(2));
        assert_eq!(message.headers.get_str("ce_id"), Some("1234567890123456"));
        assert_eq!(message.headers.get_str(DELIVERY_ATTEMPT), Some("2"));
        assert_eq!(message.offset, 1_234_567_890_123_456);
        let own = received(&given.set_attributes([("ce-id", "own")]), None);
        assert_eq!((own.headers.get_str("ce-id"), own.headers.get_str("ce_id")), (None, Some("own")));
        assert!(offset("not-a-number") >= 0);
    }
}
