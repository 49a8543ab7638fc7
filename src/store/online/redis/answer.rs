//! What the server answers: counts from the script, and what each of its errors means for a writer.

use fred::error::{Error, ErrorKind};
use fred::types::Value;

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
    /// Nobody has the slot. The library ends the connection that this is answered on.
    Unserved,
    /// The server is no primary (any more): the address may lead to another one by now.
    Replica,
    /// Credentials, rights or trust are missing.
    Denied,
}

impl Trouble {
    pub(super) fn denied(reason: String) -> Self {
        Self { kind: Kind::Denied, reason }
    }

    /// What the library says about a command: the server's answer, or that there was none.
    pub(super) fn of(server: &str, error: &Error) -> Self {
        let (kind, what) = match error.kind() {
            ErrorKind::Timeout => (Kind::Away, error.to_string()),
            _ if !Self::is_of_connection(error) => return Self::of_answer(server, error.details()),
            _ => (Kind::Ended, error.details().to_owned()),
        };
        Self { kind, reason: format!("{server}: {what}") }
    }

    /// Why a connection could not be made, and what to do about it.
    pub(super) fn no_connection(server: &str, error: &Error, secure: bool) -> Self {
        if !Self::is_of_connection(error) {
            return Self::of_answer(server, error.details());
        }
        let details = error.details();
        if let Some(hint) = mistrust(details).filter(|_| secure) {
            return Self::denied(format!("{server}: TLS: {details}{hint}"));
        }
        let hint = match error.kind() {
            // A server without TLS waits for the end of what it takes for a command.
            ErrorKind::Timeout if secure => "; is it a port without TLS?",
            ErrorKind::IO if !secure && !details.contains("ConnectionRefused") => {
                "; if the server wants TLS, write `rediss://`"
            }
            _ => "",
        };
        Self { kind: Kind::Away, reason: format!("{server}: no connection: {details}{hint}") }
    }

    /// Whether an error is one of the connection rather than an answer.
    pub(super) fn is_of_connection(error: &Error) -> bool {
        use ErrorKind::{Backpressure, Canceled, IO, Parse, Protocol, Routing, Timeout, Tls, Url};
        matches!(error.kind(), Backpressure | Canceled | IO | Parse | Protocol | Routing | Timeout | Tls | Url)
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
            "CLUSTERDOWN" if error.contains("not served") => Kind::Unserved,
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
            Kind::Away | Kind::Ended | Kind::Passing | Kind::Unserved | Kind::Replica => Self::Transient { reason },
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
    pub(super) fn read(reply: &[Value]) -> Option<Self> {
        let mut answer = Self { stored: reply.first()?.as_u64()?, stale: reply.get(1)?.as_u64()?, failed: Vec::new() };
        for pair in reply[2..].chunks(2) {
            let place = pair.first()?.as_usize()?.checked_sub(1)?;
            answer.failed.push((place, String::from_utf8_lossy(pair.get(1)?.as_bytes()?).into_owned()));
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

/// What to do where the two sides do not trust one another. The library passes on what the TLS library says
/// as text.
fn mistrust(details: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 7] = [
        (
            "NotValidForName",
            "; put the host into the URI that the certificate is for, or name that one with `server_name=`",
        ),
        ("UnknownIssuer", "; name the file of the authority that signed it with `ca=/path`"),
        ("InvalidMessage", "; is this a port without TLS?"),
        ("CertificateRequired", WANTS_CERTIFICATE),
        ("HandshakeFailure", WANTS_CERTIFICATE),
        ("AlertReceived", ""),
        ("InvalidCertificate", ""),
    ];
    HINTS.into_iter().find(|(what, _)| details.contains(what)).map(|(_, hint)| hint)
}

const WANTS_CERTIFICATE: &str = "; the server may want a client's certificate: name it with `cert=/path&key=/path`";

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
        let answer = Answer { stored: 3, stale: 4, failed: vec![(1, "WRONGTYPE x".to_owned())] };
        assert_eq!(Answer::read(&[3.into(), 4.into(), 2.into(), "WRONGTYPE x".into()]), Some(answer));
        for broken in [
            vec![],
            vec![1.into()],
            vec![1.into(), 0.into(), 0.into(), "x".into()],
            vec![1.into(), 0.into(), 1.into()],
            vec![1.into(), (-1).into()],
        ] {
            assert_eq!(Answer::read(&broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_answer_is_told_from_a_connection_that_failed() {
        let of = |kind, details: &'static str| Trouble::of("redis", &Error::new(kind, details)).kind;
        assert_eq!(of(ErrorKind::IO, "closed"), Kind::Ended);
        assert_eq!(of(ErrorKind::Canceled, "Canceled."), Kind::Ended);
        assert_eq!(of(ErrorKind::Timeout, "late"), Kind::Away);
        assert_eq!(of(ErrorKind::Auth, "NOAUTH x"), Kind::Denied);
        assert_eq!(of(ErrorKind::Unknown, "OOM x"), Kind::Passing);
        assert_eq!(of(ErrorKind::Cluster, "CLUSTERDOWN x"), Kind::Passing);
        assert_eq!(of(ErrorKind::Config, "ERR This instance has cluster support disabled"), Kind::Denied);
    }
}
