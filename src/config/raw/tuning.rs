//! Tuning: all optional, at the top level for every writer, and in a writer's entry for that one.

use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Maybe;
use crate::config::leaf::{Bytes, Endless, Listen, Memory, Ratio};
use crate::config::settings::OnGap;

/// Batches, memory, retries, dead letters, the HTTP port.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawTuning {
    /// When a batch is written.
    pub(in crate::config) batch: RawBatch,
    /// Memory that fetch buffers, batches and file builders may take together; `auto` is a share of what the
    /// container or the machine has.
    pub(in crate::config) memory_limit: Maybe<Memory>,
    /// Pauses between attempts.
    pub(in crate::config) retry: RawRetry,
    /// How many messages may become dead letters before the writer stops.
    pub(in crate::config) dlq: RawDlq,
    /// Time for writing what is at hand on SIGTERM and when a partition is taken away.
    pub(in crate::config) drain_timeout: Maybe<Duration>,
    /// How far ahead of the clock an observed time may be.
    pub(in crate::config) max_future_skew: Maybe<Duration>,
    /// How long an evicted feature's time is kept, so that an older value cannot come back.
    pub(in crate::config) tombstone_retention: Maybe<Duration>,
    /// A message that is larger once decoded is refused.
    pub(in crate::config) max_message_bytes: Maybe<Bytes>,
    /// What to do when messages expired on the bus before they were read: `continue` or `stop`.
    pub(in crate::config) on_gap: Maybe<OnGap>,
    /// After so long, messages for a destination that is away go to `parking_topic`, so that those for others go on; without
    /// it they are waited for.
    pub(in crate::config) park_after: Maybe<Duration>,
    /// Where messages are parked: a topic that is there, with as many partitions as are wanted in reading back.
    pub(in crate::config) parking_topic: Maybe<String>,
    /// Keeps values that were read from the online store out of the offline store.
    pub(in crate::config) skip_offline_writes_for_online_cached_features: Maybe<bool>,
    /// The port of probes and metrics.
    pub(in crate::config) http: RawHttp,
}

/// When a batch is written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "names as the file has them")]
pub(in crate::config) struct RawBatch {
    /// Rows at the most.
    pub(in crate::config) max_rows: Maybe<NonZeroUsize>,
    /// Decoded bytes at the most.
    pub(in crate::config) max_bytes: Maybe<Bytes>,
    /// Age at which a batch is written though it is not full.
    pub(in crate::config) max_age: Maybe<Duration>,
}

/// Pauses between attempts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawRetry {
    /// The first pause; every further one may be twice as long.
    pub(in crate::config) first_pause: Maybe<Duration>,
    /// The longest pause.
    pub(in crate::config) max_pause: Maybe<Duration>,
    /// Only `infinity`: a writer retries without end, because giving up would lose messages.
    pub(in crate::config) max_elapsed: Maybe<Endless>,
}

/// How many messages may become dead letters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawDlq {
    /// Share of messages, judged over at least 100.
    pub(in crate::config) max_ratio: Maybe<Ratio>,
    /// Messages in a row.
    pub(in crate::config) max_consecutive: Maybe<NonZeroUsize>,
}

/// The port of probes and metrics.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawHttp {
    /// `address:port`; port 0 is a free one, `off` opens none.
    pub(in crate::config) listen: Maybe<Listen>,
}
