//! Google Secret Manager.

use std::time::Duration;

use async_trait::async_trait;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_gax::retry_policy::{Aip194Strict, RetryPolicyExt as _};
use google_cloud_secretmanager_v1::client::SecretManagerService;
use secrecy::SecretString;
use tokio::sync::Mutex;

use super::{Reads, SecretError, Trouble};
use crate::causes::in_full;
use crate::google::{self, Identity, Replaced};

/// Where an emulator is (`host:port`), which asks for no credentials.
const EMULATOR: &str = "SECRET_MANAGER_EMULATOR_HOST";

/// The longest that one read takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// For so long the client tries by itself, and a pause of its own longer; then it has to say what is wrong.
const RETRIED_FOR: Duration = Duration::from_secs(10);

/// A client of it, made when it is first asked.
pub(super) struct Gcp {
    project: Option<String>,
    identity: Identity,
    /// Those of all clients, once one was made.
    credentials: Mutex<Option<Replaced>>,
    /// With the place that it asks; a regional secret is asked for elsewhere.
    clients: Mutex<Vec<(String, SecretManagerService)>>,
}

/// How a version of a secret is named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// In full; without the project that it needs, where none is known.
    full: Option<String>,
    /// Where a regional secret is.
    location: Option<String>,
}

const SHAPES: &str = "a secret of Google's is named NAME, projects/P/secrets/NAME or projects/P/secrets/NAME/versions/V \
                      (with /locations/L after the project where it is regional)";

/// A short name, and nothing that says which project it is of.
pub(super) const NO_PROJECT: &str = "is in no project: set `google_cloud_project` in `common_persistence_specs` (or the \
    variable GOOGLE_CLOUD_PROJECT), name it in full (projects/P/secrets/NAME), or use a file of credentials that names one";

impl Name {
    pub(super) fn of(name: &str, project: Option<&str>) -> Result<Self, String> {
        let sound = |id: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !id.is_empty() && id.len() <= 255 && id.bytes().all(good)
        };
        // A project of a domain has the domain before it.
        let is_project = |id: &str| !id.is_empty() && id.split([':', '.']).all(sound);
        if !name.contains('/') {
            if !sound(name) {
                return Err(SHAPES.to_owned());
            }
            let project = project.map(str::to_owned).or_else(google::project);
            let full = project.map(|project| format!("projects/{project}/secrets/{name}/versions/latest"));
            return Ok(Self { full, location: None });
        }
        let parts: Vec<&str> = name.split('/').collect();
        let (location, secret, version) = match *parts {
            ["projects", project, "secrets", secret] if is_project(project) => (None, secret, None),
            ["projects", project, "secrets", secret, "versions", version] if is_project(project) => {
                (None, secret, Some(version))
            }
            ["projects", project, "locations", location, "secrets", secret] if is_project(project) => {
                (Some(location), secret, None)
            }
            ["projects", project, "locations", location, "secrets", secret, "versions", version]
                if is_project(project) =>
            {
                (Some(location), secret, Some(version))
            }
            _ => return Err(SHAPES.to_owned()),
        };
        if !sound(secret) || !version.is_none_or(sound) || !location.is_none_or(sound) {
            return Err(SHAPES.to_owned());
        }
        let latest = if version.is_none() { "/versions/latest" } else { "" };
        Ok(Self { full: Some(format!("{name}{latest}")), location: location.map(str::to_owned) })
    }

    /// Whether nothing here says which project it is of.
    pub(super) fn is_in_no_project(&self) -> bool {
        self.full.is_none()
    }
}

/// Where an emulator is, as a URL.
fn emulator() -> Option<String> {
    let host = std::env::var(EMULATOR).ok().filter(|host| !host.is_empty())?;
    Some(if host.contains("://") { host } else { format!("http://{host}") })
}

impl Gcp {
    pub(super) fn new(project: Option<String>, identity: Identity) -> Self {
        Self { project, identity, credentials: Mutex::default(), clients: Mutex::default() }
    }

    async fn client(&self, location: Option<&str>) -> Result<SecretManagerService, String> {
        let emulator = emulator();
        let place = match (&emulator, location) {
            (Some(url), _) => url.clone(),
            (None, Some(location)) => format!("https://secretmanager.{location}.rep.googleapis.com"),
            (None, None) => "https://secretmanager.googleapis.com".to_owned(),
        };
        let mut clients = self.clients.lock().await;
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == place) {
            return Ok(client.clone());
        }
        let credentials = if emulator.is_some() {
            google::anonymous()
        } else {
            let mut known = self.credentials.lock().await;
            match &*known {
                Some(known) => known.credentials(),
                None => {
                    let read = google::replaced(&self.identity).map_err(|error| error.to_string())?;
                    known.insert(read).credentials()
                }
            }
        };
        let builder = SecretManagerService::builder().with_endpoint(&place).with_credentials(credentials);
        let client = builder.build().await.map_err(|error| format!("no client for {place}: {}", in_full(&error)))?;
        clients.push((place, client.clone()));
        Ok(client)
    }
}

#[async_trait]
impl Reads for Gcp {
    async fn read(&self, name: &str) -> Result<SecretString, SecretError> {
        let never = |what: String| SecretError::new(Trouble::Never, name, format!("secret_client GCP: {what}"));
        let Name { full, location } = Name::of(name, self.project.as_deref()).map_err(never)?;
        let full = full.ok_or_else(|| never(NO_PROJECT.to_owned()))?;
        let client = self.client(location.as_deref()).await.map_err(never)?;
        let asked = client
            .access_secret_version()
            .set_name(&full)
            .with_attempt_timeout(ANSWERS_WITHIN)
            .with_retry_policy(Aip194Strict.with_time_limit(RETRIED_FOR))
            .send();
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(error) => {
                let (trouble, what) = explain(&error);
                if trouble == Trouble::Denied
                    && is_about_credentials(&error)
                    && let Some(credentials) = &*self.credentials.lock().await
                {
                    credentials.are_refused();
                }
                let who =
                    if trouble == Trouble::Denied { format!("; asked by {}", self.who().await) } else { String::new() };
                let full = if full.starts_with(name) { String::new() } else { format!(" (`{full}`)") };
                return Err(SecretError::new(trouble, name, format!("secret_client GCP: {what}{full}{who}")));
            }
        };
        let bytes = answer.payload.map(|payload| payload.data).unwrap_or_default();
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(SecretError::new(Trouble::Denied, name, "its bytes are not UTF-8")),
        }
    }

    async fn who(&self) -> String {
        match emulator() {
            Some(url) => format!("nobody in particular, of the emulator at {url} ({EMULATOR})"),
            None => google::who(&self.identity),
        }
    }
}

/// Whether Google does not know who asks, or whoever gives tokens does not: a key was deleted, and another one may be there.
fn is_about_credentials(error: &Error) -> bool {
    let is_not_known = error.status().is_some_and(|status| status.code == Code::Unauthenticated);
    is_not_known || error.http_status_code() == Some(401) || error.is_authentication()
}

/// What became of a read, and what to do.
fn explain(error: &Error) -> (Trouble, String) {
    const RIGHT: &str = "the right `secretmanager.versions.access` on it is missing (role \
                         `roles/secretmanager.secretAccessor`)";
    let code = error.status().map(|status| status.code);
    let said = error.status().map(|status| status.message.clone()).unwrap_or_default();
    match (code, error.http_status_code()) {
        (Some(Code::NotFound), _) | (_, Some(404)) => {
            (Trouble::Denied, format!("there is no such secret, or no such version of it ({said})"))
        }
        (Some(Code::PermissionDenied), _) | (_, Some(403)) => (Trouble::Denied, format!("{RIGHT} ({said})")),
        (Some(Code::Unauthenticated), _) | (_, Some(401)) => {
            (Trouble::Denied, format!("Google does not take these credentials ({said})"))
        }
        (Some(Code::FailedPrecondition | Code::InvalidArgument), _) | (_, Some(400)) => (
            Trouble::Denied,
            format!("that version cannot be read, such as one that is disabled or destroyed ({said})"),
        ),
        _ if error.is_authentication() => {
            let why = in_full(error);
            // The library knows whether asking again may help.
            let may_pass = std::error::Error::source(error)
                .and_then(|cause| cause.downcast_ref::<google_cloud_gax::error::CredentialsError>())
                .is_some_and(google_cloud_gax::error::CredentialsError::is_transient);
            let trouble = if may_pass { Trouble::Away } else { Trouble::Denied };
            (trouble, format!("no token of Google's could be had: {why}"))
        }
        _ => (Trouble::Away, format!("no answer: {}", in_full(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(name: &str) -> Option<(String, Option<String>)> {
        Name::of(name, Some("ours")).ok().and_then(|name| Some((name.full?, name.location)))
    }

    #[test]
    fn a_secret_has_a_short_name_or_one_in_full_with_or_without_a_version() {
        let named = |full: &str| Some((full.to_owned(), None));
        assert_eq!(full("redis"), named("projects/ours/secrets/redis/versions/latest"));
        assert_eq!(full("projects/p/secrets/redis"), named("projects/p/secrets/redis/versions/latest"));
        assert_eq!(
            full("projects/example.com:p/secrets/r/versions/3"),
            named("projects/example.com:p/secrets/r/versions/3")
        );
        let regional = "projects/p/locations/europe-west3/secrets/redis";
        let expected = (format!("{regional}/versions/latest"), Some("europe-west3".to_owned()));
        assert_eq!(full(regional), Some(expected));
        for wrong in [
            "",
            "a b",
            "a/b",
            "projects/p/secrets/",
            "projects//secrets/a",
            "projects/p/secrets/a/versions/",
            "projects/p/secrets/a/versions/../b",
            "projects/p?x/secrets/a",
        ] {
            assert_eq!(full(wrong), None, "{wrong}");
        }
    }
}
