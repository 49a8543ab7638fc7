//! Who this process is to Google: one place for every client of Google's services.
//!
//! Credentials are found as Google's own clients find them (application default credentials, "ADC"): the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud auth application-default login` leaves, else the
//! metadata server, which on GKE stands for the pod's own account (workload identity).
//!
//! With `use_aws_pool_for_google_adc` the file describes an identity pool of Google's that trusts an AWS account.
//! Google's library reads such a file too, and knows AWS's environment variables and the machine's role alone; see
//! [`aws_pool`] for what is done instead.

mod adc;
mod aws_pool;
mod replaced;
#[cfg(test)]
mod tests;

use google_cloud_auth::credentials::{Builder, Credentials, anonymous};

use self::adc::Adc;
pub use self::replaced::Replaced;
use crate::causes::in_full;

/// What all of Google's services are covered by; rights are given to the account, not to the token.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What the configuration says of who this process is to Google.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `use_aws_pool_for_google_adc`: as what AWS knows this process by, through an identity pool of Google's.
    pub use_aws_pool: bool,
}

/// Credentials that cannot be had by these settings: a file that is not there or says too little. No waiting helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoIdentity(pub String);

/// The credentials of an identity. Contacts nothing: tokens are had, and renewed, when they are used.
pub fn credentials(identity: &Identity) -> Result<Credentials, NoIdentity> {
    if identity.use_aws_pool {
        let adc = Adc::find()?.ok_or_else(|| NoIdentity(aws_pool::NO_FILE.to_owned()))?;
        return aws_pool::credentials(&adc);
    }
    // Read here first: the library's own words for a file that is not there name neither the file nor the variable.
    let adc = Adc::find()?;
    Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
        let found = adc.map_or_else(|| "application default credentials".to_owned(), |adc| adc.path());
        NoIdentity(format!("{found} cannot be used: {}", in_full(&error)))
    })
}

/// The same, to be read anew once a service does not take them any more.
pub fn replaced(identity: &Identity) -> Result<Replaced, NoIdentity> {
    let identity = identity.clone();
    Replaced::read(move || credentials(&identity))
}

/// The credentials for an emulator, which asks for none.
pub fn anonymous() -> Credentials {
    anonymous::Builder::new().build()
}

/// Who that is, for people who have to give it a right.
pub fn who(identity: &Identity) -> String {
    match Adc::find() {
        Ok(Some(adc)) => adc.who(identity.use_aws_pool),
        Ok(None) => "the account of this machine or pod (from the metadata server)".to_owned(),
        Err(error) => format!("nobody ({error})"),
    }
}

/// The project that the file of credentials is of, where it says so.
pub fn project() -> Option<String> {
    Adc::find().ok().flatten()?.project()
}
