//! A proxy between a client and a server of the loopback, which cuts connections on demand, or holds one
//! up in the middle of what it sends.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Hands bytes on in both directions for as long as the process runs.
pub(crate) struct Proxy {
    port: u16,
    /// Bytes in either direction that may still pass before the connection of the next one is cut; below zero: any
    /// number.
    left: Arc<AtomicI64>,
    hold: Arc<Hold>,
}

/// What a client may not send to its end.
#[derive(Default)]
struct Hold {
    state: Mutex<Holding>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Holding {
    #[default]
    Nothing,
    /// Whoever sends this next is held up just behind it.
    Wanted(&'static [u8]),
    Held,
}

impl Hold {
    fn set(&self, state: Holding) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_all();
    }

    /// How many of these bytes pass before their client is held up; `None` where it is not.
    fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Holding::Wanted(wanted) = *state else { return None };
        let found = bytes.windows(wanted.len()).position(|window| window == wanted)? + wanted.len();
        *state = Holding::Held;
        Some(found)
    }

    fn is(&self, state: Holding) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == state
    }

    /// Waits until it is let go; whoever holds it lets it go.
    fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(state, |state| *state == Holding::Held));
    }
}

impl Proxy {
    /// In front of a port.
    pub(crate) fn of(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let left = Arc::new(AtomicI64::new(-1));
        let hold = Arc::new(Hold::default());
        let (budget, held) = (left.clone(), hold.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let budget = budget.clone();
                let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let (answers, held) = (budget.clone(), held.clone());
                std::thread::spawn(move || hand_on(from, to, &budget, Some(&held)));
                std::thread::spawn(move || hand_on(server, client, &answers, None));
            }
        });
        Self { port, left, hold }
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

    /// Holds up the client that next sends these bytes (within one piece of what it sends), just behind them.
    pub(crate) fn hold_up(&self, behind: &'static [u8]) {
        self.hold.set(Holding::Wanted(behind));
    }

    /// Whether one is held up.
    pub(crate) fn holds(&self) -> bool {
        self.hold.is(Holding::Held)
    }

    /// Cuts the connection that is held up, or holds up none any more.
    pub(crate) fn let_go(&self) {
        self.hold.set(Holding::Nothing);
    }

    /// Cuts no more.
    pub(crate) fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, budget: &AtomicI64, hold: Option<&Hold>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if let Some((hold, end)) = hold.and_then(|hold| Some((hold, hold.end_in(&bytes[..read])?))) {
            let _ = to.write_all(&bytes[..end]);
            hold.wait();
            break;
        }
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
