//! Environments in a table of Postgres: `docs/metadata.sql` makes it.

use std::str::FromStr as _;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::MetadataError;
use crate::causes::in_full;
use crate::config::secret::{SecretError, SecretRef, Trouble, expose};
use crate::tls;

const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

const ASK: &str = "SELECT id, description::text FROM chalk_writer_environments ORDER BY id";

/// How the server names its ways of TLS that check whose it is; here it is checked in any case.
const CHECKED: [&str; 2] = ["sslmode=verify-full", "sslmode=verify-ca"];

/// A database, by secrets that are read for each question.
pub(super) struct Database {
    pub(super) uri: SecretRef,
    pub(super) authorities: Option<SecretRef>,
    pub(super) certificate: Option<SecretRef>,
    pub(super) key: Option<SecretRef>,
}

impl Database {
    pub(super) async fn fetch(&self) -> Result<Value, MetadataError> {
        let asked = timeout(ANSWERS_WITHIN, self.ask()).await;
        let asked = asked.unwrap_or_else(|_| {
            let text = format!("metadata database: no answer within {} s", ANSWERS_WITHIN.as_secs());
            Err(MetadataError::away(text))
        });
        if asked.is_err() {
            for secret in [Some(&self.uri), self.authorities.as_ref(), self.certificate.as_ref(), self.key.as_ref()] {
                secret.into_iter().for_each(SecretRef::doubt);
            }
        }
        asked
    }

    async fn ask(&self) -> Result<Value, MetadataError> {
        let client = self.connect().await?;
        let rows = client.query(ASK, &[]).await.map_err(|error| explain(&error))?;
        let mut environments = Map::new();
        for row in rows {
            let (id, text): (String, String) =
                row.try_get(0).and_then(|id| Ok((id, row.try_get(1)?))).map_err(|error| explain(&error))?;
            // JSON it is: the column is of that type.
            let description = serde_json::from_str(&text)
                .map_err(|error| MetadataError::denied(format!("metadata database: environment `{id}`: {error}")))?;
            environments.insert(id, description);
        }
        Ok(Value::Object(environments))
    }

    async fn connect(&self) -> Result<Client, MetadataError> {
        let uri = self.uri.fetch().await.map_err(unread)?;
        let checked = CHECKED.iter().fold(expose(&uri).to_owned(), |uri, mode| uri.replace(mode, "sslmode=require"));
        // The library's words may quote the URI, in which there is a password.
        let mut config = Config::from_str(&checked).map_err(|_| {
            let name = self.uri.describe();
            MetadataError::denied(format!("metadata database: what {name} holds is no URI of Postgres"))
        })?;
        let text = async |secret: &Option<SecretRef>| match secret {
            None => Ok(None),
            Some(secret) => secret.fetch().await.map(Some).map_err(unread),
        };
        let (authorities, certificate) = (text(&self.authorities).await?, text(&self.certificate).await?);
        let key = text(&self.key).await?;
        if authorities.is_some() {
            // Who names an authority does not want to be asked in plain text.
            config.ssl_mode(SslMode::Require);
        }
        if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await.map_err(|error| explain(&error))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let identity = certificate.as_ref().zip(key.as_ref());
        let identity = identity.map(|(certificate, key)| (expose(certificate), expose(key)));
        let config_of_tls = tls::config_of_texts(authorities.as_ref().map(expose), identity);
        let config_of_tls =
            config_of_tls.map_err(|error| MetadataError::denied(format!("metadata database: {error}")))?;
        let connected = config.connect(MakeRustlsConnect::new(config_of_tls)).await;
        let (client, connection) = connected.map_err(|error| explain(&error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

fn unread(error: SecretError) -> MetadataError {
    MetadataError { denied: error.trouble != Trouble::Away, text: format!("metadata database: {error}") }
}

fn explain(error: &tokio_postgres::Error) -> MetadataError {
    let why = match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => in_full(error),
    };
    let code = error.code().map_or("", SqlState::code);
    let hint = if code == "42P01" { "; `docs/metadata.sql` makes the table" } else { "" };
    // Class 28 and 42501: who we are, and what we may.
    let denied = code.starts_with("28") || code.starts_with("42") || why.contains("certificate");
    MetadataError { denied, text: format!("metadata database: {why}{hint}") }
}
