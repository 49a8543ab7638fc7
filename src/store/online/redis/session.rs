//! One connection: a client of the library that ends with its socket.
//!
//! The library (fred 10.1.0, and `Cargo.toml` holds it there) also follows clusters, and makes connections again by itself; neither is used. In
//! a cluster it sends a command that was answered with ASK to the old owner again and soon ends, and it serves
//! no node while one is away. And a command that it sends once more by itself may be answered by a server that
//! lost what was written before. So a client is of one server and has no policy of reconnection: what is
//! answered is answered on this connection, and when it ends everything that waits in it fails.
//!
//! Of clusters with a node away its issues tell too (aembke/fred.rs 59, 145 and 232); of ASK, and of the
//! answers that it drops in the older protocol (below), we found none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector,
};
use fred::types::{ClusterHash, CustomCommand, RespVersion, Value};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::answer::Trouble;
use super::layout::layout_key;
use super::link::Link;
use super::script::{FIELDS_EXPIRE, SCRIPT};
use super::uri::Address;
use crate::config::secret::expose;
use crate::tls::TlsError;

/// For making a connection, the exchange of credentials included.
const CONNECT: Duration = Duration::from_secs(5);

/// For one answer; a call of the script takes a few milliseconds.
const COMMAND: Duration = Duration::from_secs(10);

/// A connection that is in. Dropped, it closes its socket and forgets what waits in it.
pub(super) struct Session {
    client: Client,
    task: AbortHandle,
    ended: Shared<BoxFuture<'static, ()>>,
    /// The server, for messages.
    pub(super) name: String,
    pub(super) host: String,
    /// Whether it has been used before: the server may have closed it since.
    pub(super) reused: bool,
    fields_expire: bool,
    digest: Option<Bytes>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    pub(super) async fn open(link: &Link, host: &str, port: u16) -> Result<Self, Trouble> {
        let name = link.address.name_of(host, port);
        let client = client(&link.address, host, port);
        let client = client.map_err(|error| Trouble::denied(format!("{name}: {error}")))?;
        let secure = link.address.security.is_some();
        let none = |error: &Error| Trouble::no_connection(&name, error, secure);
        let late = |_| Error::new(ErrorKind::Timeout, format!("none within {} s", CONNECT.as_secs()));
        let task = timeout(CONNECT, client.init()).await.map_err(late).flatten().map_err(|error| none(&error))?;
        let mut session = Self {
            client,
            task: task.abort_handle(),
            ended: task.map(|_| ()).boxed().shared(),
            name: name.clone(),
            host: host.to_owned(),
            reused: false,
            fields_expire: false,
            digest: None,
        };
        // The first answer of all: the library takes a socket that was closed at once for a connection.
        let can = session.can_expire_fields(&layout_key(&link.prefix)).await.map_err(|error| none(&error))?;
        session.fields_expire = can && link.address.field_expiry;
        session.warn_of_eviction(link).await;
        Ok(session)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Says once where the server removes keys when its memory is short. Who may not ask is not told.
    async fn warn_of_eviction(&self, link: &Link) {
        if link.said_evicts.load(Ordering::Relaxed) {
            return;
        }
        let Ok(info) = self.send(false, "INFO", vec!["memory".into()]).await else { return };
        let info = info.into_string().unwrap_or_default();
        let policy =
            info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).unwrap_or("noeviction").trim();
        if policy != "noeviction" && !link.said_evicts.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                server = self.name,
                policy,
                "this server removes entities when its memory is short (`maxmemory-policy`), without a word; it should \
                 be `noeviction`"
            );
        }
    }

    /// Whether fields can have an expiry of their own, and this user may set it: by trying. The key is
    /// no hash, so an answer of any other kind is a yes that changes nothing.
    async fn can_expire_fields(&self, layout_key: &str) -> Result<bool, Error> {
        let arguments = [layout_key, "4102444800000", "FIELDS", "1", "-"].map(Value::from);
        let Err(error) = self.send(false, "HPEXPIREAT", arguments.into()).await else { return Ok(true) };
        if Trouble::is_of_connection(&error) {
            return Err(error);
        }
        match error.details().split_whitespace().next().unwrap_or_default() {
            "NOPERM" => Ok(false),
            "ERR" => Ok(!error.details().contains("unknown command")),
            "NOAUTH" | "LOADING" | "BUSY" | "MASTERDOWN" => Err(error),
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
        let digest = self.ask("SCRIPT", vec!["LOAD".into(), text.into()]).await?;
        let digest = digest.into_bytes().ok_or_else(|| Trouble::unexpected(&self.name, "no digest"))?;
        self.digest = Some(digest.clone());
        Ok(digest)
    }

    /// Forgets that the server has the script.
    pub(super) fn forget_script(&mut self) {
        self.digest = None;
    }

    /// Sends one command; any error is a trouble.
    pub(super) async fn ask(&self, name: &'static str, arguments: Vec<Value>) -> Result<Value, Trouble> {
        self.send(false, name, arguments).await.map_err(|error| Trouble::of(&self.name, &error))
    }

    /// Sends one command, `asking` where the node does not own its slot yet. Commands that are sent before
    /// this one is answered follow it without waiting.
    pub(super) async fn send(&self, asking: bool, name: &'static str, arguments: Vec<Value>) -> Result<Value, Error> {
        if !asking {
            return self.until_end(self.client.custom(command(name), arguments)).await;
        }
        // A pipeline, because ASKING is for the next command alone.
        let both = self.client.pipeline();
        let _: Value = both.custom(command("ASKING"), Vec::<Value>::new()).await?;
        let _: Value = both.custom(command(name), arguments).await?;
        self.until_end(async { both.try_all().await.pop().unwrap_or_else(|| Err(end())) }).await
    }

    /// A command that comes to the client when its connection has just ended would never be answered.
    async fn until_end(&self, answer: impl Future<Output = Result<Value, Error>>) -> Result<Value, Error> {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = self.ended.clone() => Err(end()),
        }
    }
}

fn client(address: &Address, host: &str, port: u16) -> Result<Client, TlsError> {
    let server_name = address.security.as_ref().and_then(|security| security.server_name.clone());
    let tls = address.security.as_ref().map(|security| security.tls.client_config()).transpose()?;
    let config = Config {
        username: address.user.clone(),
        password: address.password.as_ref().map(|password| expose(password).to_owned()),
        server: ServerConfig::Centralized { server: Server::new_with_tls(host.to_owned(), port, server_name) },
        database: Some(address.database).filter(|database| *database != 0),
        // In the older protocol the library takes a hash of two fields of which one is `subscribe` for news of
        // a subscription, and drops it.
        version: RespVersion::RESP3,
        tls: tls.map(|config| TlsConfig::from(TlsConnector::from(config))),
        ..Config::default()
    };
    let performance = PerformanceConfig { default_command_timeout: COMMAND, ..PerformanceConfig::default() };
    let connection = ConnectionConfig {
        connection_timeout: CONNECT,
        internal_command_timeout: CONNECT,
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    };
    Ok(Client::new(config, Some(performance), Some(connection), None))
}

/// `custom` lets commands follow one another without waiting for an answer, which the library's own
/// way of running scripts does not.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

fn end() -> Error {
    Error::new(ErrorKind::IO, "the connection ended")
}
