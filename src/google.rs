//! Who we are to Google: Application Default Credentials, as every client of Google's finds them.
//!
//! The variable `GOOGLE_APPLICATION_CREDENTIALS` (a key, or a configuration of workload identity federation), the user's own login, or the
//! metadata server of a machine or pod (workload identity of GKE).

use google_cloud_auth::credentials::{Builder, Credentials};

/// An identity; or why there is none. `aws_pool`: one of AWS that a workload identity pool exchanges.
pub fn credentials(_aws_pool: bool) -> Result<Credentials, String> {
    Builder::default().build().map_err(|error| format!("no identity for Google: {error}"))
}
