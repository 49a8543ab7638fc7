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
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?;
        let builder = match self.trust {
            Trust::Host => builder.with_root_certificates(self.roots()?),
            Trust::Authority => custom(builder, Verifier::of_authorities(self.roots()?, &provider)),
            Trust::Anyone => custom(builder, Verifier::of_anyone(&provider)),
        };
        let Some(Identity { certificate, key }) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates("client certificate", certificate)?;
        builder.with_client_auth_cert(chain, private_key(key)?).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            TlsError(format!("client certificate `{certificate}` with key `{key}`: {error}"))
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.authorities {
            for certificate in certificates("CA file", path)? {
                roots.add(certificate).map_err(|error| TlsError(format!("CA file `{}`: {error}", path.display())))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why: String = found.errors.iter().map(|error| format!("; {error}")).collect();
            return Err(TlsError(format!(
                "this system has no certificate authorities to trust: install `ca-certificates`, or name a CA file{why}"
            )));
        }
        Ok(roots)
    }
}

type Builder<State> = rustls::ConfigBuilder<ClientConfig, State>;

fn custom(builder: Builder<rustls::WantsVerifier>, verifier: Verifier) -> Builder<rustls::client::WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(found) if found.is_empty() => Err(wrong(what, path, "no `-----BEGIN CERTIFICATE-----` in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(what, path, &pem_error(&error))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let what = match error {
            pem::Error::NoItemsFound => "no private key in it that can be read; an encrypted one cannot".to_owned(),
            error => pem_error(&error),
        };
        wrong("client key", path, &what)
    })
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

fn wrong(what: &str, path: &Path, why: &str) -> TlsError {
    TlsError(format!("{what} `{}`: {why}", path.display()))
}

/// The authorities that this system trusts, in PEM.
pub(crate) fn system_authorities() -> Result<String, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(TlsError(
            "this system has no certificate authorities to trust: install `ca-certificates`".to_owned(),
        ));
    }
    let pem = |certificate: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    Ok(found.certs.iter().map(pem).collect())
}

/// The configuration of a client whose authorities, certificate and key are at hand as PEM, and in no file. Without
/// authorities those of the system are trusted.
pub(crate) fn config_of_texts(
    authorities: Option<&str>,
    identity: Option<(&str, &str)>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let read = |what: &str, text: &str| {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match found {
            Ok(found) if found.is_empty() => Err(TlsError(format!("{what}: no `-----BEGIN CERTIFICATE-----` in it"))),
            Ok(found) => Ok(found),
            Err(error) => Err(TlsError(format!("{what}: {}", pem_error(&error)))),
        }
    };
    let roots = match authorities {
        None => Tls { trust: Trust::Host, authorities: None, identity: None }.roots()?,
        Some(text) => {
            let mut roots = RootCertStore::empty();
            for certificate in read("the certificate authority", text)? {
                roots.add(certificate).map_err(|error| TlsError(format!("the certificate authority: {error}")))?;
            }
            roots
        }
    };
    let builder = builder.with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = read("the client certificate", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| TlsError(format!("the client key: {}", pem_error(&error))))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| TlsError(format!("the client certificate: {error}")))
}
