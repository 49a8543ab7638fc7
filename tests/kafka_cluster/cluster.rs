//! Three brokers of `cluster.sh`, with certificates of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::certificates::Authority;
use crate::issuer::Keys;

pub struct Cluster {
    folder: tempfile::TempDir,
    authority: Authority,
    /// Those of the issuer whose tokens are taken.
    pub keys: Keys,
    /// The brokers, as people write them.
    pub servers: String,
}

impl Cluster {
    pub fn start() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("brokers"));
        let signed = authority.sign("localhost", "DNS:localhost,IP:127.0.0.1");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(folder.path().join("server.pem"), read(&signed.key) + &read(&signed.certificate)).unwrap();
        let keys = Keys::new();
        std::fs::write(folder.path().join("jwks.json"), keys.published()).unwrap();
        let mut cluster = Self { folder, authority, keys, servers: String::new() };
        cluster.servers = cluster.script("start", &[]);
        cluster
    }

    /// Who signed the brokers' certificates.
    pub fn authority(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// Key and certificate of `localhost` and 127.0.0.1, of that authority.
    pub fn server_pem(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    pub fn kill(&self, number: u32) {
        self.script("kill", &[&number.to_string()]);
    }

    pub fn again(&self, number: u32) {
        self.script("again", &[&number.to_string()]);
    }

    fn script(&self, command: &str, more: &[&str]) -> String {
        let mut script = Command::new("tests/services/kafka/cluster.sh");
        let output = script.arg(command).arg(self.folder.path()).args(more).output().unwrap();
        assert!(output.status.success(), "cluster.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script("stop", &[]);
    }
}
