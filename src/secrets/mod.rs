//! Secret managers of clouds: one client a process, which keeps what it read until somebody doubts it.
//!
//! A value is read once and handed to all who ask, whichever writers, stores or buses they are. It is read again when a
//! store or a bus says that it does not work, which is how a rotation gets in without a restart, and now and then
//! anyway, for rotations that leave the old value working for a while. A manager that is away changes nothing for who
//! has the value already.

mod aws;
mod error;
mod gcp;
mod kept;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use secrecy::SecretString;

pub use self::error::{SecretError, Trouble};
use self::kept::Kept;
use crate::google::Identity;

/// A secret manager, and what it takes to ask it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// AWS Secrets Manager.
    Aws,
    /// Google Secret Manager.
    Gcp {
        /// The project of secrets that are named without one (`google_cloud_project`).
        project: Option<String>,
        /// Who we are.
        identity: Identity,
    },
}

impl Manager {
    /// As `secret_client` has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Gcp { .. } => "GCP",
        }
    }

    /// What is wrong with a name, as far as that shows without asking, or may be wrong with it elsewhere.
    pub fn check(&self, name: &str) -> Result<Option<&'static str>, String> {
        match self {
            Self::Aws => aws::Name::of(name).map(|_| None),
            Self::Gcp { project, .. } => {
                let name = gcp::Name::of(name, project.as_deref())?;
                Ok(name.is_in_no_project().then_some(gcp::NO_PROJECT))
            }
        }
    }

    /// Who asks, for people who have to give it a right.
    pub async fn who(&self) -> String {
        self.vault().reads.who().await
    }

    /// The value of a secret: the one that is known, or read now.
    pub async fn fetch(&self, name: &str) -> Result<SecretString, SecretError> {
        self.vault().fetch(name).await
    }

    /// The value of a secret did not work where it was used: the next who asks has it read again.
    pub fn doubt(&self, name: &str) {
        self.vault().kept.doubt(name);
    }

    /// The one of this process.
    fn vault(&self) -> Arc<Vault> {
        static ALL: Mutex<Vec<(Manager, Arc<Vault>)>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, vault)) = all.iter().find(|(manager, _)| manager == self) {
            return Arc::clone(vault);
        }
        let reads: Box<dyn Reads> = match self {
            Self::Aws => Box::new(aws::Aws::default()),
            Self::Gcp { project, identity } => Box::new(gcp::Gcp::new(project.clone(), identity.clone())),
        };
        let vault = Arc::new(Vault { client: self.name(), reads, kept: Kept::default() });
        all.push((self.clone(), Arc::clone(&vault)));
        vault
    }
}

/// A manager with what was read from it.
struct Vault {
    client: &'static str,
    reads: Box<dyn Reads>,
    kept: Kept,
}

impl Vault {
    async fn fetch(&self, name: &str) -> Result<SecretString, SecretError> {
        let client = self.client;
        let count = |read: &Result<SecretString, SecretError>| {
            let outcome = read.as_ref().map_or_else(|error| error.trouble.word(), |_| "read");
            metrics::counter!("chalk_writer_secret_reads_total", "client" => client, "outcome" => outcome).increment(1);
        };
        self.kept.fetch(name, async || self.reads.read(name).await, count).await
    }
}

/// What asks a manager.
#[async_trait]
trait Reads: Send + Sync {
    /// The value of a secret now. An error names the secret and never shows a value.
    async fn read(&self, name: &str) -> Result<SecretString, SecretError>;

    /// Who asks, for people.
    async fn who(&self) -> String;
}
