//! The secret that `kafka_sasl_secret` names, in whichever of the public shapes it comes.

use secrecy::SecretString;
use serde_json::Value;

use crate::bus::BusError;
use crate::config::secret::{SecretError, SecretRef, Trouble, expose};

/// What a secret says. Printing it shows no password.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// `host:port` of the brokers, joined by commas; may be empty.
    pub(super) brokers: String,
    /// User name, or the id of a client.
    pub(super) username: Option<String>,
    /// Its password, or the client's secret.
    pub(super) password: Option<SecretString>,
}

impl Credentials {
    /// Reads the secret as it is now.
    pub(super) async fn fetch(secret: &SecretRef) -> Result<Self, BusError> {
        let text = secret.fetch().await.map_err(unread)?;
        Self::parse(expose(&text)).map_err(|found| denied(secret, found))
    }

    /// The same where user name and password are needed, unless it is there for the brokers alone.
    pub(super) async fn fetch_whole(secret: &SecretRef) -> Result<Self, BusError> {
        let read = Self::fetch(secret).await?;
        match (&read.username, &read.password) {
            (Some(_), Some(_)) => Ok(read),
            (None, None) if !read.brokers.is_empty() => Ok(read),
            (None, None) => Err(denied(secret, "neither `username` and `password` nor `bootstrap_servers` is there")),
            _ => Err(denied(secret, "only one of `username` and `password` is there; expected both")),
        }
    }

    /// Reads the text of a secret. The error says what is missing and never what is there.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return Err("not a JSON object; expected `username` and `password`");
        };
        let text = |names: [&str; 3]| {
            names.iter().find_map(|name| fields.get(*name)).and_then(Value::as_str).map(str::to_owned)
        };
        let brokers = match fields.get("bootstrap_servers") {
            None => String::new(),
            Some(Value::String(servers)) => join([servers.as_str()].into_iter()),
            Some(Value::Array(servers)) => join(servers.iter().filter_map(Value::as_str)),
            Some(_) => return Err("`bootstrap_servers` is neither text nor a list of texts"),
        };
        let username = text(["username", "sasl_username", "client_id"]);
        let password = text(["password", "sasl_password", "client_secret"]).map(SecretString::from);
        Ok(Self { brokers, username, password })
    }
}

fn unread(error: SecretError) -> BusError {
    match error.trouble {
        Trouble::Away => BusError::Unavailable(error.text),
        Trouble::Never => BusError::Settings(error.text),
        Trouble::Missing | Trouble::Denied => BusError::Denied(error.text),
    }
}

fn denied(secret: &SecretRef, found: &str) -> BusError {
    secret.doubt();
    BusError::Denied(format!("{}: {found}", name(secret)))
}

/// One list out of several, each perhaps a list of its own, with or without spaces.
pub(super) fn join<'a>(servers: impl Iterator<Item = &'a str>) -> String {
    servers
        .flat_map(|servers| servers.split(','))
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

/// A secret as people know it.
pub(super) fn name(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Plain(_) => "the Kafka secret".to_owned(),
        SecretRef::Named { name, .. } => format!("secret `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_secret_is_read() {
        for secret in [
            r#"{"username": "u", "password": "p"}"#,
            r#"{"sasl_username": "u", "sasl_password": "p"}"#,
            r#"{"client_id": "u", "client_secret": "p"}"#,
        ] {
            let read = Credentials::parse(secret).unwrap();
            assert_eq!((read.username.as_deref(), read.password.as_ref().map(expose)), (Some("u"), Some("p")));
        }
    }

    #[tokio::test]
    async fn a_bad_secret_is_denied_without_being_shown() {
        for secret in ["hunter2", r#"{"username": "hunter2"}"#, r#"{"bootstrap_servers": 9}"#, "{}"] {
            let error = Credentials::fetch_whole(&SecretRef::plain(secret)).await.unwrap_err();
            assert!(matches!(error, BusError::Denied(_)) && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
