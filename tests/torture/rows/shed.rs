//! What a mirror has not asked, by its own count.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::run::Run;
use super::{Type, mirror};

impl Run {
    /// Asks the mirrors what they have shed.
    pub fn count_shed(&mut self) {
        for (process, address) in self.writers.listening(Type(mirror::ROLE.writers[0])) {
            if let Some(count) = shed(&address) {
                self.counted.insert(process, count);
            }
        }
    }
}

/// What a process says that it did not ask; what came of asking has an outcome. `None` where it does not answer.
fn shed(address: &str) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: torture\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let mut sum = 0.0;
    for line in text.lines().filter(|line| line.starts_with("chalk_writer_mirror_shed_total{")) {
        if ["rate", "backing_off", "no_slot"].iter().any(|reason| line.contains(&format!("reason=\"{reason}\""))) {
            sum += line.rsplit(' ').next()?.parse::<f64>().ok()?;
        }
    }
    text.starts_with("HTTP/1.1 200").then_some(sum as u64)
}
