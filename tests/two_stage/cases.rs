//! From results: one stage against two.

use bytes::Bytes;
use chalk_writer::generate::{BodyEncoding, Generator, Options, Shape};
use chalk_writer::message::Outgoing;
use serde_json::{Value, json};

use crate::look::{self, Tables};
use crate::plant::{INSERTS, Plant, RESULTS, Stage, result};
use crate::postgres::{PostgresServer, Version};

const BODIES: [BodyEncoding; 4] =
    [BodyEncoding::Json, BodyEncoding::CompactJson, BodyEncoding::Protobuf, BodyEncoding::Arrow];

/// Results of every encoding, as an engine would send them.
fn generated(count: usize) -> Vec<Outgoing> {
    let of = |(seed, encoding)| {
        let options = Options { topic: RESULTS.to_owned(), encoding, shape: Shape::Realistic, ..Options::default() };
        Generator::new(seed, options).take(count)
    };
    (1..).zip(BODIES).flat_map(of).collect()
}

/// Results with what is hard to carry: values of one column that have no type in common, fields that come and go,
/// digits, vectors, and rows that their table refuses.
fn odd() -> Vec<Outgoing> {
    let row = |id: Value, features: Value| json!({"id": id, "features": features});
    let of = |number: usize, rows: Value| {
        let body = json!({
            "environment_id": if number % 3 == 0 { "dev" } else { "prod" }, "operation_id": format!("odd-{number}"),
            "deployment_id": "dep-1", "observed_at": format!("2026-11-{:02}T23:59:59.999999Z", 1 + number % 28),
            "query": {"query_name": "odd", "has_errors": number % 2 == 0, "query_duration_seconds": 0.5},
            "tables": [{"namespace": "user", "rows": {"rows": rows}}],
        });
        result(&format!("odd-{number}"), &body)
    };
    vec![
        of(
            1,
            json!([row(json!(1), json!({"user.n": 1, "user.s": {"a": 1}, "user.l": [1, 2], "user.price": "12.30"}))]),
        ),
        of(
            2,
            json!([row(
                json!(2),
                json!({"user.n": 2.5, "user.s": {"b": "x", "c": null}, "user.l": [], "user.nothing": null})
            )]),
        ),
        of(
            4,
            json!([
                row(json!(3), json!({"user.tags": ["a", null, "b"], "user.half": [0.5, 1, -2], "user.price": 7})),
                row(
                    json!(4),
                    json!({"user.n": 3, "user.deep": {"list": [{"x": 1}, {"x": 2, "y": [true]}]}, "user.date": "2026-11-22"})
                ),
            ]),
        ),
        of(
            5,
            json!([
                row(json!(5), json!({"user.n": "a text in a column of numbers", "user.good": 1})),
                row(json!(6), json!({"user.n": 6}))
            ]),
        ),
        of(3, json!([row(json!(7), json!({"user.n": 9_007_199_254_740_992_i64, "user.text": "déjà vu \u{1f600}"}))])),
        of(6, json!([row(json!("eight"), json!({"user.n": 0.1, "user.price": "0.001"}))])),
    ]
}

/// Both ways to their end; what each has written.
async fn both(plant: &Plant, messages: &[Outgoing]) {
    // In two goes, so that the tables of the second are there already, and the types of some columns change.
    for half in messages.chunks(messages.len().div_ceil(2)) {
        plant.publish(half).await;
        for stage in [Stage::Direct, Stage::First, Stage::Second] {
            plant.drain(stage);
        }
    }
}

fn equal(direct: &Tables, staged: &Tables) {
    let names = |tables: &Tables| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(direct), names(staged));
    for (name, one) in direct {
        let two = &staged[name];
        assert_eq!(one.columns, two.columns, "columns of {name}");
        assert_eq!(one.rows.len(), two.rows.len(), "rows of {name}");
        for (one, two) in one.rows.iter().zip(&two.rows) {
            assert_eq!(one, two, "a row of {name}");
        }
    }
}

/// Letters of the direct writer and of the first stage are the same; the second buries none.
async fn letters_are_those_of_the_first_stage(plant: &Plant, expected: usize) {
    let buried = plant.buried().await;
    assert_eq!(buried.len(), 2 * expected, "{buried:?}");
    assert!(buried.chunks(2).all(|pair| pair[0] == pair[1]), "{buried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_and_two_stages_are_equal_row_by_row_in_postgres() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let uri = |schema: &str| format!("{}?schema={schema}", server.uri());
    let plant = Plant::new(&uri("direct"), &uri("staged")).await;
    both(&plant, &generated(60)).await;
    both(&plant, &odd()).await;
    let direct = look::postgres(&server, "direct");
    assert!(direct["user"].rows.len() > 100 && direct["query_log"].rows.len() > 200, "{}", direct["user"].rows.len());
    equal(&direct, &look::postgres(&server, "staged"));
    letters_are_those_of_the_first_stage(&plant, 2).await;
    // What comes again changes nothing: the second stage reads from the start.
    let before = look::postgres(&server, "staged");
    plant.publish(&generated(60)).await;
    for stage in [Stage::First, Stage::Second] {
        plant.drain(stage);
    }
    equal(&before, &look::postgres(&server, "staged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_and_two_stages_are_equal_row_by_row_in_the_lake() {
    let plant = Plant::new("file:./direct", "file:./staged").await;
    both(&plant, &generated(60)).await;
    both(&plant, &odd()).await;
    let direct = look::lake(&plant.path().join("direct"));
    assert!(direct["user"].rows.len() > 100 && direct["query_log"].rows.len() > 200, "{}", direct["user"].rows.len());
    equal(&direct, &look::lake(&plant.path().join("staged")));
    letters_are_those_of_the_first_stage(&plant, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_of_one_table_are_one_write_and_their_schemas_merge() {
    let plant = Plant::new("file:./direct", "file:./staged").await;
    for number in 0..6 {
        let feature = format!("user.f{}", number % 3);
        let body = json!({
            "environment_id": "prod", "operation_id": format!("op-{number}"), "observed_at": "2026-11-22T18:32:00Z",
            "tables": [{"namespace": "user", "rows": {"rows": [{"id": number, "features": {(feature): number}}]}}],
        });
        plant.publish(&[result(&format!("e-{number}"), &body)]).await;
        plant.drain(Stage::First);
    }
    assert_eq!(plant.messages(INSERTS).await.len(), 6);
    plant.drain(Stage::Second);
    let root = plant.path().join("staged");
    let table = &look::lake(&root)["user"];
    assert_eq!(table.rows.len(), 6);
    assert!(
        ["f0", "f1", "f2"].iter().all(|name| table.columns.iter().any(|column| column.contains(name))),
        "{:?}",
        table.columns
    );
    let files = chalk_writer::store::offline::lake::read::files(&root, "user").expect("files");
    assert_eq!(files.len(), 1, "one write of one day");
}

#[tokio::test(flavor = "multi_thread")]
async fn peek_shows_what_either_stage_would_write() {
    let plant = Plant::new("file:./direct", "file:./staged").await;
    plant.publish(&odd()[..1]).await;
    let shown = plant.peek(Stage::First);
    assert!(shown.contains("streaming inserts for the offline store of *, prod"), "{shown}");
    plant.drain(Stage::First);
    let shown = plant.peek(Stage::Second);
    assert!(shown.contains("\"__observation_id__\"") && shown.contains("\"query_log\""), "{shown}");
    let bad = Outgoing {
        topic: INSERTS.to_owned(),
        headers: [("ce_environmentid", "prod"), ("ce_table", "t")].into_iter().collect(),
        payload: Some(Bytes::from_static(b"no parquet")),
        ..Outgoing::default()
    };
    plant.publish(&[bad]).await;
    let shown = plant.peek(Stage::Second);
    assert!(shown.contains("parquet: cut off: a file begins and ends with PAR1"), "{shown}");
}
