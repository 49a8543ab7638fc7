//! The built binary in a folder: commands, and writers as processes of their own.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The longest that one thing may take. It bounds a hang and nothing else.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
    command.args(arguments).args(["--config", "chalk.json"]).current_dir(folder);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What a command prints, or what it complains of.
pub fn tried(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let done = command(folder, arguments).output().unwrap();
    if done.status.success() {
        return Ok(String::from_utf8(done.stdout).unwrap());
    }
    Err(format!("{arguments:?}: {} {}", done.status, String::from_utf8_lossy(&done.stderr)))
}

/// What a command prints; it must succeed.
pub fn run(folder: &Path, arguments: &[&str]) -> String {
    tried(folder, arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// A writer, killed when dropped.
pub struct Writer {
    writer_type: String,
    process: Child,
    log: std::path::PathBuf,
}

impl Writer {
    /// One writer of the file, which logs into a file of its own.
    pub fn start(folder: &Path, writer_type: &str) -> Self {
        let log = folder.join(format!("{writer_type}.log"));
        let mut command = command(folder, &["--type", writer_type, "--listen", "off"]);
        let process = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { writer_type: writer_type.to_owned(), process, log }
    }

    /// Asks it to stop; it must end well.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
        let ended = self.process.wait().unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(ended.success(), "{} ended with {ended}:\n{log}", self.writer_type);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until it is there; while it is not, `look` says what is.
pub async fn eventually<T>(what: &str, folder: &Path, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = match look().await {
            Ok(there) => return there,
            Err(found) => found,
        };
        if Instant::now() > until {
            let mut logs = String::new();
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "log") {
                    let log = std::fs::read_to_string(&path).unwrap();
                    let last: Vec<&str> = log.lines().rev().take(3).collect();
                    logs += &format!("\n{}: {last:#?}", path.display());
                }
            }
            panic!("{what}: {found}{logs}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
