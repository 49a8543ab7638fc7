//! Who may in: TLS both ways, and an ACL user with the rights that the documentation lists and no others.

use std::path::Path;

use chalk_writer::config::secret::{SecretClient, SecretRef};
use chalk_writer::sink::SinkError;
use chalk_writer::store::StoreOptions;
use chalk_writer::store::online::OnlineStore;

use super::place::{FAR, cell, entity, int, open, options, row, store, stored, stored_at_last, until, value, write};
use crate::certificates::Authority;
use crate::logs::Logs;
use crate::redis::{RedisServer, Reply};
use crate::redis_cluster::RedisCluster;

fn user(time: i64) -> [chalk_writer::row::feature::FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time)), until(FAR, cell("b", time, None))])]
}

async fn denied(store: &dyn OnlineStore, what: &[&str]) {
    match write(store, &user(1)).await {
        Err(SinkError::Denied { reason }) => {
            for what in what {
                assert!(reason.contains(what), "{what} in {reason}");
            }
        }
        other => panic!("expected a denial with {what:?}, found {other:?}"),
    }
}

#[tokio::test]
async fn a_server_with_tls_is_believed_by_its_authority_and_its_name() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let signed = authority.sign("redis.example.com", "DNS:redis.example.com,DNS:localhost");
    let server = RedisServer::with_tls(&signed.certificate, &signed.key, None);
    let ca = authority.certificate().display().to_string();
    let uri = |host: &str, rest: &str| format!("rediss://{host}:{}?{rest}", server.port());

    let by_name = store(&uri("localhost", &format!("ca={ca}")));
    stored(&*by_name, &user(1)).await;
    assert_eq!(value(&*by_name, &entity("42"), "a").await, Some(int(1)));
    let valkey = store(&uri("localhost", &format!("ca={ca}")).replace("rediss", "valkeys"));
    stored(&*valkey, &user(2)).await;

    // A certificate of another host, until it is said that this is the one.
    denied(
        &*store(&uri("127.0.0.1", &format!("ca={ca}"))),
        &["rediss://127.0.0.1", "redis.example.com", "server_name="],
    )
    .await;
    let named = store(&uri("127.0.0.1", &format!("ca={ca}&server_name=redis.example.com")));
    stored(&*named, &user(3)).await;
    // Of an authority that nobody trusts, in a file or in the system.
    let theirs = stranger.certificate().display().to_string();
    denied(&*store(&uri("localhost", &format!("ca={theirs}"))), &["UnknownIssuer", "ca=/path"]).await;
    denied(&*store(&uri("localhost", "")), &["UnknownIssuer"]).await;
    stored(&*store(&format!("{}#insecure", uri("localhost", ""))), &user(4)).await;
    denied(&*store(&uri("localhost", "ca=/nowhere.pem")), &["/nowhere.pem"]).await;

    // TLS where there is none, and none where there is.
    match write(&*store(&format!("redis://localhost:{}", server.port())), &user(1)).await {
        Err(SinkError::Transient { reason }) => assert!(reason.contains("write `rediss://`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let plain = RedisServer::start(&[]);
    match write(&*store(&format!("rediss://localhost:{}?ca={ca}", plain.port())), &user(1)).await {
        Err(SinkError::Transient { reason }) => assert!(reason.contains("is it a port without TLS?"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_is_shown_one() {
    let authority = Authority::new("ours");
    let server_side = authority.sign("server", "IP:127.0.0.1");
    let client_side = authority.sign("client", "DNS:client");
    let ca = authority.certificate();
    let server = RedisServer::with_tls(&server_side.certificate, &server_side.key, Some(&ca));
    let shown = |path: &Path| path.display().to_string();
    let uri = format!("rediss://127.0.0.1:{}?ca={}", server.port(), shown(&ca));
    denied(&*store(&uri), &["cert=/path&key=/path"]).await;
    let with = format!("{uri}&cert={}&key={}", shown(&client_side.certificate), shown(&client_side.key));
    stored(&*store(&with), &user(1)).await;
}

/// The rights of the documentation, word for word.
fn documented(title: &str) -> Vec<String> {
    let page = include_str!("../../../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with(title)).unwrap_or_else(|| panic!("a line {title:?}"));
    let quoted = line[title.len()..].split('`').nth(1).expect("rights in backticks");
    quoted.split(' ').map(str::to_owned).collect()
}

fn grant(server: &RedisServer, rights: &[String]) {
    let mut command: Vec<&str> = vec!["ACL", "SETUSER", "writer", "reset", "on", ">pass", "~test/*"];
    command.extend(rights.iter().map(String::as_str));
    assert_eq!(server.command(&command), Reply::Bytes(b"OK".to_vec()), "{rights:?}");
}

/// Everything that a writer does: the quick way, the slow way, expiry longer and shorter, eviction, reading.
async fn works(store: &dyn OnlineStore) {
    let user = |number: usize| entity(&format!("{number}"));
    for number in 0..20 {
        let user = user(number);
        stored(store, &[row(user.clone(), vec![until(FAR, cell("a", 10, int(1))), cell("b", 10, int(1))])]).await;
        stored(store, &[row(user.clone(), vec![until(FAR, cell("b", 20, int(2)))])]).await;
        stored(store, &[row(user.clone(), vec![cell("a", 5, int(0)), until(FAR + 1_000_000, cell("b", 30, None))])])
            .await;
        // Gone before it came: it takes what is older with it.
        stored(store, &[row(user.clone(), vec![until(1, cell("b", 40, int(4)))])]).await;
        stored(store, &[row(user.clone(), vec![cell("a", 50, int(5))])]).await;
        stored(store, &[row(user.clone(), vec![until(1, cell("a", 60, int(6)))])]).await;
        assert_eq!(value(store, &user, "a").await, None);
        stored(store, &[row(user.clone(), vec![cell("a", 70, int(7))])]).await;
        assert_eq!(value(store, &user, "a").await, Some(int(7)));
    }
}

#[tokio::test]
async fn the_documented_rights_suffice_and_none_is_idle() {
    for server in [RedisServer::start(&[]), RedisServer::valkey(&[])] {
        let valkey = server.command(&["COMMAND", "INFO", "HPEXPIREAT"]) != Reply::List(vec![Reply::Null]);
        let mut rights = documented("- every writer:");
        if valkey {
            rights.extend(documented("- where fields expire"));
        }
        grant(&server, &rights);
        let uri = format!("redis://writer:pass@127.0.0.1:{}", server.port());
        works(&*store(&uri)).await;
        // What is granted is also used: without any one of these it does not work. (Without the rights on
        // expiring fields it does, but fields do not expire.)
        for idle in documented("- every writer:") {
            server.command(&["FLUSHALL"]);
            let rest: Vec<String> = rights.iter().filter(|right| **right != idle).cloned().collect();
            grant(&server, &rest);
            let attempt = tokio::spawn({
                let uri = uri.clone();
                async move { works(&*store(&uri)).await }
            });
            assert!(attempt.await.is_err(), "{idle} is not needed");
        }
        server.command(&["FLUSHALL"]);
        grant(&server, &documented("- every writer:"));
        works(&*store(&uri)).await;
        // And back: a right that comes later is found.
        grant(&server, &[]);
        let store = store(&uri);
        denied(&*store, &["NOPERM"]).await;
        grant(&server, &rights);
        stored(&*store, &user(1)).await;
    }
}

#[tokio::test]
async fn the_documented_rights_suffice_in_a_cluster_and_with_replicas() {
    let cluster = RedisCluster::with_replicas(&[]);
    let mut rights = documented("- every writer:");
    rights.extend(documented("- in a cluster:"));
    rights.extend(documented("- with `wait_replicas`:"));
    cluster.nodes.iter().for_each(|node| grant(node, &rights));
    let uri = cluster.uri().replace("redis://", "redis://writer:pass@");
    works(&*store(&format!("{uri}&wait_replicas=1"))).await;
}

#[tokio::test]
async fn a_server_that_removes_entities_when_memory_is_short_is_warned_of_once() {
    let said = |logs: &Logs| logs.lines("should be `noeviction`").len();
    for (policy, times) in [("allkeys-lru", 1), ("volatile-ttl", 1), ("noeviction", 0)] {
        for server in
            [RedisServer::start(&["--maxmemory-policy", policy]), RedisServer::valkey(&["--maxmemory-policy", policy])]
        {
            let logs = Logs::listen();
            let store = store(&server.uri());
            stored(&*store, &user(1)).await;
            let killed = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            assert!(matches!(killed, Reply::Number(1..)), "{killed:?}");
            stored_at_last(&*store, &user(2)).await;
            assert_eq!(said(&logs), times, "{policy}");
        }
    }
}

#[tokio::test]
async fn a_password_that_changes_is_fetched_again() {
    let server = RedisServer::start(&["--requirepass", "first"]);
    let folder = tempfile::tempdir().expect("a folder");
    let uri = |password: &str| {
        let uri = format!("redis://:{password}@127.0.0.1:{}", server.port());
        std::fs::write(folder.path().join("redis"), &uri).expect("written");
        uri
    };
    let client = SecretClient::File { folder: folder.path().to_owned() };
    let options = StoreOptions { uri: SecretRef::named("redis", client), ..options(&uri("first")) };
    let store = open(&options).expect("a store that can be opened");
    stored(&*store, &user(1)).await;
    // The old one is of no use any more, and every connection has to be made again.
    let admin = server.session("first", &["CONFIG SET requirepass second", "CLIENT KILL TYPE normal SKIPME yes"]);
    assert!(admin.contains("OK"), "{admin}");
    denied(&*store, &["WRONGPASS"]).await;
    uri("second");
    stored_at_last(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}
