//! One server: the connections to it that are free, and what each is opened with.
//!
//! A connection is used by one write at a time, so that what is sent over it is known to have been
//! answered on it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer::Trouble;
use super::session::Session;
use super::uri::Address;

/// What every connection of one deployment is opened with.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Address,
    pub(super) prefix: Arc<str>,
    opened: AtomicU64,
    /// Whether it was said that the server evicts.
    pub(super) said_evicts: AtomicBool,
}

impl Link {
    pub(super) fn new(address: Address, prefix: Arc<str>) -> Self {
        Self { address, prefix, opened: AtomicU64::new(0), said_evicts: AtomicBool::new(false) }
    }

    /// Connections opened so far. Another number than before: a server may have been started anew, and empty.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }
}

/// One server.
pub(super) struct Node {
    link: Arc<Link>,
    pub(super) host: String,
    pub(super) port: u16,
    /// For messages.
    pub(super) name: String,
    free: Mutex<Vec<Session>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Node {
    pub(super) fn new(link: &Arc<Link>, host: &str, port: u16) -> Self {
        let name = link.address.name_of(host, port);
        Self { link: link.clone(), host: host.to_owned(), port, name, free: Mutex::default() }
    }

    /// A connection of one's own: a free one, else a new one.
    pub(super) async fn session(&self) -> Result<Session, Trouble> {
        let free = self.free().pop();
        match free {
            Some(mut session) => {
                session.reused = true;
                Ok(session)
            }
            None => self.open().await,
        }
    }

    /// A new connection.
    pub(super) async fn open(&self) -> Result<Session, Trouble> {
        let session = Session::open(&self.link, &self.host, self.port).await?;
        self.link.opened.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    /// Whether a connection is free.
    pub(super) fn has_free(&self) -> bool {
        !self.free().is_empty()
    }

    /// Takes back a connection on which every answer has been read.
    pub(super) fn give_back(&self, session: Session) {
        self.free().push(session);
    }

    /// Free connections, without those that ended meanwhile.
    fn free(&self) -> MutexGuard<'_, Vec<Session>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.retain(|session| !session.has_ended());
        free
    }
}
