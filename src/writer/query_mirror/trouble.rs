//! What is wrong with a mirror, for the people who can mend it: said where nobody reads outcomes, and not with every
//! query. It holds nothing of what was asked or answered.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::mirror::{Reply, Stance};
use crate::proto::writer::v1::MirrorOutcome;

/// One kind of trouble is said so often.
const EVERY: Duration = Duration::from_secs(60);

/// The server asked for less.
const THROTTLED: &str = "throttled";
/// It did not answer in time.
const TIMED_OUT: &str = "timed_out";
/// It could not be reached, or went away in mid-answer.
const UNREACHABLE: &str = "unreachable";
/// It gave no token.
const NO_TOKEN: &str = "no_token";

/// Why a query that was asked is as good as not asked.
pub(super) const UNANSWERED: [&str; 4] = [THROTTLED, TIMED_OUT, UNREACHABLE, NO_TOKEN];

/// Why there was nothing to compare.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What is said once for all; the status where there is one.
    kind: (&'static str, u16),
    /// What happened.
    pub(super) what: String,
    /// What to look at.
    check: &'static str,
}

impl Trouble {
    /// What is wrong with a query of this outcome; `None` where both sides were compared.
    pub(super) fn of(reply: &Reply, outcome: &MirrorOutcome) -> Option<Self> {
        let new = |kind, status, what, check| Some(Self { kind: (kind, status), what, check });
        let of_token = "`client_id` and `client_secret`, and that they may query this environment and this `branch`";
        match reply {
            Reply::Answered { status, answer, .. } => {
                let said = |what: &str| format!("the server {what} queries: it answered {status}");
                match Stance::of(*status, answer.is_ok()) {
                    Stance::Works if outcome.error.is_none() => None,
                    Stance::Works => {
                        let what = "no outputs were recorded that an answer can be compared with".to_owned();
                        new("nothing_recorded", *status, what, "`recorded.outputs` of whoever logs the queries")
                    }
                    Stance::Denies => new("denied", *status, said("denies"), of_token),
                    Stance::Fails => new("failing", *status, said("fails at"), "the logs of the server"),
                    Stance::Declines if (200..300).contains(status) => {
                        let what = format!("the server's answer ({status}) cannot be read, or is too large");
                        new("unreadable", *status, what, "`api_server_host`, `body` and `max_message_bytes`")
                    }
                    Stance::Declines => {
                        let check = "`api_server_host` and `branch`, and the outcomes";
                        new("declined", *status, said("declines"), check)
                    }
                }
            }
            Reply::Throttled { status, .. } => {
                let what = format!("the server asks for less: it answered {status}");
                new(THROTTLED, *status, what, "how much room the server has; `max_per_second` asks for less")
            }
            Reply::TimedOut { .. } => {
                let check = "how much room the server has; `deadline` is how long a query may take";
                new(TIMED_OUT, 0, "no answer in time".to_owned(), check)
            }
            Reply::Unreachable(why) => new(UNREACHABLE, 0, why.clone(), "`api_server_host`, and that the server runs"),
            Reply::NoToken(why) => new(NO_TOKEN, 0, format!("no token: {why}"), of_token),
            Reply::Unaskable(why) => new("unaskable", 0, format!("not asked: {why}"), "`body` and `branch`"),
        }
    }

    /// Why the query is as good as not asked; `None` of one that the server took.
    pub(super) fn unanswered(&self) -> Option<&'static str> {
        UNANSWERED.into_iter().find(|reason| *reason == self.kind.0)
    }
}

/// Tells of trouble when it comes up, and once a minute while it lasts.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    met: BTreeMap<(&'static str, u16), Met>,
}

#[derive(Debug)]
struct Met {
    said: Instant,
    /// How often it was met since.
    times: u64,
}

impl Complaints {
    /// Notes trouble, and says it where it is time to, with the URL of the server.
    pub(super) fn note(&mut self, trouble: &Trouble, url: &str, now: Instant) {
        if let Some(queries) = self.due(trouble, now) {
            let Trouble { what, check, .. } = trouble;
            tracing::warn!(server = url, queries, "the mirror compares nothing: {what}; check {check}");
        }
    }

    /// How many queries met it since it was last said; `None` where that was not long ago.
    fn due(&mut self, trouble: &Trouble, now: Instant) -> Option<u64> {
        let Some(met) = self.met.get_mut(&trouble.kind) else {
            self.met.insert(trouble.kind, Met { said: now, times: 0 });
            return Some(1);
        };
        met.times += 1;
        let due = now.saturating_duration_since(met.said) >= EVERY;
        due.then(|| {
            met.said = now;
            std::mem::take(&mut met.times)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::Answer;

    fn answered(status: u16, answer: Result<Answer, String>) -> Trouble {
        let reply = Reply::Answered { status, answer, took: Duration::ZERO };
        let outcome = MirrorOutcome { error: Some("secret".to_owned()), ..MirrorOutcome::default() };
        Trouble::of(&reply, &outcome).expect("trouble")
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_look_at_and_without_a_value() {
        for (status, what, check) in [
            (401, "the server denies queries: it answered 401", "`client_secret`"),
            (403, "the server denies queries: it answered 403", "`branch`"),
            (404, "the server declines queries: it answered 404", "`api_server_host`"),
            (500, "the server fails at queries: it answered 500", "logs"),
            (200, "the server's answer (200) cannot be read", "`body`"),
        ] {
            let trouble = answered(status, Err("secret".to_owned()));
            assert!(trouble.what.starts_with(what) && trouble.check.contains(check), "{trouble:?}");
            assert_eq!(trouble.unanswered(), None);
        }
        assert!(answered(200, Ok(Answer::default())).what.starts_with("no outputs were recorded"));
        let compared = Reply::Answered { status: 200, answer: Ok(Answer::default()), took: Duration::ZERO };
        assert!(Trouble::of(&compared, &MirrorOutcome::default()).is_none());
        let unanswered = Trouble::of(&Reply::NoToken("gone".to_owned()), &MirrorOutcome::default()).expect("trouble");
        assert_eq!((unanswered.unanswered(), &*unanswered.what), (Some("no_token"), "no token: gone"));
    }

    #[test]
    fn each_kind_of_trouble_is_said_at_once_and_then_once_a_minute_with_its_count() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let (denied, failing) = (answered(401, Err(String::new())), answered(500, Err(String::new())));
        assert_eq!(complaints.due(&denied, now), Some(1));
        assert_eq!(complaints.due(&failing, now), Some(1));
        for _ in 0..100 {
            assert_eq!(complaints.due(&denied, now + EVERY / 2), None);
        }
        assert_eq!(complaints.due(&denied, now + EVERY), Some(101));
        assert_eq!(complaints.due(&denied, now + EVERY), None);
    }
}
