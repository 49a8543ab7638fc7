//! The results that are measured with: each of one of 200,000 users, with ten features: integers, doubles, and texts
//! of 12, 40 and 200 bytes; about 684 bytes as JSON. The same ones every time.

#![allow(dead_code, reason = "each program uses the shapes that it needs")]

use chalk_writer::proto::writer::v1;
use chalk_writer::proto::writer::v1::value::Kind;
use chalk_writer::result::encode::timestamp;
use chalk_writer::value::time::format_timestamp;
use prost::Message as _;

const ENTITIES: u64 = 200_000;
/// 2025-06-01T10:00:00Z, in microseconds; a result comes every 137.
const START: i64 = 1_748_772_000_000_000;
const STEP: i64 = 137;

/// A finished query: one row of one user.
pub(crate) struct Finished {
    id: String,
    observed_at: i64,
    pub(crate) key: String,
    features: [Feature; 10],
}

enum Feature {
    Int(i64),
    Double(f64),
    Text(String),
}

/// The same results every time.
pub(crate) struct Results {
    random: fastrand::Rng,
    pool: String,
    number: i64,
}

impl Results {
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(42);
        let pool = (0..100_000).map(|_| if random.u8(..36) < 26 { random.lowercase() } else { random.digit(10) });
        let pool = pool.collect();
        Self { random, pool, number: 0 }
    }

    fn text(&mut self, length: usize) -> Feature {
        let start = self.random.usize(..self.pool.len() - length);
        Feature::Text(self.pool[start..start + length].to_owned())
    }

    pub(crate) fn next(&mut self) -> Finished {
        let key = format!("u{:06}", self.random.u64(..ENTITIES));
        let observed_at = START + self.number * STEP;
        self.number += 1;
        let features = [
            Feature::Int(self.random.i64(0..1_000_000_000)),
            Feature::Double(self.random.f64() * 1000.0),
            self.text(12),
            Feature::Int(self.random.i64(0..100_000)),
            Feature::Double(self.random.f64()),
            self.text(40),
            Feature::Int(self.random.i64(0..1 << 40)),
            // A normal variate, by Box and Muller.
            Feature::Double(
                (-2.0 * (1.0 - self.random.f64()).ln()).sqrt() * (std::f64::consts::TAU * self.random.f64()).cos(),
            ),
            self.text(200),
            Feature::Int(self.random.i64(0..2)),
        ];
        let id = uuid::Builder::from_random_bytes(self.random.u128(..).to_le_bytes()).into_uuid().to_string();
        Finished { id, observed_at, key, features }
    }
}

fn plain(feature: &Feature) -> String {
    match feature {
        Feature::Int(number) => number.to_string(),
        Feature::Double(number) => format!("{number:?}"),
        // Letters and digits alone.
        Feature::Text(text) => format!("\"{text}\""),
    }
}

/// As JSON.
pub(crate) fn json(result: &Finished) -> Vec<u8> {
    let Finished { id, observed_at, key, features } = result;
    let time = format_timestamp(*observed_at);
    let features: Vec<String> =
        features.iter().enumerate().map(|(number, feature)| format!("\"user.f{number}\":{}", plain(feature))).collect();
    format!(
        "{{\"environment_id\":\"prod\",\"operation_id\":\"{id}\",\"operation_kind\":\"ONLINE_QUERY\",\
         \"observed_at\":\"{time}\",\"tables\":[{{\"namespace\":\"user\",\"rows\":{{\"rows\":[{{\"id\":\"{key}\",\
         \"features\":{{{}}}}}]}}}}]}}",
        features.join(",")
    )
    .into_bytes()
}

/// The same values as one plain JSON object, for programs that take nothing else.
pub(crate) fn flat(result: &Finished) -> Vec<u8> {
    let Finished { id, observed_at, key, features } = result;
    let time = format_timestamp(*observed_at);
    let features: Vec<String> =
        features.iter().enumerate().map(|(number, feature)| format!("\"f{number}\":{}", plain(feature))).collect();
    format!(
        "{{\"id\":\"{id}\",\"environment_id\":\"prod\",\"ts\":\"{time}\",\"entity\":\"user\",\"pkey\":\"{key}\",{}}}",
        features.join(",")
    )
    .into_bytes()
}

/// Its texts, of letters and digits, which every store keeps as they are.
pub(crate) fn texts(result: &Finished) -> Vec<&str> {
    let texts = result.features.iter().filter_map(|feature| match feature {
        Feature::Text(text) => Some(text.as_str()),
        Feature::Int(_) | Feature::Double(_) => None,
    });
    texts.collect()
}

/// As protobuf.
pub(crate) fn protobuf(result: &Finished) -> Vec<u8> {
    let value = |feature: &Feature| v1::Value {
        kind: Some(match feature {
            Feature::Int(number) => Kind::IntValue(*number),
            Feature::Double(number) => Kind::DoubleValue(*number),
            Feature::Text(text) => Kind::StringValue(text.clone()),
        }),
    };
    let row = v1::Row {
        id: Some(v1::row::Id::TextId(result.key.clone())),
        values: result.features.iter().map(value).collect(),
        ..v1::Row::default()
    };
    let columns = (0..result.features.len()).map(|number| format!("user.f{number}")).collect();
    let body = v1::feature_table::Body::Rows(v1::Rows { columns, rows: vec![row] });
    v1::QueryResult {
        environment_id: "prod".to_owned(),
        operation_id: result.id.clone(),
        operation_kind: 1,
        observed_at: Some(timestamp(result.observed_at)),
        tables: vec![v1::FeatureTable { namespace: "user".to_owned(), body: Some(body) }],
        ..v1::QueryResult::default()
    }
    .encode_to_vec()
}
