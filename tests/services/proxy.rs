//! A proxy between a client and a server of the loopback, which cuts connections on demand, or holds one
//! up in the middle of what it sends.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a connection looks whether its way is still open.
const LOOKS_UP_EVERY: Duration = Duration::from_millis(50);

/// Hands bytes on in both directions for as long as the process runs.
pub(crate) struct Proxy {
    port: u16,
    /// Bytes in either direction that may still pass before the connection of the next one is cut; below zero: any
    /// number.
    left: Arc<AtomicI64>,
    hold: Arc<Hold>,
    answers: Arc<Mutex<Answers>>,
    way: Arc<Mutex<Way>>,
}

/// Whether anything passes at all.
#[derive(Clone, Copy, Default, PartialEq)]
enum Way {
    #[default]
    Open,
    /// Nothing passes in either direction, and connections last.
    Still,
    /// Every connection is cut, and none is made.
    Gone,
}

/// What becomes of what the server says.
#[derive(Clone, Copy, Default, PartialEq)]
enum Answers {
    #[default]
    Pass,
    /// Each piece comes so much later.
    Late(Duration),
    /// The server has done what it was asked, and its client never hears of it.
    Lost,
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
    /// Whoever sends this next is not held up, and hears no answer.
    Unheard(&'static [u8]),
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

    /// Whether answers are lost from these bytes on.
    fn is_unheard(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Holding::Unheard(wanted) = *state else { return false };
        let found = bytes.windows(wanted.len()).any(|window| window == wanted);
        if found {
            *state = Holding::Nothing;
        }
        found
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
    /// In front of a port of the loopback.
    pub(crate) fn of(target: u16) -> Self {
        Self::before("127.0.0.1", target)
    }

    /// In front of a port of another host.
    pub(crate) fn before(host: &str, target: u16) -> Self {
        let host = host.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let left = Arc::new(AtomicI64::new(-1));
        let (hold, answers) = (Arc::new(Hold::default()), Arc::<Mutex<Answers>>::default());
        let way = Arc::<Mutex<Way>>::default();
        let (budget, held, becomes, ways) = (left.clone(), hold.clone(), answers.clone(), way.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is(&ways, Way::Gone) {
                    continue;
                }
                let Ok(server) = TcpStream::connect((&*host, target)) else { continue };
                let budget = budget.clone();
                let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let (back, held, becomes) = (budget.clone(), held.clone(), becomes.clone());
                let (lost, forth, home) = (becomes.clone(), ways.clone(), ways.clone());
                std::thread::spawn(move || hand_on(from, to, &budget, &held, &lost, &forth));
                std::thread::spawn(move || hand_back(server, client, &back, &becomes, &home));
            }
        });
        Self { port, left, hold, answers, way }
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

    /// Cuts no more, and hands on answers; a connection that has lost one is cut.
    pub(crate) fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
        self.set_answers(Answers::Pass);
    }

    /// Lets each piece of an answer wait.
    pub(crate) fn be_slow(&self, wait: Duration) {
        self.set_answers(Answers::Late(wait));
    }

    /// Lets no answer through.
    pub(crate) fn lose_answers(&self) {
        self.set_answers(Answers::Lost);
    }

    /// Lets no answer through once a client has sent these bytes (within one piece), which the server gets.
    pub(crate) fn lose_answers_to(&self, request: &'static [u8]) {
        self.hold.set(Holding::Unheard(request));
    }

    /// Lets nothing through, as a server does that stands still.
    pub(crate) fn stand_still(&self) {
        self.set_way(Way::Still);
    }

    /// Cuts every connection and lets none be made, as a server does that is gone.
    pub(crate) fn be_gone(&self) {
        self.set_way(Way::Gone);
    }

    /// Lets through what was held up, and connections be made again.
    pub(crate) fn be_there(&self) {
        self.set_way(Way::Open);
    }

    fn set_way(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// Whether answers are lost now.
    pub(crate) fn loses_answers(&self) -> bool {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) == Answers::Lost
    }

    fn set_answers(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

fn is(way: &Mutex<Way>, which: Way) -> bool {
    *way.lock().unwrap_or_else(PoisonError::into_inner) == which
}

/// Waits for as long as nothing passes; whether anything may now.
fn opens(way: &Mutex<Way>) -> bool {
    while is(way, Way::Still) {
        std::thread::sleep(LOOKS_UP_EVERY);
    }
    is(way, Way::Open)
}

fn hand_on(
    mut from: TcpStream,
    mut to: TcpStream,
    budget: &AtomicI64,
    hold: &Hold,
    answers: &Mutex<Answers>,
    way: &Mutex<Way>,
) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if !opens(way) {
            break;
        }
        if hold.is_unheard(&bytes[..read]) {
            *answers.lock().unwrap_or_else(PoisonError::into_inner) = Answers::Lost;
        }
        if let Some(end) = hold.end_in(&bytes[..read]) {
            let _ = to.write_all(&bytes[..end]);
            hold.wait();
            break;
        }
        if !pass(&bytes[..read], &mut to, budget) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The way back, on which answers may be late or lost.
fn hand_back(mut from: TcpStream, mut to: TcpStream, budget: &AtomicI64, answers: &Mutex<Answers>, way: &Mutex<Way>) {
    // Looks up now and then, so that a client that waits for what was lost is cut off once that is over.
    let _ = from.set_read_timeout(Some(LOOKS_UP_EVERY));
    let (mut bytes, mut lost) = ([0; 4096], false);
    loop {
        let read = from.read(&mut bytes);
        let now = *answers.lock().unwrap_or_else(PoisonError::into_inner);
        if !opens(way) {
            break;
        }
        if lost && now != Answers::Lost {
            break;
        }
        let read = match read {
            Ok(read @ 1..) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            _ => break,
        };
        match now {
            Answers::Pass => {}
            Answers::Late(wait) => std::thread::sleep(wait),
            Answers::Lost => {
                lost = true;
                continue;
            }
        }
        if !pass(&bytes[..read], &mut to, budget) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Hands on as much as may pass; whether the connection is still whole.
fn pass(bytes: &[u8], to: &mut TcpStream, budget: &AtomicI64) -> bool {
    let mut passed = bytes.len();
    let taken = budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        let left = usize::try_from(left).ok()?;
        passed = bytes.len().min(left);
        // The cut is over once it was made.
        Some(if passed < bytes.len() { -1 } else { i64::try_from(left - passed).expect("small") })
    });
    to.write_all(&bytes[..passed]).is_ok() && (taken.is_err() || passed == bytes.len())
}
