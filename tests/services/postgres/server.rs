//! A real Postgres server of a test's own: on a free port of the loopback, in a folder that goes with it.
//!
//! What the store wrote is looked at with `psql`, by the superuser and over a socket, so by something else
//! than the client that wrote it.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// Debian's: with TLS, in an ICU locale.
    Debian,
    /// The newest release: without TLS.
    Newest,
}

/// A running server; stopped by its process id when dropped.
pub(crate) struct PostgresServer {
    process: Child,
    port: u16,
    binaries: PathBuf,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl PostgresServer {
    /// Starts one with settings (`name=value`) beyond the usual.
    pub(crate) fn start(version: Version, settings: &[&str]) -> Self {
        let installed = std::env::var("CHALK_WRITER_TEST_POSTGRES").unwrap_or_else(|_| {
            panic!(
                "CHALK_WRITER_TEST_POSTGRES must name the folder that `tests/services/postgres/postgres.sh install` \
                 made; `./dev test` makes one and sets it"
            )
        });
        let installed = Path::new(&installed).join(match version {
            Version::Debian => "debian",
            Version::Newest => "newest",
        });
        let folder = tempfile::tempdir().expect("a folder for PostgreSQL");
        let copied =
            Command::new("cp").arg("-a").arg(installed.join("template")).arg(folder.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", installed.display());
        belongs_to_the_server(folder.path());
        let arguments: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let binaries = installed.join("bin");
        let port = free_port();
        let process = spawn(&binaries, folder.path(), port, &arguments);
        let mut server = Self { process, port, binaries, arguments, folder };
        for _ in 0..5 {
            if server.becomes_ready() {
                break;
            }
            // Somebody else has taken the port meanwhile: it says so in its log when it does not come up in the end.
            server.port = free_port();
            server.process = spawn(&server.binaries, server.folder.path(), server.port, &server.arguments);
        }
        server.wait_until_ready();
        server
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A URI of the role `writer` with the right password.
    pub(crate) fn uri(&self) -> String {
        self.uri_through(self.port)
    }

    /// The same, through another port of the loopback.
    pub(crate) fn uri_through(&self, port: u16) -> String {
        format!("postgres://writer:right@127.0.0.1:{port}/features")
    }

    /// Runs SQL as the superuser; rows as lines, columns with `|` between them.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Texts, one a row, of an expression; `psql` shows some characters of Unicode as nothing.
    pub(crate) fn texts(&self, expression: &str, from: &str) -> Vec<String> {
        let lines = self.sql(&format!("SELECT encode(convert_to(({expression})::text, 'UTF8'), 'hex') FROM {from}"));
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
        let text = |line: &str| String::from_utf8(line.as_bytes().chunks(2).map(byte).collect()).expect("UTF-8");
        lines.lines().map(text).collect()
    }

    /// The same, with what psql says where it fails.
    pub(crate) fn try_sql(&self, text: &str) -> Result<String, String> {
        said(self.psql(), text)
    }

    /// Shows each row of what a query finds, with `|` between columns, as it comes; what psql says where it fails.
    pub(crate) fn each_row(&self, query: &str, mut show: impl FnMut(&str)) -> Result<(), String> {
        each_row(self.psql(), query, &mut show)
    }

    /// `psql` as the superuser.
    pub(crate) fn psql(&self) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-d", "features", "-p", &self.port.to_string()])
            .arg("-h")
            .arg(self.folder.path());
        psql
    }

    /// Stops it without order (`immediate`): it recovers when it starts again.
    pub(crate) fn stop_immediately(&mut self) {
        self.signal(Signal::SIGQUIT);
        self.wait_for_the_end();
    }

    /// Stops it in order, waiting for no client.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGINT);
        self.wait_for_the_end();
    }

    /// Kills it as a power cut of the process would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_the_end();
    }

    /// Starts it again, on the same port and folder.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.process = spawn(&self.binaries, self.folder.path(), self.port, &self.arguments);
            while !self.is_ready() {
                if self.process.try_wait().expect("the state of PostgreSQL").is_some() {
                    // The processes of a server that was killed hold its memory until they notice.
                    break;
                }
                self.be_patient_until(deadline, "does not answer");
                std::thread::sleep(Duration::from_millis(10));
            }
            if self.is_ready() {
                return;
            }
            self.be_patient_until(deadline, "ends at once");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets the processes stand still that serve the writer's connections.
    pub(crate) fn pause_sessions(&self) -> Vec<Pid> {
        let sessions = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'chalk-writer'");
        let sessions: Vec<Pid> = sessions.lines().map(|pid| Pid::from_raw(pid.parse().expect("a number"))).collect();
        for session in &sessions {
            // One may end by itself meanwhile.
            let _ = kill(*session, Signal::SIGSTOP);
        }
        sessions
    }

    /// Lets them go on.
    pub(crate) fn resume_sessions(&self, sessions: &[Pid]) {
        for session in sessions {
            let _ = kill(*session, Signal::SIGCONT);
        }
    }

    /// Puts a file into the data folder that only the server can read, and gives its path.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.data().join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permitted");
        belongs_to_the_server(&path);
        path
    }

    /// Reads its settings and files again.
    pub(crate) fn reload(&self) {
        self.sql("SELECT pg_reload_conf()");
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), signal);
    }

    fn wait_for_the_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().expect("the state of PostgreSQL").is_none() {
            self.be_patient_until(deadline, "does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_ready(&self) -> bool {
        self.try_sql("SELECT 1").is_ok()
    }

    /// Waits until it answers; false where it has ended instead.
    fn becomes_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if self.process.try_wait().expect("the state of PostgreSQL").is_some() {
                return false;
            }
            self.be_patient_until(deadline, "does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            self.be_patient_until(deadline, "does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says in the end what the server says.
    fn be_patient_until(&self, deadline: Instant, what: &str) {
        if Instant::now() < deadline {
            return;
        }
        let asked = self.try_sql("SELECT 1").err().unwrap_or_default();
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        panic!("PostgreSQL on port {} {what}: {asked}\nits last words:\n{last}", self.port);
    }
}

/// Shows each row of what a query finds, asked by such a `psql`; what it says where it fails.
pub(crate) fn each_row(mut psql: Command, query: &str, show: &mut dyn FnMut(&str)) -> Result<(), String> {
    // `psql` keeps all of a result; what is copied out it hands on.
    let copy = format!("COPY ({query}) TO STDOUT (DELIMITER '|', NULL '')");
    psql.args(["-c", &copy]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = psql.spawn().expect("psql can be started");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.for_each(|line| show(&line.expect("text")));
    let output = child.wait_with_output().expect("psql ends");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// What `psql` says to a statement; what it says where it fails.
pub(crate) fn said(mut psql: Command, text: &str) -> Result<String, String> {
    let output = psql.args(["-c", text]).output().expect("psql can be started");
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).expect("text").trim_end_matches('\n').to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Its children go with it only where it stops in some order.
        self.signal(Signal::SIGQUIT);
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

fn spawn(binaries: &Path, folder: &Path, port: u16, settings: &[String]) -> Child {
    let server = binaries.join("postgres");
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(server);
        command
    } else {
        Command::new(server)
    };
    let port = format!("port={port}");
    let socket = format!("unix_socket_directories={}", folder.display());
    let usual =
        ["listen_addresses=127.0.0.1", &port, &socket, "fsync=off", "shared_buffers=16MB", "logging_collector=off"];
    command.arg("-D").arg(folder.join("data"));
    for setting in usual.into_iter().chain(settings.iter().map(String::as_str)) {
        command.arg("-c").arg(setting);
    }
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap_or_else(|error| {
        panic!("PostgreSQL cannot be started ({error}); `./dev test` installs what the tests need")
    })
}

/// Postgres runs under a user of its own where the tests run as root.
pub(crate) fn belongs_to_the_server(path: &Path) {
    if Uid::effective().is_root() {
        let user = User::from_name("postgres")
            .expect("users can be read")
            .expect("user `postgres`, which Debian's package makes");
        let (user, group): (Uid, Gid) = (user.uid, user.gid);
        std::os::unix::fs::chown(path, Some(user.as_raw()), Some(group.as_raw())).expect("root may do that");
    }
}
