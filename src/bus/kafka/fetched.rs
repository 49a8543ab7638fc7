//! What librdkafka fetched, taken many at a time: a sixth to a third less CPU time than one call for each message.
//!
//! The partitions of a consumer put what is theirs into a queue of ours: messages, ends, and what went wrong with one of
//! them, told with its number. What concerns the group comes as before, by [`BaseConsumer::poll`], whose events a call for
//! many would pass over. So neither waits behind the other: the group is answered while there is no room for messages, and
//! what was fetched ahead is kept meanwhile.
//!
//! # Which call
//! Of librdkafka's three calls for many it is `rd_kafka_consume_callback`. It takes a partition, and goes where that
//! puts what is its own: into our queue. The others, as of 2.12:
//! - `rd_kafka_consume_batch_queue` moves the position that librdkafka remembers behind the offset that an *error* is told
//!   with, the end of a partition included. From there it fetches on after every rebalance.
//! - `rd_kafka_consume_callback_queue` takes all that is in the queue out of it before it calls back, however much is wanted:
//!   what fetches sees room that there is not, and the bound on what lies there holds no more. With this one that is a
//!   hundred messages.
//!
//! Markers of transactions move that position wrongly with all three, so nothing is left to it: who hears of rebalances
//! says where to go on ([`rebalance`](super::rebalance)). That a partition is taken up anew at any other time must not be:
//! one that was read from is never paused here.
//!
//! # Why there is `unsafe`
//! The binding has no call that takes several messages.
//!
//! # Why it is sound
//! - A [`Queue`] holds the consumer, and what is librdkafka's in it is given back before that is. Outside the poll thread there
//!   is a weak reference to it. All that is called is guarded by locks of librdkafka's.
//! - The callback of the queue gets the thread to be woken. It is called under the queue's lock, and taken away before that
//!   thread's handle is.
//! - A [`Record`] lives for as long as the call in which librdkafka shows it. Its slices borrow from it, and are made of
//!   pointers and lengths as the binding itself makes them.
#![expect(
    unsafe_code,
    reason = "the binding has no call for many messages; the module's documentation says why it is sound"
)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Thread;

use bytes::BytesMut;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError as _, RDKafkaErrorCode as Code};

use super::chunk::Readable;
use crate::message::headers;

/// Messages of a call at the most, as `consume.callback.max.messages`. Ten times as many bring nothing, measured.
pub(super) const MOST: &str = "100";

/// Where partitions put what is theirs.
pub(super) struct Queue<C: ConsumerContext> {
    messages: NonNull<sys::rd_kafka_queue_t>,
    /// What concerns the group, of which only the length is asked.
    events: NonNull<sys::rd_kafka_queue_t>,
    topic: NonNull<sys::rd_kafka_topic_t>,
    name: CString,
    /// Partitions that put what is theirs here.
    from: Mutex<BTreeSet<i32>>,
    /// Kept for the callback.
    _wakes: Box<Thread>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: what is done through a shared reference is guarded by locks of librdkafka's.
unsafe impl<C: ConsumerContext> Send for Queue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext> Sync for Queue<C> {}

impl<C: ConsumerContext> Queue<C> {
    /// A new one, which wakes a thread when something comes after there was nothing. None where the topic's name is not one.
    fn new(consumer: Arc<BaseConsumer<C>>, topic: &str, wakes: Thread) -> Option<Self> {
        let client = consumer.client().native_ptr();
        let name = CString::new(topic).ok()?;
        let wakes = Box::new(wakes);
        // SAFETY: the client lives; what it gives is given back in `drop`, which also takes the callback away.
        unsafe {
            let topic = NonNull::new(sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()))?;
            // librdkafka aborts the process where there is no memory.
            let events = NonNull::new(sys::rd_kafka_queue_get_consumer(client))?;
            let messages = NonNull::new(sys::rd_kafka_queue_new(client))?;
            let thread = ptr::from_ref::<Thread>(&wakes).cast_mut().cast();
            sys::rd_kafka_queue_cb_event_enable(messages.as_ptr(), Some(wake), thread);
            Some(Self { messages, events, topic, name, from: Mutex::default(), _wakes: wakes, consumer })
        }
    }

    /// Has partitions put here what is theirs from now on, and what of it nobody took.
    pub(super) fn take_over(&self, partitions: &[i32]) {
        for partition in partitions {
            // SAFETY: client and queue live; the partition's queue is given back at once, and remembers ours by itself.
            unsafe {
                let client = self.consumer.client().native_ptr();
                let of = sys::rd_kafka_queue_get_partition(client, self.name.as_ptr(), *partition);
                if !of.is_null() {
                    sys::rd_kafka_queue_forward(of, self.messages.as_ptr());
                    sys::rd_kafka_queue_destroy(of);
                }
            }
        }
        self.from().extend(partitions);
    }

    /// These partitions are about to go, which ends that they put here what is theirs.
    pub(super) fn let_go(&self, partitions: &[i32]) {
        self.from().retain(|partition| !partitions.contains(partition));
    }

    fn from(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        // SAFETY: all are ours, and nobody has them any more. The callback goes first: the thread's handle is dropped after this.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.messages.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.messages.as_ptr());
            sys::rd_kafka_queue_destroy(self.events.as_ptr());
            sys::rd_kafka_topic_destroy(self.topic.as_ptr());
        }
    }
}

unsafe extern "C" fn wake(_: *mut sys::rd_kafka_t, thread: *mut c_void) {
    // SAFETY: it is what `Queue::new` gave, which `Queue` keeps for as long as this may be called.
    unsafe { &*thread.cast::<Thread>() }.unpark();
}

/// The reading end of a queue.
pub(super) struct Fetched<C: ConsumerContext>(Arc<Queue<C>>);

impl<C: ConsumerContext> Fetched<C> {
    /// That of a consumer of a topic, for the thread that is to be woken. None where the topic's name is not one.
    pub(super) fn of(consumer: &Arc<BaseConsumer<C>>, topic: &str, wakes: Thread) -> Option<Self> {
        Some(Self(Arc::new(Queue::new(Arc::clone(consumer), topic, wakes)?)))
    }

    /// For whoever hears that partitions come and go.
    pub(super) fn queue(&self) -> Weak<Queue<C>> {
        Arc::downgrade(&self.0)
    }

    /// Whether something waits that concerns the group.
    pub(super) fn has_events(&self) -> bool {
        // SAFETY: the queue is ours.
        unsafe { sys::rd_kafka_queue_length(self.0.events.as_ptr()) > 0 }
    }

    /// Shows some of what is there, in its order, until `each` returns false. Returns false where there was nothing.
    ///
    /// Nothing else of the client may be called meanwhile, hence the `&mut`: whoever polls it from within would have librdkafka
    /// lose track of what it shows.
    pub(super) fn take<F: FnMut(&Record<'_>) -> bool>(&mut self, each: F) -> bool {
        let Some(&partition) = self.0.from().first() else { return false };
        let mut showing = Showing { each, client: self.0.consumer.client().native_ptr() };
        // SAFETY: topic and client live; `show` gets what it is made for, which lives until the call returns.
        let shown = unsafe {
            let opaque = (&raw mut showing).cast();
            sys::rd_kafka_consume_callback(self.0.topic.as_ptr(), partition, 0, Some(show::<F>), opaque)
        };
        shown > 0
    }
}

/// What `show` needs to know.
struct Showing<F> {
    each: F,
    client: *mut sys::rd_kafka_t,
}

unsafe extern "C" fn show<F: FnMut(&Record<'_>) -> bool>(message: *mut sys::rd_kafka_message_t, showing: *mut c_void) {
    // SAFETY: it is what `Fetched::take` gave, on its stack.
    let showing = unsafe { &mut *showing.cast::<Showing<F>>() };
    let Some(message) = NonNull::new(message) else { return };
    if !(showing.each)(&Record { message, shown: PhantomData }) {
        // SAFETY: the client lives. What was not shown is put back to the head of the queue.
        unsafe { sys::rd_kafka_yield(showing.client) };
    }
}

/// A message, or what is told instead of one. An end is told as an error as well.
pub(super) struct Record<'c> {
    message: NonNull<sys::rd_kafka_message_t>,
    shown: PhantomData<&'c sys::rd_kafka_message_t>,
}

impl Record<'_> {
    /// What is told instead of a message.
    pub(super) fn error(&self) -> Option<Code> {
        let error = self.raw().err;
        error.is_error().then(|| error.into())
    }

    /// What is said of an error, for people.
    pub(super) fn reason(&self) -> String {
        String::from_utf8_lossy(self.payload().unwrap_or_default()).into_owned()
    }

    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: librdkafka keeps it for the length of the callback, which `self` does not outlive.
        unsafe { self.message.as_ref() }
    }

    /// A part of the message, as librdkafka points to it.
    fn slice(&self, at: *const c_void, len: usize) -> Option<&[u8]> {
        // SAFETY: that many bytes are there, for as long as the message is.
        (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast(), len) })
    }
}

impl Readable for Record<'_> {
    fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// Of the end of a partition, where that is.
    fn offset(&self) -> i64 {
        self.raw().offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives, and `kind` is there to be written.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        (at != -1 && kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(at)
    }

    fn key(&self) -> Option<&[u8]> {
        self.slice(self.raw().key, self.raw().key_len)
    }

    fn payload(&self) -> Option<&[u8]> {
        self.slice(self.raw().payload, self.raw().len)
    }

    fn copy_headers(&self, block: &mut BytesMut) -> usize {
        let mut list = ptr::null_mut();
        // SAFETY: the message lives, and keeps the list that it is asked for.
        if unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &raw mut list) }.is_error() {
            return 0;
        }
        let mut unreadable = 0;
        for index in 0.. {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list lives as long as the message, and all three are there to be written.
            let error =
                unsafe { sys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut len) };
            if error.is_error() || name.is_null() {
                break;
            }
            // SAFETY: librdkafka ends names with a zero.
            match unsafe { CStr::from_ptr(name) }.to_str() {
                Ok(name) => headers::append(block, name, self.slice(value, len)),
                Err(_) => unreadable += 1,
            }
        }
        unreadable
    }
}
