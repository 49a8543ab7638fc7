//! What it takes to be let in: brokers, user name and password or tokens, read again whenever a broker refuses.

use secrecy::SecretString;

use super::credentials::{self, Credentials, join};
use super::names::OAUTHBEARER;
use super::tokens::{self, Tokens};
use super::{msk, oidc};
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
    pub(super) secret: Option<SecretRef>,
    /// Whom brokers are told that we are, and where that was read, for people; nobody where nobody signs in.
    pub(super) who: Option<String>,
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
        let Credentials { username, password, .. } = credentials;
        let who = who(settings, username.as_deref());
        if by_token {
            let tokens = Tokens::of(settings, &brokers).await?;
            return Ok(Self { brokers, tokens, who, ..Self::default() });
        }
        Ok(Self { brokers, username, password, tokens: None, secret: settings.sasl_secret.clone(), who })
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

/// Never with a password.
fn who(settings: &KafkaSettings, username: Option<&str>) -> Option<String> {
    let secret = settings.sasl_secret.as_ref().map(credentials::name);
    let user = match settings.sasl_mechanism.as_deref() {
        Some(msk::MECHANISM) => return Some("the AWS identity of this process".to_owned()),
        Some(OAUTHBEARER) => oidc::client_id(settings).or(username).map(|client| format!("client `{client}`")),
        _ => username.map(|user| format!("user `{user}`")),
    };
    let certificate = settings.properties.get("ssl.certificate.location");
    match (user, secret) {
        (Some(user), Some(secret)) => Some(format!("{user} of {secret}")),
        (user, secret) => user.or(secret).or_else(|| certificate.map(|file| format!("certificate {file}"))),
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
    async fn who_signs_in_is_named_with_the_secret_and_never_with_the_password() {
        let mut settings = settings(&["a:1"], Some(r#"{"username": "writer", "password": "hunter2"}"#));
        settings.sasl_mechanism = Some("PLAIN".to_owned());
        let who = Access::fetch(&settings).await.unwrap().who.unwrap();
        assert_eq!(who, "user `writer` of the Kafka secret");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kafka.json"), r#"{"username": "w", "password": "hunter2"}"#).unwrap();
        let client = crate::config::secret::SecretClient::File { folder: folder.path().to_owned() };
        settings.sasl_secret = Some(SecretRef::named("kafka.json", client));
        assert_eq!(Access::fetch(&settings).await.unwrap().who.unwrap(), "user `w` of secret `kafka.json`");
    }

    #[tokio::test]
    async fn no_broker_at_all_is_an_error_of_the_settings() {
        assert!(matches!(Access::fetch(&settings(&[" "], None)).await, Err(BusError::Settings(_))));
    }
}
