//! A fake of an issuer of tokens: the one endpoint that a client asks, over TLS, whose tokens are signed as real ones are
//! (RS256) and judged by Apache Kafka's own validator. (Tokens that another key has signed were let in by the brokers of these tests as
//! well: whom a broker trusts is not shown here.)

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// A key that tokens are signed with.
#[derive(Clone)]
pub struct Keys(Arc<tempfile::TempDir>);

impl Keys {
    pub fn new() -> Self {
        let keys = Self(Arc::new(tempfile::tempdir().unwrap()));
        keys.openssl(&["genrsa", "-out", "key.pem", "2048"], b"");
        keys
    }

    /// Its public half, as issuers publish theirs.
    pub fn published(&self) -> String {
        let modulus = String::from_utf8(self.openssl(&["rsa", "-in", "key.pem", "-noout", "-modulus"], b"")).unwrap();
        let digits = modulus.trim().strip_prefix("Modulus=").unwrap().as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let modulus: Vec<u8> = digits.chunks(2).map(byte).collect();
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
        }]})
        .to_string()
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT", "kid": "one"})), part(claims));
        let signature = self.openssl(&["dgst", "-sha256", "-sign", "key.pem", "-binary"], signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn openssl(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments).current_dir(self.0.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = openssl.stderr(Stdio::null()).spawn().unwrap();
        running.stdin.take().unwrap().write_all(input).unwrap();
        let done = running.wait_with_output().unwrap();
        assert!(done.status.success(), "openssl {arguments:?}");
        done.stdout
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Mood {
    /// A token that holds for so many seconds, to whoever knows this secret.
    Gives { seconds: u64, secret: &'static str },
    /// This status, and this body.
    Says(&'static str, &'static str),
}

/// A running one. Its thread ends with the test's process.
pub struct Issuer {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    /// What was asked, by what was answered.
    asked: Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>,
}

impl Issuer {
    /// With the key of this file for TLS, and tokens that are signed with those.
    pub fn start(pem: &Path, keys: Keys, mood: Mood) -> Self {
        let chain = CertificateDer::pem_file_iter(pem).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(pem).unwrap())
            .unwrap();
        let (tls, listener) = (Arc::new(tls), TcpListener::bind("127.0.0.1:0").unwrap());
        let issuer =
            Self { address: listener.local_addr().unwrap(), mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let (mood, asked) = (Arc::clone(&issuer.mood), Arc::clone(&issuer.asked));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&tls)).unwrap();
                // A client that goes away is no trouble of ours.
                let _ = answer(StreamOwned::new(tls, connection.unwrap()), &keys, &mood, &asked);
            }
        });
        issuer
    }

    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}/oauth2/token", self.address.port())
    }

    pub fn turns(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many requests were answered so.
    pub fn answered(&self, status: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(answered, _)| answered.starts_with(status)).count()
    }

    /// The form of the last request.
    pub fn last_form(&self) -> BTreeMap<String, String> {
        self.asked.lock().unwrap().last().unwrap().1.clone()
    }
}

fn answer(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    keys: &Keys,
    mood: &Mutex<Mood>,
    asked: &Mutex<Vec<(String, BTreeMap<String, String>)>>,
) -> std::io::Result<()> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    let (head, form) = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && header(head, "content-length").and_then(|length| length.parse().ok()) == Some(body.len())
        {
            break (head.to_owned(), url::form_urlencoded::parse(body.as_bytes()).into_owned().collect());
        }
        match client.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    };
    let mood = mood.lock().unwrap().clone();
    let (status, body) = match mood {
        Mood::Says(status, body) => (status, body.to_owned()),
        Mood::Gives { seconds, secret } => {
            let shown = format!("Basic {}", STANDARD.encode(format!("writer:{secret}")));
            if header(&head, "authorization") == Some(&shown) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let token = keys.sign(&json!({
                    "iss": "https://issuer", "aud": "kafka", "sub": "writer", "iat": now, "exp": now + seconds,
                }));
                let given = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds});
                ("200 OK", given.to_string())
            } else {
                let said = json!({"error": "invalid_client", "error_description": "no such client, or another secret"});
                ("401 Unauthorized", said.to_string())
            }
        }
    };
    asked.lock().unwrap().push((status.to_owned(), form));
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    client.conn.send_close_notify();
    client.flush()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
