//! Settings of Pub/Sub.

use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Maybe;

/// How Pub/Sub is read; all optional.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawPubsub {
    /// `https://HOST` of the service, where that is not Google's usual place: one region's (`https://europe-west3-pubsub.googleapis.com`), or a
    /// private one. `http://` only on this machine: what proves who asks goes with every call.
    pub(in crate::config) endpoint: Maybe<String>,
    /// Streams that a writer reads by; default 4. One carries about 10 MB a second.
    pub(in crate::config) streams: Maybe<NonZeroUsize>,
    /// So long nothing comes before `--drain` takes a subscription for empty; default `10s`.
    pub(in crate::config) drain_idle: Maybe<Duration>,
    /// So long nothing comes before a reading beside subscriptions (`peek`, `dlq`) is over; default `5s`.
    pub(in crate::config) browse_idle: Maybe<Duration>,
    /// A stream that has brought nothing for so long is opened anew, over another connection; default `5m`, on an emulator never.
    pub(in crate::config) stale_after: Maybe<Duration>,
}
