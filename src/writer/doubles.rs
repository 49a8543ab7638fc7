//! When a destination has something twice that it was given twice.
//!
//! One value for all who need it: the start refuses a reading that would double, replays and `skip` warn of it, and
//! [`guarantee`](super::guarantee) tells it before anything has happened.

/// What becomes of a row that a destination has already, and that is given to it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubles {
    /// It leaves no trace: it is known by a key or a time.
    Never,
    /// It leaves none where it has what it is known by; a row that has not is there twice.
    Keyless,
    /// The repetition of a write replaces what the write left. Cut in another way, as after a crash, it is there twice.
    ReadAgain,
    /// It is a message, which is published again.
    SentAgain,
    /// It is a message that stands for many. Published again it is another one, and whoever counts it counts twice.
    CountedAgain,
    /// It is a message, published in one transaction with the positions that it was read from: only where those are
    /// passed by on purpose is it published again.
    OutOfPosition,
}

/// How it comes that a row is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// A write whose outcome is unknown is repeated as it was.
    Write,
    /// A message whose position was not committed is delivered again.
    Delivery,
    /// A message is read, or sent, once more though its position was committed.
    Anew,
    /// A message of which only some rows were written is sent again for the others.
    Replay,
}

impl Doubles {
    /// Whether something is there twice after a repetition.
    pub const fn after(self, repetition: Repetition) -> bool {
        match self {
            Self::Never => false,
            Self::Keyless | Self::SentAgain | Self::CountedAgain => true,
            Self::ReadAgain => !matches!(repetition, Repetition::Write),
            Self::OutOfPosition => matches!(repetition, Repetition::Anew),
        }
    }

    /// Whether it depends on the row.
    pub const fn only_some(self) -> bool {
        matches!(self, Self::Keyless)
    }
}
