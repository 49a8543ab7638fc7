//! What the server answers: counts from the script, and what each of its errors means for a writer.

use bytes::Bytes;
use fred::types::Value as Reply;

use super::connection::unexpected;
use crate::sink::SinkError;

/// What the script did.
#[derive(Debug, Default, PartialEq, Eq)]
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
    pub(super) fn read(reply: &[Reply]) -> Result<Self, SinkError> {
        let count = |at: usize| reply.get(at).and_then(Reply::as_u64).ok_or_else(|| unexpected("no counts"));
        let mut answer = Self { stored: count(0)?, stale: count(1)?, failed: Vec::new() };
        for pair in reply.get(2..).unwrap_or_default().chunks(2) {
            let place = pair[0].as_usize().and_then(|place| place.checked_sub(1));
            let error = pair.get(1).and_then(Reply::as_bytes).map(Bytes::copy_from_slice);
            let (Some(place), Some(error)) = (place, error) else { return Err(unexpected("no position and error")) };
            answer.failed.push((place, String::from_utf8_lossy(&error).into_owned()));
        }
        Ok(answer)
    }
}

/// Whether an error on one key says that this key can never be written as it is.
pub(super) fn is_of_the_row(error: &str) -> bool {
    error.starts_with("WRONGTYPE")
}

/// What an error of the server asks for. Only missing rights are told apart: everything else (out of
/// memory, loading, read-only, busy, a broken disk) may be put right while the writer waits.
pub(super) fn failure(server: &str, error: &str) -> SinkError {
    let reason = format!("{server}: {error}");
    let code = error.split_whitespace().next().unwrap_or_default();
    let no_password_is_set = error.starts_with("ERR AUTH") || error.starts_with("ERR Client sent AUTH");
    if matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM") || no_password_is_set || error.contains("ACL failure") {
        SinkError::Denied { reason }
    } else {
        SinkError::Transient { reason }
    }
}

/// Whether the server is no primary (any more): the address may lead to another one by now.
///
/// An error out of the script may have the server's words behind its own.
pub(super) fn is_of_a_replica(error: &str) -> bool {
    ["READONLY", "MASTERDOWN"].iter().any(|code| error.starts_with(code) || error.contains(&format!("-{code} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_told_from_what_passes_on_the_same_server() {
        for error in ["READONLY You can't write", "MASTERDOWN Link", "ERR Error running script: -READONLY You can't"] {
            assert!(is_of_a_replica(error), "{error}");
        }
        for error in ["OOM command not allowed", "LOADING", "ERR no READONLY", ""] {
            assert!(!is_of_a_replica(error), "{error}");
        }
    }

    #[test]
    fn counts_and_errors_are_read() {
        let reply = [3.into(), 4.into(), 2.into(), "WRONGTYPE x".into()];
        let answer = Answer { stored: 3, stale: 4, failed: vec![(1, "WRONGTYPE x".to_owned())] };
        assert_eq!(Answer::read(&reply).expect("sound"), answer);
        assert!(Answer::read(&[]).is_err());
        assert!(Answer::read(&[1.into(), 0.into(), 0.into(), "x".into()]).is_err());
        assert!(Answer::read(&[1.into(), 0.into(), 1.into()]).is_err());
    }

    #[test]
    fn only_missing_rights_are_denied() {
        for error in ["NOAUTH Authentication required.", "WRONGPASS invalid", "NOPERM this user", "ERR AUTH <password>"]
        {
            assert!(matches!(failure("redis", error), SinkError::Denied { .. }), "{error}");
        }
        for error in ["OOM command not allowed", "LOADING", "READONLY", "MASTERDOWN", "MISCONF", "ERR other", ""] {
            assert!(matches!(failure("redis", error), SinkError::Transient { .. }), "{error}");
        }
    }
}
