//! What it takes to be let in: brokers, user name and password or tokens, read again whenever a broker refuses.

use secrecy::SecretString;

use super::credentials::{Credentials, join};
use super::tokens::{self, Tokens};
use crate::bus::BusError;
use crate::config::secret::SecretRef;
use crate::config::settings::KafkaSettings;

/// Brokers and credentials as they are now.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    /// `host:port` of the brokers, joined by commas.
    pub(super) brokers: String,
    /// The SASL user name.
    pub(super) username: Option<String>,
    /// The SASL password.
    pub(super) password: Option<SecretString>,
    /// What makes the tokens that stand in for both.
    pub(super) tokens: Option<Tokens>,
    /// Where the credentials come from.
    secret: Option<SecretRef>,
}

impl Access {
    /// Reads the secret, if there is one.
    pub(super) async fn fetch(settings: &KafkaSettings) -> Result<Self, BusError> {
        let by_token = tokens::are_used(settings);
        let credentials = match &settings.sasl_secret {
            None => Credentials::default(),
            // What a token is had for is looked at with each token.
            Some(secret) if by_token => Credentials::fetch(secret).await?,
            Some(secret) => Credentials::fetch_whole(secret).await?,
        };
        let given = join(settings.bootstrap_servers.iter().map(String::as_str));
        let brokers = if given.is_empty() { credentials.brokers } else { given };
        if brokers.is_empty() {
            return Err(BusError::Settings(
                "no broker is named; give `bootstrap_servers`, in the configuration or in the secret".to_owned(),
            ));
        }
        if by_token {
            let tokens = Tokens::of(settings, &brokers).await?;
            return Ok(Self { brokers, username: None, password: None, tokens, secret: None });
        }
        let Credentials { username, password, .. } = credentials;
        Ok(Self { brokers, username, password, tokens: None, secret: settings.sasl_secret.clone() })
    }

    /// The same after a client that did not work: what the secret says by now.
    pub(super) async fn fetch_again(settings: &KafkaSettings) -> Result<Self, BusError> {
        if let Some(secret) = &settings.sasl_secret {
            secret.doubt();
        }
        Self::fetch(settings).await
    }

    /// Takes note of what became of a client that was let in so, or was not: whoever comes next reads the secret again.
    pub(super) fn noting<T>(&self, outcome: Result<T, BusError>) -> Result<T, BusError> {
        if let (Some(secret), Err(BusError::Denied(_) | BusError::Unavailable(_))) = (&self.secret, &outcome) {
            secret.doubt();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(servers: &[&str], secret: Option<&str>) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: servers.iter().map(|&server| server.to_owned()).collect(),
            security_protocol: "PLAINTEXT".to_owned(),
            sasl_mechanism: None,
            sasl_secret: secret.map(SecretRef::plain),
            properties: std::collections::BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn brokers_may_be_written_with_spaces() {
        let access = Access::fetch(&settings(&["a:1, b:2", " c:3 ", ""], None)).await.unwrap();
        assert_eq!(access.brokers, "a:1,b:2,c:3");
    }

    #[tokio::test]
    async fn a_secret_may_name_the_brokers_and_the_configuration_wins() {
        let secret = r#"{"bootstrap_servers": ["a:1", "b:2"]}"#;
        assert_eq!(Access::fetch(&settings(&[], Some(secret))).await.unwrap().brokers, "a:1,b:2");
        assert_eq!(Access::fetch(&settings(&["c:3"], Some(secret))).await.unwrap().brokers, "c:3");
    }

    #[tokio::test]
    async fn no_broker_at_all_is_an_error_of_the_settings() {
        assert!(matches!(Access::fetch(&settings(&[" "], None)).await, Err(BusError::Settings(_))));
    }
}
