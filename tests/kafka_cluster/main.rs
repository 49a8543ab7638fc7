//! Kafka as people have it: three brokers, TLS, every way of signing in, and a broker that dies.
//!
//! Everything goes through the built binary, as a user runs it. The brokers are Apache Kafka's own, and so is what they
//! judge tokens by; the issuer of the tokens is a fake. Amazon's
//! brokers cannot be had: what they would be shown is compared with what Amazon's own signer makes, in `bus/kafka/msk.rs`.

// A test has no users: `pub` here only means that another module of it calls it.
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "../services/certificates.rs"]
mod certificates;
mod cluster;
mod issuer;
mod leaders;
mod member;
mod stopping;
mod tokens;

use serde_json::{Value, json};

use cluster::Cluster;
use member::{DRAIN, Member, Plant};

fn secret(password: &str) -> Value {
    json!({"username": "writer", "password": password})
}

fn acknowledged(said: &str, messages: u64) -> bool {
    said.lines().last().is_some_and(|last| last.contains(&format!(r#""acknowledged":{messages},"#)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_signing_in_works_and_wrong_words_are_told() {
    let cluster = Cluster::start();
    let kafka = json!({"ssl.ca.location": cluster.authority()});
    let start = |name: &str, mechanism: &str| {
        let plant = Plant::new(&cluster, name);
        plant.write(mechanism, &kafka, &secret("right"));
        for topic in ["dead-letters", name] {
            plant.run(&["publish", "--topic", topic, "--partitions", "2", "--generate", "0"]);
        }
        plant
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let plant = start(&format!("by-{mechanism}"), mechanism);
        plant.publish(20).unwrap();
        let said = plant.run(&DRAIN);
        assert!(acknowledged(&said, 20), "{mechanism}: {said}");
        // The other shape of the secret, with the brokers in it.
        let servers = &cluster.servers;
        let whole = json!({"bootstrap_servers": servers, "sasl_username": "writer", "sasl_password": "right"});
        plant.write_without_brokers(mechanism, &kafka, &whole);
        plant.publish(5).unwrap();
        let said = plant.run(&DRAIN);
        assert!(acknowledged(&said, 5), "{mechanism}: {said}");

        plant.write(mechanism, &kafka, &secret("hunter2"));
        let refused = plant.publish(5).unwrap_err();
        assert!(refused.contains("uthenticat") && !refused.contains("hunter2"), "{mechanism}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_its_own_lets_a_writer_in_and_nothing_else_does() {
    let cluster = Cluster::start();
    let servers = cluster.servers_for_certificates();
    assert_eq!(servers.matches(", ").count(), 2, "with spaces, as people write lists: {servers}");
    let plant = Plant::new(&cluster, "by-certificate");
    let with = |signed: &certificates::Signed| {
        json!({
            "ssl.ca.location": cluster.authority(),
            "ssl.certificate.location": signed.certificate, "ssl.key.location": signed.key,
        })
    };
    plant.write_for_certificates(&servers, &with(&cluster.clients.sign("writer", "DNS:writer")));
    for topic in ["dead-letters", "by-certificate"] {
        plant.run(&["publish", "--topic", topic, "--partitions", "2", "--generate", "0"]);
    }
    plant.publish(20).unwrap();
    let said = plant.run(&DRAIN);
    assert!(acknowledged(&said, 20), "{said}");
    let found = plant.run(&["doctor"]);
    assert!(found.contains("refused for its size alone"), "{found}");

    let strangers = certificates::Authority::new("strangers");
    plant.write_for_certificates(&servers, &with(&strangers.sign("writer", "DNS:writer")));
    let refused = plant.publish(5).unwrap_err();
    assert!(refused.contains("SSL"), "{refused}");
    plant.write_for_certificates(&servers, &json!({"ssl.ca.location": cluster.authority()}));
    let refused = plant.publish(5).unwrap_err();
    assert!(refused.contains("SSL"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_assignor_and_no_broker_that_dies_loses_anything() {
    const EVENTS: u64 = 4_000;
    let cluster = Cluster::start();
    for (name, mut kafka) in [
        ("cooperative", json!({})),
        ("eager", json!({"partition.assignment.strategy": "range"})),
        ("by-the-broker", json!({"group.protocol": "consumer"})),
    ] {
        kafka["ssl.ca.location"] = json!(cluster.authority());
        let plant = Plant::new(&cluster, name);
        plant.write("SCRAM-SHA-512", &kafka, &secret("right"));
        for topic in ["dead-letters", name] {
            plant.run(&["publish", "--topic", topic, "--partitions", "6", "--generate", "0"]);
        }
        let first = Member::start(&plant, "first");
        let publishing = plant.publish_slowly(EVENTS);
        plant.has_stored(EVENTS / 8).await;
        // Partitions move to one that joins, and back when it goes; meanwhile the leader of a third of them dies.
        let second = Member::start(&plant, "second");
        plant.has_stored(EVENTS / 4).await;
        cluster.kill(2);
        plant.has_stored(EVENTS / 2).await;
        second.stop();
        cluster.again(2);
        publishing.finish();
        plant.has_stored(EVENTS).await;
        first.stop();
        let said = plant.run(&DRAIN);
        assert!(acknowledged(&said, 0), "{name}: what was stored is committed: {said}");
        let found = plant.run(&["dlq", "list", "--type", "USAGE_BUS_WRITER"]);
        assert!(!found.contains("event-"), "{name}: {found}");
    }
}
