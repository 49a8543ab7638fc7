//! What an answer says of the server, whatever it says of the query.

/// How a server that answers stands to what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It does what it is asked.
    Works,
    /// It would not (400, 404), or in a way that cannot be read.
    Declines,
    /// It does not let us in (401, 403): nothing that we ask can come to anything.
    Denies,
    /// It took the query, and failed (500).
    Fails,
}

impl Stance {
    /// Of a server that gave an answer of this status, which can be read or not.
    pub const fn of(status: u16, is_readable: bool) -> Self {
        match status {
            200..=299 if is_readable => Self::Works,
            401 | 403 => Self::Denies,
            500.. => Self::Fails,
            _ => Self::Declines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_meant_to_be_answered_is_good() {
        for (status, is_readable, stance) in [
            (200, true, Stance::Works),
            (200, false, Stance::Declines),
            (302, true, Stance::Declines),
            (400, true, Stance::Declines),
            (401, true, Stance::Denies),
            (403, false, Stance::Denies),
            (404, true, Stance::Declines),
            (500, true, Stance::Fails),
            (520, false, Stance::Fails),
        ] {
            assert_eq!(Stance::of(status, is_readable), stance, "{status}");
        }
    }
}
