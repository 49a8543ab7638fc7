//! A real Redis server of a test's own: on a free port of the loopback, in a folder that goes with it.
//!
//! Commands go over a plain socket, so that what the store wrote is looked at by something else than
//! the client that wrote it.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; stopped by its process id when dropped.
pub(crate) struct RedisServer {
    process: Child,
    port: u16,
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
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = spawn(port, &arguments, folder.path());
        let server = Self { process, port, arguments, folder };
        server.wait_until_ready();
        server
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
        self.try_command(parts).expect("an answer from Redis")
    }

    /// Stops it with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().expect("the state of Redis").is_none() {
            assert!(Instant::now() < deadline, "Redis does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`RedisServer::stop`], on the same port and folder.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.arguments, self.folder.path());
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
        // A server that wants a password is ready too.
        while !matches!(self.try_command(&["PING"]), Ok(Reply::Bytes(_) | Reply::Error(_))) {
            assert!(Instant::now() < deadline, "Redis does not answer on port {}", self.port);
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

fn spawn(port: u16, arguments: &[String], folder: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"])
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}); `./dev test` installs what the tests need")
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
