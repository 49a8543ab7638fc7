//! A server of somebody else behind a proxy of ours: what happens to it happens to our connections alone.

use super::{Store, Trouble};
use crate::keepers::Keeper;
use crate::own::{OwnPostgres, OwnRedis};
use crate::proxy::Proxy;

pub struct OwnServer {
    keeper: Keeper,
    uri: String,
    proxy: Proxy,
}

impl OwnServer {
    pub fn redis(own: &OwnRedis) -> Self {
        let proxy = Proxy::before(&own.server.host, own.server.port);
        Self { keeper: Keeper::Redis, uri: own.uri(proxy.port()), proxy }
    }

    /// In one of its schemas.
    pub fn postgres(own: &OwnPostgres, schema: &str) -> Self {
        let proxy = Proxy::before(&own.host, own.port);
        Self { keeper: Keeper::Postgres, uri: own.uri(proxy.port(), schema), proxy }
    }
}

impl Store for OwnServer {
    fn name(&self) -> &'static str {
        self.keeper.name()
    }

    fn uri(&self) -> String {
        self.uri.clone()
    }

    fn stall(&mut self) {
        self.proxy.stand_still();
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.proxy.be_there();
    }

    fn vanish(&mut self) {
        panic!("it is not ours to end");
    }

    fn come_back(&mut self) {
        panic!("it is not ours to start");
    }

    fn begin_trouble(&mut self, _which: Trouble, _random: &mut fastrand::Rng) -> bool {
        false
    }

    fn end_trouble(&mut self) -> &'static str {
        "none"
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }
}
