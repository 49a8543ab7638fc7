//! Who a writer is to Google, by every way that it finds out: a key file, the metadata server, a pool that trusts AWS.
//!
//! The built binary runs against a fake of Pub/Sub (`tests/bus_contract/fake`), which sees the token of every call, and
//! against stand-ins of what gives tokens; all of it over plaintext on the loopback, which `pubsub.endpoint` allows
//! there alone. None of Google's or AWS's own servers is met: whatever would go to one goes to a closed port.

// A test has no users: `pub` here only means that another module of the suite calls it.
#![allow(unreachable_pub)]

#[path = "../bus_contract/fake/faults.rs"]
#[allow(dead_code, reason = "the fake does more than is asked here")]
mod faults;
#[path = "../bus_contract/fake/filter.rs"]
#[allow(dead_code, reason = "the fake does more than is asked here")]
mod filter;
#[path = "../bus_contract/fake/queue.rs"]
#[allow(dead_code, reason = "the fake does more than is asked here")]
mod queue;
#[path = "../bus_contract/fake/server.rs"]
#[allow(dead_code, reason = "the fake does more than is asked here")]
mod server;
#[path = "../cli/setup.rs"]
#[allow(dead_code, reason = "each suite uses the part that it needs")]
mod setup;
mod stand_ins;
#[path = "../bus_contract/fake/wire.rs"]
mod wire;

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use server::Fake;
use setup::{Deployment, Ended};
use stand_ins::{Answers, StandIn};

const POOL: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b";
const ACCOUNT: &str = "w@p.iam.gserviceaccount.com";
const AWS_KEY: &str = "hunter2-of-aws";
/// A port that nobody listens on.
const NOBODY: &str = "127.0.0.1:9";

/// The longest that one run may take. It bounds a hang and nothing else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A writer that reads the fake, and its environment.
struct Plant {
    fake: Fake,
    folder: Deployment,
    variables: Vec<(&'static str, String)>,
}

impl Plant {
    async fn new(common: &Value) -> Self {
        let fake = Fake::start(false, &[]).await;
        let folder = Deployment::new();
        let mut specs = json!({
            "bus_backend": "PUBSUB", "google_cloud_project": "p", "kafka_dlq_topic": "dead-letters", "result_bus_topic_id": "t",
            "result_bus_online_store_subscription_id": "s",
        });
        for (name, value) in common.as_object().expect("an object") {
            specs[name] = value.clone();
        }
        let config = json!({
            "common_persistence_specs": specs,
            "pubsub": {"endpoint": format!("http://{}", fake.address), "streams": 1, "drain_idle": "1s"},
            "writers": [{"bus_subscriber_type": "ONLINE_WRITER", "name": "online-writer"}],
            "environments": {"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}},
        });
        folder.write("chalk.json", &config.to_string());
        let home = folder.path().display().to_string();
        let variables = vec![("HOME", home), ("HTTPS_PROXY", format!("http://{NOBODY}"))];
        Self { fake, folder, variables }
    }

    /// With a file of credentials.
    fn signs_in_by(&mut self, credentials: &Value) {
        self.folder.write("adc.json", &credentials.to_string());
        let path = self.folder.path().join("adc.json").display().to_string();
        self.variables.push(("GOOGLE_APPLICATION_CREDENTIALS", path));
    }

    fn asks_metadata(&mut self, address: &str) {
        self.variables.push(("GCE_METADATA_HOST", address.to_owned()));
    }

    /// Runs the binary beside the stand-ins.
    fn run(&self, arguments: &[&str]) -> Ended {
        let variables: Vec<(&str, &str)> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        tokio::task::block_in_place(|| self.folder.run_with(arguments, &variables))
    }

    /// Reads the subscription, which is empty, to its end.
    fn drain(&self) -> Ended {
        let arguments = ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--drain", "--listen", "off"];
        let variables = self.variables.iter().cloned();
        tokio::task::block_in_place(|| {
            let running = self.folder.start_with(&arguments, |command| {
                command.envs(variables);
            });
            running.wait(PATIENCE)
        })
    }

    fn doctor(&self) -> Ended {
        self.run(&["doctor", "--config", "chalk.json"])
    }
}

/// A key of an account, as Google gives them out. `token_uri` names nobody.
fn key_file() -> Value {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl can be started");
    assert!(made.status.success(), "{made:?}");
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "key-1", "client_email": ACCOUNT,
        "private_key": String::from_utf8(made.stdout).expect("PEM"), "token_uri": format!("http://{NOBODY}/token"),
    })
}

/// The file of a pool that trusts AWS, whose tokens a stand-in gives.
fn pool_file(tokens: &StandIn) -> Value {
    json!({
        "type": "external_account", "audience": POOL, "token_url": format!("http://{}/v1/token", tokens.address),
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "credential_source": {"environment_id": "aws1"},
    })
}

async fn pooled(tokens: &StandIn) -> Plant {
    let mut plant = Plant::new(&json!({"use_aws_pool_for_google_adc": true})).await;
    plant.signs_in_by(&pool_file(tokens));
    for (name, value) in
        [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", AWS_KEY), ("AWS_REGION", "eu-west-1")]
    {
        plant.variables.push((name, value.to_owned()));
    }
    plant
}

/// Google's library signs tokens by itself (a JWT of the account's own) and asks nobody: `token_uri` is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_signs_its_own_tokens_and_every_call_has_one() {
    let mut plant = Plant::new(&json!({})).await;
    let key = key_file();
    plant.signs_in_by(&key);
    plant.drain().ok();
    let callers = plant.fake.callers();
    assert_eq!(callers.len(), 1, "{callers:?}");
    let token = callers[0].strip_prefix("Bearer ").expect("a bearer token");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWT");
    let part = |part: &str| -> Value {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let (header, claims) = (part(parts[0]), part(parts[1]));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!("key-1")));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ACCOUNT), &json!(ACCOUNT)));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");

    // Without the right it says who has to be given it, and nothing of the key.
    plant.fake.deny();
    let report = plant.doctor();
    assert_eq!(report.code, Some(1), "{report:?}");
    for word in [&format!("`{ACCOUNT}`"), "roles/pubsub.subscriber", "not authorized"] {
        assert!(report.stdout.contains(word), "{word}: {}", report.stdout);
    }
    let private = key["private_key"].as_str().expect("text").lines().nth(1).expect("a line of the key");
    for said in [&report.stdout, &report.stderr] {
        assert!(!said.contains(private) && !said.contains(token), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_or_pod_is_who_the_metadata_server_says() {
    let metadata = StandIn::start(Answers::Token("machine-token")).await;
    let mut plant = Plant::new(&json!({})).await;
    plant.asks_metadata(&metadata.address);
    plant.drain().ok();
    assert_eq!(plant.fake.callers(), ["Bearer machine-token"]);
    let asked = metadata.asked();
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert!(asked.iter().any(|asked| asked.starts_with(path) && asked.contains("cloud-platform")), "{asked:?}");
}

/// The account of a pod is bound after the pod has started: a writer that waits for it goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_at_first_is_had_later_without_a_restart() {
    let metadata = StandIn::start(Answers::Refuses).await;
    let mut plant = Plant::new(&json!({})).await;
    plant.asks_metadata(&metadata.address);
    let later = metadata.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        later.answers(Answers::Token("late-token"));
    });
    plant.drain().ok();
    assert_eq!(plant.fake.callers(), ["Bearer late-token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metadata_server_that_refuses_or_talks_rubbish_or_is_away_is_named() {
    for (answers, words) in [
        (Some(Answers::Refuses), ["no token of Google's could be had", "not yours"]),
        (Some(Answers::Rubbish), ["no token of Google's could be had", "error decoding response body"]),
        (None, ["cannot create the authentication headers", "error sending request"]),
    ] {
        let mut plant = Plant::new(&json!({})).await;
        match answers {
            Some(answers) => plant.asks_metadata(&StandIn::start(answers).await.address),
            None => plant.asks_metadata(NOBODY),
        }
        let report = plant.doctor();
        assert_eq!(report.code, Some(1), "{answers:?}: {report:?}");
        for word in words {
            assert!(report.stdout.contains(word), "{answers:?}: {word}: {}", report.stdout);
        }
        if answers.is_some() {
            assert!(report.stdout.contains("the account of this machine or pod"), "{}", report.stdout);
        }
        assert_eq!(plant.fake.callers(), [""; 0], "{answers:?}: nobody asks without a token");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_knows_a_writer_by_becomes_a_token_of_the_pool() {
    let tokens = StandIn::start(Answers::Token("pool-token")).await;
    let plant = pooled(&tokens).await;
    plant.drain().ok();
    assert_eq!(plant.fake.callers(), ["Bearer pool-token"]);
    let asked = tokens.asked();
    assert!(asked[0].contains("GetCallerIdentity") && asked[0].contains("AKIATEST"), "{asked:?}");
    assert!(asked.iter().all(|asked| !asked.contains(AWS_KEY)), "the key of AWS goes nowhere");

    plant.fake.deny();
    let report = plant.doctor();
    assert!(report.code == Some(1) && report.stdout.contains(POOL), "{report:?}");
    for answers in [Answers::Refuses, Answers::Rubbish] {
        tokens.answers(answers);
        let report = plant.doctor();
        assert_eq!(report.code, Some(1), "{answers:?}: {report:?}");
        assert!(report.stdout.contains("no token of Google's could be had"), "{answers:?}: {}", report.stdout);
        assert!(report.stdout.contains(POOL), "{answers:?}: {}", report.stdout);
        for said in [&report.stdout, &report.stderr] {
            assert!(!said.contains(AWS_KEY) && !said.contains("pool-token"), "{said}");
        }
    }
}
