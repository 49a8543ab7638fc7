//! The tokens that stand in for user name and password, whoever makes them.

use std::sync::Arc;

use rdkafka::client::OAuthToken;

use super::names::{OAUTHBEARER, TOKEN_ERRORS};
use super::{msk, oidc};
use crate::bus::BusError;
use crate::config::settings::KafkaSettings;

/// What makes tokens.
#[derive(Clone, Debug)]
pub(super) enum Tokens {
    /// Signed here, for Amazon MSK.
    Msk(msk::Tokens),
    /// Asked for at an issuer.
    Oidc(Arc<oidc::Tokens>),
}

impl Tokens {
    /// What the settings ask for; nothing where people sign in with a password, or not at all.
    pub(super) async fn of(settings: &KafkaSettings, brokers: &str) -> Result<Option<Self>, BusError> {
        match settings.sasl_mechanism.as_deref() {
            Some(msk::MECHANISM) => msk::Tokens::of(brokers).await.map(|tokens| Some(Self::Msk(tokens))),
            Some(OAUTHBEARER) => oidc::Tokens::of(settings).map(|tokens| Some(Self::Oidc(Arc::new(tokens)))),
            _ => Ok(None),
        }
    }

    /// A token that holds from now on. Blocks while it is fetched.
    pub(super) fn token(&self) -> Result<OAuthToken, BusError> {
        match self {
            Self::Msk(tokens) => tokens.token().map_err(|error| BusError::Denied(error.to_string())),
            Self::Oidc(tokens) => tokens.token(),
        }
        .inspect(|token| metrics::gauge!(ENDS).set(token.lifetime_ms as f64 / 1_000.))
        .inspect_err(|_| metrics::counter!(TOKEN_ERRORS).increment(1))
    }

    /// The last one was refused: it is not handed over once more.
    pub(super) fn forget(&self) {
        match self {
            Self::Msk(tokens) => tokens.forget(),
            Self::Oidc(tokens) => tokens.forget(),
        }
    }
}

/// When the last token ends that was handed over.
const ENDS: &str = "chalk_writer_bus_token_ends_timestamp_seconds";

/// Whether the settings ask for tokens.
pub(super) fn are_used(settings: &KafkaSettings) -> bool {
    matches!(settings.sasl_mechanism.as_deref(), Some(msk::MECHANISM | OAUTHBEARER))
}
