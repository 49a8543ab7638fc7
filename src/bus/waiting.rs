//! For how long a bus waits for the members of a group.

use std::time::Duration;

/// How long a bus waits for a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Who was silent for so long loses its partitions; `None` where the bus does not tell.
    pub session: Option<Duration>,
    /// What sets that, where anything does.
    pub session_by: Option<&'static str>,
    /// The longest that partitions are waited for which are to move; then they go.
    pub handover: Duration,
    /// What sets that.
    pub handover_by: &'static str,
}
