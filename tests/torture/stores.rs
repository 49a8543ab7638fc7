//! The stores of the torture checker, as far as they can be taken away and given back.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

/// How long a store may take to come back. It bounds a hang and nothing else.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A store that is not always there. What it has acknowledged it keeps, whatever happens to it.
pub trait Store {
    fn name(&self) -> &'static str;

    /// It takes nothing from here on. Called again and again for as long as that is to last.
    fn stall(&mut self);

    /// Whether what it has can be read meanwhile.
    fn can_be_read_stalled(&self) -> bool;

    /// It goes on where it was stalled.
    fn go_on(&mut self);

    /// It is gone, with everything that it has not acknowledged.
    fn vanish(&mut self);

    /// It comes back.
    fn come_back(&mut self);
}

/// A Redis server that keeps what it has acknowledged over a restart.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Redis {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("redis");
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(&folder, port);
        let redis = Self { port, folder, child };
        redis.wait();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("redis.log")).unwrap())
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
        panic!("redis-server does not answer on {}", self.port);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Store for Redis {
    fn name(&self) -> &'static str {
        "Redis"
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
        self.child = Self::spawn(&self.folder, self.port);
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The embedded store. Away, another process holds its write lock.
pub struct Sqlite {
    path: PathBuf,
    lock: Option<rusqlite::Connection>,
}

impl Sqlite {
    pub fn new(path: PathBuf) -> Self {
        Self { path, lock: None }
    }
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn stall(&mut self) {
        if self.lock.is_some() {
            return;
        }
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_millis(500)).unwrap();
        // A writer that was stopped in its transaction keeps the lock: then nobody can write anyway.
        if connection.execute_batch("BEGIN IMMEDIATE").is_ok() {
            self.lock = Some(connection);
        }
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.lock = None;
    }

    fn vanish(&mut self) {
        self.stall();
    }

    fn come_back(&mut self) {
        self.go_on();
    }
}

/// The lake on a disk of its own. Away, that disk is full.
pub struct Lake {
    root: PathBuf,
}

impl Lake {
    pub fn mount(folder: &Path) -> Self {
        let root = folder.join("lake");
        std::fs::create_dir_all(&root).unwrap();
        mount(Some("torture"), &root, Some("tmpfs"), MsFlags::empty(), Some("size=4g"))
            .expect("a tmpfs can be mounted, which this test needs root for");
        Self { root }
    }

    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    fn resize(&self, options: &str) -> nix::Result<()> {
        mount(None::<&str>, &self.root, None::<&str>, MsFlags::MS_REMOUNT, Some(options))
    }
}

impl Store for Lake {
    fn name(&self) -> &'static str {
        "the lake"
    }

    fn stall(&mut self) {
        // As small as what is in it; where it has just become more, once more.
        let begun = Instant::now();
        loop {
            let disk = statvfs(&self.root).unwrap();
            let used = (disk.blocks() - disk.blocks_free()).max(1) * disk.fragment_size();
            match self.resize(&format!("size={used}")) {
                Ok(()) => return,
                Err(error) => assert!(begun.elapsed() < BACK_WITHIN, "the disk cannot be filled: {error}"),
            }
        }
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.resize("size=4g").unwrap();
    }

    fn vanish(&mut self) {
        self.stall();
    }

    fn come_back(&mut self) {
        self.go_on();
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Evidence, beside the logs.
            let _ = Command::new("cp").arg("-r").arg(&self.root).arg(self.root.with_extension("kept")).status();
        }
        let _ = umount2(&self.root, MntFlags::MNT_DETACH);
    }
}
