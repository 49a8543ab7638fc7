//! Access tokens: asked for with a client's id and secret, kept until shortly before they end.

use std::time::Duration;

use bytes::BytesMut;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::config::secret::SecretRef;
use crate::http::{ends_within, reason};

/// So long before its end a token is not used any more, or a tenth of its time where that is less.
const BEFORE_THE_END: Duration = Duration::from_mins(1);
/// Of a token that says nothing of its end.
const USUALLY_GOOD_FOR: Duration = Duration::from_hours(1);
/// However long a token is good for, another one is asked for after this.
const LONGEST: Duration = Duration::from_hours(24);
/// Bytes of the answer that a token comes in.
const MOST_BYTES: usize = 64 << 10;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The client's id.
    pub client_id: String,
    /// Its secret, fetched for each token: a new one needs no restart.
    pub client_secret: SecretRef,
}

/// The token of one client, renewed when it is time.
#[derive(Debug)]
pub(super) struct Tokens {
    credentials: Credentials,
    url: Url,
    known: Mutex<Option<Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    text: SecretString,
    until: Instant,
}

#[derive(Serialize)]
struct Asked<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    grant_type: &'a str,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// For the server of that URL.
    pub(super) fn new(credentials: Credentials, url: Url) -> Self {
        Self { credentials, url, known: Mutex::new(None) }
    }

    /// A token that is good for a while; an error says why there is none, without a secret.
    ///
    /// Those who come while one is asked for wait for that one.
    pub(super) async fn get(&self, http: &reqwest::Client) -> Result<SecretString, String> {
        let mut known = self.known.lock().await;
        if let Some(token) = known.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.text.clone());
        }
        let Credentials { client_id, client_secret } = &self.credentials;
        let secret = client_secret.fetch().await.map_err(|error| error.to_string())?;
        let asked = Asked { client_id, client_secret: secret.expose_secret(), grant_type: "client_credentials" };
        let body = serde_json::to_vec(&asked).expect("texts always have a JSON form");
        let request = http.post(self.url.clone()).header("Content-Type", "application/json").body(body);
        let mut response = request.send().await.map_err(|error| reason(&error))?;
        let status = response.status();
        if !status.is_success() {
            client_secret.doubt();
            return Err(format!("{} answered {status}", self.url.path()));
        }
        let mut body = BytesMut::new();
        if !ends_within(MOST_BYTES, &mut response, &mut body).await.map_err(|error| reason(&error))? {
            return Err(format!("{} answered more than {MOST_BYTES} bytes", self.url.path()));
        }
        // The library's words quote the text, which is a secret.
        let given: Given =
            serde_json::from_slice(&body).map_err(|_| format!("{} answered no token", self.url.path()))?;
        let token = Token { text: given.access_token.into(), until: Instant::now() + used_for(given.expires_in) };
        *known = Some(token.clone());
        Ok(token.text)
    }

    /// The server no longer takes the token: the next query asks for another.
    pub(super) async fn forget(&self) {
        *self.known.lock().await = None;
    }
}

/// For how long a token is used that is good for so many seconds.
fn used_for(expires_in: Option<u64>) -> Duration {
    let good_for = expires_in.map_or(USUALLY_GOOD_FOR, Duration::from_secs).min(LONGEST);
    good_for.saturating_sub(BEFORE_THE_END.min(good_for / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_used_to_its_very_end_and_for_no_longer_than_a_day() {
        for (expires_in, seconds) in
            [(None, 3_540), (Some(3_600), 3_540), (Some(60), 54), (Some(0), 0), (Some(u64::MAX), 86_340)]
        {
            assert_eq!(used_for(expires_in), Duration::from_secs(seconds), "{expires_in:?}");
        }
    }
}
