//! Secrets out of secret managers, as the built binary reads them: rotations in mid-run, managers that are away or do not
//! give what they are asked for; and nothing of a secret in anything that a writer prints or serves.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::clouds::{Cloud, variables};
use crate::credentials::{Broker, goes_on, waits};
use crate::kit::{On, PATIENCE, Plant, results};
use crate::postgres::{PostgresServer, Version};
use crate::redis::{RedisServer, Reply};
use crate::setup::{Ended, ask, eventually};

/// A secret manager with one secret of this test.
struct Manager {
    client: &'static str,
    cloud: Cloud,
}

impl Manager {
    fn both() -> [Self; 2] {
        let aws = Self { client: "AWS", cloud: Cloud::secrets_of_aws() };
        [aws, Self { client: "GCP", cloud: Cloud::secrets_of_google(None) }]
    }

    /// Puts a value there; the name that it is asked for by in full.
    fn put(&self, name: &str, value: &str) -> String {
        match self.client {
            "AWS" => self.cloud.put_secret_of_aws(name, value),
            _ => {
                self.cloud.put_secret_of_google(name, value);
                format!("projects/ours/secrets/{name}")
            }
        }
    }

    /// The configuration that asks it.
    fn config(&self) -> Value {
        json!({"common_persistence_specs": {"secret_client": self.client, "google_cloud_project": "ours"}})
    }

    fn plant(&self, writer_type: &'static str, environments: &Value) -> Plant {
        let mut plant = Plant::new(On::Local, 2, writer_type, &json!({"environments": environments}));
        plant.configure(&self.config());
        plant.variables = self.cloud.variables_of_secrets();
        plant
    }
}

/// A store whose password changes under a writer, which waits and goes on when the manager has the new one.
fn a_store_changes_its_password(
    store: &str,
    words: &str,
    uri: &dyn Fn(&str) -> String,
    change: &dyn Fn(&str),
    stored: &dyn Fn() -> u64,
) {
    for manager in Manager::both() {
        change("first-word");
        let full = manager.put("store-uri", &uri("first-word"));
        let environments = json!({"prod": {store: {"uri": format!("secret:{full}")}}});
        let plant = manager.plant("ONLINE_WRITER", &environments);
        let before = stored();
        let writer = plant.start();
        plant.publish(results(0..50));
        plant.is_done();
        assert_eq!(writer.metric("chalk_writer_secret_reads_total", "read"), 1.0, "once, however often it is needed");
        change("second-word");
        plant.publish(results(50..200));
        waits(&plant, &writer, "online store of prod", words, 50);
        // What is half of the way there is no better, and no end.
        manager.put("store-uri", "not yet");
        eventually(PATIENCE, "read again", || writer.metric("chalk_writer_secret_reads_total", "read") >= 3.0);
        assert_eq!((plant.committed(), plant.letters().len()), (50, 0));
        manager.put("store-uri", &uri("second-word"));
        goes_on(&plant, &writer);
        let ended = writer.stop();
        assert!(ended.stderr.contains("\"acknowledged\":200") && ended.stderr.contains("\"buried\":0"), "{ended:?}");
        assert!(!ended.stderr.contains("first-word") && !ended.stderr.contains("second-word"), "{}", ended.stderr);
        assert!(stored() >= before.max(200), "{before} and {}", stored());
    }
}

#[test]
fn a_redis_whose_password_changes_in_a_secret_manager_is_waited_for() {
    let server = RedisServer::start(&[]);
    let uri = |password: &str| format!("redis://writer:{password}@127.0.0.1:{}", server.port());
    let change = |password: &str| {
        let pass = format!(">{password}");
        server.command(&["ACL", "SETUSER", "writer", "on", "resetpass", &pass, "~*", "+@all"]);
        server.command(&["CLIENT", "KILL", "USER", "writer"]);
    };
    let stored = || match server.command(&["DBSIZE"]) {
        Reply::Number(keys) => (keys as u64).saturating_sub(1),
        other => panic!("{other:?}"),
    };
    a_store_changes_its_password("online_store", "WRONGPASS", &uri, &change, &stored);
}

#[test]
fn a_postgres_whose_password_changes_in_a_secret_manager_is_waited_for() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let uri = |password: &str| server.uri().replace(":right@", &format!(":{password}@"));
    let change = |password: &str| {
        server.sql(&format!("ALTER ROLE writer PASSWORD '{password}'"));
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    };
    let stored = || server.try_sql("SELECT count(*) FROM online_features").map_or(0, |n| n.parse().expect("a number"));
    a_store_changes_its_password("online_store", "28P01", &uri, &change, &stored);
}

#[test]
fn a_kafka_whose_password_changes_in_a_secret_manager_is_waited_for() {
    let broker = Broker(tempfile::tempdir().expect("a folder"));
    let servers = broker.script("start", &[]);
    for manager in Manager::both() {
        broker.script("password", &["first-word"]);
        let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
        let mut plant = Plant::on_kafka(&servers, 2, "ONLINE_WRITER", &json!({"environments": environments}));
        plant.variables = manager.cloud.variables_of_secrets();
        plant.configure(&manager.config());
        plant.configure(&json!({
            "kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_secret": "AmazonMSK_chalk",
        }));
        // Both shapes; in one of them the secret says where the brokers are, as a list.
        let secret = |password: &str| match manager.client {
            "AWS" => json!({"username": "writer", "password": password}),
            _ => json!({"bootstrap_servers": [broker.sasl()], "sasl_username": "writer", "sasl_password": password}),
        };
        let named = (manager.client == "AWS").then(|| broker.sasl());
        plant.configure(&json!({"kafka_bootstrap_servers": named}));
        manager.put("AmazonMSK_chalk", &secret("first-word").to_string());
        let writer = plant.start();
        plant.publish(results(0..50));
        plant.is_done();
        broker.script("password", &["second-word"]);
        writer.is_in_trouble("uthenticat");
        plant.publish(results(50..200));
        waits(&plant, &writer, "bus", "uthenticat", 50);
        manager.put("AmazonMSK_chalk", &secret("second-word").to_string());
        goes_on(&plant, &writer);
        let ended = writer.stop();
        assert!(ended.stderr.contains("\"stored\":200") && ended.stderr.contains("\"buried\":0"), "{ended:?}");
        assert!(!ended.stderr.contains("first-word") && !ended.stderr.contains("second-word"), "{}", ended.stderr);
    }
}

#[test]
fn a_secret_that_is_not_there_is_waited_for_and_named() {
    for manager in Manager::both() {
        let plant = manager.plant("ONLINE_WRITER", &json!({"prod": {"online_store": {"uri": "secret:uris#online"}}}));
        plant.publish(results(0..10));
        let writer = plant.start();
        writer.is_in_trouble("there is no such secret");
        let said = writer.troubles();
        let who = if manager.client == "AWS" { "access key `AKIATEST`" } else { "SECRET_MANAGER_EMULATOR_HOST" };
        for word in ["secret `uris`", manager.client, who, "\"denied\":true"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        manager.put("uris", "no JSON");
        writer.is_in_trouble("is not a JSON object, so it has no field `online`");
        manager.put("uris", r#"{"online": "sqlite:online.sqlite"}"#);
        plant.is_done();
        writer.stop();
    }
}

#[test]
fn a_manager_that_is_away_takes_nothing_from_a_writer_that_has_its_secret() {
    let server = RedisServer::start(&[]);
    let port = {
        let manager = Cloud::secrets_of_google(None);
        manager.port()
    };
    // Away at first: it is waited for, as a bus is.
    let environments = json!({"prod": {"online_store": {"uri": "secret:redis"}}});
    let mut plant = Plant::new(On::Local, 2, "ONLINE_WRITER", &json!({"environments": environments}));
    plant.configure(&json!({"common_persistence_specs": {"secret_client": "GCP", "google_cloud_project": "ours"}}));
    plant.variables = vec![("SECRET_MANAGER_EMULATOR_HOST", format!("127.0.0.1:{port}"))];
    let writer = plant.start();
    writer.is_in_trouble("secret_client GCP: no answer");
    assert!(writer.troubles().contains("\"denied\":false"), "{}", writer.troubles());
    let manager = Cloud::secrets_of_google(Some(port));
    manager.put_secret_of_google("redis", &server.uri());
    plant.publish(results(0..50));
    plant.is_done();
    // Away again, and the store ends every connection: it is connected to with what is known.
    drop(manager);
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    plant.publish(results(50..100));
    plant.is_done();
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"stored\":100"), "{ended:?}");
}

/// Answers every request in one way, as long as the test runs.
struct Refusing {
    port: u16,
}

impl Refusing {
    fn start(status: &'static str, headers: &'static str, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = move |mut stream: TcpStream| {
            let _ = stream.read(&mut vec![0; 65_536]);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        };
        std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
        Self { port }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hunter2-of-aws".to_owned()),
            ("SECRET_MANAGER_EMULATOR_HOST", format!("127.0.0.1:{}", self.port)),
        ]
    }
}

#[test]
fn a_missing_right_is_named_with_who_lacks_it() {
    let aws = Refusing::start(
        "400 Bad Request",
        "x-amzn-errortype: AccessDeniedException\r\nContent-Type: application/x-amz-json-1.1\r\n",
        r#"{"__type": "AccessDeniedException", "Message": "User: arn:aws:sts::1:assumed-role/w/s is not authorized"}"#,
    );
    let google = Refusing::start(
        "403 Forbidden",
        "Content-Type: application/json\r\n",
        r#"{"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}"#,
    );
    for (client, refusing, words) in [
        ("AWS", aws, ["`secretsmanager:GetSecretValue`", "access key `AKIATEST`", "assumed-role/w/s"]),
        ("GCP", google, ["`roles/secretmanager.secretAccessor`", "emulator", "Permission denied"]),
    ] {
        let environments = json!({"prod": {"online_store": {"uri": "secret:redis"}}});
        let mut plant = Plant::new(On::Local, 1, "ONLINE_WRITER", &json!({"environments": environments}));
        plant
            .configure(&json!({"common_persistence_specs": {"secret_client": client, "google_cloud_project": "ours"}}));
        plant.variables = refusing.variables();
        let writer = plant.start();
        for word in words {
            writer.is_in_trouble(word);
        }
        writer.is_in_trouble("secret `redis`");
        assert!(writer.troubles().contains("\"denied\":true"), "{}", writer.troubles());
        writer.stop();
        let report = plant.folder.run_with(&["doctor", "--config", "chalk.json"], &variables(&plant.variables));
        assert_eq!(report.code, Some(1), "{report:?}");
        assert!(words.iter().all(|word| report.stdout.contains(word)), "{}", report.stdout);
    }
}

#[test]
fn what_no_waiting_helps_ends_the_writer() {
    let asked = |client: &str, name: &str, environment: &[(&str, &str)]| -> Ended {
        let environments = json!({"prod": {"online_store": {"uri": format!("secret:{name}")}}});
        let plant = Plant::new(On::Local, 1, "ONLINE_WRITER", &json!({"environments": environments}));
        plant.configure(&json!({"common_persistence_specs": {"secret_client": client}}));
        let arguments = ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "off"];
        plant.folder.run_with(&arguments, environment)
    };
    let nowhere = [("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let no_file = [("HOME", "/nonexistent"), ("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/key.json")];
    for (client, name, environment, word) in [
        ("AWS", "arn:aws:secretsmanager:eu-west-1:1:secret", &nowhere, "is no ARN of a secret"),
        ("AWS", "redis", &nowhere, "needs a region; set AWS_REGION"),
        ("GCP", "projects/p/secret/redis", &nowhere, "is named NAME, projects/P/secrets/NAME"),
        ("GCP", "redis", &nowhere, "is in no project: set `google_cloud_project`"),
        ("GCP", "projects/p/secrets/redis", &no_file, "which GOOGLE_APPLICATION_CREDENTIALS names"),
    ] {
        let ended = asked(client, name, environment);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
}

/// Everything that a run prints and serves, with every word of every library.
#[test]
fn nothing_of_a_secret_is_shown_anywhere() {
    const WORDS: [&str; 6] =
        ["hunter2-of-", "first-word", "second-word", "third-word", "aHVudGVyMi1vZi", "Zmlyc3Qtd29yZ"];
    let redis = RedisServer::start(&[]);
    let postgres = PostgresServer::start(Version::Debian, &[]);
    let broker = Broker(tempfile::tempdir().expect("a folder"));
    let servers = broker.script("start", &[]);
    let set = |password: &str| {
        let pass = format!(">{password}");
        redis.command(&["ACL", "SETUSER", "writer", "on", "resetpass", &pass, "~*", "+@all"]);
        postgres.sql(&format!("ALTER ROLE writer PASSWORD '{password}'"));
        broker.script("password", &[password]);
    };
    let cut = || {
        redis.command(&["CLIENT", "KILL", "USER", "writer"]);
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    };
    for manager in Manager::both() {
        let put = |password: &str| {
            let kafka = json!({"username": "writer", "password": password, "bootstrap_servers": [broker.sasl()]});
            manager.put("kafka", &kafka.to_string());
            let redis = format!("redis://writer:{password}@127.0.0.1:{}", redis.port());
            let postgres = postgres.uri().replace(":right@", &format!(":{password}@"));
            manager.put("uris", &json!({"redis": redis, "postgres": postgres}).to_string());
        };
        set("first-word");
        put("first-word");
        let environments = json!({
            "prod": {"online_store": {"uri": "secret:uris#redis"}, "offline_store": {"uri": "secret:uris#postgres"}},
            "dev": {"online_store": {"uri": "secret:uris#postgres"}},
        });
        let mut plant = Plant::on_kafka(&servers, 2, "ONLINE_WRITER", &json!({"environments": environments}));
        plant.variables = manager.cloud.variables_of_secrets();
        plant.variables.push(("RUST_LOG", "trace".to_owned()));
        plant.configure(&manager.config());
        plant.configure(&json!({
            "kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_secret": "kafka", "kafka_bootstrap_servers": null, "kafka": {"debug": "all"},
        }));
        let mut said = String::new();
        let writer = plant.start_as("ONLINE_WRITER", "chalk.json");
        let mut serves = |writer: &crate::kit::Writer| {
            for path in ["/", "/status.json", "/metrics", "/readyz", "/healthz", "/nothing"] {
                said += &ask(writer.address(), path).1;
            }
        };
        plant.publish(results(0..50));
        plant.is_done();
        set("second-word");
        cut();
        plant.publish(results(50..100));
        writer.is_in_trouble("denied");
        serves(&writer);
        // One that is wrong from the first to the last word.
        put("third-word");
        eventually(PATIENCE, "read again", || writer.metric("chalk_writer_secret_reads_total", "read") >= 3.0);
        serves(&writer);
        put("second-word");
        goes_on(&plant, &writer);
        serves(&writer);
        let ended = writer.stop();
        said += &ended.stderr;
        assert!(said.contains("writer ends") && said.contains("TRACE"), "it was all of it");
        put("third-word");
        for command in ["check", "explain", "doctor"] {
            for more in [&[][..], &["--json"]] {
                let arguments = [&[command, "--config", "chalk.json"], more].concat();
                let ended = plant.folder.run_with(&arguments, &variables(&plant.variables));
                said += &ended.stdout;
                said += &ended.stderr;
            }
        }
        let peek = ["peek", "--config", "chalk.json", "--topic", &plant.topic, "--limit", "1"];
        let ended = plant.folder.run_with(&peek, &variables(&plant.variables));
        said += &ended.stdout;
        said += &ended.stderr;
        for word in WORDS {
            let lines: Vec<&str> = said.lines().filter(|line| line.contains(word)).take(5).collect();
            assert!(lines.is_empty(), "{}: `{word}` in {lines:#?}", manager.client);
        }
    }
}
