//! Notifications of Cloud Storage: everything is in the message's attributes.

use super::object::Object;
use crate::message::Headers;
use crate::row::load::Which;
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::parse_timestamp;

const EVENT: &str = "eventType";
const BUCKET: &str = "bucketId";
const OBJECT: &str = "objectId";
const GENERATION: &str = "objectGeneration";

/// Whether a message is one.
pub(super) fn is_one(headers: &Headers) -> bool {
    [EVENT, BUCKET, OBJECT].iter().all(|name| headers.get(name).is_some())
}

/// The object that was made; `None` where something else has happened to it.
pub(super) fn object(headers: &Headers) -> Result<Option<Object<'_>>, Refusal> {
    if headers.get_str(EVENT) != Some("OBJECT_FINALIZE") {
        return Ok(None);
    }
    let text = |name: &str| {
        headers.get_str(name).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::new(ErrorClass::Decode, format!("Cloud Storage notification: attribute `{name}` is missing"))
        })
    };
    let generation = text(GENERATION)?;
    Ok(Some(Object {
        scheme: "gs",
        bucket: text(BUCKET)?,
        key: text(OBJECT)?.to_owned(),
        which: Which::Version(generation.into()),
        identity: generation.to_owned(),
        bytes: None,
        time: headers.get_str("eventTime").and_then(parse_timestamp),
    }))
}
