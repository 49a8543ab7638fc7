//! Whom a client of a store believes, shown against a server in this process with certificates of its own.

#[path = "services/certificates.rs"]
mod certificates;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certificates::{Authority, Signed};
use chalk_writer::tls::{Identity, Tls, TlsError, Trust};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};

fn trusting(trust: Trust, authority: &Authority) -> Tls {
    Tls { trust, authorities: Some(authority.certificate()), identity: None }
}

/// A server that greets each client that it believes, for as long as the test runs.
fn greeting(own: &Signed, clients_of: Option<&Authority>) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(&own.certificate).expect("readable").map(|c| c.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.certificate()).expect("PEM")).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let config = Arc::new(builder.with_single_cert(chain, key).expect("a certificate and its key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = stream;
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a bound");
            let _ = rustls::Stream::new(&mut connection, &mut stream).write_all(b"hello");
            connection.send_close_notify();
            while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
        }
    });
    address
}

/// Shakes hands as a store's client would; the greeting, or why there is none.
fn greeted(tls: &Tls, server: SocketAddr, host: &str) -> Result<(), String> {
    let config = tls.client_config().map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut socket = TcpStream::connect(server).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a bound");
    let mut word = [0; 5];
    let read = rustls::Stream::new(&mut connection, &mut socket).read_exact(&mut word);
    read.map_err(|error| error.to_string())?;
    assert_eq!(&word, b"hello");
    Ok(())
}

#[test]
fn a_host_is_believed_by_its_own_name_and_no_other() {
    let ours = Authority::new("ours");
    let server = greeting(&ours.sign("store", "DNS:store.example,IP:127.0.0.1"), None);
    let tls = trusting(Trust::Host, &ours);
    assert_eq!(greeted(&tls, server, "store.example"), Ok(()));
    assert_eq!(greeted(&tls, server, "127.0.0.1"), Ok(()));
    let error = greeted(&tls, server, "other.example").expect_err("another host");
    assert!(error.contains("not valid for name \"other.example\"") && error.contains("store.example"), "{error}");
}

#[test]
fn an_authority_that_is_not_named_is_believed_by_nobody_but_who_believes_anyone() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = greeting(&theirs.sign("store", "DNS:store.example"), None);
    for trust in [Trust::Host, Trust::Authority] {
        let error = greeted(&trusting(trust, &ours), server, "store.example").expect_err("another authority");
        assert!(error.contains("UnknownIssuer"), "{error}");
        let of_the_system = Tls { trust, authorities: None, identity: None };
        assert!(greeted(&of_the_system, server, "store.example").is_err());
    }
    assert_eq!(greeted(&trusting(Trust::Authority, &theirs), server, "other.example"), Ok(()));
    assert_eq!(greeted(&trusting(Trust::Anyone, &ours), server, "other.example"), Ok(()));
}

#[test]
fn a_server_that_asks_is_shown_the_clients_certificate() {
    let ours = Authority::new("ours");
    let server = greeting(&ours.sign("store", "DNS:store.example"), Some(&ours));
    let client = ours.sign("writer", "DNS:writer");
    let without = trusting(Trust::Host, &ours);
    let error = greeted(&without, server, "store.example").expect_err("no certificate");
    assert!(error.contains("CertificateRequired"), "{error}");
    let identity = Some(Identity { certificate: client.certificate, key: client.key });
    for trust in [Trust::Host, Trust::Authority, Trust::Anyone] {
        let with = Tls { identity: identity.clone(), ..trusting(trust, &ours) };
        assert_eq!(greeted(&with, server, "store.example"), Ok(()));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let ours = Authority::new("ours");
    let (one, two) = (ours.sign("one", "DNS:one"), ours.sign("two", "DNS:two"));
    let file = |name: &str, text: &str| {
        std::fs::write(ours.path(name), text).expect("written");
        ours.path(name)
    };
    let empty = file("empty.pem", "");
    let garbage = file("garbage.pem", "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n");
    let cut = file("cut.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    let hollow = file("hollow.pem", "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n");
    let missing = ours.path("missing.pem");
    let error = |authorities: Option<PathBuf>, identity: Option<(&PathBuf, &PathBuf)>| -> TlsError {
        let identity =
            identity.map(|(certificate, key)| Identity { certificate: certificate.clone(), key: key.clone() });
        let tls = Tls { trust: Trust::Host, authorities: authorities.or(Some(ours.certificate())), identity };
        tls.client_config().expect_err("a file that cannot be used")
    };
    for (error, expected) in [
        (error(Some(missing.clone()), None), "missing.pem`: No such file"),
        (error(Some(empty.clone()), None), "empty.pem`: no `-----BEGIN CERTIFICATE-----` in it"),
        (error(Some(garbage), None), "garbage.pem`: a PEM section that is not base64"),
        (error(Some(hollow), None), "hollow.pem`: "),
        (error(None, Some((&missing, &one.key))), "client certificate `"),
        (error(None, Some((&one.certificate, &empty))), "empty.pem`: no private key in it"),
        (error(None, Some((&one.certificate, &cut))), "cut.pem`: a PEM section that does not end"),
        (error(None, Some((&one.certificate, &two.key))), "two.key`: keys may not be consistent"),
    ] {
        let message = error.to_string();
        assert!(message.starts_with("TLS: ") && message.contains(expected), "{message} for {expected}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
