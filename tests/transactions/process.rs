//! Another process, and what it has said.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::role::{MARK, Place};

/// Killed when dropped.
pub struct Process {
    child: Child,
    emitted: Arc<AtomicUsize>,
}

impl Process {
    pub fn start(place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture"])
            .envs(place.environment())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let emitted = Arc::new(AtomicUsize::new(0));
        let count = emitted.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if line.contains(MARK) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { child, emitted }
    }

    /// Waits until it has made the messages of so many batches.
    pub async fn emits(&self, batches: usize) {
        let waiting = async {
            while self.emitted.load(Ordering::Relaxed) < batches {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, waiting).await.expect("it works in time");
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
