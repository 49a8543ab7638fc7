//! A Redis server (or a Valkey, which speaks as it does) that keeps what it has acknowledged over a restart.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BACK_WITHIN, Online, Store, Throttling, Trouble, look};
use crate::certificates::{Authority, Signed};
use crate::keepers::Keeper;
use crate::proxy::Proxy;
use crate::wire::{Server, Wire};

/// A script that lets a server answer nobody, and tell them that it is busy.
const ENDLESS: &str = "while true do end";

/// Stalled, it is stopped by a signal: what was sent to it meanwhile it finds when it wakes.
pub struct Redis {
    which: Keeper,
    program: String,
    /// Where it is looked at: never under TLS.
    port: u16,
    tls: Option<Tls>,
    /// Before what writers speak to.
    proxy: Proxy,
    folder: PathBuf,
    child: Child,
    throttled: Option<Throttled>,
}

/// How it is spoken to under TLS.
struct Tls {
    port: u16,
    authority: Authority,
    signed: Signed,
}

impl Tls {
    fn new() -> Self {
        let authority = Authority::new("torture");
        let signed = authority.sign("redis", "IP:127.0.0.1");
        Self { port: free_port(), authority, signed }
    }

    fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let Signed { certificate, key } = &self.signed;
        [
            ["--tls-port", &self.port.to_string()],
            ["--tls-cert-file", &path(certificate)],
            ["--tls-key-file", &path(key)],
            ["--tls-ca-cert-file", &path(&self.authority.certificate())],
            ["--tls-auth-clients", "no"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What it was told.
enum Throttled {
    /// Every write is refused, for want of memory.
    NoMemory,
    /// Everything is refused, because a script goes on.
    Busy(JoinHandle<()>),
}

impl Redis {
    pub fn start(folder: &Path) -> Self {
        Self::run(folder, Keeper::Redis, "redis-server".to_owned(), None)
    }

    pub fn start_with_tls(folder: &Path) -> Self {
        Self::run(folder, Keeper::RedisTls, "redis-server".to_owned(), Some(Tls::new()))
    }

    pub fn start_valkey(folder: &Path) -> Self {
        let program = std::env::var("CHALK_WRITER_TEST_VALKEY").unwrap_or_else(|_| {
            panic!("CHALK_WRITER_TEST_VALKEY does not name a valkey-server; `./dev test` installs what the tests need")
        });
        Self::run(folder, Keeper::Valkey, program, None)
    }

    fn run(folder: &Path, which: Keeper, program: String, tls: Option<Tls>) -> Self {
        let folder = folder.join("redis");
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let child = Self::spawn(&program, &folder, port, tls.as_ref());
        let proxy = Proxy::of(tls.as_ref().map_or(port, |tls| tls.port));
        let redis = Self { which, program, port, tls, proxy, folder, child, throttled: None };
        redis.wait();
        redis
    }

    /// Where it is looked at.
    pub fn server(&self) -> Server {
        Server::of_port(self.port)
    }

    fn tell(&self, command: &[&str]) {
        let told = Wire::to(&self.server()).and_then(|mut wire| wire.say(command));
        told.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    fn spawn(program: &str, folder: &Path, port: u16, tls: Option<&Tls>) -> Child {
        Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder)
            .args(tls.map(Tls::arguments).unwrap_or_default())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(File::options().create(true).append(true).open(folder.join("redis.log")).unwrap())
            .spawn()
            .expect("redis-server is installed; `./dev test` installs it")
    }

    fn wait(&self) {
        let begun = Instant::now();
        while begun.elapsed() < BACK_WITHIN {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut answer = [0; 5];
                let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
                if asked.is_ok() && &answer == b"+PONG" {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.folder.join("redis.log")).unwrap_or_default();
        panic!("redis-server does not answer on {}; its log:\n{log}", self.port);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Store for Redis {
    fn name(&self) -> &'static str {
        self.which.name()
    }

    fn uri(&self) -> String {
        let port = self.proxy.port();
        match &self.tls {
            None => format!("redis://127.0.0.1:{port}"),
            Some(tls) => format!("rediss://127.0.0.1:{port}?ca={}", tls.authority.certificate().display()),
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    /// It answers `-OOM` to writes, or `-BUSY` to everything.
    fn throttle(&mut self, random: &mut fastrand::Rng) -> Throttling {
        self.throttled = Some(if random.bool() {
            self.tell(&["CONFIG", "SET", "maxmemory", "1"]);
            Throttled::NoMemory
        } else {
            self.tell(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
            let server = self.server();
            // It ends with an error when it is killed.
            Throttled::Busy(std::thread::spawn(move || {
                let _ = Wire::to(&server).and_then(|mut wire| wire.say(&["EVAL", ENDLESS, "0"]));
            }))
        });
        Throttling::Refuses
    }

    fn let_pass(&mut self) {
        match self.throttled.take() {
            None => {}
            Some(Throttled::NoMemory) => self.tell(&["CONFIG", "SET", "maxmemory", "0"]),
            Some(Throttled::Busy(script)) => {
                let begun = Instant::now();
                while !script.is_finished() {
                    // `-NOTBUSY` where it has not begun yet.
                    let _ = Wire::to(&self.server()).and_then(|mut wire| wire.say(&["SCRIPT", "KILL"]));
                    assert!(begun.elapsed() < BACK_WITHIN, "a script cannot be killed");
                    std::thread::sleep(Duration::from_millis(20));
                }
                script.join().unwrap();
            }
        }
    }

    fn stall(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    fn can_be_read_stalled(&self) -> bool {
        false
    }

    fn go_on(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    fn vanish(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    fn come_back(&mut self) {
        self.child = Self::spawn(&self.program, &self.folder, self.port, self.tls.as_ref());
        self.wait();
    }

    fn begin_trouble(&mut self, which: Trouble, random: &mut fastrand::Rng) -> bool {
        if which == Trouble::Light {
            self.proxy.cut_after(random.usize(..40_000));
        }
        which == Trouble::Light
    }

    fn end_trouble(&mut self) -> &'static str {
        self.proxy.mend();
        "a connection was cut"
    }
}

impl Online for Redis {
    fn reader(&self) -> Box<dyn look::Online> {
        Box::new(look::Redis { ports: vec![self.port] })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
