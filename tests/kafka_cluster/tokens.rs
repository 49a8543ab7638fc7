//! Signing in with an issuer's tokens (OIDC): they are renewed before they end, and while there is none nothing is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::acknowledged;
use crate::cluster::Cluster;
use crate::issuer::{Issuer, Mood};
use crate::member::{DRAIN, Member, Plant};

const RIGHT: Mood = Mood::Gives { seconds: 3_600, secret: "right" };

/// Bounds a hang and nothing else.
const PATIENCE: Duration = Duration::from_secs(180);

fn client(secret: &str) -> Value {
    json!({"client_id": "writer", "client_secret": secret})
}

/// A plant with its topics, which were made by somebody who signs in with a password.
fn plant(cluster: &Cluster, name: &str) -> Plant {
    let plant = Plant::new(cluster, name);
    let kafka = json!({"ssl.ca.location": cluster.authority()});
    plant.write("SCRAM-SHA-512", &kafka, &json!({"username": "writer", "password": "right"}));
    for topic in ["dead-letters", name] {
        plant.run(&["publish", "--topic", topic, "--partitions", "2", "--generate", "0"]);
    }
    plant
}

/// The properties, as people have them for librdkafka.
fn kafka(cluster: &Cluster, endpoint: &str) -> Value {
    json!({
        "ssl.ca.location": cluster.authority(),
        "https.ca.location": cluster.authority(),
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.scope": "kafka.write kafka.read",
        "sasl.oauthbearer.token.endpoint.url": endpoint,
    })
}

async fn until(what: &str, plant: &Plant, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: {}", plant.last_words());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_tokens_let_in_and_what_is_wrong_is_told() {
    let cluster = Cluster::start();
    let issuer = Issuer::start(&cluster.server_pem(), cluster.keys.clone(), RIGHT);
    let plant = plant(&cluster, "by-token");
    let kafka = kafka(&cluster, &issuer.endpoint());

    plant.write("OAUTHBEARER", &kafka, &client("right"));
    plant.run(&["check"]);
    let given = issuer.answered("200");
    plant.publish(20).unwrap();
    // Seen to fail before: each asked for itself.
    assert_eq!(issuer.answered("200") - given, 1, "one token serves all clients of a process");
    // Calls of administration sign in as well.
    plant.run(&["publish", "--topic", "made-by-token", "--partitions", "3", "--generate", "0"]);
    plant.run(&["publish", "--topic", "made-by-token", "--partitions", "3", "--generate", "0"]);
    let told = plant.run(&["doctor"]);
    for words in ["messages up to 1048588 bytes", "refused for its size alone", "long enough, and nothing is compacted"]
    {
        assert!(told.contains(words), "`{words}` is not in {told}");
    }
    let said = plant.run(&DRAIN);
    assert!(acknowledged(&said, 20), "{said}");
    let form = issuer.last_form();
    assert_eq!((&*form["grant_type"], &*form["scope"]), ("client_credentials", "kafka.write kafka.read"));

    // The other shape of the secret, and the client's id among the properties.
    let mut by_property = kafka.clone();
    by_property["sasl.oauthbearer.client.id"] = json!("writer");
    plant.write("OAUTHBEARER", &by_property, &json!({"username": "somebody", "password": "right"}));
    plant.publish(5).unwrap();
    let said = plant.run(&DRAIN);
    assert!(acknowledged(&said, 5), "{said}");

    // Wrong in each of the ways in which it can be.
    let refused = |secret: &str, kafka: &Value| {
        plant.write("OAUTHBEARER", kafka, &client(secret));
        let refused = plant.publish(5).unwrap_err();
        assert!(!refused.contains("hunter2") && !refused.contains("eyJ"), "{refused}");
        refused
    };
    let wrong = refused("hunter2", &kafka);
    assert!(
        wrong.contains("401 Unauthorized (invalid_client, no such client") && wrong.contains("kafka_sasl_secret"),
        "{wrong}"
    );
    issuer.turns(Mood::Says("500 Internal Server Error", ""));
    assert!(refused("right", &kafka).contains("500 Internal Server Error"));
    issuer.turns(Mood::Says("200 OK", "<html>hunter2</html>"));
    assert!(refused("right", &kafka).contains("no JSON with a token"));
    issuer.turns(Mood::Says("302 Found", ""));
    assert!(refused("right", &kafka).contains("302 Found"));
    // Of an authority that nobody trusts.
    let mut untrusted = kafka.clone();
    untrusted.as_object_mut().unwrap().remove("https.ca.location");
    let wrong = refused("right", &untrusted);
    assert!(wrong.contains("no connection") && wrong.contains("certificate"), "{wrong}");
    // Nobody there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut away = kafka.clone();
    away["sasl.oauthbearer.token.endpoint.url"] = json!(format!("https://localhost:{}/token", nobody.port()));
    let wrong = refused("right", &away);
    assert!(wrong.contains("no connection") && wrong.contains("token.endpoint.url"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_and_while_there_is_none_a_writer_waits() {
    let cluster = Cluster::start();
    let issuer =
        Issuer::start(&cluster.server_pem(), cluster.keys.clone(), Mood::Says("500 Internal Server Error", ""));
    let plant = plant(&cluster, "by-short-tokens");
    let publisher = self::plant(&cluster, "by-password");
    plant.write("OAUTHBEARER", &kafka(&cluster, &issuer.endpoint()), &client("hunter2"));

    // Started while the issuer fails, then with a secret that is wrong, which the right one follows by its file.
    let member = Member::listening(&plant, "member");
    until("it asks", &plant, || issuer.answered("500") >= 2).await;
    issuer.turns(Mood::Gives { seconds: 20, secret: "right" });
    until("it is refused", &plant, || issuer.answered("401") >= 2).await;
    plant.write_secret(&client("right"));

    // Each token ends after twenty seconds, and the broker cuts off whoever has no other by then.
    publisher.publish_to(&plant.topic, 200).unwrap();
    plant.has_stored(200).await;
    let given = issuer.answered("200");
    until("tokens are renewed", &plant, || issuer.answered("200") >= given + 3).await;
    publisher.publish_to(&plant.topic, 200).unwrap();
    plant.has_stored(400).await;

    // Away for longer than any token holds, and back.
    issuer.turns(Mood::Says("503 Service Unavailable", ""));
    until("it asks on", &plant, || issuer.answered("503") >= 4).await;
    // Seen to fail before: nothing said that the token had ended, nor whose it was.
    member
        .until("it says that there is none", |member| {
            let why = member.ask("/readyz").unwrap_or_default();
            why.contains("503 Service Unavailable")
                && why.contains("the last token ends at")
                && why.contains("secret `")
        })
        .await;
    let metric = |name: &str| {
        let text = member.ask("/metrics").unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(metric("chalk_writer_bus_token_errors_total") >= 1.);
    assert!(metric("chalk_writer_bus_token_ends_timestamp_seconds") > 1.6e9);
    publisher.publish_to(&plant.topic, 200).unwrap();
    issuer.turns(RIGHT);
    plant.has_stored(600).await;
    let said = member.stop();
    assert!(!said.contains("hunter2") && !said.contains("eyJ"), "{said}");
    let said = plant.run(&DRAIN);
    assert!(acknowledged(&said, 0), "what was stored is committed: {said}");
}
