//! The envelope: `CloudEvents` 1.0 in binary mode, in a Kafka message's headers or a Pub/Sub
//! message's attributes.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::event_type::EventType;
use super::headers::{self, Headers};
use super::{Message, Outgoing, Partition};
use crate::cut::{QUOTED, cut};
use crate::sink::{ErrorClass, Refusal};
use crate::value::time;

/// An attribute of the envelope that the writers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    Time,
    Environment,
    Deployment,
    Operation,
    TraceParent,
    ContentType,
    ContentEncoding,
}

impl Attribute {
    /// The names of `CloudEvents` attributes; on the wire they have a prefix.
    const PREFIXED: [(&'static str, Self); 9] = [
        ("specversion", Self::SpecVersion),
        ("id", Self::Id),
        ("source", Self::Source),
        ("type", Self::Type),
        ("time", Self::Time),
        ("environmentid", Self::Environment),
        ("deploymentid", Self::Deployment),
        ("operationid", Self::Operation),
        ("traceparent", Self::TraceParent),
    ];
    /// Names without a prefix, the same on every bus.
    const PLAIN: [(&'static str, Self); 2] =
        [("content-type", Self::ContentType), ("content-encoding", Self::ContentEncoding)];

    fn named(name: &str) -> Option<Self> {
        let find = |table: &[(&str, Self)], name: &str| {
            table.iter().find(|(known, _)| *known == name).map(|(_, attribute)| *attribute)
        };
        match name.strip_prefix("ce_").or_else(|| name.strip_prefix("ce-")) {
            Some(name) => find(&Self::PREFIXED, name),
            None => find(&Self::PLAIN, name),
        }
    }
}

/// Which bus's names are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// `ce_id`
    #[default]
    Kafka,
    /// `ce-id`
    PubSub,
}

impl Carrier {
    /// What the names of `CloudEvents` attributes begin with on it.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Kafka => "ce_",
            Self::PubSub => "ce-",
        }
    }
}

/// What the envelope of a message says; everything is borrowed from the message.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    message: &'a Message,
    id: Option<&'a str>,
    /// Who published it.
    pub source: Option<&'a str>,
    /// Its type as written; the default type's name where it says none.
    pub type_name: &'a str,
    /// Whether it says so itself.
    pub says_its_type: bool,
    /// Event time in microseconds since 1970.
    pub time: Option<i64>,
    /// `content-type`
    pub content_type: Option<&'a str>,
    /// `content-encoding`
    pub content_encoding: Option<&'a str>,
    /// The environment's id.
    pub environment: Option<&'a str>,
    /// The deployment's id.
    pub deployment: Option<&'a str>,
    /// The query's id.
    pub operation: Option<&'a str>,
    /// W3C trace context.
    pub traceparent: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a message; one without a type is of the default type.
    ///
    /// Of repeated headers the last counts, as Kafka has it; an empty value is as good as none. What
    /// cannot be read (bytes that are no text, another version of the specification) is refused: the
    /// message may belong elsewhere than where it would go without.
    pub fn read(message: &'a Message, default: EventType) -> Result<Self, Refusal> {
        let mut envelope = Self {
            message,
            id: None,
            source: None,
            type_name: default.as_str(),
            says_its_type: false,
            time: None,
            content_type: None,
            content_encoding: None,
            environment: None,
            deployment: None,
            operation: None,
            traceparent: None,
        };
        for (name, value) in message.headers.iter() {
            let Some(attribute) = Attribute::named(name) else { continue };
            let refused = |found: String| Refusal::new(ErrorClass::Decode, format!("header `{name}`: {found}"));
            let value = std::str::from_utf8(value.unwrap_or_default())
                .map_err(|_| refused("expected text, found bytes that are not UTF-8".to_owned()))?;
            let given = (!value.is_empty()).then_some(value);
            match attribute {
                Attribute::SpecVersion if given.is_some_and(|version| !version.starts_with("1.")) => {
                    return Err(refused(format!(
                        "expected version 1.0 of CloudEvents, found `{}`",
                        cut(value, QUOTED)
                    )));
                }
                Attribute::SpecVersion => {}
                Attribute::Id => envelope.id = given,
                Attribute::Source => envelope.source = given,
                Attribute::Type => {
                    envelope.type_name = given.unwrap_or(default.as_str());
                    envelope.says_its_type = given.is_some();
                }
                Attribute::Time => match given.map(time::parse_timestamp) {
                    Some(None) => {
                        return Err(refused(format!("expected an RFC 3339 time, found `{}`", cut(value, QUOTED))));
                    }
                    read => envelope.time = read.flatten(),
                },
                Attribute::Environment => envelope.environment = given,
                Attribute::Deployment => envelope.deployment = given,
                Attribute::Operation => envelope.operation = given,
                Attribute::TraceParent => envelope.traceparent = given,
                Attribute::ContentType => envelope.content_type = given,
                Attribute::ContentEncoding => envelope.content_encoding = given,
            }
        }
        Ok(envelope)
    }

    /// The event's id, the base of every deduplication key. A message without one has
    /// `<topic>/<partition>/<offset>/<timestamp ms>` (nothing after the last `/` where the bus gave
    /// no time), which its dead letter carries on.
    pub fn id(&self) -> Cow<'a, str> {
        self.id.map_or_else(|| Cow::Owned(id_of(self.message)), Cow::Borrowed)
    }

    /// Whether the message brought its id itself.
    pub const fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// The type, where this version knows it.
    pub fn event_type(&self) -> Option<EventType> {
        EventType::parse(self.type_name)
    }
}

/// The id of a message that brought none.
pub fn id_of(message: &Message) -> String {
    let Partition { topic, number } = &message.partition;
    let mut id = String::with_capacity(topic.len() + 54);
    id.push_str(topic);
    for part in [Some(i64::from(*number)), Some(message.offset), message.timestamp_ms] {
        id.push('/');
        if let Some(part) = part {
            id.push_str(itoa::Buffer::new().format(part));
        }
    }
    id
}

/// An event to be published.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Unique for its source.
    pub id: &'a str,
    /// Who publishes it, a URI reference.
    pub source: &'a str,
    /// Its type.
    pub event_type: EventType,
    /// Event time in microseconds since 1970.
    pub time: Option<i64>,
    /// `application/json`, `application/protobuf`, …
    pub content_type: &'a str,
    /// The environment's id; empty for none, as the next two.
    pub environment: &'a str,
    /// The deployment's id.
    pub deployment: &'a str,
    /// The query's id.
    pub operation: &'a str,
}

impl Event<'_> {
    /// The headers of the envelope, with the names of a bus.
    pub fn headers(&self, carrier: Carrier) -> Headers {
        let mut block = BytesMut::with_capacity(256);
        let mut name = String::from(carrier.prefix());
        let prefix = name.len();
        let time = self.time.map(time::format_timestamp).unwrap_or_default();
        for (attribute, value) in Attribute::PREFIXED.map(|(attribute_name, attribute)| {
            let value = match attribute {
                Attribute::SpecVersion => "1.0",
                Attribute::Id => self.id,
                Attribute::Source => self.source,
                Attribute::Type => self.event_type.as_str(),
                Attribute::Time => &time,
                Attribute::Environment => self.environment,
                Attribute::Deployment => self.deployment,
                Attribute::Operation => self.operation,
                Attribute::TraceParent | Attribute::ContentType | Attribute::ContentEncoding => "",
            };
            (attribute_name, value)
        }) {
            if !value.is_empty() {
                name.truncate(prefix);
                name.push_str(attribute);
                headers::append(&mut block, &name, Some(value.as_bytes()));
            }
        }
        headers::append(&mut block, "content-type", Some(self.content_type.as_bytes()));
        Headers::from_block(block.freeze())
    }

    /// A message for a Kafka or local topic with this envelope.
    pub fn message(&self, topic: &str, key: Option<Bytes>, payload: Bytes) -> Outgoing {
        Outgoing {
            topic: topic.to_owned(),
            partition: None,
            key,
            headers: self.headers(Carrier::Kafka),
            payload: Some(payload),
            timestamp_ms: None,
        }
    }
}

/// The key of a message that holds one entity: all messages of it stay in one partition, in order.
pub fn entity_key(environment: &str, namespace: &str, primary_key: &str) -> Bytes {
    format!("{environment}/{namespace}/{primary_key}").into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::{Delivery, Partition};

    fn message(headers: Headers) -> Message {
        Message {
            delivery: Delivery(0),
            partition: Partition { topic: Arc::from("results"), number: 3 },
            offset: 42,
            timestamp_ms: Some(1_700),
            key: None,
            headers,
            payload: None,
        }
    }

    const EVENT: Event<'static> = Event {
        id: "018f",
        source: "engine/prod",
        event_type: EventType::Result,
        time: Some(1_795_372_320_123_456),
        content_type: "application/json",
        environment: "prod",
        deployment: "",
        operation: "op-1",
    };

    #[test]
    fn what_is_written_for_either_bus_is_read_back() {
        for carrier in [Carrier::Kafka, Carrier::PubSub] {
            let message = message(EVENT.headers(carrier));
            let envelope = Envelope::read(&message, EventType::Usage).expect("sound");
            assert_eq!(envelope.id(), "018f");
            assert_eq!(envelope.source, Some("engine/prod"));
            assert_eq!(envelope.event_type(), Some(EventType::Result));
            assert_eq!(envelope.time, EVENT.time);
            assert_eq!(envelope.content_type, Some("application/json"));
            assert_eq!(
                (envelope.environment, envelope.deployment, envelope.operation),
                (Some("prod"), None, Some("op-1"))
            );
        }
        let names = |carrier| EVENT.headers(carrier).iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(Carrier::Kafka)[..3], ["ce_specversion", "ce_id", "ce_source"]);
        assert_eq!(names(Carrier::PubSub)[5..], ["ce-environmentid", "ce-operationid", "content-type"]);
    }

    #[test]
    fn a_message_without_an_envelope_has_the_place_where_it_lies_for_its_id() {
        let message = message(Headers::new());
        let envelope = Envelope::read(&message, EventType::Result).expect("sound");
        assert_eq!(envelope.id(), "results/3/42/1700");
        assert!(!envelope.has_id());
        assert_eq!(envelope.event_type(), Some(EventType::Result));
        assert_eq!(id_of(&Message { timestamp_ms: None, ..message.clone() }), "results/3/42/");
        let least = Partition { topic: Arc::from("results"), number: i32::MIN };
        let least = Message { partition: least, offset: i64::MIN, timestamp_ms: Some(-1), ..message };
        assert_eq!(id_of(&least), "results/-2147483648/-9223372036854775808/-1");
    }

    #[test]
    fn an_unknown_type_keeps_its_name() {
        let message = message([("ce_type", "chalk.result.v9")].into_iter().collect());
        let envelope = Envelope::read(&message, EventType::Result).expect("sound");
        assert_eq!((envelope.type_name, envelope.event_type()), ("chalk.result.v9", None));
    }

    #[test]
    fn an_attribute_that_cannot_be_read_is_refused_by_name() {
        let text = |headers: Headers| match Envelope::read(&message(headers), EventType::Result) {
            Ok(_) => String::new(),
            Err(refusal) => refusal.to_string(),
        };
        let bytes: Headers = [("ce_environmentid", Some(&[0xff_u8][..]))].into_iter().collect();
        assert_eq!(text(bytes), "DECODE: header `ce_environmentid`: expected text, found bytes that are not UTF-8");
        let version: Headers = [("ce_specversion", "0.3")].into_iter().collect();
        assert_eq!(text(version), "DECODE: header `ce_specversion`: expected version 1.0 of CloudEvents, found `0.3`");
        let time: Headers = [("ce-time", "yesterday")].into_iter().collect();
        assert_eq!(text(time), "DECODE: header `ce-time`: expected an RFC 3339 time, found `yesterday`");
        let absent: Headers = [("ce_time", None), ("ce_id", Some(&b""[..]))].into_iter().collect();
        assert_eq!(text(absent), "");
    }

    #[test]
    fn the_key_of_an_entity_names_it() {
        assert_eq!(&entity_key("prod", "user", "42")[..], b"prod/user/42");
    }
}
