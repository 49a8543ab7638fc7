//! What a bus knows of a topic.

/// What a bus knows of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Number of partitions.
    pub partitions: u32,
    /// Largest message in bytes, where the bus has a limit.
    pub max_message_bytes: Option<usize>,
    /// The topic's setting that this limit is changed by; `None` where it is the bus's own.
    pub size_setting: Option<&'static str>,
    /// Largest header in bytes, where the bus has a limit for one.
    pub max_header_bytes: Option<usize>,
    /// Messages in the topic now, as far as offsets tell; `None` where there are none.
    pub messages: Option<u64>,
    /// What the bus does with them later, where it does anything and tells.
    pub keeping: Keeping,
    /// Why the bus does not tell its limits and what it does later; nothing where it tells, or has none.
    pub untold: Option<&'static str>,
}

/// How long a bus keeps the messages of a topic; as far as it is not known, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Of the messages with one key only the last is kept.
    pub compacts: bool,
    /// So long after their timestamps messages are deleted.
    pub for_ms: Option<u64>,
    /// Messages whose timestamps are so far from the bus's clock are refused.
    pub refuses_beyond_ms: Option<u64>,
}
