//! One client of one server: made within a bound, checked for the layout, given up when in doubt.
//!
//! The client reconnects by itself and sends again what a reset interrupted, which is harmless for
//! what this store sends. A command that is not answered in time fails and marks the connection as
//! broken, so that a server that stands still never has more than one write's commands waiting. So does an answer
//! of a server that has become a replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, ServerConfig, TcpConfig};
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Value as Argument};
use tokio::time::{Instant, timeout_at};

use super::SCRIPT;
use super::answer::{Answer, failure, is_of_a_replica};
use super::layout::{LAYOUT, layout_key};
use super::uri::Address;
use crate::config::secret::expose;
use crate::sink::SinkError;

/// For making a connection, the exchange of credentials included.
const CONNECT: Duration = Duration::from_secs(5);

/// For one command; a call of the script takes a few milliseconds.
const COMMAND: Duration = Duration::from_secs(10);

/// A client that was connected once. Dropped, it closes its socket and forgets what waits in it.
pub(super) struct Connection {
    /// The server, without credentials, for messages.
    pub(super) name: String,
    client: Client,
    task: ConnectHandle,
    listener: tokio::task::JoinHandle<Result<(), Error>>,
    layout_key: String,
    /// Whether the layout's number was found or set since the client last connected.
    layout_checked: Arc<AtomicBool>,
    /// The script's digest, as the server gave it.
    script: tokio::sync::OnceCell<Bytes>,
    broken: AtomicBool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.abort();
        self.task.abort();
    }
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: &Address, prefix: &str) -> Result<Self, SinkError> {
        let config = Config {
            // The first failure is ours to see: wrong credentials must not look like a slow server.
            fail_fast: true,
            username: address.user.clone(),
            password: address.password.as_ref().map(|password| expose(password).to_owned()),
            server: ServerConfig::new_centralized(&address.host, address.port),
            database: Some(address.database).filter(|database| *database != 0),
            ..Config::default()
        };
        let performance = PerformanceConfig { default_command_timeout: COMMAND, ..PerformanceConfig::default() };
        let connection = ConnectionConfig {
            connection_timeout: CONNECT,
            internal_command_timeout: CONNECT,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let mut policy = ReconnectPolicy::new_exponential(0, 100, 2_000, 2);
        policy.set_jitter(200);
        let client = Client::new(config, Some(performance), Some(connection), Some(policy));
        let layout_checked = Arc::new(AtomicBool::new(false));
        let flag = layout_checked.clone();
        let listener = client.on_reconnect(move |_| {
            flag.store(false, Ordering::Release);
            std::future::ready(Ok(()))
        });
        let task = client.connect();
        let mut connection = Self {
            name: address.to_string(),
            client,
            task,
            listener,
            layout_key: layout_key(prefix),
            layout_checked,
            script: tokio::sync::OnceCell::new(),
            broken: AtomicBool::new(false),
        };
        connection.connected().await?;
        Ok(connection)
    }

    /// Waits for the first connection, or for why there is none.
    async fn connected(&mut self) -> Result<(), SinkError> {
        let deadline = Instant::now() + CONNECT;
        // The client tells of its first connection once, perhaps before anyone listens: so its state
        // is looked at again now and then.
        while !self.client.is_connected() {
            let glance = tokio::time::sleep(Duration::from_millis(50));
            let ended = timeout_at(deadline, async {
                tokio::select! {
                    ended = &mut self.task => Some(ended),
                    _ = self.client.wait_for_connect() => None,
                    () = glance => None,
                }
            });
            match ended.await {
                Ok(None) => {}
                Ok(Some(Ok(Err(error)))) => return Err(self.failure(&error)),
                Ok(Some(_)) => return Err(self.transient("the client ended")),
                Err(_) => return Err(self.transient(&format!("no connection within {} s", CONNECT.as_secs()))),
            }
        }
        Ok(())
    }

    /// Whether the next write should have a connection of its own.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Runs the script with the arguments that are built around its digest.
    pub(super) async fn write(&self, arguments: impl Fn(Bytes) -> Vec<Argument>) -> Result<Answer, SinkError> {
        if !self.layout_checked.load(Ordering::Acquire) {
            self.check_layout().await?;
        }
        let digest = self.script.get_or_try_init(|| self.load()).await?;
        let reply = match self.client.custom(command("EVALSHA"), arguments(digest.clone())).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                // The server was restarted, or someone flushed its scripts.
                self.load().await?;
                self.send("EVALSHA", arguments(digest.clone())).await?
            }
            reply => reply.map_err(|error| self.failure(&error))?,
        };
        let Argument::Array(reply) = reply else { return Err(unexpected("no list")) };
        Answer::read(&reply)
    }

    /// Fields and values of a hash.
    pub(super) async fn read(&self, key: Bytes) -> Result<Vec<(Bytes, Bytes)>, SinkError> {
        let layout = self.send("GET", vec![self.layout_key.clone().into()]).await?;
        self.accept(&layout)?;
        let reply = self.send("HGETALL", vec![Argument::Bytes(key)]).await?;
        let flat: Vec<Bytes> =
            if reply.is_null() { Vec::new() } else { reply.convert().map_err(|e| self.failure(&e))? };
        let mut flat = flat.into_iter();
        let mut fields = Vec::new();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            fields.push((field, value));
        }
        Ok(fields)
    }

    /// Finds this layout's number, or sets it where no layout has been used yet.
    async fn check_layout(&self) -> Result<(), SinkError> {
        let key = Argument::from(self.layout_key.clone());
        // What a reconnection undoes from here on is undone for good: the flag is set before the question.
        self.layout_checked.store(true, Ordering::Release);
        let checked = async {
            self.send("SET", vec![key.clone(), LAYOUT.into(), "NX".into()]).await?;
            let layout = self.send("GET", vec![key]).await?;
            self.accept(&layout)
        };
        checked.await.inspect_err(|_| self.layout_checked.store(false, Ordering::Release))
    }

    fn accept(&self, layout: &Argument) -> Result<(), SinkError> {
        match layout.as_bytes() {
            None => Ok(()),
            Some(number) if number == LAYOUT.as_bytes() => Ok(()),
            Some(other) => Err(SinkError::Denied {
                reason: format!(
                    "{}: `{}` is {}; this version reads and writes layout {LAYOUT}: use another prefix or database",
                    self.name,
                    self.layout_key,
                    String::from_utf8_lossy(&other[..other.len().min(40)]),
                ),
            }),
        }
    }

    async fn load(&self) -> Result<Bytes, SinkError> {
        let digest = self.send("SCRIPT", vec!["LOAD".into(), SCRIPT.into()]).await?;
        digest.into_bytes().ok_or_else(|| unexpected("no digest"))
    }

    async fn send(&self, name: &'static str, arguments: Vec<Argument>) -> Result<Argument, SinkError> {
        self.client.custom(command(name), arguments).await.map_err(|error| self.failure(&error))
    }

    /// What an error of the client or the server means, and whether the connection can still be used.
    fn failure(&self, error: &Error) -> SinkError {
        match error.kind() {
            ErrorKind::Auth => {
                self.broken.store(true, Ordering::Release);
                SinkError::Denied { reason: format!("{}: {}", self.name, error.details()) }
            }
            ErrorKind::Unknown | ErrorKind::InvalidArgument | ErrorKind::InvalidCommand => {
                self.refused(error.details())
            }
            _ => self.transient(&error.to_string()),
        }
    }

    /// What an error of the server means. After missing rights, and from a server that is no primary, the
    /// connection is given up: the next one asks anew for the URI, and where its host is.
    pub(super) fn refused(&self, error: &str) -> SinkError {
        let failure = failure(&self.name, error);
        let broken = matches!(failure, SinkError::Denied { .. }) || is_of_a_replica(error);
        self.broken.fetch_or(broken, Ordering::AcqRel);
        failure
    }

    fn transient(&self, what: &str) -> SinkError {
        self.broken.store(true, Ordering::Release);
        SinkError::Transient { reason: format!("{}: {what}", self.name) }
    }
}

/// `custom` lets commands follow one another without waiting for an answer, which the client's own
/// way of running scripts does not.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

/// An answer that neither the script nor the commands used here ever give.
pub(super) fn unexpected(what: &str) -> SinkError {
    SinkError::Transient { reason: format!("Redis gave an answer that cannot be understood: {what}") }
}
