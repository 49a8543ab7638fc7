//! What a mirror has not asked, by its own count.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::run::Run;
use super::{Type, mirror};

/// How long one that will not be asked again may take to answer, on a busy machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

impl Run {
    /// Asks the mirrors what they have shed; who is busy is asked again soon.
    pub fn count_shed(&mut self) {
        self.ask_within(Duration::ZERO);
    }

    /// Asks them before some of them end: what they say then is the last that is known.
    pub fn count_shed_before_the_end(&mut self) {
        self.ask_within(ANSWERS_WITHIN);
    }

    fn ask_within(&mut self, patience: Duration) {
        for (process, address) in self.writers.listening(Type(mirror::ROLE.writers[0])) {
            let begun = Instant::now();
            loop {
                match shed(&address) {
                    Ok(count) => {
                        self.counted.insert(process, count);
                        break;
                    }
                    // It has ended.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                    Err(_) if begun.elapsed() >= patience => break,
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
    }
}

/// What a process says that it did not ask; what came of asking has an outcome.
fn shed(address: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address.parse().expect("an address"), Duration::from_millis(200))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: torture\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    count(&text).ok_or_else(|| io::Error::other(text))
}

fn count(text: &str) -> Option<u64> {
    let mut sum = 0.0;
    for line in text.lines().filter(|line| line.starts_with("chalk_writer_mirror_shed_total{")) {
        if ["rate", "backing_off", "no_slot"].iter().any(|reason| line.contains(&format!("reason=\"{reason}\""))) {
            sum += line.rsplit(' ').next()?.parse::<f64>().ok()?;
        }
    }
    text.starts_with("HTTP/1.1 200").then_some(sum as u64)
}
