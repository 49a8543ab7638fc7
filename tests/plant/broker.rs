//! A Kafka of this test alone: its topics may have the names that an example gives them.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Broker {
    folder: PathBuf,
    /// Where it answers everybody.
    pub open: String,
    /// Where it asks for a name and a password (SCRAM-SHA-512: `writer`, `right`).
    pub guarded: String,
}

impl Broker {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        let open = script("start", &folder);
        let port = std::fs::read_to_string(folder.join("sasl-port")).unwrap();
        Self { open, guarded: format!("127.0.0.1:{}", port.trim()), folder }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        script("kill", &self.folder);
    }
}

fn script(command: &str, folder: &Path) -> String {
    let output = Command::new("tests/services/kafka/kafka.sh").arg(command).arg(folder).output().unwrap();
    assert!(output.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
