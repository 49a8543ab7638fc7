//! Values that may be secrets: given in the file, or named there and fetched.

use secrecy::{ExposeSecret, SecretString};

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
        folder: std::path::PathBuf,
    },
    /// AWS Secrets Manager: known to the configuration, not in this version.
    Aws,
    /// GCP Secret Manager: known to the configuration, not in this version.
    Gcp,
}

impl SecretRef {
    /// A value that is not fetched.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(SecretString::from(text.into()))
    }

    /// The value now. Called again when a store or the bus rejects it, so a rotation needs no restart.
    pub async fn fetch(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Named { client, name, .. } => {
                Err(SecretError(format!("secret `{name}`: {client:?} is not in this version")))
            }
        }
    }
}

/// A secret that could not be had. Names the secret, never its value.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

/// The text of a secret, at the place that hands it to a client.
pub fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
