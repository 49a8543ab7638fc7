//! Environments that are described elsewhere than in the configuration file: by a server ([`grpc`]) or in a database
//! ([`sql`]), as JSON of the shape that `environments` has in a file, so that one place judges both.

mod convert;
mod feed;
mod grpc;
mod serve;
mod sql;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::config::settings::{MetadataSettings, MetadataSource};

pub use feed::{Feed, Known};
pub use serve::{Served, serve};

/// All environments as they were described at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Changes whenever they do.
    pub etag: String,
    /// By id, as in a configuration file. May hold credentials.
    pub environments: Value,
}

impl Snapshot {
    /// With an etag that is made of all that is in it.
    pub fn of(environments: Value) -> Self {
        Self { etag: format!("{:032x}", xxh3_128(environments.to_string().as_bytes())), environments }
    }

    /// Whether an environment has an entry, or the one of any other.
    fn has(&self, id: &str) -> bool {
        [id, "*"].iter().any(|id| self.environments.get(id).is_some())
    }
}

/// Why environments could not be had; waiting may help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct MetadataError {
    /// Whether credentials or rights are missing.
    pub denied: bool,
    /// What happened and where.
    pub text: String,
}

impl MetadataError {
    fn away(text: impl Into<String>) -> Self {
        Self { denied: false, text: text.into() }
    }

    fn denied(text: impl Into<String>) -> Self {
        Self { denied: true, text: text.into() }
    }
}

/// What is asked.
#[expect(clippy::large_enum_variant, reason = "a process has one")]
enum Source {
    Grpc(grpc::Client),
    Sql(sql::Database),
}

impl Source {
    fn of(settings: &MetadataSettings) -> Result<Self, MetadataError> {
        Ok(match &settings.source {
            MetadataSource::Grpc { url } => Self::Grpc(grpc::Client::of(url)?),
            MetadataSource::Sql { uri, authorities, certificate, key } => Self::Sql(sql::Database {
                uri: uri.clone(),
                authorities: authorities.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            }),
        })
    }

    /// What is described now; `None` where that is what is known already.
    async fn fetch(&self, known: &str) -> Result<Option<Snapshot>, MetadataError> {
        match self {
            Self::Grpc(client) => client.fetch(known).await,
            Self::Sql(database) => {
                let found = Snapshot::of(database.fetch().await?);
                Ok((found.etag != known).then_some(found))
            }
        }
    }
}

/// What is described now, asked once.
pub async fn fetch(settings: &MetadataSettings) -> Result<Snapshot, MetadataError> {
    let found = Source::of(settings)?.fetch("").await?;
    found.ok_or_else(|| MetadataError::away("the answer is that nothing has changed, and nothing is known yet"))
}
