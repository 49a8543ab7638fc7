//! Who we are, by OIDC: a token of an issuer, asked for with a client's id and secret.
//!
//! librdkafka can do this itself where it is built with libcurl, which would be one more library of the system. So its
//! properties are read here ([`asked`]), under its names, and never reach it; the token is handed over as Amazon's is
//! ([`msk`](super::msk)). What the issuer answers is in [`grant`], and what it gave in [`cache`].

mod asked;
mod cache;
mod grant;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::client::OAuthToken;
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use self::asked::Asked;
pub(super) use self::asked::{check, client_id, is_ours};
use self::cache::Known;
use self::grant::Grant;
use super::credentials::Credentials;
use super::names::TOKEN_ERRORS;
use crate::bus::BusError;
use crate::config::secret::SecretRef;
use crate::config::settings::KafkaSettings;
use crate::http;
use crate::tls::{Tls, Trust};

/// A token that ends sooner is not handed over once more.
const LEAST: Duration = Duration::from_secs(5);

/// The tokens of one client of librdkafka.
#[derive(Debug)]
pub(super) struct Tokens {
    asked: Asked,
    /// Read for each token: a new one needs no restart.
    secret: SecretRef,
    http: reqwest::Client,
    /// The issuer is asked while librdkafka waits on a thread of its own.
    runtime: Handle,
    /// The last one that anybody in this process was given for the same.
    known: Arc<Known>,
}

impl Tokens {
    /// As the settings ask; contacts nothing.
    pub(super) fn of(settings: &KafkaSettings) -> Result<Self, BusError> {
        let asked = Asked::of(settings)?;
        let Some(secret) = settings.sasl_secret.clone() else {
            return Err(BusError::Settings(
                "OAUTHBEARER needs `kafka_sasl_secret`, with a client's id and secret".to_owned(),
            ));
        };
        let tls = Tls { trust: Trust::Host, authorities: asked.authorities.clone(), identity: None };
        let http = http::client(&tls).map_err(BusError::Settings)?;
        let known = cache::known(&asked, &secret);
        Ok(Self { asked, secret, http, runtime: Handle::current(), known })
    }

    /// The last one was refused: the issuer is asked before any is handed over.
    pub(super) fn forget(&self) {
        self.known.forget();
    }

    /// A token that holds from now on. Blocks while the issuer is asked.
    ///
    /// One that is fresh is handed over without asking. Where none can be had, the last one is handed over as long as it
    /// holds: librdkafka asks well before its end, and again.
    pub(super) fn token(&self) -> Result<OAuthToken, BusError> {
        if let Some(grant) = self.known.fresh() {
            return Ok(handed_over(&grant));
        }
        match self.runtime.block_on(self.ask()) {
            Ok(grant) => {
                let token = handed_over(&grant);
                self.known.put(grant);
                Ok(token)
            }
            Err(error) => {
                let Some(grant) = self.known.last() else { return Err(error) };
                let left = grant.ends.duration_since(SystemTime::now()).unwrap_or_default();
                if left <= LEAST {
                    return Err(ended(error, grant.ends));
                }
                metrics::counter!(TOKEN_ERRORS).increment(1);
                tracing::warn!("the token for Kafka was not renewed and holds for {} s more: {error}", left.as_secs());
                Ok(handed_over(&grant))
            }
        }
    }

    async fn ask(&self) -> Result<Grant, BusError> {
        let Asked { endpoint, client_id, scope, .. } = &self.asked;
        let credentials = Credentials::fetch(&self.secret).await?;
        // The configuration wins, as with brokers.
        let (Some(client), Some(secret)) =
            (client_id.as_ref().or(credentials.username.as_ref()), &credentials.password)
        else {
            let text =
                "the Kafka secret lacks `client_id` (unless `sasl.oauthbearer.client.id` is set) or `client_secret`";
            self.secret.doubt();
            return Err(BusError::Denied(text.to_owned()));
        };
        let grant = grant::ask(&self.http, endpoint, client, secret, scope.as_deref()).await;
        if matches!(grant, Err(BusError::Denied(_))) {
            self.secret.doubt();
        }
        grant
    }
}

/// As librdkafka takes it.
fn handed_over(grant: &Grant) -> OAuthToken {
    let ends = grant.ends.duration_since(UNIX_EPOCH).unwrap_or_default();
    OAuthToken {
        token: grant.token.expose_secret().to_owned(),
        principal_name: grant.principal.clone(),
        lifetime_ms: i64::try_from(ends.as_millis()).unwrap_or(i64::MAX),
    }
}

/// The same error, with what has become of the last token.
fn ended(error: BusError, ends: SystemTime) -> BusError {
    let ends = DateTime::<Utc>::from(ends).to_rfc3339_opts(SecondsFormat::Secs, true);
    let told = |text: String| format!("{text}; the last token ends at {ends}, and there is no other");
    match error {
        BusError::Unavailable(text) => BusError::Unavailable(told(text)),
        BusError::Denied(text) => BusError::Denied(told(text)),
        other => other,
    }
}
