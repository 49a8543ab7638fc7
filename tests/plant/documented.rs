//! Chalk's documented example, that very file with what only a deployment can know: brokers, the secret and the
//! stores. Its two writers, chained, take a result from the result bus to rows in the metrics store.

use std::path::Path;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::postgres::{PostgresServer, Version};
use crate::process::{Writer, eventually, run};

const SECRET: &str = r#"{"username": "writer", "password": "right"}"#;

#[tokio::test]
async fn chalks_documented_example_takes_a_result_to_rows_of_the_metrics_store() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    let (broker, server) = (Broker::start(folder), PostgresServer::start(Version::Debian, &[]));

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/chalk-documented-example.json");
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    file["kafka_bootstrap_servers"] = json!(broker.guarded);
    // The same user name, password and mechanism; the broker of the tests has no TLS.
    file["kafka_security_protocol"] = json!("SASL_PLAINTEXT");
    file["common_persistence_specs"]["secret_client"] = json!("FILE");
    std::fs::write(folder.join("AmazonMSK_example"), SECRET).unwrap();
    file["kafka_sasl_secret"] = json!(folder.join("AmazonMSK_example"));
    file["environments"] = json!({"prod": {"metrics_store": {"uri": server.uri()}}});
    std::fs::write(folder.join("chalk.json"), file.to_string()).unwrap();

    for topic in ["result-bus-1", "metrics-bus-1", "dlq-1"] {
        run(folder, &["publish", "--topic", topic, "--partitions", "2", "--generate", "0"]);
    }
    let writers = ["GO_METRICS_BUS_WRITER", "GO_RESULT_BUS_METRICS_WRITER"].map(|writer| Writer::start(folder, writer));
    run(folder, &["publish", "--topic", "result-bus-1", "--generate", "20", "--start", "1h"]);

    let counts = "SELECT (SELECT sum(value) FROM chalk.metrics_merged WHERE namespace = 'QUERY' AND metric_name = 'REQUEST'), \
                  (SELECT count(*) FROM chalk.queries), \
                  (SELECT count(DISTINCT source) > 10 FROM chalk.metrics WHERE namespace = 'FEATURE')";
    eventually("each query counts once and has its row", folder, async || match server.try_sql(counts) {
        Ok(found) if found == "20|20|t" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    writers.into_iter().for_each(Writer::stop);
}
