//! A Redis of somebody else: every key of a run begins with the run's name.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::wire::{Server, Wire};

/// Keys that are removed at once.
const TOGETHER: usize = 500;

#[derive(Clone)]
pub struct OwnRedis {
    uri: Url,
    pub server: Server,
    /// What its keys begin with.
    pub prefix: String,
}

impl OwnRedis {
    /// Of a URI as the program takes it; the error has no credential in it.
    pub fn of(uri: &str, name: &str) -> Result<Self, String> {
        let uri = Url::parse(uri).map_err(|error| format!("no URI: {error}"))?;
        if !["redis", "valkey"].contains(&uri.scheme()) {
            let why = "the checker looks into it without TLS; redis://USER:PASSWORD@HOST:PORT/DATABASE is needed";
            return Err(format!("scheme `{}`: {why}", uri.scheme()));
        }
        if uri.query_pairs().any(|(name, _)| name == "clustered") {
            return Err("a cluster: one server is needed, since a cluster's nodes cannot be behind a proxy".to_owned());
        }
        let text = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let host = uri.host_str().filter(|host| !host.is_empty()).ok_or("a host is needed, by name or address")?;
        let database = uri.path().trim_start_matches('/');
        let server = Server {
            host: host.to_owned(),
            port: uri.port().unwrap_or(6379),
            user: Some(text(uri.username())),
            password: uri.password().map(text),
            database: (!database.is_empty())
                .then(|| database.parse().map_err(|_| format!("`{database}` is no number of a database")))
                .transpose()?,
        };
        Ok(Self { uri, server, prefix: format!("{name}/") })
    }

    /// As writers are told, through another port of the loopback.
    pub fn uri(&self, through: u16) -> String {
        let mut uri = self.uri.clone();
        uri.set_host(Some("127.0.0.1")).expect("a URI with a host");
        uri.set_port(Some(through)).expect("a URI with a port");
        uri.into()
    }

    /// Whether it lets us in, and nothing of the run's name is there; what is wrong else.
    pub fn examine(&self) -> Result<(), String> {
        let mut wire =
            Wire::to(&self.server).map_err(|error| format!("{}:{}: {error}", self.server.host, self.server.port))?;
        wire.say(&["PING"])?;
        let about = wire.say(&["INFO", "cluster"])?.text();
        if about.contains("cluster_enabled:1") {
            return Err("a node of a cluster: one server is needed".to_owned());
        }
        let found = wire.keys(&self.prefix)?.len();
        if found > 0 {
            let prefix = &self.prefix;
            return Err(format!(
                "{found} keys begin with `{prefix}` already; delete them, or give another TORTURE_NAME"
            ));
        }
        Ok(())
    }

    /// Removes what a run has made.
    pub fn remove(&self) {
        let removed = Wire::to(&self.server).and_then(|mut wire| {
            for keys in wire.keys(&self.prefix)?.chunks(TOGETHER) {
                let command: Vec<&[u8]> = [&b"DEL"[..]].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
                wire.say(&command)?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            eprintln!("torture: keys that begin with `{}` are left: {error}", self.prefix);
        }
    }
}

#[test]
fn a_uri_says_where_and_how_and_what_cannot_be_looked_into_is_refused() {
    let own = OwnRedis::of("redis://u:p%40ss@cache.example:7000/3", "torture-1").unwrap();
    let Server { host, port, user, password, database } = &own.server;
    assert_eq!((&**host, *port, *database), ("cache.example", 7000, Some(3)));
    assert_eq!((user.as_deref(), password.as_deref()), (Some("u"), Some("p@ss")));
    assert_eq!(own.uri(7), "redis://u:p%40ss@127.0.0.1:7/3");
    for wrong in ["rediss://cache", "redis://cache/x", "redis://cache?clustered=true", "cache"] {
        assert!(OwnRedis::of(wrong, "torture-1").is_err(), "{wrong}");
    }
}
