//! Bodies of any type but a result: one published message, as protobuf or as its JSON.

use prost::Name;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::open::{Admitted, Unopened};
use super::weight::{self, Weighed};
use crate::result::body::unpacked;
use crate::result::checked;
use crate::result::sniff::Encoding;
use crate::sink::{ErrorClass, Refusal};

/// A body, and what it was read from.
#[derive(Clone, Debug)]
pub struct Read<M> {
    /// The message in it.
    pub message: M,
    /// Bytes that were unpacked for it; 0 where it was not compressed.
    pub unpacked: usize,
}

/// Reads the body of a message that was let in as `M`.
///
/// Of JSON both spellings of a name are read, `null` is as good as nothing, and names that `M` does not have are
/// passed over. Refused with [`ErrorClass::TooLarge`]: a body beyond the limit, as it is or unpacked. With
/// [`ErrorClass::Decode`]: no body, another encoding, a malformed one, a key that stands twice in an object (in
/// either spelling), JSON nested deeper than 64 (protobuf deeper than 100, as its reader has it), and a message in
/// which nothing is set: it is some other message.
///
/// What it takes in memory is bounded: a body that would become more than eight times the limit is too large as well.
pub fn read<'a, M>(admitted: &Admitted<'a>) -> Result<Read<M>, Unopened<'a>>
where
    M: Name + Default + PartialEq + DeserializeOwned + Weighed,
{
    read_plain(admitted, |_| Ok(None), M::NAME).map_err(|refusal| admitted.refused(refusal))
}

/// As [`read`], where JSON may also be a single `One`, of which `batch` makes an `M`. In protobuf the two cannot be
/// told apart.
pub fn read_batch<'a, M, One>(admitted: &Admitted<'a>, batch: fn(One) -> M) -> Result<Read<M>, Unopened<'a>>
where
    M: Name + Default + PartialEq + DeserializeOwned + Weighed,
    One: Name + Default + PartialEq + DeserializeOwned,
{
    // One message of its bytes at the most: only lists of them can be more.
    let one = |body: &[u8]| Ok(Some(json::<One>(body)?).filter(|one| *one != One::default()).map(batch));
    let expected = format!("{} or a {}", M::NAME, One::NAME);
    read_plain(admitted, one, &expected).map_err(|refusal| admitted.refused(refusal))
}

/// `otherwise` reads JSON that has none of the fields of an `M`.
fn read_plain<M>(
    admitted: &Admitted<'_>,
    otherwise: impl FnOnce(&[u8]) -> Result<Option<M>, Refusal>,
    expected: &str,
) -> Result<Read<M>, Refusal>
where
    M: Name + Default + PartialEq + DeserializeOwned + Weighed,
{
    let Admitted { message, envelope, limit, .. } = admitted;
    let body = unpacked(message, envelope, *limit, M::NAME)?;
    let encoding = Encoding::of(envelope.content_type, &body.bytes)?;
    let read = match encoding {
        Encoding::Json => {
            weight::json::<M>(&body.bytes, *limit)?;
            json(&body.bytes)?
        }
        Encoding::Protobuf => {
            weight::protobuf::<M>(&body.bytes, *limit)?;
            M::decode(body.bytes.as_ref().clone()).map_err(|error| decode(format!("protobuf: {error}")))?
        }
        other => return Err(decode(format!("a body of type {} is not a {}", other.content_type(), M::NAME))),
    };
    if read != M::default() {
        return Ok(Read { message: read, unpacked: body.unpacked });
    }
    let other = if encoding == Encoding::Json { otherwise(&body.bytes)? } else { None };
    let expected = if encoding == Encoding::Json { expected } else { M::NAME };
    let message = other.ok_or_else(|| decode(format!("none of the fields of a {expected} is in it")))?;
    Ok(Read { message, unpacked: body.unpacked })
}

fn json<M: DeserializeOwned>(body: &[u8]) -> Result<M, Refusal> {
    let text = checked(body)?;
    let refused = |error: serde_json::Error| {
        let what = error.to_string();
        decode(format!("JSON: {}", &what[..what.floor_char_boundary(300)]))
    };
    // The generated readers want a value wherever a name stands, so what is null is taken away first.
    if !text.contains("null") {
        return serde_json::from_str(text).map_err(refused);
    }
    let mut value = serde_json::from_str(text).map_err(refused)?;
    without_nulls(&mut value);
    serde_json::from_value(value).map_err(refused)
}

/// Takes away fields that are null. Items of a list stay: there is no list in which one may be null.
fn without_nulls(value: &mut Json) {
    match value {
        Json::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn decode(message: String) -> Refusal {
    Refusal::new(ErrorClass::Decode, message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message as _;

    use super::*;
    use crate::message::EventType;
    use crate::proto::writer::v1::{BulkInsert, UsageBatch, UsageEvent};
    use crate::result::unpack::Compression;
    use crate::writer::open::Gate;
    use crate::writer::testing::{message, settings};

    fn gate(limit: usize) -> Gate {
        let mut settings = settings("USAGE_BUS_WRITER".parse().expect("a writer"), &[]);
        settings.tuning.max_message_bytes = limit;
        Gate::new(&settings)
    }

    /// What a writer of usage events reads of a body with these headers.
    fn read_with(headers: &[(&str, &str)], body: &[u8]) -> Result<(UsageBatch, usize), String> {
        let mut message = message(headers);
        message.payload = Some(Bytes::copy_from_slice(body));
        let gate = gate(10_000);
        let admitted = gate.admit(&message).expect("it is for this writer");
        assert_eq!(admitted.event_type, EventType::Usage);
        match read(&admitted) {
            Ok(Read { message, unpacked }) => Ok((message, unpacked)),
            Err(Unopened::Refused { refusal, .. }) => Err(refusal.to_string()),
            Err(Unopened::Skipped(reason)) => panic!("a body is not skipped: {reason}"),
        }
    }

    fn refused(body: &str) -> String {
        read_with(&[], body.as_bytes()).expect_err("refused")
    }

    fn batch() -> UsageBatch {
        let event = UsageEvent {
            event_id: "e-1".to_owned(),
            environment_id: "prod".to_owned(),
            quantity: 0.1 + 0.2,
            cost_micros: Some(i64::MAX),
            ..UsageEvent::default()
        };
        UsageBatch { events: vec![event] }
    }

    #[test]
    fn one_message_is_read_from_either_encoding_packed_or_not() {
        let plain = batch().encode_to_vec();
        assert_eq!(read_with(&[], &plain), Ok((batch(), 0)));
        let json = serde_json::to_vec(&batch()).expect("JSON");
        assert_eq!(read_with(&[], &json), Ok((batch(), 0)));
        assert_eq!(read_with(&[("content-type", "application/json")], &json), Ok((batch(), 0)));
        let packed = Compression::Zstd.pack(&plain).expect("packed");
        assert_eq!(read_with(&[("content-encoding", "zstd")], &packed), Ok((batch(), plain.len())));
    }

    #[test]
    fn names_are_read_in_both_spellings_integers_exactly_and_null_as_nothing() {
        for text in [
            r#"{"events": [{"event_id": "e-1", "environment_id": "prod", "quantity": 0.30000000000000004,
                "cost_micros": 9223372036854775807}]}"#,
            r#"{"events": [{"eventId": "e-1", "environmentId": "prod", "quantity": 0.30000000000000004, "unit": null,
                "costMicros": "9223372036854775807", "team": null, "startedAt": null, "later": {"a": [null]}}]}"#,
        ] {
            assert_eq!(read_with(&[], text.as_bytes()), Ok((batch(), 0)), "{text}");
        }
    }

    #[test]
    fn doubtful_json_is_refused() {
        let twice = refused(r#"{"events": [{"event_id": "a", "eventId": "b"}]}"#);
        assert!(twice.starts_with("DECODE: JSON: duplicate field `eventId` at line 1"), "{twice}");
        let inside = refused(r#"{"events": [{"event_id": "a", "dimensions": {"x": "1", "x": "2"}}]}"#);
        assert!(inside.starts_with("DECODE: JSON: key `x` stands twice in one object at line 1"), "{inside}");
        let deep = refused(&format!(r#"{{"later": {}{}, "events": [{{}}]}}"#, "[".repeat(64), "]".repeat(64)));
        assert!(deep.starts_with("DECODE: JSON: nested deeper than 64"), "{deep}");
        let item = refused(r#"{"events": [null]}"#);
        assert!(item.starts_with("DECODE: JSON: invalid type: null"), "{item}");
        let long = refused(&format!(r#"{{"events": "{}"}}"#, "é".repeat(1_000)));
        assert!(long.len() < 330, "{long}");
    }

    #[test]
    fn a_body_that_is_another_message_is_refused() {
        let nothing = "DECODE: none of the fields of a UsageBatch is in it";
        for text in ["{}", r#"{"events": []}"#, r#"{"evnets": [{"event_id": "a"}], "events": null}"#] {
            assert_eq!(refused(text), nothing, "{text}");
        }
        let other = BulkInsert { load_id: "load".to_owned(), ..BulkInsert::default() }.encode_to_vec();
        assert_eq!(read_with(&[], &other), Err(nothing.to_owned()));
        assert_eq!(refused(""), "DECODE: the message has no body; expected a UsageBatch");
        let broken = refused("\u{a}\u{7f}");
        assert!(broken.starts_with("DECODE: protobuf: "), "{broken}");
        let parquet = "DECODE: a body of type application/vnd.apache.parquet is not a UsageBatch";
        assert_eq!(refused("PAR1"), parquet);
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_as_it_is_and_unpacked() {
        for (headers, body) in [
            (&[][..], vec![b' '; 10_001]),
            (&[("content-encoding", "gzip")], Compression::Gzip.pack(&[b' '; 10_001]).expect("packed")),
        ] {
            let refusal = read_with(headers, &body).expect_err("too large");
            assert!(refusal.starts_with("TOO_LARGE: "), "{refusal}");
        }
    }

    #[test]
    fn headers_and_body_must_name_the_same_environment_whatever_the_type() {
        let message = message(&[("ce_environmentid", "prod")]);
        let gate = gate(10_000);
        let admitted = gate.admit(&message).expect("it is for this writer");
        assert!(admitted.is_of("prod").is_ok() && admitted.is_of("").is_ok());
        let Err(Unopened::Refused { refusal, environment }) = admitted.is_of("dev") else { panic!("it is refused") };
        assert_eq!((refusal.class, environment), (ErrorClass::EnvironmentMismatch, Some("prod")));
    }
}
