//! One server: the connections to it that are free, and what each is opened with.
//!
//! A connection is used by one write at a time, so that what is sent over it is known to have been
//! answered on it. What failed is dropped with everything that waits in it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::types::BytesFrame;
use tokio::time::timeout;

use super::answer::{Kind, Trouble};
use super::layout::layout_key;
use super::request::command;
use super::uri::Address;
use super::wire::{CONNECT, Failure, Wire};
use super::{FIELDS_EXPIRE, SCRIPT};
use crate::config::secret::expose;

/// What every connection of one deployment is opened with.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: Address,
    pub(super) prefix: Arc<str>,
    opened: AtomicU64,
}

impl Link {
    pub(super) fn new(address: Address, prefix: Arc<str>) -> Self {
        Self { address, prefix, opened: AtomicU64::new(0) }
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

/// A connection that is in.
pub(super) struct Session {
    wire: Wire,
    /// The server, for messages.
    pub(super) name: String,
    pub(super) host: String,
    /// Whether it has been used before: the server may have closed it since.
    pub(super) reused: bool,
    fields_expire: bool,
    digest: Option<Bytes>,
}

impl Node {
    pub(super) fn new(link: &Arc<Link>, host: &str, port: u16) -> Self {
        let name = link.address.name_of(host, port);
        Self { link: link.clone(), host: host.to_owned(), port, name, free: Mutex::default() }
    }

    /// A connection of one's own: a free one, else a new one.
    pub(super) async fn session(&self) -> Result<Session, Trouble> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(session) => Ok(Session { reused: true, ..session }),
            None => self.open().await,
        }
    }

    /// A new connection.
    pub(super) async fn open(&self) -> Result<Session, Trouble> {
        let opening = timeout(CONNECT, Session::open(self));
        let secure = self.link.address.security.is_some();
        let session = opening.await.unwrap_or_else(|_| {
            // A server without TLS waits for the end of what it takes for a command.
            let hint = if secure { "; is it a port without TLS?" } else { "" };
            let why = Failure::Unreachable(format!("none within {} s{hint}", CONNECT.as_secs()));
            Err(Trouble::of_connection(&self.name, &why))
        });
        let session = session.map_err(|mut trouble| {
            if trouble.kind == Kind::Ended && !secure {
                trouble.reason.push_str("; if the server wants TLS, write `rediss://`");
            }
            trouble
        })?;
        self.link.opened.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    /// Whether a connection is free.
    pub(super) fn has_free(&self) -> bool {
        !self.free.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes back a connection on which every answer has been read.
    pub(super) fn give_back(&self, session: Session) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

impl Session {
    async fn open(node: &Node) -> Result<Self, Trouble> {
        let address = &node.link.address;
        let wire = Wire::connect(&node.host, node.port, address.security.as_ref()).await;
        let wire = wire.map_err(|failure| Trouble::of_connection(&node.name, &failure))?;
        let mut session = Self {
            wire,
            name: node.name.clone(),
            host: node.host.clone(),
            reused: false,
            fields_expire: false,
            digest: None,
        };
        if let Some(password) = &address.password {
            let password = expose(password).as_bytes();
            match &address.user {
                Some(user) => session.ask(&[b"AUTH", user.as_bytes(), password]).await?,
                None => session.ask(&[b"AUTH", password]).await?,
            };
        }
        if address.database != 0 {
            session.ask(&[b"SELECT", address.database.to_string().as_bytes()]).await?;
        }
        session.fields_expire =
            session.can_expire_fields(&layout_key(&node.link.prefix)).await? && address.field_expiry;
        Ok(session)
    }

    /// Whether fields can have an expiry of their own, and this user may set it: by trying. The key is
    /// no hash, so an answer of any other kind is a yes that changes nothing.
    async fn can_expire_fields(&mut self, layout_key: &str) -> Result<bool, Trouble> {
        let parts: [&[u8]; 6] = [b"HPEXPIREAT", layout_key.as_bytes(), b"4102444800000", b"FIELDS", b"1", b"-"];
        match self.exchange(&parts).await? {
            BytesFrame::Error(error) => match error.split_whitespace().next().unwrap_or_default() {
                "NOPERM" => Ok(false),
                "ERR" => Ok(!error.contains("unknown command")),
                "NOAUTH" | "LOADING" | "BUSY" | "MASTERDOWN" => Err(Trouble::of_answer(&self.name, &error)),
                _ => Ok(true),
            },
            _ => Ok(true),
        }
    }

    /// The digest of the script as this server keeps it.
    pub(super) async fn script(&mut self) -> Result<Bytes, Trouble> {
        if let Some(digest) = &self.digest {
            return Ok(digest.clone());
        }
        let text =
            if self.fields_expire { SCRIPT.replace(FIELDS_EXPIRE.0, FIELDS_EXPIRE.1) } else { SCRIPT.to_owned() };
        match self.ask(&[b"SCRIPT", b"LOAD", text.as_bytes()]).await? {
            BytesFrame::BulkString(digest) => {
                self.digest = Some(digest.clone());
                Ok(digest)
            }
            _ => Err(Trouble::unexpected(&self.name, "no digest")),
        }
    }

    /// Forgets that the server has the script.
    pub(super) fn forget_script(&mut self) {
        self.digest = None;
    }

    /// Sends one command; an error that is answered is a trouble.
    pub(super) async fn ask(&mut self, parts: &[&[u8]]) -> Result<BytesFrame, Trouble> {
        match self.exchange(parts).await? {
            BytesFrame::Error(error) => Err(Trouble::of_answer(&self.name, &error)),
            frame => Ok(frame),
        }
    }

    /// Sends one command and returns what is answered, errors included.
    pub(super) async fn exchange(&mut self, parts: &[&[u8]]) -> Result<BytesFrame, Trouble> {
        let mut bytes = BytesMut::new();
        command(parts, &mut bytes);
        self.send(&bytes).await?;
        self.receive().await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.wire.send(bytes).await.map_err(|failure| Trouble::of_connection(&self.name, &failure))
    }

    pub(super) async fn receive(&mut self) -> Result<BytesFrame, Trouble> {
        self.wire.receive().await.map_err(|failure| Trouble::of_connection(&self.name, &failure))
    }
}
