//! A URI of several servers: whatever the others do, the one that takes writes is found.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::SinkError;

use super::place::{cell, entity, int, store, stored, value, write};
use crate::postgres::{PostgresServer, Version};

fn user() -> [FeatureRow; 1] {
    [super::place::row(entity("42"), vec![cell("a", 1, int(1))])]
}

/// Takes connections, and never says anything.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// A port that nobody has, any more.
fn closed() -> u16 {
    silent().local_addr().expect("an address").port()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn the_server_behind_those_that_are_silent_or_gone_is_found() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let silents = [silent(), silent()];
    let [one, other] = silents.each_ref().map(port);
    let (gone, real) = (closed(), server.port());
    let uri = format!(
        "postgres://writer:right@127.0.0.1:{one},127.0.0.1:{gone},127.0.0.1:{other},127.0.0.1:{real}/features?connect_timeout=1"
    );
    let store = store(&uri);
    let begun = Instant::now();
    stored(&*store, &user()).await;
    // A second for reaching each, and five for being let in.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(1)));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_passed_over() {
    let (standby, primary) = (
        PostgresServer::start(Version::Debian, &["default_transaction_read_only=on"]),
        PostgresServer::start(Version::Debian, &[]),
    );
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    stored(&*store(&format!("postgres://writer:right@{hosts}/features")), &user()).await;
    assert_eq!(primary.sql("SELECT count(*) FROM online_features"), "1");
}

#[tokio::test]
async fn where_none_is_found_every_one_is_told_of() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let (gone, real) = (closed(), server.port());
    let uri = |password: &str, last: u16| {
        format!("postgres://writer:{password}@127.0.0.1:{real},nobody.invalid:1,127.0.0.1:{last}/features")
    };
    let reason = match write(&*store(&uri("wrong", gone)), &user()).await {
        Err(SinkError::Denied { reason }) => reason,
        other => panic!("a password is for a person, found {other:?}"),
    };
    let all = format!("postgres://127.0.0.1:{real},nobody.invalid:1,127.0.0.1:{gone}/features: ");
    assert!(reason.starts_with(&format!("{all}127.0.0.1:{real}: ")) && reason.contains("28P01"), "{reason}");
    assert!(reason.contains("; nobody.invalid:1: no address: "), "{reason}");
    assert!(reason.contains(&format!("; 127.0.0.1:{gone}: error connecting to server")), "{reason}");
    assert!(!reason.contains("wrong"), "{reason}");
    server.sql("ALTER ROLE writer SET default_transaction_read_only = on");
    match write(&*store(&uri("right", gone)), &user()).await {
        Err(SinkError::Transient { reason }) => assert!(reason.contains("does not allow writes"), "{reason}"),
        other => panic!("expected it to pass, found {other:?}"),
    }
}
