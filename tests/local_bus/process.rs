//! Other processes: this test's own program once more, told by its environment what to be.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROLE: &str = "LOCAL_BUS_ROLE";
const FILE: &str = "LOCAL_BUS_FILE";
/// Marks what a role says among what the test program prints.
const MARK: &str = "@ ";

/// Another process; killed when dropped.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<String>>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts a process that plays a role on a bus file.
    pub fn start(role: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("our own path"))
            .args(["--exact", "other_process", "--nocapture"])
            .env(ROLE, role)
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let said = Arc::new(Mutex::new(String::new()));
        let hearing = said.clone();
        let listener = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test program may have left its own line open before the first mark.
                if let Some((_, line)) = line.split_once(MARK) {
                    let mut said = hearing.lock().expect("no panic while it is held");
                    said.push_str(line);
                    said.push('\n');
                }
            }
        });
        Self { child, stdin, said, listener: Some(listener) }
    }

    /// Waits until it has said what is wanted.
    pub async fn until(&mut self, wanted: impl Fn(&str) -> bool) {
        let waiting = async {
            while !wanted(&self.said()) {
                assert!(self.child.try_wait().expect("known").is_none(), "it has ended: {}", self.said());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, waiting).await.expect("it says so in time");
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no panic while it is held").clone()
    }

    /// Lets it go on from [`hear`].
    pub fn tell(&mut self) {
        self.stdin.write_all(b"go\n").expect("it listens");
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is there");
    }

    /// Waits for its end and the rest of what it says.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("known");
        if let Some(listener) = self.listener.take() {
            listener.join().expect("it does not panic");
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the other process: which role, on which file.
pub fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(FILE)?.into()))
}

/// In the other process: says a line.
pub fn say(line: &str) {
    println!("{MARK}{line}");
}

/// In the other process: waits until it is told to go on.
pub async fn hear() {
    let heard = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    heard.await.expect("it does not panic").expect("a line comes");
}
