//! One question to an issuer, and what its answer is worth: RFC 6749, the grant of client credentials.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::BytesMut;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::bus::BusError;
use crate::http::{ends_within, reason};

/// The longest that an issuer may take: a thread of librdkafka waits for it.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the answer that a token comes in.
const MOST_BYTES: usize = 64 << 10;
/// Characters of an issuer's own words that are passed on.
const MOST_WORDS: usize = 200;

/// A token.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) token: SecretString,
    /// Whose it is: shown in librdkafka's errors.
    pub(super) principal: String,
    pub(super) ends: SystemTime,
}

#[derive(Deserialize)]
struct Given {
    access_token: Option<String>,
    /// A number of seconds, which some issuers write as a text.
    expires_in: Option<Value>,
}

/// What an issuer says of a request that it refuses.
#[derive(Default, Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

/// What a token says of itself, where it is a JWT.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

/// Asks for a token. The error says what to do and has no secret in it.
pub(super) async fn ask(
    http: &Client,
    endpoint: &Url,
    client: &str,
    secret: &SecretString,
    scope: Option<&str>,
) -> Result<Grant, BusError> {
    let secret = secret.expose_secret();
    // Both as they are, as librdkafka and Kafka's own clients send them: few issuers decode them as RFC 6749 has it.
    let basic = STANDARD.encode(format!("{client}:{secret}"));
    let mut authorization = HeaderValue::from_str(&format!("Basic {basic}")).expect("base64 is plain text");
    authorization.set_sensitive(true);
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.append_pair("grant_type", "client_credentials");
    body.extend_pairs(scope.map(|scope| ("scope", scope)));
    let request = http
        .post(endpoint.clone())
        .header(AUTHORIZATION, authorization)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .timeout(WITHIN)
        .body(body.finish());
    let of = place(endpoint);
    let away = |why: String| {
        BusError::Unavailable(format!(
            "no token of {of}: {why}; start it, or correct the kafka properties `sasl.oauthbearer.token.endpoint.url` and `https.ca.location`"
        ))
    };
    // What the answer says counts from here at the earliest.
    let asked_at = SystemTime::now();
    let mut response = request.send().await.map_err(|error| away(reason(&error)))?;
    let status = response.status();
    let mut answer = BytesMut::new();
    if !ends_within(MOST_BYTES, &mut response, &mut answer).await.map_err(|error| away(reason(&error)))? {
        return Err(away(format!("it answered more than {MOST_BYTES} bytes")));
    }
    if !status.is_success() {
        let words = words(&answer, secret);
        return Err(match status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => BusError::Denied(format!(
                "{of} gives no token: {status}{words}; put the client's id and secret right (`kafka_sasl_secret`), or \
                 `sasl.oauthbearer.scope`"
            )),
            StatusCode::TOO_MANY_REQUESTS => away(format!("{status}{words}")),
            status if status.is_server_error() => {
                BusError::Unavailable(format!("no token of {of}: {status}{words}; its own log says more"))
            }
            status => away(format!("{status}{words}")),
        });
    }
    read(&answer, client, asked_at).map_err(|why| away(format!("it answered {status}, and {why}")))
}

/// Where it is, without what a query may hide.
fn place(endpoint: &Url) -> String {
    format!("{}{}", endpoint.origin().ascii_serialization(), endpoint.path())
}

/// The token in an answer. What stands there may be a secret, and is not shown.
fn read(answer: &[u8], client: &str, now: SystemTime) -> Result<Grant, &'static str> {
    let given: Given = serde_json::from_slice(answer).map_err(|_| "no JSON with a token")?;
    let token = given.access_token.filter(|token| !token.is_empty()).ok_or("no `access_token`")?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token with characters that none has");
    }
    let claims = claims(&token).unwrap_or_default();
    let seconds = given.expires_in.and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()));
    let after = |time: SystemTime, seconds: f64| {
        Duration::try_from_secs_f64(seconds).ok().and_then(|seconds| time.checked_add(seconds))
    };
    let exp = claims.exp.and_then(|exp| after(SystemTime::UNIX_EPOCH, exp));
    let ends = match seconds {
        // What the token itself says is what brokers go by; unless our clock makes nonsense of it, the earlier counts.
        Some(seconds) => after(now, seconds).map(|ends| exp.filter(|exp| *exp > now).map_or(ends, |exp| exp.min(ends))),
        None if claims.exp.is_some() => exp,
        None => return Err("a token of which nothing says when it ends (`expires_in`, or `exp` in a JWT)"),
    };
    let ends = ends.filter(|ends| *ends > now).ok_or("a token that has ended already, by our clock")?;
    Ok(Grant { token: token.into(), principal: claims.sub.unwrap_or_else(|| client.to_owned()), ends })
}

/// What a JWT says, unproved: that is the broker's business.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// An issuer's own words, for people: short, in one line, and without the secret.
fn words(answer: &[u8], secret: &str) -> String {
    let Refused { error, error_description } = serde_json::from_slice(answer).unwrap_or_default();
    let words: Vec<String> = [error, error_description].into_iter().flatten().collect();
    let words = words.join(", ");
    let words = if secret.is_empty() { words } else { words.replace(secret, "…") };
    let words: String = words.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect();
    if words.is_empty() { words } else { format!(" ({words})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn read_at(answer: &str) -> Result<(String, u64), &'static str> {
        let now = SystemTime::UNIX_EPOCH + NOW;
        read(answer.as_bytes(), "writer", now)
            .map(|grant| (grant.principal, grant.ends.duration_since(now).unwrap().as_secs()))
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_ends_when_its_issuer_says_or_else_when_it_says_itself() {
        let token = jwt(r#"{"sub": "svc", "exp": 1800000300}"#);
        let ended = jwt(r#"{"exp": 1799999999}"#);
        for (answer, found) in [
            (r#"{"access_token": "opaque", "expires_in": 60}"#.to_owned(), ("writer", 60)),
            (r#"{"access_token": "opaque", "expires_in": "60"}"#.to_owned(), ("writer", 60)),
            (format!(r#"{{"access_token": "{token}", "expires_in": 299}}"#), ("svc", 299)),
            (format!(r#"{{"access_token": "{token}", "expires_in": 3600}}"#), ("svc", 300)),
            (format!(r#"{{"access_token": "{ended}", "expires_in": 3600}}"#), ("writer", 3_600)),
            (format!(r#"{{"access_token": "{token}"}}"#), ("svc", 300)),
        ] {
            assert_eq!(read_at(&answer), Ok((found.0.to_owned(), found.1)), "{answer}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_none_and_is_not_shown() {
        let ended = jwt(r#"{"exp": 1799999999}"#);
        for (answer, words) in [
            ("<html>hunter2</html>", "no JSON"),
            (r#"{"id_token": "hunter2"}"#, "no `access_token`"),
            (r#"{"access_token": ""}"#, "no `access_token`"),
            (r#"{"access_token": "hunter2"}"#, "nothing says when it ends"),
            (r#"{"access_token": "hunter2", "expires_in": 0}"#, "has ended"),
            (r#"{"access_token": "hunter2", "expires_in": -5}"#, "has ended"),
            (r#"{"access_token": "hunter2", "expires_in": 1e300}"#, "has ended"),
            (r#"{"access_token": "hunter 2\n", "expires_in": 9}"#, "characters"),
            (&format!(r#"{{"access_token": "{ended}"}}"#), "has ended"),
        ] {
            let why = read_at(answer).expect_err(answer);
            assert!(why.contains(words) && !why.contains("hunter"), "{answer}: {why}");
        }
    }

    #[test]
    fn an_issuers_words_are_passed_on_without_the_secret() {
        let said = words(br#"{"error": "invalid_client", "error_description": "hunter2\nis wrong"}"#, "hunter2");
        assert_eq!(said, " (invalid_client, …is wrong)");
        assert_eq!(words(b"<html>hunter2</html>", "hunter2"), "");
        assert_eq!(words(br#"{"error": ""}"#, ""), "");
    }
}
