//! What can go wrong around a writer.

use serde::{Serialize, Serializer};

/// One thing that can go wrong, or is done to a writer on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process ends without a word: SIGKILL, out of memory, a panic, its machine.
    WriterKilled,
    /// The process stands still for longer than its session, and goes on.
    WriterPaused,
    /// Partitions go to another member, and what is in hand of them is written in time.
    Rebalance,
    /// What is in hand at SIGTERM, or of partitions that go, is not written in time.
    DrainOverLimit,
    /// Two writers of one type share a group.
    TwoWritersOfOneGroup,
    /// The group has no position any more: it expired, was reset, or the writer has another name.
    PositionLost,
    /// The bus is away, or denies access.
    BusAway,
    /// A broker is restarted or lost.
    BusRestarted,
    /// The bus deleted messages before they were read.
    MessagesExpired,
    /// The bus delivers a message again.
    Redelivered,
    /// A producer sends a message twice, under one id.
    SentTwice,
    /// Values come in another order than they were observed in.
    OutOfOrder,
    /// Two values of one time.
    EqualTimes,
    /// An observed time ahead of the clock by more than `max_future_skew`.
    FarFuture,
    /// An older value comes when the tombstone of what was evicted has expired.
    OlderThanTombstone,
    /// The clock of the writer's machine is wrong.
    ClockWrong,
    /// The store refuses a row.
    BadRow,
    /// A message that cannot be read, is too large, or is of no known environment.
    RefusedMessage,
    /// More bad messages than the budget allows.
    TooManyBad,
    /// The dead letter topic is away.
    DeadLetterTopicAway,
    /// Dead letters are sent again.
    DeadLettersReplayed,
    /// Nobody looks at dead letters before their topic deletes them.
    DeadLettersLeft,
    /// A message is passed over by hand.
    MessageSkipped,
    /// A stretch of the topic is read again (`--from-time`).
    ReadAgain,
    /// A destination is away.
    StoreAway,
    /// One destination of several is away.
    OneStoreAway,
    /// A destination is slow, or asks for less.
    StoreSlow,
    /// A destination took a write and the answer is lost.
    StoreUnsure,
    /// A store's server ends and starts again.
    StoreRestarted,
    /// A replica takes the place of a store's server.
    StoreFailover,
    /// A store has no room left.
    StoreFull,
    /// A password or token changes under a running writer.
    CredentialsChanged,
}

impl Fault {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 32] = [
        Self::WriterKilled,
        Self::WriterPaused,
        Self::Rebalance,
        Self::DrainOverLimit,
        Self::TwoWritersOfOneGroup,
        Self::PositionLost,
        Self::BusAway,
        Self::BusRestarted,
        Self::MessagesExpired,
        Self::Redelivered,
        Self::SentTwice,
        Self::OutOfOrder,
        Self::EqualTimes,
        Self::FarFuture,
        Self::OlderThanTombstone,
        Self::ClockWrong,
        Self::BadRow,
        Self::RefusedMessage,
        Self::TooManyBad,
        Self::DeadLetterTopicAway,
        Self::DeadLettersReplayed,
        Self::DeadLettersLeft,
        Self::MessageSkipped,
        Self::ReadAgain,
        Self::StoreAway,
        Self::OneStoreAway,
        Self::StoreSlow,
        Self::StoreUnsure,
        Self::StoreRestarted,
        Self::StoreFailover,
        Self::StoreFull,
        Self::CredentialsChanged,
    ];

    /// Its name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriterKilled => "writer_killed",
            Self::WriterPaused => "writer_paused",
            Self::Rebalance => "rebalance",
            Self::DrainOverLimit => "drain_over_limit",
            Self::TwoWritersOfOneGroup => "two_writers_of_one_group",
            Self::PositionLost => "position_lost",
            Self::BusAway => "bus_away",
            Self::BusRestarted => "bus_restarted",
            Self::MessagesExpired => "messages_expired",
            Self::Redelivered => "redelivered",
            Self::SentTwice => "sent_twice",
            Self::OutOfOrder => "out_of_order",
            Self::EqualTimes => "equal_times",
            Self::FarFuture => "far_future",
            Self::OlderThanTombstone => "older_than_tombstone",
            Self::ClockWrong => "clock_wrong",
            Self::BadRow => "bad_row",
            Self::RefusedMessage => "refused_message",
            Self::TooManyBad => "too_many_bad",
            Self::DeadLetterTopicAway => "dead_letter_topic_away",
            Self::DeadLettersReplayed => "dead_letters_replayed",
            Self::DeadLettersLeft => "dead_letters_left",
            Self::MessageSkipped => "message_skipped",
            Self::ReadAgain => "read_again",
            Self::StoreAway => "store_away",
            Self::OneStoreAway => "one_store_away",
            Self::StoreSlow => "store_slow",
            Self::StoreUnsure => "store_unsure",
            Self::StoreRestarted => "store_restarted",
            Self::StoreFailover => "store_failover",
            Self::StoreFull => "store_full",
            Self::CredentialsChanged => "credentials_changed",
        }
    }

    /// What it is, in a few words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::WriterKilled => "the writer is killed",
            Self::WriterPaused => "the writer stands still beyond its session, and wakes",
            Self::Rebalance => "partitions move, in time",
            Self::DrainOverLimit => "a drain goes over its limit",
            Self::TwoWritersOfOneGroup => "two writers of one group",
            Self::PositionLost => "the group's position is lost, or its name changed",
            Self::BusAway => "the bus is away",
            Self::BusRestarted => "a broker is restarted or lost",
            Self::MessagesExpired => "messages expire before they are read",
            Self::Redelivered => "a message is delivered again",
            Self::SentTwice => "a producer sends twice, under one id",
            Self::OutOfOrder => "times out of order",
            Self::EqualTimes => "two values of one time",
            Self::FarFuture => "a time in the far future",
            Self::OlderThanTombstone => "an older value after a tombstone expired",
            Self::ClockWrong => "this machine's clock is wrong",
            Self::BadRow => "a bad row",
            Self::RefusedMessage => "a message that cannot be read",
            Self::TooManyBad => "too many bad messages",
            Self::DeadLetterTopicAway => "the dead letter topic is away",
            Self::DeadLettersReplayed => "dead letters are replayed",
            Self::DeadLettersLeft => "dead letters are left to expire",
            Self::MessageSkipped => "a message is skipped by hand",
            Self::ReadAgain => "a stretch is read again",
            Self::StoreAway => "the destination is away",
            Self::OneStoreAway => "one destination of several is away",
            Self::StoreSlow => "the destination is slow",
            Self::StoreUnsure => "a time-out after the write was done",
            Self::StoreRestarted => "the store is restarted",
            Self::StoreFailover => "the store fails over to a replica",
            Self::StoreFull => "the store is full",
            Self::CredentialsChanged => "credentials change",
        }
    }

    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_fault_has_a_name_and_words_of_its_own() {
        let names: BTreeSet<_> = Fault::ALL.map(Fault::name).into_iter().collect();
        let titles: BTreeSet<_> = Fault::ALL.map(Fault::title).into_iter().collect();
        assert_eq!((names.len(), titles.len()), (Fault::ALL.len(), Fault::ALL.len()));
        assert!(Fault::ALL.into_iter().all(|fault| Fault::named(fault.name()) == Some(fault)));
    }
}
