//! Three brokers of `cluster.sh`, with certificates of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::certificates::Authority;
use crate::issuer::Keys;

pub struct Cluster {
    folder: tempfile::TempDir,
    authority: Authority,
    /// Who signs certificates of clients.
    pub clients: Authority,
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
        let clients = Authority::new("clients");
        std::fs::copy(clients.certificate(), folder.path().join("clients.pem")).unwrap();
        let keys = Keys::new();
        std::fs::write(folder.path().join("jwks.json"), keys.published()).unwrap();
        let mut cluster = Self { folder, authority, clients, keys, servers: String::new() };
        cluster.servers = cluster.script("start", &[]);
        cluster
    }

    /// The brokers for clients with certificates, as people write them.
    pub fn servers_for_certificates(&self) -> String {
        let moved = |server: &str| {
            let (host, port) = server.trim().rsplit_once(':').unwrap();
            format!("{host}:{}", port.parse::<u16>().unwrap() + 9)
        };
        self.servers.split(',').map(moved).collect::<Vec<_>>().join(", ")
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

    /// It keeps its connections, and answers nothing.
    pub fn freeze(&self, number: u32) {
        self.signal(number, Signal::SIGSTOP);
    }

    pub fn thaw(&self, number: u32) {
        self.signal(number, Signal::SIGCONT);
    }

    fn signal(&self, number: u32, signal: Signal) {
        let pid = std::fs::read_to_string(self.folder.path().join(format!("{number}/pid"))).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), signal).unwrap();
    }

    /// What any other client signs in with.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("security.protocol", "SASL_SSL")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", "writer")
            .set("sasl.password", "right")
            .set("ssl.ca.location", self.authority().to_str().unwrap());
        config
    }

    /// A topic with one copy of each partition, on these brokers.
    pub async fn topic(&self, name: &str, brokers: &[i32]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let places: Vec<&[i32]> = brokers.chunks(1).collect();
        let topic = NewTopic::new(name, brokers.len() as i32, TopicReplication::Variable(&places));
        for made in admin.create_topics([&topic], &AdminOptions::new()).await.unwrap() {
            made.unwrap();
        }
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
