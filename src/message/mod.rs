//! A message as a bus delivers it, and the envelope that says what it is.
//!
//! Nothing here knows what a body means: that is [`crate::result`]'s business.

pub mod envelope;
pub mod event_type;
pub mod headers;
pub mod insert;

use std::sync::Arc;

use bytes::Bytes;

pub use envelope::Envelope;
pub use event_type::EventType;
pub use headers::Headers;

/// The header that says how often Pub/Sub has delivered a message, as Google's other clients call it.
pub const DELIVERY_ATTEMPT: &str = "googclient_deliveryattempt";

/// Where a message stands in the order in which this process received it, over all partitions.
///
/// Acknowledging one number acknowledges everything up to it; contiguous commits follow from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery(pub u64);

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition in the topic.
    pub number: i32,
}

/// One message as the bus delivered it.
///
/// Key, headers and payload are slices of buffers shared with other messages of the same fetch:
/// a clone copies no payload.
#[derive(Clone, Debug)]
pub struct Message {
    /// Order of arrival in this process.
    pub delivery: Delivery,
    /// Where it came from.
    pub partition: Partition,
    /// Its position in the partition.
    pub offset: i64,
    /// The bus's timestamp in milliseconds since 1970; `None` where the bus gave none.
    pub timestamp_ms: Option<i64>,
    /// The record key.
    pub key: Option<Bytes>,
    /// Header names and values in the order in which they came.
    pub headers: Headers,
    /// The body; `None` is Kafka's null value, which is kept apart from an empty one.
    pub payload: Option<Bytes>,
}

impl Message {
    /// The body, empty where there is none.
    pub fn body(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or_default()
    }

    /// Bytes that it holds in memory.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>()
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
            + self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The topic it goes to.
    pub topic: String,
    /// A fixed partition; `None` lets the bus choose by key.
    pub partition: Option<i32>,
    /// The record key.
    pub key: Option<Bytes>,
    /// Headers, in order.
    pub headers: Headers,
    /// The body; `None` is Kafka's null value.
    pub payload: Option<Bytes>,
    /// Milliseconds since 1970; `None` means now.
    pub timestamp_ms: Option<i64>,
}
