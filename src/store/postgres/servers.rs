//! The servers that a URI names: each address of each is tried, one after another, for a time of its own.
//!
//! The client would try them too, but it bounds only how long it waits for a socket: a server that takes a connection and
//! says nothing holds it up for ever. And one bound for all of them is used up by the first ones that are silent, so that
//! a primary behind them is never come to.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure;
use super::uri::Address;
use crate::sink::SinkError;

/// How long a server that was reached may take to let in, beyond the time for reaching it.
const LETS_IN: Duration = Duration::from_secs(5);

/// One of the servers of a URI.
struct Server {
    /// A name, or the folder of a socket; `None` where only an address is given.
    host: Option<Host>,
    /// `hostaddr`, which takes the place of what the name resolves to.
    address: Option<IpAddr>,
    port: u16,
}

/// Why one address is not the one.
enum Failed {
    Unresolved(io::Error),
    Silent(Duration),
    Refused(Error),
}

/// Connects to the first of the servers that lets in, and takes writes where that is asked for.
///
/// The error tells of every address that was tried. It is a denial where that of any is.
pub(super) async fn connect(address: &Address) -> Result<(Client, JoinHandle<()>), SinkError> {
    let denied = |error: crate::tls::TlsError| SinkError::Denied { reason: format!("{address}: {error}") };
    let tls = address.tls.as_ref().map(|tls| tls.client_config().map(MakeRustlsConnect::new));
    let tls = tls.transpose().map_err(denied)?;
    let config = &address.config;
    let bound = config.get_connect_timeout().copied().unwrap_or_default() + LETS_IN;
    let mut tried = Vec::new();
    for server in servers(config) {
        let found = timeout(bound, server.addresses()).await;
        let addresses = match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(addresses) => addresses,
            Err(error) => {
                tried.push((server.shown(None), Failed::Unresolved(error)));
                continue;
            }
        };
        for at in addresses {
            let failed = match timeout(bound, open(&server.alone(config, at), tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => Failed::Refused(error),
                Err(_) => Failed::Silent(bound),
            };
            tried.push((server.shown(at), failed));
        }
    }
    Err(together(address, &tried))
}

/// The servers in the order in which they are tried.
fn servers(config: &Config) -> Vec<Server> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let server = |at: usize| Server {
        host: hosts.get(at).cloned(),
        address: addresses.get(at).copied(),
        port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
    };
    let mut servers: Vec<Server> = (0..hosts.len().max(addresses.len())).map(server).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut servers);
    }
    servers
}

impl Server {
    /// Where it is; `None` is a socket. There is at least one.
    async fn addresses(&self) -> io::Result<Vec<Option<IpAddr>>> {
        let name = match (&self.host, self.address) {
            (Some(Host::Tcp(name)), None) => name,
            (_, address) => return Ok(vec![address]),
        };
        let found = lookup_host((name.as_str(), self.port)).await?;
        let mut addresses: Vec<Option<IpAddr>> = Vec::new();
        for address in found.map(|found| Some(found.ip())) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    /// The same configuration, of this server at this address alone. A certificate is held against the name.
    fn alone(&self, config: &Config, address: Option<IpAddr>) -> Config {
        let mut alone = Config::new();
        match &self.host {
            Some(Host::Tcp(name)) => alone.host(name),
            Some(Host::Unix(folder)) => alone.host_path(folder),
            None => &mut alone,
        };
        if let Some(address) = address {
            alone.hostaddr(address);
        }
        alone
            .port(self.port)
            .ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .target_session_attrs(config.get_target_session_attrs())
            .channel_binding(config.get_channel_binding())
            .keepalives(config.get_keepalives())
            .keepalives_idle(config.get_keepalives_idle());
        if let Some(user) = config.get_user() {
            alone.user(user);
        }
        if let Some(password) = config.get_password() {
            alone.password(password);
        }
        if let Some(database) = config.get_dbname() {
            alone.dbname(database);
        }
        if let Some(options) = config.get_options() {
            alone.options(options);
        }
        if let Some(name) = config.get_application_name() {
            alone.application_name(name);
        }
        if let Some(time) = config.get_connect_timeout() {
            alone.connect_timeout(*time);
        }
        if let Some(time) = config.get_tcp_user_timeout() {
            alone.tcp_user_timeout(*time);
        }
        if let Some(time) = config.get_keepalives_interval() {
            alone.keepalives_interval(time);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            alone.keepalives_retries(retries);
        }
        alone
    }

    /// For messages: `name (address):port`, with as much of it as there is.
    fn shown(&self, address: Option<IpAddr>) -> String {
        let bare = address.map(|address| if address.is_ipv6() { format!("[{address}]") } else { address.to_string() });
        let host = match (&self.host, bare) {
            (Some(Host::Unix(folder)), _) => folder.display().to_string(),
            (Some(Host::Tcp(name)), Some(bare)) if name.parse().ok() != address => format!("{name} ({bare})"),
            (Some(Host::Tcp(name)), None) => name.clone(),
            (_, bare) => bare.unwrap_or_default(),
        };
        format!("{host}:{}", self.port)
    }
}

impl Failed {
    fn of(&self, server: &dyn fmt::Display) -> SinkError {
        match self {
            Self::Unresolved(error) => SinkError::Transient { reason: format!("{server}: no address: {error}") },
            Self::Silent(bound) => {
                SinkError::Transient { reason: format!("{server}: no connection within {} s", bound.as_secs()) }
            }
            Self::Refused(error) => of_the_session(server, failure::of(&server.to_string(), error)),
        }
    }
}

/// What is said where no server was the one.
fn together(address: &Address, tried: &[(String, Failed)]) -> SinkError {
    if let [(_, failed)] = tried {
        return failed.of(address);
    }
    let (mut reasons, mut denied) = (Vec::with_capacity(tried.len()), false);
    for (server, failed) in tried {
        match failed.of(server) {
            SinkError::Denied { reason } => {
                denied = true;
                reasons.push(reason);
            }
            SinkError::Transient { reason } => reasons.push(reason),
            other => reasons.push(other.to_string()),
        }
    }
    let reason = format!("{address}: {}", reasons.join("; "));
    if denied { SinkError::Denied { reason } } else { SinkError::Transient { reason } }
}

/// A value that the server refuses before any row was sent is one of the session's settings.
pub(super) fn of_the_session(server: &dyn fmt::Display, error: SinkError) -> SinkError {
    match error {
        SinkError::Poisoned(refusal) => {
            let code = refusal.code.as_deref().unwrap_or_default().to_owned();
            let what = failure::not_of_a_row(refusal);
            let reason = format!("{server}: the session's settings are refused: {what} (SQLSTATE {code})");
            SinkError::Denied { reason }
        }
        error => error,
    }
}

/// Connects, and lets the connection run until it is aborted or ends.
async fn open(config: &Config, tls: Option<MakeRustlsConnect>) -> Result<(Client, JoinHandle<()>), Error> {
    match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            Ok((client, tokio::spawn(run(connection))))
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls).await?;
            Ok((client, tokio::spawn(run(connection))))
        }
    }
}

/// Whoever waits for an answer hears of the error too, so it is not said twice.
async fn run(connection: impl Future<Output = Result<(), Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to Postgres ended");
    }
}

#[cfg(test)]
mod tests {
    use super::super::uri;
    use super::*;

    fn config(uri: &str) -> Config {
        uri::parse("online store", uri).expect(uri).config
    }

    #[test]
    fn a_server_alone_has_all_that_was_said_of_it() {
        for uri in [
            "postgres://ann:secret@one:7000/db?hostaddr=10.0.0.1&options=-c%20work_mem%3D1MB&application_name=x&\
             connect_timeout=3&tcp_user_timeout=4000&keepalives_idle=5&keepalives_interval=6&keepalives_count=7&\
             channel_binding=require&sslmode=require&target_session_attrs=any",
            "postgres://ann@10.0.0.1/?hostaddr=10.0.0.1&keepalives=0&sslmode=disable&channel_binding=disable",
            "postgres:///db?user=ann&host=/run/pg&port=5433",
        ] {
            let mut config = config(uri);
            if config.get_ports().is_empty() {
                config.port(5432);
            }
            let [server] = &servers(&config)[..] else { panic!("one server in {uri}") };
            assert_eq!(server.alone(&config, server.address), config, "{uri}");
        }
    }

    #[tokio::test]
    async fn every_server_has_its_port_and_every_address_of_a_name_is_tried() {
        let config = config("postgres://ann@10.0.0.1:7001,[::1]:7002,%2Frun%2Fpg:7003/db");
        let servers = servers(&config);
        let mut shown = Vec::new();
        for server in &servers {
            for at in server.addresses().await.expect("nothing to look up") {
                let alone = server.alone(&config, at);
                assert_eq!((alone.get_hosts().len(), alone.get_ports()), (1, &[server.port][..]));
                shown.push(server.shown(at));
            }
        }
        assert_eq!(shown, ["10.0.0.1:7001", "[::1]:7002", "/run/pg:7003"]);
        let named = Server { host: Some(Host::Tcp("db".to_owned())), address: None, port: 1 };
        assert_eq!(
            (named.shown("10.0.0.9".parse().ok()), named.shown(None)),
            ("db (10.0.0.9):1".into(), "db:1".into())
        );
    }
}
