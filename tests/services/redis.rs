//! A real Redis server of a test's own: on a free port of the loopback, in a folder that goes with it.
//!
//! Commands go over a plain socket, so that what the store wrote is looked at by something else than
//! the client that wrote it.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// What it says goes here, in its folder.
const LOG: &str = "log";

/// A running server; stopped by its process id when dropped.
pub(crate) struct RedisServer {
    process: Child,
    program: String,
    port: u16,
    bus_port: u16,
    /// Whether `port` wants TLS, in which case this process cannot send commands.
    tls: bool,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

/// An answer as it came over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// A number.
    Number(i64),
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// Nothing.
    Null,
    /// Several.
    List(Vec<Reply>),
    /// An error of the server.
    Error(String),
}

impl RedisServer {
    /// Starts one with arguments beyond the usual.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::run("redis-server", Kind::Alone, arguments)
    }

    /// Starts a Valkey, which has what this Redis has not: expiry of fields.
    pub(crate) fn valkey(arguments: &[&str]) -> Self {
        let program = std::env::var("CHALK_WRITER_TEST_VALKEY").unwrap_or_else(|_| {
            panic!("CHALK_WRITER_TEST_VALKEY does not name a valkey-server; `./dev test` installs what the tests need")
        });
        Self::run(&program, Kind::Alone, arguments)
    }

    /// Starts one that only speaks TLS, with a certificate and its key, and that wants one of its clients
    /// where `authority` is named.
    pub(crate) fn with_tls(certificate: &Path, key: &Path, authority: Option<&Path>) -> Self {
        let [certificate, key] = [certificate, key].map(|path| path.to_str().expect("a path in UTF-8"));
        let mut arguments = vec!["--tls-cert-file", certificate, "--tls-key-file", key];
        match authority {
            Some(path) => arguments.extend(["--tls-ca-cert-file", path.to_str().expect("a path in UTF-8")]),
            // Redis asks for one to trust even where clients show none.
            None => arguments.extend(["--tls-auth-clients", "no", "--tls-ca-cert-file", certificate]),
        }
        Self::run("redis-server", Kind::Tls, &arguments)
    }

    /// Starts a node of a cluster.
    pub(crate) fn in_cluster(arguments: &[&str]) -> Self {
        Self::run("redis-server", Kind::Node, arguments)
    }

    fn run(program: &str, kind: Kind, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let (port, bus_port) = (free_port(), free_port());
        let mut arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        match kind {
            Kind::Alone => {}
            Kind::Node => arguments.extend(["--cluster-port".to_owned(), bus_port.to_string()]),
            Kind::Tls => {
                arguments.extend(["--port".to_owned(), "0".to_owned(), "--tls-port".to_owned(), port.to_string()]);
            }
        }
        let process = spawn(program, port, &arguments, folder.path());
        let tls = matches!(kind, Kind::Tls);
        let server = Self { process, program: program.to_owned(), port, bus_port, tls, arguments, folder };
        server.wait_until_ready();
        server
    }

    /// The port of the cluster's bus.
    pub(crate) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it answers.
    pub(crate) fn is_running(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("its end");
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A URI without credentials.
    pub(crate) fn uri(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends one command on a connection of its own.
    pub(crate) fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Reply {
        self.try_command(parts).unwrap_or_else(|error| {
            let part = |part: &A| part.as_ref().escape_ascii().to_string();
            let command: Vec<String> = parts.iter().map(part).collect();
            panic!("{}: {error}; the server's last words: {}", command.join(" "), self.last_words())
        })
    }

    /// Sends lines on one connection that signs in with a password; what was said on it.
    pub(crate) fn session(&self, password: &str, lines: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        let text = format!("AUTH {password}\r\n{}\r\nQUIT\r\n", lines.join("\r\n"));
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Stops it with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().expect("the state of Redis").is_none() {
            assert!(Instant::now() < deadline, "Redis does not stop; its last words: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`RedisServer::stop`], on the same port and folder.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.program, self.port, &self.arguments, self.folder.path());
        self.wait_until_ready();
    }

    /// Lets it stand still.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        format!("\n{}\n", lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), signal);
    }

    fn try_command<A: AsRef<[u8]>>(&self, parts: &[A]) -> std::io::Result<Reply> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!("*{}\r\n", parts.len()).into_bytes();
        for part in parts {
            request.extend(format!("${}\r\n", part.as_ref().len()).into_bytes());
            request.extend(part.as_ref());
            request.extend(b"\r\n");
        }
        (&stream).write_all(&request)?;
        read(&mut BufReader::new(&stream))
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        // A server that wants a password is ready too; one that reads its file is not.
        let answers = || match self.try_command(&["PING"]) {
            Ok(Reply::Error(error)) => !error.starts_with("LOADING"),
            other => matches!(other, Ok(Reply::Bytes(_))),
        };
        while !(if self.tls { self.is_running() } else { answers() }) {
            let (port, said) = (self.port, || self.last_words());
            assert!(Instant::now() < deadline, "Redis does not answer on port {port}; its last words: {}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server is started as.
#[derive(Clone, Copy)]
enum Kind {
    Alone,
    Node,
    Tls,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

fn spawn(program: &str, port: u16, arguments: &[String], folder: &Path) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"])
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(std::fs::File::options().create(true).append(true).open(folder.join(LOG)).expect("a log"))
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program} cannot be started ({error}); `./dev test` installs what the tests need")
        })
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end_matches("\r\n");
    let broken = || std::io::Error::other(format!("not an answer of Redis: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(broken)?;
    let number = || rest.parse::<i64>().map_err(|_| broken());
    Ok(match kind {
        "+" => Reply::Bytes(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" | "*" if number()? < 0 => Reply::Null,
        "$" => {
            let mut bytes = vec![0; number()?.unsigned_abs() as usize + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bytes(bytes)
        }
        "*" => Reply::List((0..number()?).map(|_| read(stream)).collect::<Result<_, _>>()?),
        _ => return Err(broken()),
    })
}
