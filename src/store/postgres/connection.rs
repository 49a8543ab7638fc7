//! Connections to one server: made with the credentials as they are now, kept while they are sound.
//!
//! Whoever takes a connection has it alone, and gives it back only when nothing of its work is left
//! unfinished on it. Any other is closed, and the server rolls back what was not committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, ToStatement};

use super::failure;
use super::servers::{self, of_the_session};
use super::uri::{self, Address};
use crate::config::secret::{SecretRef, expose};
use crate::sink::SinkError;
use crate::store::options::{is_doubtful, unread};

/// How much longer than the server an answer is waited for, before the connection is given up.
const GRACE: Duration = Duration::from_secs(5);

/// What a session is set to. Rows that are acknowledged must not be lost with the server's memory, so a
/// commit that does not wait for its disk is not left at that.
const SESSION: &str = "SET TimeZone = 'UTC'; SET client_min_messages = warning; \
                       SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'";

/// How long a statement waits for a lock, where `options` does not say.
const LOCK: &str = "SET lock_timeout = '30s'; ";

/// Connections of one store; `S` is what the store remembers of each.
pub(in crate::store) struct Pool<S> {
    /// `online store`, for messages.
    store: &'static str,
    uri: SecretRef,
    idle: Mutex<Vec<Connection<S>>>,
    /// Whether a connection is sound after a verdict on a row.
    outlive_verdicts: bool,
    /// Whether it was said that nobody checks whose server this is.
    said: AtomicBool,
}

/// A connection, closed when dropped.
pub(in crate::store) struct Connection<S> {
    pub(in crate::store) client: Client,
    pub(in crate::store) address: Arc<Address>,
    pub(in crate::store) state: S,
    driver: JoinHandle<()>,
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl<S: Default> Pool<S> {
    pub(in crate::store) fn new(store: &'static str, uri: SecretRef) -> Self {
        Self { store, uri, idle: Mutex::default(), outlive_verdicts: false, said: AtomicBool::new(false) }
    }

    /// The same, of connections on which each statement is a transaction of its own: one that the server refuses for a
    /// row leaves nothing unfinished.
    pub(in crate::store) fn of_single_statements(store: &'static str, uri: SecretRef) -> Self {
        Self { outlive_verdicts: true, ..Self::new(store, uri) }
    }

    /// Does something on a connection, which is kept only where it can be used again as it is.
    pub(in crate::store) async fn on_a_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection<S>) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let mut connection = self.take().await?;
        let done = work(&mut connection).await;
        if let Err(error @ SinkError::Denied { .. }) = &done {
            self.doubt(error);
        }
        let is_sound = match &done {
            Ok(_) => true,
            Err(SinkError::Poisoned(_)) => self.outlive_verdicts,
            Err(_) => false,
        };
        if is_sound {
            self.give_back(connection);
        }
        done
    }

    /// A connection that was given back, or a new one.
    pub(in crate::store) async fn take(&self) -> Result<Connection<S>, SinkError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.client.is_closed() => {}
                Some(connection) => return Ok(connection),
                None => return self.connect().await,
            }
        }
    }

    /// Keeps a connection for the next one who takes.
    pub(in crate::store) fn give_back(&self, connection: Connection<S>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn connect(&self) -> Result<Connection<S>, SinkError> {
        let connected = self.connect_as_told().await;
        connected.inspect_err(|error| self.doubt(error))
    }

    /// What does not work may work with the URI as it is by now.
    fn doubt(&self, error: &SinkError) {
        if is_doubtful(error) {
            self.uri.doubt();
        }
    }

    async fn connect_as_told(&self) -> Result<Connection<S>, SinkError> {
        let denied = |reason: String| SinkError::Denied { reason };
        let uri = self.uri.fetch().await.map_err(unread)?;
        let address = uri::parse(self.store, expose(&uri)).map_err(|error| denied(error.to_string()))?;
        let (client, driver) = servers::connect(&address).await?;
        let connection = Connection { client, address: Arc::new(address), state: S::default(), driver };
        let timeout = connection.address.statement_timeout.as_millis();
        let lock = if connection.address.has_lock_timeout { "" } else { LOCK };
        let session = format!("SET statement_timeout = {timeout}; {lock}{SESSION}");
        connection.run(&session).await.map_err(|error| of_the_session(&*connection.address, error))?;
        let server = &connection.address;
        if server.unverified
            && !self.said.load(Ordering::Relaxed)
            && connection.is_encrypted().await
            && !self.said.swap(true, Ordering::Relaxed)
        {
            let store = self.store;
            tracing::info!(
                store,
                %server,
                "encrypted, but whose server this is was not checked; `sslmode=verify-full` does"
            );
        }
        Ok(connection)
    }
}

impl<S> Connection<S> {
    /// Whether the server says so; with `sslmode=prefer` it need not be.
    async fn is_encrypted(&self) -> bool {
        const ASK: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let row = self.within(self.client.query_one(ASK, &[])).await;
        row.is_ok_and(|row| row.try_get(0).unwrap_or(false))
    }

    /// Waits for an answer a little longer than the server is given for it. One that does not come
    /// leaves the outcome unknown; the connection must not be given back then.
    pub(in crate::store) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SinkError> {
        self.within_time(self.address.statement_timeout, answer).await
    }

    /// The same for what may take another time.
    pub(in crate::store) async fn within_time<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SinkError> {
        self.answer_in(time, answer).await?.map_err(|error| self.failure(&error))
    }

    /// The same, with the server's error as it is.
    pub(in crate::store) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Result<T, SinkError> {
        self.answer_in(self.address.statement_timeout, answer).await
    }

    /// The same for what may take another time.
    pub(in crate::store) async fn answer_in<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, SinkError> {
        let bound = time + GRACE;
        timeout(bound, answer).await.map_err(|_| SinkError::Transient {
            reason: format!("{}: no answer within {} s", self.address, bound.as_secs()),
        })
    }

    /// Rows of a statement, which is prepared first where it is text.
    pub(in crate::store) async fn query<Q: ?Sized + ToStatement>(
        &self,
        statement: &Q,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SinkError> {
        self.within(self.client.query(statement, parameters)).await
    }

    /// How many rows a statement changed.
    pub(in crate::store) async fn execute<Q: ?Sized + ToStatement>(
        &self,
        statement: &Q,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, SinkError> {
        self.within(self.client.execute(statement, parameters)).await
    }

    /// Runs statements without parameters, one after the other.
    pub(in crate::store) async fn run(&self, statements: &str) -> Result<(), SinkError> {
        self.within(self.client.batch_execute(statements)).await
    }

    pub(in crate::store) fn failure(&self, error: &Error) -> SinkError {
        failure::of(&self.address.to_string(), error)
    }
}
