//! Values that may be secrets: given in the file, or named there and fetched.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use crate::secrets::{Manager, SecretError, Trouble};

/// What a value begins with that names a secret instead of being one.
const PREFIX: &str = "secret:";

/// A credential or URI: the text itself, or where to find it (`secret:NAME`, `secret:NAME#field`).
///
/// Printing one never shows what it holds.
#[derive(Clone, Debug)]
pub enum SecretRef {
    /// The value as it stands in the configuration. Still not printed: a URI may hold a password.
    Plain(SecretString),
    /// A value to be fetched through the secret client.
    Named {
        /// Which client.
        client: SecretClient,
        /// The secret's name.
        name: String,
        /// One field of a JSON secret.
        field: Option<String>,
    },
}

/// Where named secrets come from (`secret_client`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretClient {
    /// An environment variable of the secret's name.
    Env,
    /// A file of the secret's name; a relative name is looked up in the folder of the configuration file.
    File {
        /// Where relative names are looked up.
        folder: PathBuf,
    },
    /// A secret manager of a cloud.
    Manager(Manager),
}

impl SecretClient {
    /// As `secret_client` has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Env => "ENV",
            Self::File { .. } => "FILE",
            Self::Manager(manager) => manager.name(),
        }
    }
}

/// Whether both are one value, as far as that shows without fetching it.
impl PartialEq for SecretRef {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => one.expose_secret() == other.expose_secret(),
            (
                Self::Named { client, name, field },
                Self::Named { client: other_client, name: other_name, field: other_field },
            ) => client == other_client && name == other_name && field == other_field,
            _ => false,
        }
    }
}

impl SecretRef {
    /// A value that is not fetched.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(SecretString::from(text.into()))
    }

    /// The secret of a name (`NAME` or `NAME#field`, with or without `secret:` before it).
    pub fn named(text: &str, client: SecretClient) -> Self {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        match text.split_once('#') {
            Some((name, field)) => Self::Named { client, name: name.to_owned(), field: Some(field.to_owned()) },
            None => Self::Named { client, name: text.to_owned(), field: None },
        }
    }

    /// The name of a secret as a text that says that it is one.
    pub(super) fn with_prefix(name: &str) -> String {
        if Self::is_name(name) { name.to_owned() } else { format!("{PREFIX}{name}") }
    }

    /// Whether a text of the file names a secret.
    pub fn is_name(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Whether fetching it again may give another value without a restart.
    pub const fn is_read_again(&self) -> bool {
        matches!(self, Self::Named { client: SecretClient::File { .. } | SecretClient::Manager(_), .. })
    }

    /// The value now. Asked for again whenever somebody connects, so a rotation needs no restart; what a manager gave
    /// is known until it is [doubted](Self::doubt).
    pub async fn fetch(&self) -> Result<SecretString, SecretError> {
        let (client, name, field) = match self {
            Self::Plain(text) => return Ok(text.clone()),
            Self::Named { client, name, field } => (client, name, field),
        };
        let (whole, if_unfit) = match client {
            SecretClient::Env => (variable(name)?, Trouble::Never),
            SecretClient::File { folder } => {
                let path = folder.join(name);
                let text = tokio::fs::read_to_string(&path).await;
                let missing =
                    |error| SecretError::new(Trouble::Missing, name, format!("file {}: {error}", path.display()));
                (text.map_err(missing)?.into(), Trouble::Missing)
            }
            SecretClient::Manager(manager) => (manager.fetch(name).await?, Trouble::Denied),
        };
        let whole = whole.expose_secret().trim_end_matches(['\r', '\n']);
        let Some(field) = field else { return Ok(SecretString::from(whole)) };
        pick(whole, field).map_err(|what| {
            self.doubt();
            SecretError { trouble: if_unfit, text: format!("secret `{name}` {what}") }
        })
    }

    /// The value did not work where it was used (it was refused, or what it names does not answer): whoever connects
    /// next has it read again.
    pub fn doubt(&self) {
        if let Self::Named { client: SecretClient::Manager(manager), name, .. } = self {
            manager.doubt(name);
        }
    }

    /// The scheme of a URI that stands in the configuration, in lower case; none of one that is fetched.
    pub fn scheme(&self) -> Option<String> {
        let Self::Plain(uri) = self else { return None };
        uri.expose_secret().split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())
    }

    /// What it is, for people: the secret's name, or the URI without credentials.
    pub fn describe(&self) -> String {
        match self {
            Self::Plain(text) => masked(text.expose_secret()),
            Self::Named { name, field: None, .. } => format!("{PREFIX}{name}"),
            Self::Named { name, field: Some(field), .. } => format!("{PREFIX}{name}#{field}"),
        }
    }
}

/// The value of an environment variable.
fn variable(name: &str) -> Result<SecretString, SecretError> {
    std::env::var(name).map(SecretString::from).map_err(|error| {
        let what = match error {
            std::env::VarError::NotPresent => "is not set",
            std::env::VarError::NotUnicode(_) => "is not UTF-8",
        };
        SecretError::new(Trouble::Never, name, format!("environment variable `{name}` {what}"))
    })
}

/// One field of a JSON secret; text as it is, anything else as JSON.
fn pick(whole: &str, field: &str) -> Result<SecretString, String> {
    match serde_json::from_str::<Value>(whole) {
        Ok(Value::Object(mut fields)) => match fields.remove(field) {
            Some(Value::String(text)) => Ok(SecretString::from(text)),
            Some(other) => Ok(SecretString::from(other.to_string())),
            None => Err(format!("has no field `{field}`")),
        },
        _ => Err(format!("is not a JSON object, so it has no field `{field}`")),
    }
}

/// A URI without user, password and the values of its query; only the scheme where it cannot be read.
pub fn masked(uri: &str) -> String {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let Ok(mut url) = url::Url::parse(uri) else { return format!("{scheme}:…") };
    if url.cannot_be_a_base() {
        return match scheme {
            "sqlite" | "file" => uri.split(['?', '#']).next().unwrap_or_default().to_owned(),
            _ => format!("{scheme}:…"),
        };
    }
    if !url.has_host() && !matches!(scheme, "sqlite" | "file" | "dynamodb") {
        return format!("{scheme}:…");
    }
    if (!url.username().is_empty() || url.password().is_some())
        && (url.set_username("…").is_err() || url.set_password(None).is_err())
    {
        return format!("{scheme}:…");
    }
    let names: Vec<String> = url.query_pairs().map(|(name, _)| format!("{name}=…")).collect();
    url.set_query(None);
    url.set_fragment(None);
    let query = if names.is_empty() { String::new() } else { format!("?{}", names.join("&")) };
    format!("{}{query}", url.as_str().replace("%E2%80%A6", "…"))
}

/// The text of a secret, at the place that hands it to a client.
pub fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    async fn fetched(secret: &SecretRef) -> Result<String, String> {
        secret.fetch().await.map(|text| expose(&text).to_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_file_is_read_beside_the_configuration_and_again_after_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let client = SecretClient::File { folder: folder.path().to_owned() };
        let secret = SecretRef::named("secret:prod-redis", client.clone());
        assert!(fetched(&secret).await.expect_err("no file").contains("prod-redis"));
        std::fs::write(folder.path().join("prod-redis"), "redis://one\r\n").expect("written");
        assert_eq!(fetched(&secret).await, Ok("redis://one".to_owned()));
        std::fs::write(folder.path().join("prod-redis"), "redis://two").expect("written");
        assert_eq!(fetched(&secret).await, Ok("redis://two".to_owned()));

        std::fs::write(folder.path().join("json"), r#"{"password": "hunter2", "port": 6379}"#).expect("written");
        assert_eq!(fetched(&SecretRef::named("json#password", client.clone())).await, Ok(SECRET.to_owned()));
        assert_eq!(fetched(&SecretRef::named("json#port", client.clone())).await, Ok("6379".to_owned()));
        assert_eq!(
            fetched(&SecretRef::named("json#user", client.clone())).await,
            Err("secret `json` has no field `user`".to_owned())
        );
        assert_eq!(
            fetched(&SecretRef::named("prod-redis#user", client)).await,
            Err("secret `prod-redis` is not a JSON object, so it has no field `user`".to_owned())
        );
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_named() {
        assert_eq!(
            fetched(&SecretRef::named("CHALK_TEST_NOT_SET", SecretClient::Env)).await,
            Err("secret `CHALK_TEST_NOT_SET`: environment variable `CHALK_TEST_NOT_SET` is not set".to_owned())
        );
        assert!(fetched(&SecretRef::named("PATH", SecretClient::Env)).await.is_ok());
    }

    #[test]
    fn nothing_prints_a_value() {
        let plain = SecretRef::plain(format!("redis://user:{SECRET}@host:6379/0?token={SECRET}#{SECRET}"));
        for text in [format!("{plain:?}"), plain.describe()] {
            assert!(!text.contains(SECRET), "{text}");
        }
        assert_eq!(plain.describe(), "redis://…@host:6379/0?token=…");
        assert_eq!(SecretRef::named("secret:a#b", SecretClient::Env).describe(), "secret:a#b");
    }

    #[test]
    fn a_masked_uri_shows_where_and_never_who() {
        for (uri, shown) in [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://:hunter2@host", "redis://…@host"),
            ("postgres://u:hunter2@h/db?sslmode=require", "postgres://…@h/db?sslmode=…"),
            ("sqlite:/var/lib/online.db", "sqlite:/var/lib/online.db"),
            ("file:///lake", "file:///lake"),
            ("snowflake:user:hunter2", "snowflake:…"),
            ("redis:/user:hunter2@host", "redis:…"),
            ("hunter2", ":…"),
            ("redis://u:hunter2@[bad", "redis:…"),
        ] {
            assert_eq!(masked(uri), shown);
        }
    }
}
