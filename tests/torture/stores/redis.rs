//! A Redis server that keeps what it has acknowledged over a restart.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BACK_WITHIN, Online, Store, Trouble, look};

/// Stalled, it is stopped by a signal: what was sent to it meanwhile it finds when it wakes.
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

    fn spawn(folder: &Path, port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder)
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
        "Redis"
    }

    fn uri(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

    fn begin_trouble(&mut self, _which: Trouble, _random: &mut fastrand::Rng) -> bool {
        false
    }

    fn end_trouble(&mut self) -> &'static str {
        "none"
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
