//! Environments that others describe: a server that is away, killed and changed under a writer, over TLS and without; and a
//! table of Postgres. Nothing is lost, nothing needs a restart.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::kit::{On, PATIENCE, Plant, Writer, result_in};
use crate::postgres::{PostgresServer, Version};
use crate::setup::{Running, eventually};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

/// A writer on a bus of its own whose environments come from elsewhere.
fn plant(more: &Value) -> Plant {
    let plant = Plant::new(On::Local, 2, "ONLINE_WRITER", &json!({"metadata_refresh": "200ms"}));
    plant.configure(more);
    plant
}

/// What is served: a file of the same folder with these environments.
fn describe(plant: &Plant, environments: &Value) {
    describe_beside(plant, &plant.folder.text("chalk.json"), environments);
}

/// The same beside everything else of a configuration.
fn describe_beside(plant: &Plant, config: &str, environments: &Value) {
    let mut config: Value = serde_json::from_str(config).expect("JSON");
    config["metadata_provider"] = json!("CONFIG");
    config["environments"] = environments.clone();
    // In one step, as one is to change a file that is read.
    plant.folder.write("next.json", &config.to_string());
    let at = |name: &str| plant.folder.path().join(name);
    std::fs::rename(at("next.json"), at("served.json")).expect("renamed");
}

fn serve(plant: &Plant, port: u16, more: &[&str]) -> Running {
    let listen = format!("127.0.0.1:{port}");
    let arguments = [&["metadata", "serve", "--config", "served.json", "--listen", &listen], more].concat();
    let server = plant.folder.start(&arguments);
    assert_eq!(server.listening(), listen);
    server
}

fn of_environment(id: &'static str, numbers: std::ops::Range<u64>) -> impl Iterator<Item = Option<String>> {
    numbers.map(move |number| result_in(id, number, &json!({"user.seq": number})))
}

fn stored(writer: &Writer) -> u64 {
    writer.status()["stored"].as_u64().expect("a number")
}

fn store(file: &str) -> Value {
    json!({"online_store": {"uri": format!("sqlite:{file}.sqlite")}})
}

#[test]
fn a_server_of_environments_may_be_away_killed_and_changed() {
    let port = free_port();
    let plant = plant(&json!({
        "metadata_provider": "GRPC_SERVER", "api_server_host": format!("http://127.0.0.1:{port}"), "insecure": true,
    }));
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..50));
    writer.is_in_trouble("gives no environments");
    assert!(!writer.is_ready());
    describe(&plant, &json!({"prod": store("prod")}));
    let server = serve(&plant, port, &[]);
    plant.is_done();
    eventually(PATIENCE, "ready", || writer.is_ready());
    assert_eq!(stored(&writer), 50);
    // The last good answer is used on.
    server.kill();
    plant.publish(of_environment("prod", 50..100));
    plant.is_done();
    // One more environment, by a server that is started again; and while it runs, one that is waited for.
    describe(&plant, &json!({"prod": store("prod"), "dev": store("dev")}));
    let server = serve(&plant, port, &[]);
    plant.publish(of_environment("dev", 0..50));
    plant.is_done();
    plant.publish(of_environment("late", 0..50).chain(of_environment("prod", 100..150)));
    writer.is_in_trouble("environment `late` has no entry");
    describe(&plant, &json!({"prod": store("prod"), "dev": store("dev"), "late": store("late")}));
    plant.is_done();
    assert_eq!(plant.letters(), []);
    // A file that is wrong changes nothing.
    plant.folder.write("served.json", "{");
    plant.publish(of_environment("late", 50..60));
    plant.is_done();
    // What is declared of features takes effect as well.
    let mut prod = store("prod");
    prod["features"] = json!([{"fqn": "user.other", "max_staleness": "infinity"}]);
    describe(&plant, &json!({"prod": prod, "late": store("late")}));
    eventually(PATIENCE, "not stored any more", || {
        plant.publish(of_environment("prod", 150..151));
        writer.metric("chalk_writer_values_skipped_total", "unlisted") > 0.0
    });
    plant.is_done();
    let get = ["get", "--config", "chalk.json", "--environment", "late", "user", "7", "--json"];
    let ended = plant.folder.run(&get);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\"seq\""), "{ended:?}");
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"buried\":0"), "{}", ended.stderr);
    assert_eq!(plant.letters(), []);
    server.terminate();
    assert_eq!(server.wait(PATIENCE).code, Some(0));
}

/// A writer by a server on this port that waits so long for an environment.
fn plant_by(port: u16, wait: &str) -> Plant {
    plant(&json!({
        "metadata_provider": "GRPC_SERVER", "api_server_host": format!("http://127.0.0.1:{port}"),
        "unknown_environment_wait": wait,
    }))
}

#[test]
fn a_change_that_names_a_secret_that_is_not_there_is_not_followed_before_it_is() {
    let port = free_port();
    let plant = plant_by(port, "1s");
    describe(&plant, &json!({"prod": store("prod")}));
    let _server = serve(&plant, port, &[]);
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..10));
    plant.is_done();
    let dev = json!({"online_store": {"uri": "secret:dev-uri"}});
    describe(&plant, &json!({"prod": store("prod"), "dev": dev}));
    writer.is_in_trouble("online store of dev: secret `dev-uri`: file");
    assert!(writer.troubles().contains("used on") && writer.is_ready(), "{}", writer.troubles());
    assert_eq!(writer.metric("chalk_writer_metadata_refused", ""), 1.0);
    assert_eq!(writer.metric("chalk_writer_trouble_seconds", "\"metadata\""), 0.0, "it has a gauge of its own");
    plant.publish(of_environment("prod", 10..20));
    plant.is_done();
    // It is described, so it is waited for, however long what it names is not there.
    plant.publish(of_environment("dev", 0..10));
    writer.is_in_trouble("environment `dev` has no entry");
    plant.folder.write("dev-uri", "hunter2");
    writer.is_in_trouble("online store of dev: online store");
    let reads = || writer.metric("chalk_writer_metadata_reads_total", "");
    let before = reads();
    eventually(PATIENCE, "asked for longer than the wait", || reads() >= before + 10.0);
    assert_eq!((plant.committed(), plant.letters()), (20, Vec::new()));
    plant.folder.write("dev-uri", "sqlite:dev.sqlite");
    plant.is_done();
    eventually(PATIENCE, "no trouble", || writer.status()["troubles"] == json!([]));
    assert_eq!(writer.metric("chalk_writer_metadata_refused", ""), 0.0);
    assert_eq!(plant.letters(), []);
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"stored\":30") && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
    let told = ended.stderr.lines().filter(|line| line.contains("secret `dev-uri`: file") && line.contains("used on"));
    assert_eq!(told.count(), 1, "{}", ended.stderr);
}

#[test]
fn a_first_description_that_names_a_secret_that_is_not_there_is_waited_for() {
    let port = free_port();
    let plant = plant_by(port, "1s");
    describe(&plant, &json!({"prod": {"online_store": {"uri": "secret:prod-uri"}}}));
    let _server = serve(&plant, port, &[]);
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..10));
    writer.is_in_trouble("online store of prod: secret `prod-uri`: file");
    assert!(!writer.is_ready());
    plant.folder.write("prod-uri", "sqlite:prod.sqlite");
    plant.is_done();
    writer.stop();
}

#[test]
fn an_environment_that_is_taken_away_takes_its_trouble_with_it() {
    let port = free_port();
    let plant = plant_by(port, "1s");
    let gone = json!({"online_store": {"uri": format!("redis://127.0.0.1:{}", free_port())}});
    describe(&plant, &json!({"prod": store("prod"), "gone": gone}));
    let _server = serve(&plant, port, &[]);
    let writer = plant.start();
    writer.is_in_trouble("online store of gone");
    assert!(!writer.is_ready());
    describe(&plant, &json!({"prod": store("prod")}));
    eventually(PATIENCE, "ready", || writer.is_ready());
    assert_eq!(writer.status()["troubles"], json!([]));
    plant.publish(of_environment("prod", 0..10));
    plant.is_done();
    writer.stop();
}

#[test]
fn an_environment_is_not_given_up_while_nobody_can_be_asked() {
    let port = free_port();
    let plant = plant_by(port, "1s");
    describe(&plant, &json!({"prod": store("prod")}));
    let server = serve(&plant, port, &[]);
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..10));
    plant.is_done();
    assert!(writer.metric("chalk_writer_metadata_answered_timestamp_seconds", "") > 0.0);
    server.kill();
    writer.is_in_trouble("what was described last is used on");
    plant.publish(of_environment("dev", 0..10));
    writer.is_in_trouble("environment `dev` has no entry");
    let away = || writer.metric("chalk_writer_metadata_reads_total", "away");
    let before = away();
    // Five times a second at the most.
    eventually(PATIENCE, "asked in vain for longer than the wait", || away() >= before + 15.0);
    assert_eq!((plant.committed(), plant.letters()), (10, Vec::new()));
    describe(&plant, &json!({"prod": store("prod"), "dev": store("dev")}));
    let _server = serve(&plant, port, &[]);
    plant.is_done();
    assert_eq!(plant.letters(), []);
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"stored\":20"), "{}", ended.stderr);
}

#[test]
fn a_file_that_changes_later_takes_effect_with_a_restart_and_not_with_a_description() {
    let port = free_port();
    let plant = plant_by(port, "60s");
    let sound = plant.folder.text("chalk.json");
    describe(&plant, &json!({"prod": store("prod")}));
    let _server = serve(&plant, port, &[]);
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..10));
    plant.is_done();
    plant.folder.write("chalk.json", "{");
    describe_beside(&plant, &sound, &json!({"prod": store("prod"), "dev": store("dev")}));
    plant.publish(of_environment("dev", 0..10));
    plant.is_done();
    assert_eq!(stored(&writer), 20);
    writer.stop();
}

#[test]
fn an_environment_that_never_comes_is_buried_after_the_wait_and_once_at_once() {
    let port = free_port();
    let plant = plant(&json!({
        "metadata_provider": "grpc_server", "api_server_host": format!("127.0.0.1:{port}"), "insecure": true,
        "unknown_environment_wait": "2s", "dlq": {"max_ratio": 1.0, "max_consecutive": 1000},
    }));
    describe(&plant, &json!({"prod": store("prod")}));
    let _server = serve(&plant, port, &[]);
    let writer = plant.start();
    plant.publish(of_environment("never", 0..3).chain(of_environment("prod", 0..10)));
    writer.is_in_trouble("environment `never` has no entry");
    plant.is_done();
    assert_eq!(stored(&writer), 10);
    let classes: Vec<String> = plant.letters().into_iter().map(|(class, _)| class).collect();
    assert_eq!(classes, ["UNKNOWN_ENVIRONMENT"; 3]);
    eventually(PATIENCE, "no trouble", || writer.status()["troubles"] == json!([]));
    writer.stop();
}

#[test]
fn a_server_is_asked_over_tls_and_has_to_be_whom_it_says() {
    let port = free_port();
    let mut plant = plant(&json!({
        "metadata_provider": "GRPC_SERVER", "api_server_host": format!("localhost:{port}"),
    }));
    let authority = Authority::new("of this test");
    let signed = authority.sign("localhost", "DNS:localhost");
    describe(&plant, &json!({"*": store("any")}));
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (certificate, key) = (text(&signed.certificate), text(&signed.key));
    let _server = serve(&plant, port, &["--certificate", &certificate, "--key", &key]);
    let writer = plant.start();
    writer.is_in_trouble("certificate");
    writer.stop();
    plant.variables = vec![("SSL_CERT_FILE", text(&authority.certificate()))];
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..10));
    plant.is_done();
    writer.stop();
}

#[test]
fn passwords_are_not_served_unless_they_are_asked_for() {
    // The second one is no URL: it names two servers.
    for uri in ["redis://:hunter2@127.0.0.1:1", "postgres://writer:hunter2@127.0.0.1:1,127.0.0.1:2/db"] {
        let plant = plant(&json!({}));
        describe(&plant, &json!({"prod": {"online_store": {"uri": uri}}}));
        let arguments = ["metadata", "serve", "--config", "served.json", "--listen", "127.0.0.1:0"];
        let ended = plant.folder.run(&arguments);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let told = "environments.prod.online_store.uri would be served with a password";
        assert!(ended.stderr.contains(told) && !ended.stderr.contains("hunter2"), "{ended:?}");
        let served = plant.folder.start(&[&arguments[..], &["--with-passwords"]].concat());
        served.listening();
        served.terminate();
        let ended = served.wait(Duration::from_secs(60));
        assert!(ended.code == Some(0) && !ended.stderr.contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn a_table_of_postgres_describes_environments_over_tls() {
    let mut server = PostgresServer::start(Version::Debian, &[]);
    let authority = Authority::new("of this test");
    let theirs = authority.sign("localhost", "DNS:localhost,IP:127.0.0.1");
    let ours = authority.sign("writer", "DNS:writer");
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    let certificate = server.put("server.crt", &read(&theirs.certificate));
    let key = server.put("server.key", &read(&theirs.key));
    let root = server.put("root.crt", &read(&authority.certificate()));
    for (name, path) in [("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl_ca_file", root)] {
        server.sql(&format!("ALTER SYSTEM SET {name} = '{}'", path.display()));
    }
    server.sql("ALTER SYSTEM SET ssl = on");
    let hba = server.data().join("pg_hba.conf");
    let rules = String::from_utf8(read(&hba)).expect("text");
    let only = "hostssl all writer all scram-sha-256 clientcert=verify-ca\nhostnossl all writer all reject\n";
    server.put("pg_hba.conf", format!("{only}{rules}").as_bytes());
    server.reload();
    let ddl = std::fs::read_to_string("docs/metadata.sql").expect("the table of the documentation");
    server.sql(&ddl);
    server.sql("GRANT SELECT ON chalk_writer_environments TO writer");
    let insert = |id: &str| {
        server
            .sql(&format!("INSERT INTO chalk_writer_environments (id, description) VALUES ('{id}', '{}')", store(id)));
    };
    insert("prod");
    let plant = plant(&json!({"metadata_provider": "SQL"}));
    let mut config: Value = serde_json::from_str(&plant.folder.text("chalk.json")).expect("JSON");
    let mine = &mut config["writers"][0];
    mine["metadata_sql_uri_secret"] = json!("metadata-uri");
    plant.folder.write("chalk.json", &config.to_string());
    plant.folder.write("metadata-uri", &format!("{}?sslmode=verify-full", server.uri()));
    let writer = plant.start();
    // Nobody whom this system trusts has signed for the server.
    writer.is_in_trouble("metadata database");
    writer.is_in_trouble("certificate");
    writer.stop();
    let mine = &mut config["writers"][0];
    mine["metadata_sql_ssl_ca_cert_secret"] = json!("ca.pem");
    mine["metadata_sql_ssl_client_cert_secret"] = json!("cert.pem");
    mine["metadata_sql_ssl_client_key_secret"] = json!("key.pem");
    plant.folder.write("chalk.json", &config.to_string());
    for (name, path) in [("ca.pem", authority.certificate()), ("cert.pem", ours.certificate), ("key.pem", ours.key)] {
        plant.folder.write(name, &String::from_utf8(read(&path)).expect("PEM"));
    }
    let writer = plant.start();
    plant.publish(of_environment("prod", 0..50));
    plant.is_done();
    plant.publish(of_environment("dev", 0..50));
    writer.is_in_trouble("environment `dev` has no entry");
    insert("dev");
    plant.is_done();
    server.stop_immediately();
    plant.publish(of_environment("prod", 50..100));
    plant.is_done();
    writer.is_in_trouble("what was described last is used on");
    assert!(writer.is_ready(), "{}", writer.troubles());
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"stored\":150") && ended.stderr.contains("used on"), "{}", ended.stderr);
    assert_eq!(plant.letters(), []);
}
