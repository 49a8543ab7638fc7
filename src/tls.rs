//! TLS of every store: one place that says whom a client trusts and how it shows who it is.
//!
//! The provider (aws-lc-rs) is passed to each configuration; nothing is installed for the process. Without
//! a CA file the authorities of the system are trusted, as other programs see them (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` included).

mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use self::verifier::Verifier;

/// Whom to believe that it is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever has a certificate of a trusted authority for the host that was asked for.
    Host,
    /// Whoever has a certificate of a trusted authority, for whatever host.
    Authority,
    /// Anyone: what is sent is encrypted, to whom is not known. Only where a URI asks for it by name.
    Anyone,
}

/// A client's side of TLS, as a URI describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whom to believe.
    pub trust: Trust,
    /// File of trusted authorities in PEM; `None` trusts those of the system.
    pub authorities: Option<PathBuf>,
    /// What the client shows of itself where the server asks.
    pub identity: Option<Identity>,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate in PEM, then those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key in PEM, not encrypted.
    pub key: PathBuf,
}

/// Files from which no client can be made; which, and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

impl Tls {
    /// Reads the files and makes the configuration of a client. Called for each new connection, so that
    /// renewed certificates are found.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let identity = self.identity.as_ref();
        client(
            self.trust,
            self.authorities.as_deref().map(Pem::File),
            identity.map(|Identity { certificate, key }| (Pem::File(certificate), Pem::File(key))),
        )
    }
}

/// The configuration of a client whose authorities, certificate and key are at hand as PEM, and in no file. Without
/// authorities those of the system are trusted.
pub(crate) fn config_of_texts(
    authorities: Option<&str>,
    identity: Option<(&str, &str)>,
) -> Result<ClientConfig, TlsError> {
    let identity = identity.map(|(certificate, key)| (Pem::Text(certificate), Pem::Text(key)));
    client(Trust::Host, authorities.map(Pem::Text), identity)
}

/// Where PEM is read from.
#[derive(Clone, Copy)]
enum Pem<'a> {
    File(&'a Path),
    Text(&'a str),
}

fn client(
    trust: Trust,
    authorities: Option<Pem<'_>>,
    identity: Option<(Pem<'_>, Pem<'_>)>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let builder = match trust {
        Trust::Host => builder.with_root_certificates(roots(authorities)?),
        Trust::Authority => custom(builder, Verifier::of_authorities(roots(authorities)?, &provider)),
        Trust::Anyone => custom(builder, Verifier::of_anyone(&provider)),
    };
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificate.certificates(CLIENT)?;
    builder.with_client_auth_cert(chain, key.private_key()?).map_err(|error| {
        let with = key.place().map(|key| format!(" with key `{key}`")).unwrap_or_default();
        TlsError(format!("{}{with}: {error}", certificate.named(CLIENT)))
    })
}

/// What certificates and keys are, for people.
const CLIENT: &str = "client certificate";
const KEY: &str = "client key";

fn roots(authorities: Option<Pem<'_>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = authorities else {
        roots.add_parsable_certificates(of_system()?);
        return Ok(roots);
    };
    let what = match pem {
        Pem::File(_) => "CA file",
        Pem::Text(_) => "certificate authority",
    };
    for certificate in pem.certificates(what)? {
        roots.add(certificate).map_err(|error| TlsError(format!("{}: {error}", pem.named(what))))?;
    }
    Ok(roots)
}

/// The authorities that this system trusts: at least one.
fn of_system() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why: String = found.errors.iter().map(|error| format!("; {error}")).collect();
        return Err(TlsError(format!(
            "this system has no certificate authorities to trust: install `ca-certificates`, or name a CA file{why}"
        )));
    }
    Ok(found.certs)
}

/// The authorities that this system trusts, in PEM.
pub(crate) fn system_authorities() -> Result<String, TlsError> {
    let pem = |certificate: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    Ok(of_system()?.iter().map(pem).collect())
}

type Builder<State> = rustls::ConfigBuilder<ClientConfig, State>;

fn custom(builder: Builder<rustls::WantsVerifier>, verifier: Verifier) -> Builder<rustls::client::WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

impl Pem<'_> {
    fn certificates(self, what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read: Result<Vec<_>, _> = match self {
            Self::File(path) => CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
            Self::Text(text) => CertificateDer::pem_slice_iter(text.as_bytes()).collect(),
        };
        match read {
            Ok(found) if found.is_empty() => Err(self.wrong(what, "no `-----BEGIN CERTIFICATE-----` in it")),
            Ok(found) => Ok(found),
            Err(error) => Err(self.wrong(what, &pem_error(&error))),
        }
    }

    fn private_key(self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let read = match self {
            Self::File(path) => PrivateKeyDer::from_pem_file(path),
            Self::Text(text) => PrivateKeyDer::from_pem_slice(text.as_bytes()),
        };
        read.map_err(|error| {
            let what = match error {
                pem::Error::NoItemsFound => "no private key in it that can be read; an encrypted one cannot".to_owned(),
                error => pem_error(&error),
            };
            self.wrong(KEY, &what)
        })
    }

    /// The file; of a text nobody needs to be told where it is, and nobody may be shown it.
    fn place(self) -> Option<String> {
        match self {
            Self::File(path) => Some(path.display().to_string()),
            Self::Text(_) => None,
        }
    }

    fn named(self, what: &str) -> String {
        self.place().map_or_else(|| format!("the {what}"), |place| format!("{what} `{place}`"))
    }

    fn wrong(self, what: &str, why: &str) -> TlsError {
        TlsError(format!("{}: {why}", self.named(what)))
    }
}

fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        // The library's own words quote the file, which may be a key.
        pem::Error::MissingSectionEnd { .. } => "a PEM section that does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line that begins no PEM section".to_owned(),
        pem::Error::Base64Decode(_) => "a PEM section that is not base64".to_owned(),
        _ => "not PEM".to_owned(),
    }
}
