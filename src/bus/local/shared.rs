//! What a consumer's async side and its thread share: messages one way, acknowledgements the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use crate::bus::BusError;
use crate::message::{Message, Outgoing};

/// Messages of one partition without a hole between them, read in one generation of its ownership.
pub(super) struct Chunk {
    pub(super) number: i32,
    pub(super) generation: i64,
    pub(super) messages: Vec<Message>,
    pub(super) bytes: usize,
}

/// How far a partition is acknowledged, in a generation of its ownership.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) generation: i64,
    pub(super) position: i64,
}

/// Messages delivered without a break in number and offset, and not acknowledged yet.
pub(super) struct Span {
    pub(super) number: i32,
    pub(super) generation: i64,
    /// Number of the first.
    pub(super) delivery: u64,
    /// Offset of the first.
    pub(super) offset: i64,
    pub(super) count: u64,
}

/// A position to be moved, in the generation in which what lies before it was delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) number: i32,
    pub(super) generation: i64,
    pub(super) next: i64,
}

/// A transaction that waits for the thread.
pub(super) struct Request {
    pub(super) messages: Vec<Outgoing>,
    pub(super) moved: Vec<Moved>,
    pub(super) reply: oneshot::Sender<Result<Landed, BusError>>,
}

/// What became of it: the partitions that stood in its way, of which it took none where there are any.
pub(super) type Landed = Vec<i32>;

/// The state between the two sides.
pub(super) struct State {
    /// Read ahead, in order; bounded by the bytes in it.
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) bytes: usize,
    /// Partitions whose messages may be delivered, with the generation.
    pub(super) deliverable: BTreeMap<i32, i64>,
    /// When the thread last saw that it still owns them.
    pub(super) seen: Instant,
    /// Everything assigned was read, once what is in `chunks` is delivered.
    pub(super) caught_up: bool,
    /// A drain has reached its end.
    pub(super) ended: bool,
    /// Told once, unless it is over before; the thread tries again.
    pub(super) trouble: Option<BusError>,
    /// The thread has ended with it.
    pub(super) failed: Option<BusError>,
    /// Delivered, in the order of their numbers.
    pub(super) spans: VecDeque<Span>,
    /// Transactions to be made, in order.
    pub(super) requests: VecDeque<Request>,
    /// Not yet taken over by the thread.
    pub(super) acknowledged: BTreeMap<i32, Acknowledged>,
    /// The thread is to commit, to leave the group and to end.
    pub(super) closing: bool,
    /// How that went.
    pub(super) closed: Option<Result<(), BusError>>,
}

/// The state and the two bells; each bell has one listener.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Rung for the async side.
    pub(super) news: Notify,
    /// Rung for the thread.
    pub(super) work: Notify,
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State {
            chunks: VecDeque::new(),
            bytes: 0,
            deliverable: BTreeMap::new(),
            seen: Instant::now(),
            caught_up: false,
            ended: false,
            trouble: None,
            failed: None,
            spans: VecDeque::new(),
            requests: VecDeque::new(),
            acknowledged: BTreeMap::new(),
            closing: false,
            closed: None,
        };
        Self { state: Mutex::new(state), news: Notify::new(), work: Notify::new() }
    }

    /// Held for moments only; nothing waits or calls SQLite under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
