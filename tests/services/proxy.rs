//! A proxy between a client and a server of the loopback, which cuts connections on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Hands bytes on in both directions for as long as the process runs.
pub(crate) struct Proxy {
    port: u16,
    /// Bytes in either direction that may still pass before the connection of the next one is cut; below zero: any
    /// number.
    left: Arc<AtomicI64>,
}

impl Proxy {
    /// In front of a port.
    pub(crate) fn of(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let left = Arc::new(AtomicI64::new(-1));
        let budget = left.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let budget = budget.clone();
                let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let answers = budget.clone();
                std::thread::spawn(move || hand_on(from, to, &budget));
                std::thread::spawn(move || hand_on(server, client, &answers));
            }
        });
        Self { port, left }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts once after so many bytes.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.left.store(i64::try_from(bytes).expect("a small number"), Ordering::SeqCst);
    }

    /// Whether the cut that was asked for is still to come.
    pub(crate) fn is_whole(&self) -> bool {
        self.left.load(Ordering::SeqCst) >= 0
    }

    /// Cuts no more.
    pub(crate) fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, budget: &AtomicI64) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let mut passed = read;
        let taken = budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            let left = usize::try_from(left).ok()?;
            passed = read.min(left);
            // The cut is over once it was made.
            Some(if passed < read { -1 } else { i64::try_from(left - passed).expect("small") })
        });
        if to.write_all(&bytes[..passed]).is_err() || (taken.is_ok() && passed < read) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
