//! The three ways in which files are announced, each from the message to the table.

use serde_json::{Value, json};

use crate::clouds::{BUCKET, Cloud, variables};
use crate::files::{ids, parquet, put, rows};
use crate::plant::{Plant, insert, until};
use crate::postgres::{PostgresServer, Version};

/// The record of a new object in an event notification of S3.
fn record(key: &str, bytes: usize, tag: &str, version: Option<&str>) -> Value {
    let mut object = json!({"key": key, "size": bytes, "eTag": tag, "sequencer": "0055AED6DCD90281E5"});
    if let Some(version) = version {
        object["versionId"] = json!(version);
    }
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": "2026-11-22T18:32:00.000Z", "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": BUCKET}, "object": object},
    })
}

fn s3(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

fn finalized<'a>(name: &'a str, generation: &'a str) -> [(&'a str, &'a str); 4] {
    [("eventType", "OBJECT_FINALIZE"), ("bucketId", BUCKET), ("objectId", name), ("objectGeneration", generation)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_insert_of_files_anywhere_is_loaded() {
    let (server, cloud) = (PostgresServer::start(Version::Newest, &[]), Cloud::s3());
    let mut plant = Plant::new(&[("prod", &server.uri())], json!({})).await;
    plant.set(&variables(&cloud.environment()));
    cloud.put_s3("a/1%20x.parquet", &parquet(&rows(0, 100), 30));
    let here = put(plant.path(), "2.parquet", &parquet(&rows(100, 150), 30));
    plant.load(&[insert("load-1", "user", &[&format!("s3://{BUCKET}/a/1 x.parquet"), &here])]).await;
    plant.drain();
    assert_eq!(server.sql("SELECT count(*), sum(id), min(name) FROM \"user\""), "150|11175|name 0");
    assert_eq!(plant.letters(), Vec::<[String; 3]>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_of_s3_is_loaded_into_the_table_of_its_folder() {
    let cloud = Cloud::s3();
    let mut plant = Plant::new(&[("prod", Plant::lake())], json!({})).await;
    plant.set(&variables(&cloud.environment()));
    let (one, two) = (parquet(&rows(0, 100), 30), parquet(&rows(100, 120), 30));
    let (tag, _) = cloud.put_s3("exports/user/day%201.parquet", &one);
    let (other, _) = cloud.put_s3("exports/user/2.parquet", &two);
    let body = s3(&[
        record("exports/user/day+1.parquet", one.len(), &tag, None),
        record("exports/user/2.parquet", two.len(), &other, None),
        record("exports/user/_SUCCESS", 0, "x", None),
        record("elsewhere/user/3.parquet", 7, "x", None),
    ]);
    let test = r#"{"Service": "Amazon S3", "Event": "s3:TestEvent"}"#.to_owned();
    // The same object twice: its name, bucket and tag are its load.
    plant.publish(&[(&[], body.clone()), (&[], test), (&[], body)]).await;
    plant.drain();
    assert_eq!(ids(&plant.path().join("lake"), "user"), (0..120).collect::<Vec<_>>());
    // Another object in its place: what was announced is gone, what is there is announced by itself.
    cloud.put_s3("exports/user/2.parquet", &parquet(&rows(200, 210), 30));
    let gone = "0123456789abcdef0123456789abcdef";
    plant.publish(&[(&[], s3(&[record("exports/user/2.parquet", 9, gone, None)]))]).await;
    plant.drain();
    let letters = plant.letters();
    let [[class, row, message]] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((class.as_str(), row.as_str()), ("FILE_MISSING", "s3://uploads/exports/user/2.parquet"));
    assert!(message.contains("another object has taken its place"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bucket_that_keeps_versions_the_announced_one_is_loaded() {
    let cloud = Cloud::s3();
    cloud.keep_versions();
    let mut plant = Plant::new(&[("prod", Plant::lake())], json!({})).await;
    plant.set(&variables(&cloud.environment()));
    let (old, new) = (parquet(&rows(0, 10), 30), parquet(&rows(10, 30), 30));
    let (tag, version) = cloud.put_s3("exports/user/1.parquet", &old);
    let (later_tag, later) = cloud.put_s3("exports/user/1.parquet", &new);
    let version = version.expect("a version");
    plant.publish(&[(&[], s3(&[record("exports/user/1.parquet", old.len(), &tag, Some(&version))]))]).await;
    plant.drain();
    assert_eq!(ids(&plant.path().join("lake"), "user"), (0..10).collect::<Vec<_>>());
    plant.publish(&[(&[], s3(&[record("exports/user/1.parquet", new.len(), &later_tag, later.as_deref())]))]).await;
    plant.drain();
    assert_eq!(ids(&plant.path().join("lake"), "user"), (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_of_cloud_storage_is_loaded_by_its_generation() {
    let cloud = Cloud::gcs();
    let mut plant = Plant::new(&[("prod", Plant::lake())], json!({"upload_prefix": "gs://uploads/day"})).await;
    plant.set(&variables(&cloud.environment()));
    let generation = cloud.put_gcs("day/user/part%201.parquet", &parquet(&rows(0, 100), 30));
    let here = finalized("day/user/part 1.parquet", &generation);
    let gone = finalized("day/user/none.parquet", "17");
    plant.publish(&[(&here, String::new()), (&gone, String::new()), (&here, "{}".to_owned())]).await;
    plant.drain();
    assert_eq!(ids(&plant.path().join("lake"), "user"), (0..100).collect::<Vec<_>>());
    let letters = plant.letters();
    let [[class, row, _]] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((class.as_str(), row.as_str()), ("FILE_MISSING", "gs://uploads/day/user/none.parquet"));
}

/// Neither is said of the file: it is asked for again until its store answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_or_away_is_waited_for() {
    let cloud = Cloud::s3();
    let variables_of = cloud.environment();
    let mut plant = Plant::new(&[("prod", Plant::lake())], json!({})).await;
    plant.set(&variables(&variables_of));
    let here = put(plant.path(), "1.parquet", &parquet(&rows(0, 10), 30));
    plant
        .load(&[insert("elsewhere", "user", &["s3://no-such-bucket/1.parquet"]), insert("here", "user", &[&here])])
        .await;
    let writer = plant.start();
    until("the other load lands", || ids(&plant.path().join("lake"), "user").len() == 10);
    drop(writer);
    assert_eq!(plant.letters(), Vec::<[String; 3]>::new(), "no verdict");
    drop(cloud);
    let writer = plant.start();
    // Away altogether: the load that landed is passed over, the other waits.
    std::thread::sleep(std::time::Duration::from_secs(2));
    drop(writer);
    assert_eq!(plant.letters(), Vec::<[String; 3]>::new(), "no verdict");
    assert_eq!(ids(&plant.path().join("lake"), "user").len(), 10);
}
