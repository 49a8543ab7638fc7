//! Where environments are described, where that is not the file.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::bus::secret_client;
use super::choice::MetadataProvider;
use super::errors::Problem;
use super::raw::{RawDeployment, RawWriter, get};
use super::secret::SecretRef;
use super::settings::{MetadataSettings, MetadataSource};
use super::writers::Outline;

/// How often it is asked whether something has changed.
const REFRESH: Duration = Duration::from_secs(30);

/// How long an unknown environment is asked for again.
const WAIT: Duration = Duration::from_secs(60);

/// Who describes environments, where that is not the file.
pub(super) fn provider(raw: &RawDeployment) -> Option<MetadataProvider> {
    get(raw.metadata_provider.as_ref()).filter(|provider| *provider != MetadataProvider::Config)
}

/// How a writer asks for environments; else what is wrong with that, by path.
pub(super) fn settings(
    writer: &Outline,
    entry: &RawWriter,
    raw: &RawDeployment,
    folder: &Path,
) -> Result<Option<MetadataSettings>, (String, Problem)> {
    let missing = |at: String, field: &str, add: &str| {
        let (writer, writer_type) = (writer.name.clone(), writer.info.name);
        (at, Problem::Missing { writer, writer_type, field: field.to_owned(), add: add.to_owned() })
    };
    let source = match provider(raw) {
        None | Some(MetadataProvider::Config) => return Ok(None),
        Some(MetadataProvider::GrpcServer) => {
            let at = "api_server_host".to_owned();
            let Some(host) = get(raw.api_server_host.as_ref()) else {
                let add = "add the host name or URL of a server with `MetadataService` at the top level";
                return Err(missing(at.clone(), &at, add));
            };
            let url = url(&host, get(raw.insecure.as_ref()).unwrap_or(false));
            MetadataSource::Grpc { url: url.map_err(|text| (at, Problem::Rule(text)))? }
        }
        Some(MetadataProvider::Sql) => {
            let secret = |name: Option<String>| Some(SecretRef::named(&name?, secret_client(raw, folder)?));
            let uri = get(entry.metadata_sql_uri_secret.as_ref());
            let Some(uri) = uri else {
                let field = "metadata_sql_uri_secret";
                let add = "add the name of the secret with the URI of the database to the writer's entry";
                return Err(missing(format!("{}.{field}", writer.at), field, add));
            };
            let Some(uri) = secret(Some(uri)) else {
                // That no secret client is named is told where that belongs.
                return Ok(None);
            };
            let (certificate, key) = (
                get(entry.metadata_sql_ssl_client_cert_secret.as_ref()),
                get(entry.metadata_sql_ssl_client_key_secret.as_ref()),
            );
            if certificate.is_some() != key.is_some() {
                let text = "is of no use without the other of `metadata_sql_ssl_client_cert_secret` and \
                            `metadata_sql_ssl_client_key_secret`";
                let field = if certificate.is_some() { "cert" } else { "key" };
                let at = format!("{}.metadata_sql_ssl_client_{field}_secret", writer.at);
                return Err((at, Problem::Rule(text.to_owned())));
            }
            let authorities = secret(get(entry.metadata_sql_ssl_ca_cert_secret.as_ref()));
            MetadataSource::Sql { uri, authorities, certificate: secret(certificate), key: secret(key) }
        }
    };
    let refresh = get(raw.metadata_refresh.as_ref()).unwrap_or(REFRESH);
    if refresh.is_zero() {
        let text = "is 0, so that the metadata would be asked for without a pause";
        return Err(("metadata_refresh".to_owned(), Problem::Rule(text.to_owned())));
    }
    let wait = get(raw.unknown_environment_wait.as_ref()).unwrap_or(WAIT);
    Ok(Some(MetadataSettings { source, refresh, wait }))
}

fn url(host: &str, insecure: bool) -> Result<String, String> {
    let scheme = if insecure { "http" } else { "https" };
    let full = if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") };
    let url = Url::parse(&full).map_err(|error| format!("is neither a host nor a URL: {error}"))?;
    match url.scheme() {
        // Written out it is meant, as Chalk's own files have it.
        "https" | "http" => {}
        other => return Err(format!("has scheme `{other}`; known are https, http")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("is more than a host: no user, password or query is taken".to_owned());
    }
    Ok(full)
}
