//! What messages are like: where they go, when they are of, how they are written.

/// What is generated.
#[derive(Clone, Debug)]
pub struct Options {
    /// The topic that messages are for.
    pub topic: String,
    /// The environment's id.
    pub environment: String,
    /// The deployment's id.
    pub deployment: String,
    /// How many entities each namespace has; at least one.
    pub entities: u64,
    /// Event time of the first result, microseconds since 1970; from 2000 to 2100.
    pub start: i64,
    /// Microseconds from one result to the next; not below zero. Times end with the year 9000.
    pub step: i64,
    /// How bodies are written.
    pub encoding: BodyEncoding,
    /// What results look like.
    pub shape: Shape,
    /// Whether messages carry an envelope.
    pub envelope: bool,
}

impl Default for Options {
    /// A thousand entities, a result every 137 microseconds from 2026-01-01 on, as JSON.
    fn default() -> Self {
        Self {
            topic: "result-bus".to_owned(),
            environment: "prod".to_owned(),
            deployment: "dep-1".to_owned(),
            entities: 1000,
            start: 1_767_225_600_000_000,
            step: 137,
            encoding: BodyEncoding::Json,
            shape: Shape::Realistic,
            envelope: true,
        }
    }
}

impl Options {
    pub(super) fn within_bounds(self) -> Self {
        let start = self.start.clamp(EARLIEST_START, LATEST_START);
        Self { entities: self.entities.max(1), start, ..self }
    }

    /// Event time of a message, so many microseconds after each before it.
    pub(super) fn time(&self, number: u64, step: i64) -> i64 {
        let passed = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(step.max(0));
        self.start.saturating_add(passed).min(LATEST)
    }
}

/// The years 2000, 2100 and 9000: values lie up to three years before their result.
const EARLIEST_START: i64 = 946_684_800_000_000;
const LATEST_START: i64 = 4_102_444_800_000_000;
const LATEST: i64 = 221_845_392_000_000_000;

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEncoding {
    /// JSON with features by name.
    #[default]
    Json,
    /// JSON with values aligned with columns: proto3's mapping.
    CompactJson,
    /// Protobuf.
    Protobuf,
    /// An Arrow file where the result is one table, else protobuf with tables in Arrow form.
    Arrow,
}

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Online queries about users, merchants and transactions: ten features or so of mixed types,
    /// some null, from the cache or defaults, now and then a has-many table or an error.
    #[default]
    Realistic,
    /// One entity of namespace `user` a message with its message's number in feature `user.seq`, so
    /// that a checker can tell what was lost and what is stale. Message n is about entity `user.id` =
    /// some number below `entities`, and its row was observed n microseconds after the start.
    Numbered,
}
