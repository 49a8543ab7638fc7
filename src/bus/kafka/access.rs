//! What it takes to be let in: brokers, user name and password, read again whenever a broker refuses.

use secrecy::SecretString;
use serde_json::Value;

use super::msk::{self, Tokens};
use crate::bus::BusError;
use crate::config::secret::{SecretRef, expose};
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
}

impl Access {
    /// Reads the secret, if there is one.
    pub(super) async fn fetch(settings: &KafkaSettings) -> Result<Self, BusError> {
        let mut access = match &settings.sasl_secret {
            None => Self::default(),
            Some(secret) => {
                let text = secret.fetch().await.map_err(|error| BusError::Denied(error.to_string()))?;
                Self::parse(expose(&text)).map_err(|found| BusError::Denied(format!("{}: {found}", name(secret))))?
            }
        };
        let given = join(settings.bootstrap_servers.iter().map(String::as_str));
        if !given.is_empty() {
            access.brokers = given;
        }
        if access.brokers.is_empty() {
            return Err(BusError::Settings(
                "no broker is named; give `bootstrap_servers`, in the configuration or in the secret".to_owned(),
            ));
        }
        if settings.sasl_mechanism.as_deref() == Some(msk::MECHANISM) {
            access.tokens = Some(Tokens::of(&access.brokers).await?);
        }
        Ok(access)
    }

    /// Reads the text of a secret. The error says what is missing and never what is there.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return Err("not a JSON object; expected `username` and `password`");
        };
        let text = |names: [&str; 2]| {
            names.iter().find_map(|name| fields.get(*name)).and_then(Value::as_str).map(str::to_owned)
        };
        let username = text(["username", "sasl_username"]);
        let password = text(["password", "sasl_password"]).map(SecretString::from);
        if username.is_some() != password.is_some() {
            return Err("only one of `username` and `password` is there; expected both");
        }
        let brokers = match fields.get("bootstrap_servers") {
            None => String::new(),
            Some(Value::String(servers)) => join([servers.as_str()].into_iter()),
            Some(Value::Array(servers)) => join(servers.iter().filter_map(Value::as_str)),
            Some(_) => return Err("`bootstrap_servers` is neither text nor a list of texts"),
        };
        if username.is_none() && brokers.is_empty() {
            return Err("neither `username` and `password` nor `bootstrap_servers` is there");
        }
        Ok(Self { brokers, username, password, tokens: None })
    }
}

/// One list out of several, each perhaps a list of its own, with or without spaces.
fn join<'a>(servers: impl Iterator<Item = &'a str>) -> String {
    servers
        .flat_map(|servers| servers.split(','))
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

fn name(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Plain(_) => "the Kafka secret".to_owned(),
        SecretRef::Named { name, .. } => format!("secret `{name}`"),
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
    async fn both_spellings_of_a_secret_are_read() {
        for secret in [r#"{"username": "u", "password": "p"}"#, r#"{"sasl_username": "u", "sasl_password": "p"}"#] {
            let access = Access::fetch(&settings(&["a:1"], Some(secret))).await.unwrap();
            assert_eq!(access.username.as_deref(), Some("u"));
            assert_eq!(access.password.as_ref().map(expose), Some("p"));
        }
    }

    #[tokio::test]
    async fn a_secret_may_name_the_brokers_and_the_configuration_wins() {
        let secret = r#"{"bootstrap_servers": ["a:1", "b:2"]}"#;
        assert_eq!(Access::fetch(&settings(&[], Some(secret))).await.unwrap().brokers, "a:1,b:2");
        assert_eq!(Access::fetch(&settings(&["c:3"], Some(secret))).await.unwrap().brokers, "c:3");
    }

    #[tokio::test]
    async fn a_bad_secret_is_denied_without_being_shown() {
        for secret in ["hunter2", r#"{"username": "hunter2"}"#, r#"{"bootstrap_servers": 9}"#, "{}"] {
            let error = Access::fetch(&settings(&["a:1"], Some(secret))).await.unwrap_err();
            assert!(matches!(error, BusError::Denied(_)) && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn no_broker_at_all_is_an_error_of_the_settings() {
        assert!(matches!(Access::fetch(&settings(&[" "], None)).await, Err(BusError::Settings(_))));
    }
}
