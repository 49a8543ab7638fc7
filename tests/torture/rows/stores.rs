//! The stores of a run: servers, each behind a proxy where it can be, and a disk with everything that is a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use chalk_writer::config::StoreKind;
use serde_json::{Value, json};

use super::deal::Hand;
use super::place::{Keys, Place};
use crate::keepers::Keeper;
use crate::own::{Own, OwnPostgres, OwnRedis, Sql};
use crate::postgres::Version;
use crate::proxy::Proxy;
use crate::stores::{Cluster, Disk, OwnServer, Postgres, Redis, Store, Throttling};
use crate::wire::Server;

pub struct Stores {
    servers: Vec<Box<dyn Store>>,
    /// Servers of somebody else, which are left as they were.
    own: Option<&'static Own>,
    /// What the second environment's connections go through, where there is one.
    spare: Option<Proxy>,
    /// Where no disk can be mounted there is a folder, and what the system said.
    pub disk: Result<Disk, nix::Error>,
    /// Of each environment what its stores are, and as the configuration names them.
    places: [BTreeMap<StoreKind, (Place, Value)>; 2],
    files: Vec<PathBuf>,
    locks: Vec<rusqlite::Connection>,
}

/// A Postgres of a run: as the checker asks it, and as writers are told, with a schema of their own or not.
struct OnePostgres {
    sql: Sql,
    uri: String,
    spare: Proxy,
    spare_uri: String,
}

impl Stores {
    pub fn start(folder: &Path, hand: &Hand) -> Self {
        let mut servers: Vec<Box<dyn Store>> = Vec::new();
        let postgres = postgres(hand, &mut servers);
        let redis = redis(hand, folder, &mut servers);
        let root = folder.join("stores");
        let disk = Disk::mount(root.clone());
        let mut places = [const { BTreeMap::new() }; 2];
        for (kind, keeper) in &hand.stores {
            let place = match keeper {
                Keeper::Sqlite => {
                    let path = root.join(kind.field()).with_extension("sqlite");
                    let uri = format!("sqlite://{}", path.display());
                    (Place::Embedded(path), json!({"uri": uri}))
                }
                Keeper::Lake => {
                    let path = root.join(kind.field());
                    let uri = format!("file://{}", path.display());
                    (Place::Embedded(path), json!({"uri": uri}))
                }
                Keeper::Postgres => {
                    let OnePostgres { sql, uri, .. } = postgres.as_ref().expect("it is started");
                    (Place::Postgres { sql: sql.clone(), is_spare: false }, json!({"uri": uri}))
                }
                Keeper::Redis | Keeper::RedisTls | Keeper::Valkey | Keeper::Cluster => {
                    let (keys, uri) = redis.as_ref().expect("it is started");
                    let config = json!({"uri": uri, "cache_prefix": keys.prefix});
                    (Place::Redis(Rc::clone(keys)), config)
                }
            };
            places[0].insert(*kind, place);
        }
        if let Some(OnePostgres { sql, spare_uri, .. }) = &postgres {
            for kind in [StoreKind::Online, StoreKind::Offline] {
                let place = Place::Postgres { sql: sql.clone(), is_spare: true };
                places[1].insert(kind, (place, json!({"uri": spare_uri})));
            }
        }
        let files = places[0].values().filter_map(|(place, _)| match place {
            Place::Embedded(path) if path.extension().is_some() => Some(path.clone()),
            _ => None,
        });
        let files = files.collect();
        let spare = postgres.map(|postgres| postgres.spare);
        Self { servers, own: hand.own, spare, disk, places, files, locks: Vec::new() }
    }

    /// Of each environment the fields of its stores.
    pub fn fields(&self) -> [BTreeMap<&'static str, Value>; 2] {
        let fields = |places: &BTreeMap<StoreKind, (Place, Value)>| {
            places.iter().map(|(kind, (_, config))| (kind.field(), config.clone())).collect()
        };
        self.places.each_ref().map(fields)
    }

    /// Where a kind of store is, in each environment that has one.
    pub fn of(&self, kind: Option<StoreKind>) -> [Option<Place>; 2] {
        let Some(kind) = kind else { return [Some(Place::Bus), None] };
        self.places.each_ref().map(|places| Some(places.get(&kind)?.0.clone()))
    }

    /// Those of servers, with that of the second environment.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.servers.iter().filter_map(|server| server.proxy()).chain(&self.spare)
    }

    pub fn spare(&self) -> Option<&Proxy> {
        self.spare.as_ref()
    }

    /// Whether some server can be ended and started.
    pub fn can_restart(&self) -> bool {
        self.own.is_none() && !self.servers.is_empty()
    }

    /// None of them takes anything. Called again and again for as long as that is to last.
    pub fn stall(&mut self) {
        for server in &mut self.servers {
            server.stall();
        }
        if let Some(spare) = self.spare.as_ref().filter(|_| self.own.is_some()) {
            spare.stand_still();
        }
        for path in &self.files[self.locks.len()..] {
            // Not one that is not made yet: that is the writer's.
            let open = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE);
            let Ok(connection) = open else { break };
            connection.busy_timeout(Duration::from_millis(500)).unwrap();
            // A writer that was stopped in its transaction keeps the lock: then nobody can write anyway.
            if connection.execute_batch("BEGIN IMMEDIATE").is_err() {
                break;
            }
            self.locks.push(connection);
        }
    }

    pub fn go_on(&mut self) {
        self.locks.clear();
        for server in &mut self.servers {
            server.go_on();
        }
        if let Some(spare) = &self.spare {
            spare.be_there();
        }
    }

    /// Servers end without order; nothing else has one.
    pub fn vanish(&mut self) {
        self.locks.clear();
        self.servers.iter_mut().for_each(|server| server.vanish());
    }

    pub fn come_back(&mut self) {
        self.servers.iter_mut().for_each(|server| server.come_back());
    }

    /// Servers refuse what they are given; whether any does.
    pub fn throttle(&mut self, random: &mut fastrand::Rng) -> bool {
        let throttled: Vec<Throttling> = self.servers.iter_mut().map(|server| server.throttle(random)).collect();
        throttled.contains(&Throttling::Refuses)
    }

    pub fn let_pass(&mut self) {
        self.servers.iter_mut().for_each(|server| server.let_pass());
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        if let Some(own) = self.own {
            own.redis.iter().for_each(OwnRedis::remove);
            own.postgres.iter().for_each(OwnPostgres::remove);
        }
    }
}

/// The server of every role that has Postgres, and of the second environment; none where there is only somebody else's
/// Redis.
fn postgres(hand: &Hand, servers: &mut Vec<Box<dyn Store>>) -> Option<OnePostgres> {
    let Some(own) = hand.own else {
        // The one that has pgvector, which the writer's role may not make an extension of.
        let postgres = Postgres::start(Version::Newest);
        postgres.server().borrow().sql("CREATE EXTENSION vector");
        let (spare, sql) = (Proxy::of(postgres.server().borrow().port()), Sql::Started(postgres.server()));
        // The schema of a server that a run starts is the usual one.
        postgres.server().borrow().sql("CREATE SCHEMA spare AUTHORIZATION writer");
        let spare_uri = format!("{}?schema=spare", postgres.server().borrow().uri_through(spare.port()));
        let uri = postgres.uri();
        servers.push(Box::new(postgres));
        return Some(OnePostgres { sql, uri, spare, spare_uri });
    };
    let own = own.postgres.as_ref()?;
    let [schema, second] = own.schemas();
    let (first, spare) = (OwnServer::postgres(own, &schema), Proxy::before(&own.host, own.port));
    let spare_uri = own.uri(spare.port(), &second);
    let (uri, sql) = (first.uri(), Sql::Own(Rc::new(own.clone())));
    servers.push(Box::new(first));
    Some(OnePostgres { sql, uri, spare, spare_uri })
}

/// The server of features, where that is a Redis.
fn redis(hand: &Hand, folder: &Path, servers: &mut Vec<Box<dyn Store>>) -> Option<(Rc<Keys>, String)> {
    let keeper = hand.stores[&StoreKind::Online];
    let (found, prefix, store): (Vec<Server>, &str, Box<dyn Store>) = match (keeper, hand.own) {
        (Keeper::Redis, Some(own)) => {
            let own = own.redis.as_ref()?;
            (vec![own.server.clone()], &own.prefix, Box::new(OwnServer::redis(own)))
        }
        (Keeper::Cluster, _) => {
            let cluster = Cluster::start();
            (cluster.ports().map(Server::of_port).collect(), "", Box::new(cluster))
        }
        (Keeper::Redis | Keeper::RedisTls | Keeper::Valkey, _) => {
            let redis = match keeper {
                Keeper::RedisTls => Redis::start_with_tls(folder),
                Keeper::Valkey => Redis::start_valkey(folder),
                _ => Redis::start(folder),
            };
            (vec![redis.server()], "", Box::new(redis))
        }
        _ => return None,
    };
    let uri = store.uri();
    servers.push(store);
    Some((Rc::new(Keys { keeper, servers: found, prefix: prefix.to_owned() }), uri))
}
