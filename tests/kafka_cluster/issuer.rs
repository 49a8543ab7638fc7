//! A fake of who issues tokens (OpenID Connect's client credentials): the answers are its own, the signatures are
//! RSA's, by `openssl`, and Kafka checks them with the public key.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub struct Issuer {
    key: Arc<tempfile::TempDir>,
    /// Where tokens are asked for.
    pub endpoint: String,
}

/// Keys that believe nobody.
pub fn no_keys() -> String {
    json!({"keys": []}).to_string()
}

impl Issuer {
    pub async fn start() -> Self {
        let key = Arc::new(tempfile::tempdir().unwrap());
        openssl(&["genrsa", "-out", &file(&key)], &[]);
        let router = Router::new().route("/token", post(token)).with_state(Arc::clone(&key));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { key, endpoint }
    }

    /// The public key, as brokers read it (RFC 7517).
    pub fn keys(&self) -> String {
        let modulus = openssl(&["rsa", "-in", &file(&self.key), "-noout", "-modulus"], &[]);
        let modulus = String::from_utf8(modulus).unwrap();
        let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
        let bytes: Vec<u8> =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
        let key = json!({"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "e": "AQAB",
                         "n": URL_SAFE_NO_PAD.encode(bytes)});
        json!({"keys": [key]}).to_string()
    }
}

/// A token for the client that is known, by its id and secret as `Basic` credentials.
async fn token(State(key): State<Arc<tempfile::TempDir>>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let right = format!("Basic {}", STANDARD.encode("writer:right"));
    if headers.get("authorization").is_none_or(|given| given != right.as_str()) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"})));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "RS256", "typ": "JWT", "kid": "one"}));
    let claims = part(json!({"iss": "test", "aud": "test", "sub": "writer", "iat": now, "exp": now + 300}));
    let signed = format!("{header}.{claims}");
    let signature = openssl(&["dgst", "-sha256", "-sign", &file(&key)], signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    (StatusCode::OK, Json(json!({"access_token": token, "token_type": "bearer", "expires_in": 300})))
}

fn file(folder: &tempfile::TempDir) -> String {
    Path::join(folder.path(), "key.pem").display().to_string()
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut openssl = Command::new("openssl");
    openssl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = openssl.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", output.status);
    output.stdout
}
