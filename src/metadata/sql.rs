//! Environments in a table of Postgres: `docs/metadata.sql` makes it.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::MetadataError;
use crate::causes::in_full;
use crate::config::secret::{SecretError, SecretRef, Trouble, expose};
use crate::store::PostgresReader;
use crate::tls;

/// The longest that connecting and answering take. Secrets are read before, and have a limit of their own.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

const WHAT: &str = "metadata database";

/// A database, by secrets that are read for each question.
pub(super) struct Database {
    pub(super) uri: SecretRef,
    pub(super) authorities: Option<SecretRef>,
    pub(super) certificate: Option<SecretRef>,
    pub(super) key: Option<SecretRef>,
}

/// What it is reached by now.
struct Reached {
    reader: PostgresReader,
    authorities: Option<SecretString>,
    certificate: Option<SecretString>,
    key: Option<SecretString>,
}

impl Database {
    pub(super) async fn fetch(&self) -> Result<Value, MetadataError> {
        let asked = match self.reached().await {
            Ok(reached) => timeout(ANSWERS_WITHIN, reached.ask()).await.unwrap_or_else(|_| {
                let text = format!("{WHAT}: no answer within {} s", ANSWERS_WITHIN.as_secs());
                Err(MetadataError::away(text))
            }),
            Err(error) => Err(error),
        };
        if asked.is_err() {
            for secret in [Some(&self.uri), self.authorities.as_ref(), self.certificate.as_ref(), self.key.as_ref()] {
                secret.into_iter().for_each(SecretRef::doubt);
            }
        }
        asked
    }

    async fn reached(&self) -> Result<Reached, MetadataError> {
        let uri = async { self.uri.fetch().await.map_err(unread) };
        let [authorities, certificate, key] =
            [&self.authorities, &self.certificate, &self.key].map(|secret| text(secret.as_ref()));
        let (uri, authorities, certificate, key) = tokio::try_join!(uri, authorities, certificate, key)?;
        let reader = PostgresReader::of(WHAT, expose(&uri))
            .map_err(|error| MetadataError::denied(format!("{error} ({})", self.uri.describe())))?;
        Ok(Reached { reader, authorities, certificate, key })
    }
}

impl Reached {
    async fn ask(mut self) -> Result<Value, MetadataError> {
        let client = self.connect().await?;
        let ask =
            format!("SELECT id, description::text FROM {}chalk_writer_environments ORDER BY id", self.reader.schema);
        let rows = client.query(&ask, &[]).await.map_err(|error| explain(&error))?;
        let mut environments = Map::new();
        for row in rows {
            let (id, text): (String, String) =
                row.try_get(0).and_then(|id| Ok((id, row.try_get(1)?))).map_err(|error| explain(&error))?;
            // JSON it is: the column is of that type.
            let description = serde_json::from_str(&text)
                .map_err(|error| MetadataError::denied(format!("{WHAT}: environment `{id}`: {error}")))?;
            environments.insert(id, description);
        }
        Ok(Value::Object(environments))
    }

    async fn connect(&mut self) -> Result<Client, MetadataError> {
        if self.authorities.is_some() {
            // Who names an authority does not want to be asked in plain text.
            self.reader.config.ssl_mode(SslMode::Require);
        }
        if self.reader.is_plain() {
            let (client, connection) = self.reader.config.connect(NoTls).await.map_err(|error| explain(&error))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let identity = self.certificate.as_ref().zip(self.key.as_ref());
        let identity = identity.map(|(certificate, key)| (expose(certificate), expose(key)));
        // Whatever the URI says of that, it is checked whose server this is.
        let config_of_tls = tls::config_of_texts(self.authorities.as_ref().map(expose), identity);
        let config_of_tls = config_of_tls.map_err(|error| MetadataError::denied(format!("{WHAT}: {error}")))?;
        let connected = self.reader.config.connect(MakeRustlsConnect::new(config_of_tls)).await;
        let (client, connection) = connected.map_err(|error| explain(&error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

async fn text(secret: Option<&SecretRef>) -> Result<Option<SecretString>, MetadataError> {
    match secret {
        None => Ok(None),
        Some(secret) => secret.fetch().await.map(Some).map_err(unread),
    }
}

fn unread(error: SecretError) -> MetadataError {
    MetadataError { denied: error.trouble != Trouble::Away, text: format!("{WHAT}: {error}") }
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
    MetadataError { denied, text: format!("{WHAT}: {why}{hint}") }
}
