//! A proxy that reads the frames of Kafka's protocol, so that something can happen just before a request of one
//! kind reaches the broker, or just after the broker has answered it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

/// The requests that make a transaction, in the order in which they come, with the protocol's numbers.
pub const REQUESTS: [(&str, i16); 5] =
    [("AddPartitionsToTxn", 24), ("Produce", 0), ("AddOffsetsToTxn", 25), ("TxnOffsetCommit", 28), ("EndTxn", 26)];

/// On which side of the broker's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The broker does not get the request.
    Before,
    /// The broker has done what it was asked for, and nobody gets its answer.
    After,
}

/// What is to happen, once.
struct Trap {
    request: i16,
    when: When,
    /// So many of the kind pass before it.
    spared: usize,
    act: Box<dyn FnOnce() + Send>,
    sprung: mpsc::Sender<()>,
}

type Traps = Arc<Mutex<Option<Trap>>>;

/// Stands in front of one broker for as long as the process runs.
pub struct Frames {
    port: u16,
    target: Arc<OnceLock<u16>>,
    traps: Traps,
}

impl Frames {
    /// On a free port, for a broker that is to come.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, traps) = (Arc::<OnceLock<u16>>::default(), Traps::default());
        let (broker, trap) = (Arc::clone(&target), Arc::clone(&traps));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(Ok(server)) = broker.get().map(|port| TcpStream::connect(("127.0.0.1", *port))) else {
                    continue;
                };
                // Which kind of request each answer is for, by the number that both have.
                let asked = Arc::<Mutex<HashMap<i32, i16>>>::default();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (traps, answers) = (Arc::clone(&trap), Arc::clone(&trap));
                let numbers = Arc::clone(&asked);
                std::thread::spawn(move || {
                    hand_on(from, to, |frame| {
                        let (request, number) = (i16::from_be_bytes([frame[0], frame[1]]), number(&frame[4..]));
                        lock(&numbers).insert(number, request);
                        !springs(&traps, request, When::Before)
                    });
                });
                std::thread::spawn(move || {
                    hand_on(server, client, |frame| {
                        let request = lock(&asked).remove(&number(frame));
                        !request.is_some_and(|request| springs(&answers, request, When::After))
                    });
                });
            }
        });
        Self { port, target, traps }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom it stands in front of.
    pub fn target(&self, port: u16) {
        self.target.set(port).unwrap();
    }

    /// Does something once, when so many requests of the kind have passed, and cuts that connection; what is
    /// returned hears of it.
    pub fn when(
        &self,
        request: i16,
        when: When,
        spared: usize,
        act: impl FnOnce() + Send + 'static,
    ) -> mpsc::Receiver<()> {
        let (sprung, hears) = mpsc::channel();
        *lock(&self.traps) = Some(Trap { request, when, spared, act: Box::new(act), sprung });
        hears
    }
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is where the trap was laid; it has done its work by then.
fn springs(traps: &Traps, request: i16, when: When) -> bool {
    let mut laid = lock(traps);
    let Some(trap) = laid.as_mut().filter(|trap| (trap.request, trap.when) == (request, when)) else { return false };
    if trap.spared > 0 {
        trap.spared -= 1;
        return false;
    }
    let Some(Trap { act, sprung, .. }) = laid.take() else { return false };
    act();
    // Nobody may be waiting for it any more.
    let _ = sprung.send(());
    true
}

/// Hands frames on, a length and so many bytes each, until one is not to pass.
fn hand_on(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut next = || -> io::Result<bool> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut frame)?;
        let passes = passes(&frame);
        if passes {
            to.write_all(&length)?;
            to.write_all(&frame)?;
        }
        Ok(passes)
    };
    while let Ok(true) = next() {}
    for end in [&from, &to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
