//! What came of mirroring a query, as the message that says it.

use std::time::Duration;

use prost::Message as _;

use super::answer::{Answer, recorded};
use super::client::Reply;
use super::compare::{Outputs, Tolerance, differences};
use crate::proto::common::v1::ChalkError;
use crate::proto::writer::v1::{LoggedQuery, MirrorOutcome, QueryAnswer};

/// The outcome of a query, asked at a time (microseconds since 1970).
pub fn outcome(
    logged: &LoggedQuery,
    query_name: Option<String>,
    reply: &Reply,
    tolerance: Tolerance,
    mirrored_at: i64,
) -> MirrorOutcome {
    let before = logged.recorded.clone().unwrap_or_default();
    let (mirrored, error) = answer(reply);
    let mut outcome = MirrorOutcome {
        operation_id: logged.operation_id.clone(),
        environment_id: logged.environment_id.clone(),
        deployment_id: logged.deployment_id.clone(),
        query_name: query_name.unwrap_or_default(),
        mirrored_at: Some(timestamp(mirrored_at)),
        differences: Vec::new(),
        absolute_tolerance: tolerance.absolute,
        relative_tolerance: tolerance.relative,
        agreed: false,
        error,
        recorded: logged.recorded.clone(),
        mirrored: Some(mirrored),
    };
    let Reply::Answered { answer: Ok(answer), .. } = reply else { return outcome };
    let Some(text) = &before.outputs else {
        outcome.error = Some("no outputs were recorded, so nothing is compared".to_owned());
        return outcome;
    };
    match recorded(text) {
        Ok(outputs) => {
            outcome.differences = differences(&outputs, &answer.outputs, tolerance);
            let same = outcome.differences.iter().all(|difference| difference.within_tolerance);
            outcome.agreed = same && met(&before.errors) == met(&answer.errors);
        }
        Err(error) => outcome.error = Some(format!("the recorded outputs cannot be read: {error}")),
    }
    outcome
}

/// What errors say of a query, whatever words they say it in.
fn met(errors: &[ChalkError]) -> Vec<(i32, Option<&str>, Option<&str>)> {
    let mut met: Vec<_> =
        errors.iter().map(|error| (error.code, error.feature.as_deref(), error.resolver.as_deref())).collect();
    met.sort_unstable();
    met
}

fn answer(reply: &Reply) -> (QueryAnswer, Option<String>) {
    let seconds = |took: &Duration| Some(took.as_secs_f64());
    let empty = QueryAnswer::default();
    match reply {
        Reply::Answered { status, answer, took } => {
            let http_status = i32::from(*status);
            let (Answer { outputs, errors }, error) = match answer {
                Ok(answer) => (answer.clone(), None),
                Err(error) => (Answer::default(), Some(error.clone())),
            };
            let outputs = error.is_none().then(|| text(&outputs));
            (QueryAnswer { outputs, duration_seconds: seconds(took), errors, http_status }, error)
        }
        Reply::Throttled { status, took, .. } => {
            let http_status = i32::from(*status);
            let error = format!("the server asks for less: it answered {status}");
            (QueryAnswer { http_status, duration_seconds: seconds(took), ..empty }, Some(error))
        }
        Reply::TimedOut { took } => {
            (QueryAnswer { duration_seconds: seconds(took), ..empty }, Some("no answer in time".to_owned()))
        }
        Reply::Unreachable(why) => (empty, Some(why.clone())),
        Reply::NoToken(why) => (empty, Some(format!("no token: {why}"))),
        Reply::Unaskable(why) => (empty, Some(format!("not asked: {why}"))),
    }
}

/// Outputs as the JSON object that the recorded ones are.
fn text(outputs: &Outputs) -> String {
    let mut text = String::from("{");
    for (name, value) in outputs {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(name).expect("text always has a JSON form"));
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// Makes an outcome fit into so many bytes: the outputs go first, then the values of differences, then the
/// differences themselves. It says what was left out.
pub fn fitted(mut outcome: MirrorOutcome, most: usize) -> MirrorOutcome {
    let whole = outcome.encoded_len();
    if whole <= most {
        return outcome;
    }
    let before = outcome.error.take();
    let note = |what: &str, before: Option<&String>| {
        let note = format!("left out: {what}, because the outcome has {whole} bytes and the topic takes {most}");
        Some(before.map_or(note.clone(), |before| format!("{before}; {note}")))
    };
    for side in [&mut outcome.recorded, &mut outcome.mirrored].into_iter().flatten() {
        side.outputs = None;
    }
    outcome.error = note("outputs", before.as_ref());
    if outcome.encoded_len() > most {
        for difference in &mut outcome.differences {
            (difference.recorded, difference.mirrored) = (None, None);
        }
        outcome.error = note("outputs and values", before.as_ref());
    }
    if outcome.encoded_len() > most {
        outcome.differences.clear();
        for side in [&mut outcome.recorded, &mut outcome.mirrored].into_iter().flatten() {
            side.errors.clear();
        }
        outcome.error = note("outputs, differences and errors", None);
    }
    outcome
}

fn timestamp(micros: i64) -> pbjson_types::Timestamp {
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    pbjson_types::Timestamp { seconds, nanos: rest as i32 * 1_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

    fn logged(outputs: Option<&str>) -> LoggedQuery {
        let recorded =
            QueryAnswer { outputs: outputs.map(str::to_owned), duration_seconds: Some(0.01), ..QueryAnswer::default() };
        LoggedQuery { operation_id: "op".to_owned(), recorded: Some(recorded), ..LoggedQuery::default() }
    }

    fn answered(outputs: &[(&str, &str)], errors: Vec<ChalkError>) -> Reply {
        let outputs = outputs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Reply::Answered { status: 200, answer: Ok(Answer { outputs, errors }), took: Duration::from_millis(20) }
    }

    #[test]
    fn both_answers_and_latencies_stand_in_it() {
        let outcome =
            outcome(&logged(Some(r#"{"a":1}"#)), Some("q".to_owned()), &answered(&[("a", "1")], vec![]), EXACT, -1);
        assert!(outcome.agreed && outcome.differences.is_empty() && outcome.error.is_none());
        assert_eq!(outcome.query_name, "q");
        let (recorded, mirrored) = (outcome.recorded.expect("recorded"), outcome.mirrored.expect("mirrored"));
        assert_eq!((recorded.duration_seconds, mirrored.duration_seconds), (Some(0.01), Some(0.02)));
        assert_eq!((mirrored.http_status, mirrored.outputs.as_deref()), (200, Some(r#"{"a":1}"#)));
        let at = outcome.mirrored_at.expect("a time");
        assert_eq!((at.seconds, at.nanos), (-1, 999_999_000));
    }

    #[test]
    fn agreement_is_within_tolerance_and_with_the_same_errors() {
        let logged = logged(Some(r#"{"a":1.0}"#));
        let agreed = |text, errors, absolute| {
            let tolerance = Tolerance { absolute, relative: 0.0 };
            outcome(&logged, None, &answered(&[("a", text)], errors), tolerance, 0).agreed
        };
        let error = ChalkError { code: 5, message: "no".to_owned(), ..ChalkError::default() };
        assert!(agreed("1.1", vec![], 0.2));
        assert!(!agreed("1.1", vec![], 0.05));
        assert!(!agreed("1.0", vec![error], 0.0));
    }

    #[test]
    fn what_is_no_answer_says_why_and_agrees_with_nothing() {
        for (reply, why, status) in [
            (Reply::Throttled { status: 503, after: None, took: Duration::ZERO }, "it answered 503", 503),
            (Reply::TimedOut { took: Duration::from_secs(5) }, "no answer in time", 0),
            (Reply::Unreachable("no connection".to_owned()), "no connection", 0),
            (Reply::NoToken("401".to_owned()), "no token: 401", 0),
            (Reply::Unaskable("x".to_owned()), "not asked: x", 0),
        ] {
            let outcome = outcome(&logged(Some("{}")), None, &reply, EXACT, 0);
            assert!(
                !outcome.agreed && outcome.error.as_deref().is_some_and(|error| error.contains(why)),
                "{outcome:?}"
            );
            assert_eq!(outcome.mirrored.expect("that side").http_status, status);
        }
        for (recorded, why) in [(None, "no outputs were recorded"), (Some("1"), "cannot be read")] {
            let outcome = outcome(&logged(recorded), None, &answered(&[], vec![]), EXACT, 0);
            assert!(
                !outcome.agreed && outcome.error.as_deref().is_some_and(|error| error.contains(why)),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn an_outcome_that_is_too_large_says_what_is_left_out() {
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(5_000));
        let whole = outcome(&logged(Some(&large)), None, &answered(&[("a", "\"y\"")], vec![]), EXACT, 0);
        assert_eq!(fitted(whole.clone(), 1 << 20), whole);
        let error = |outcome: &MirrorOutcome| outcome.error.clone().unwrap_or_default();
        let without_outputs = fitted(whole.clone(), 6_000);
        assert!(error(&without_outputs).starts_with("left out: outputs, because"), "{without_outputs:?}");
        assert_eq!(without_outputs.differences, whole.differences);
        let names = fitted(whole.clone(), 400);
        assert!(names.encoded_len() <= 400 && error(&names).starts_with("left out: outputs and values, because"));
        assert_eq!(names.differences[0].output, "a");
        let least = fitted(whole, 180);
        assert!(least.differences.is_empty() && error(&least).starts_with("left out: outputs, differences"));
    }
}
