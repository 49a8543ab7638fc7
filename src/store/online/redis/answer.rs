//! What the server answers: counts from the script, and what each of its errors means for a writer.

use redis_protocol::resp2::types::BytesFrame;

use super::wire::Failure;
use crate::sink::SinkError;

/// Why a server did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// For people; begins with the server's name.
    pub(super) reason: String,
}

/// What is to be done about a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection is to be had, or nothing is answered.
    Away,
    /// The connection ended: another one may be had at once.
    Ended,
    /// It passes on the same server: out of memory, loading, busy.
    Passing,
    /// The server is no primary (any more): the address may lead to another one by now.
    Replica,
    /// Credentials, rights or trust are missing.
    Denied,
}

impl Trouble {
    pub(super) fn denied(reason: String) -> Self {
        Self { kind: Kind::Denied, reason }
    }

    /// A connection that failed.
    pub(super) fn of_connection(server: &str, failure: &Failure) -> Self {
        let kind = match failure {
            Failure::Untrusted(_) => Kind::Denied,
            Failure::Ended(_) => Kind::Ended,
            Failure::Late(_) | Failure::Unreachable(_) => Kind::Away,
        };
        Self { kind, reason: format!("{server}: {failure}") }
    }

    /// An error that the server answered. Only missing rights and a server that became a replica are told
    /// apart: everything else (out of memory, loading, busy, a broken disk) may be put right while the
    /// writer waits.
    pub(super) fn of_answer(server: &str, error: &str) -> Self {
        let code = error.split_whitespace().next().unwrap_or_default();
        let no_password_is_set = error.starts_with("ERR AUTH") || error.starts_with("ERR Client sent AUTH");
        let mut reason = format!("{server}: {error}");
        let kind = match code {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Kind::Denied,
            "MOVED" | "ASK" | "CROSSSLOT" => {
                reason.push_str(
                    "; it is a node of a cluster: set `redis_is_clustered`, or add `clustered=true` to the URI",
                );
                Kind::Denied
            }
            "ERR" if error.contains("cluster support disabled") => {
                reason.push_str("; leave `redis_is_clustered` and `clustered` out");
                Kind::Denied
            }
            _ if no_password_is_set || error.contains("ACL failure") => Kind::Denied,
            _ if is_of_a_replica(error) => Kind::Replica,
            _ => Kind::Passing,
        };
        Self { kind, reason }
    }

    /// An answer that neither the script nor the commands used here ever give.
    pub(super) fn unexpected(server: &str, what: &str) -> Self {
        Self { kind: Kind::Away, reason: format!("{server}: an answer that cannot be understood: {what}") }
    }
}

impl From<Trouble> for SinkError {
    fn from(Trouble { kind, reason }: Trouble) -> Self {
        match kind {
            Kind::Denied => Self::Denied { reason },
            Kind::Away | Kind::Ended | Kind::Passing | Kind::Replica => Self::Transient { reason },
        }
    }
}

/// What the script did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Values that the store now holds.
    pub(super) stored: u64,
    /// Values that it already had or that were older.
    pub(super) stale: u64,
    /// Entities of the call, by position, that were not written, and the server's error.
    pub(super) failed: Vec<(usize, String)>,
}

impl Answer {
    /// Reads the script's reply: two counts, then positions (from 1) and errors in turn.
    pub(super) fn read(reply: &[BytesFrame]) -> Option<Self> {
        let number = |frame: Option<&BytesFrame>| match frame {
            Some(BytesFrame::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let (stored, stale) = (number(reply.first())?, number(reply.get(1))?);
        let mut answer = Self { stored, stale, failed: Vec::new() };
        for pair in reply[2..].chunks(2) {
            let place = usize::try_from(number(pair.first())?).ok()?.checked_sub(1)?;
            let BytesFrame::BulkString(error) = pair.get(1)? else { return None };
            answer.failed.push((place, String::from_utf8_lossy(error).into_owned()));
        }
        Some(answer)
    }
}

/// Whether an error on one key says that this key can never be written as it is.
pub(super) fn is_of_the_row(error: &str) -> bool {
    error.starts_with("WRONGTYPE")
}

/// Whether the server is no primary. An error out of the script may have the server's words behind its own.
fn is_of_a_replica(error: &str) -> bool {
    ["READONLY", "MASTERDOWN"].iter().any(|code| error.starts_with(code) || error.contains(&format!("-{code} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &str) -> Kind {
        Trouble::of_answer("redis", error).kind
    }

    #[test]
    fn a_replica_is_told_from_what_passes_on_the_same_server() {
        for error in ["READONLY You can't write", "MASTERDOWN Link", "ERR Error running script: -READONLY You can't"] {
            assert_eq!(kind(error), Kind::Replica, "{error}");
        }
        for error in ["OOM command not allowed", "LOADING", "ERR no READONLY", "MISCONF", "CLUSTERDOWN", ""] {
            assert_eq!(kind(error), Kind::Passing, "{error}");
        }
    }

    #[test]
    fn what_waiting_alone_does_not_mend_is_denied() {
        for error in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid",
            "NOPERM this user",
            "ERR AUTH <password>",
            "MOVED 1 127.0.0.1:2",
            "CROSSSLOT Keys",
            "ERR This instance has cluster support disabled",
        ] {
            assert_eq!(kind(error), Kind::Denied, "{error}");
        }
    }

    #[test]
    fn counts_and_errors_are_read() {
        let text = |text: &'static str| BytesFrame::BulkString(text.as_bytes().into());
        let number = BytesFrame::Integer;
        let answer = Answer { stored: 3, stale: 4, failed: vec![(1, "WRONGTYPE x".to_owned())] };
        assert_eq!(Answer::read(&[number(3), number(4), number(2), text("WRONGTYPE x")]), Some(answer));
        for broken in [
            vec![],
            vec![number(1)],
            vec![number(1), number(0), number(0), text("x")],
            vec![number(1), number(0), number(1)],
            vec![number(1), number(-1)],
        ] {
            assert_eq!(Answer::read(&broken), None, "{broken:?}");
        }
    }
}
