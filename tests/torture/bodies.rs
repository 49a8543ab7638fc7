//! What a message looks like on the bus: the same content in every encoding that the writers read.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chalk_writer::proto::writer::v1;
use chalk_writer::proto::writer::v1::feature_table::Body;
use chalk_writer::proto::writer::v1::value::Kind;
use chalk_writer::result::unpack::Compression;
use prost::Message as _;
use serde_json::json;

/// An encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Protobuf,
    ArrowFile,
    ArrowStream,
    ArrowInProtobuf,
    ArrowInJson,
}

impl Form {
    /// Those in which rows are rows: a value of one may be of another type than the others, and people can change it.
    pub const ROWS: [Self; 2] = [Self::Json, Self::Protobuf];
    const ARROW: [Self; 4] = [Self::ArrowFile, Self::ArrowStream, Self::ArrowInProtobuf, Self::ArrowInJson];

    pub fn draw(random: &mut fastrand::Rng) -> Self {
        let forms = if random.u8(..3) == 0 { &Self::ARROW[..] } else { &Self::ROWS };
        forms[random.usize(..forms.len())]
    }

    /// Whether a feature has a value in every row or in none: a cell without a value is a null there.
    pub fn has_columns(self) -> bool {
        Self::ARROW.contains(&self)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::ArrowInJson => "application/json",
            Self::Protobuf | Self::ArrowInProtobuf => "application/protobuf",
            Self::ArrowFile => "application/vnd.apache.arrow.file",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
        }
    }
}

/// What a message says.
pub struct Draft {
    pub environment: &'static str,
    pub deployment: String,
    pub operation: String,
    pub observed_at: i64,
    pub rows: Vec<Row>,
    pub query: bool,
}

pub struct Row {
    /// Nobody's, where there is none.
    pub id: Option<u64>,
    pub seq: Seq,
    pub text: String,
    pub sometimes: Option<f64>,
}

/// The number of a message, or something else in its place.
pub enum Seq {
    Number(i64),
    Text(String),
}

/// A body, and what its headers say of it.
#[derive(Clone)]
pub struct Packed {
    pub body: Vec<u8>,
    pub content_type: Option<&'static str>,
    pub content_encoding: Option<&'static str>,
}

impl Packed {
    /// In one encoding, compressed or not, its type named or left to be found out.
    pub fn of(draft: &Draft, form: Form, random: &mut fastrand::Rng) -> Self {
        let body = draft.encode(form);
        let content_type = random.bool().then_some(form.content_type());
        match Compression::ALL.get(random.usize(..2 * Compression::ALL.len())) {
            None => Self { body, content_type, content_encoding: None },
            Some((name, compression)) => {
                Self { body: compression.pack(&body).unwrap(), content_type, content_encoding: Some(*name) }
            }
        }
    }

    /// As far as its middle: nothing can be read of it. Protobuf could, which is why it is packed first.
    pub fn cut_off(&mut self) {
        if self.content_encoding.is_none() {
            self.body = Compression::Zstd.pack(&self.body).unwrap();
            self.content_encoding = Some(Compression::Zstd.as_str());
        }
        self.body.truncate(self.body.len() / 2);
    }
}

fn rfc3339(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

impl Draft {
    fn encode(&self, form: Form) -> Vec<u8> {
        match form {
            Form::Json => self.json(&json!({"rows": {"rows": self.json_rows()}})),
            Form::Protobuf => self.protobuf(self.protobuf_rows()),
            Form::ArrowFile => file(&self.batch(), self.metadata()),
            Form::ArrowStream => stream(&self.batch(), self.metadata()),
            Form::ArrowInProtobuf => self.protobuf(Body::ArrowIpc(file(&self.batch(), HashMap::new()).into())),
            Form::ArrowInJson => {
                let ipc = stream(&self.batch(), HashMap::new());
                self.json(&json!({"arrow_ipc": BASE64_STANDARD.encode(ipc)}))
            }
        }
    }

    fn query(&self) -> serde_json::Value {
        json!({"operation_id": self.operation, "environment_id": self.environment, "query_name": "torture"})
    }

    fn json(&self, table: &serde_json::Value) -> Vec<u8> {
        let mut table = table.clone();
        table["namespace"] = "user".into();
        let mut body = json!({"environment_id": self.environment, "deployment_id": self.deployment,
            "operation_id": self.operation, "observed_at": rfc3339(self.observed_at),
            "operation_kind": "ONLINE_QUERY", "tables": [table]});
        if self.query {
            body["query"] = self.query();
        }
        body.to_string().into_bytes()
    }

    fn json_rows(&self) -> Vec<serde_json::Value> {
        let row = |row: &Row| {
            let seq = match &row.seq {
                Seq::Number(number) => json!(number),
                Seq::Text(text) => json!(text),
            };
            let mut features = json!({"user.seq": seq, "user.text": row.text});
            if let Some(sometimes) = row.sometimes {
                features["user.sometimes"] = sometimes.into();
            }
            let mut all = json!({"features": features});
            if let Some(id) = row.id {
                all["id"] = id.into();
            }
            all
        };
        self.rows.iter().map(row).collect()
    }

    fn protobuf(&self, body: Body) -> Vec<u8> {
        let table = v1::FeatureTable { namespace: "user".to_owned(), body: Some(body) };
        let observed_at = pbjson_types::Timestamp {
            seconds: self.observed_at.div_euclid(1_000_000),
            nanos: self.observed_at.rem_euclid(1_000_000) as i32 * 1000,
        };
        let result = v1::QueryResult {
            environment_id: self.environment.to_owned(),
            deployment_id: self.deployment.clone(),
            operation_id: self.operation.clone(),
            operation_kind: 1,
            observed_at: Some(observed_at),
            tables: vec![table],
            query: self.query.then(|| serde_json::from_value(self.query()).unwrap()),
            ..v1::QueryResult::default()
        };
        result.encode_to_vec()
    }

    fn protobuf_rows(&self) -> Body {
        let row = |row: &Row| {
            let seq = match &row.seq {
                Seq::Number(number) => Kind::IntValue(*number),
                Seq::Text(text) => Kind::StringValue(text.clone()),
            };
            let kinds = [Some(seq), Some(Kind::StringValue(row.text.clone())), row.sometimes.map(Kind::DoubleValue)];
            v1::Row {
                id: row.id.map(|id| v1::row::Id::IntId(id as i64)),
                observed_at: None,
                values: kinds.into_iter().map(|kind| v1::Value { kind }).collect(),
                meta: Vec::new(),
            }
        };
        let columns = ["user.seq", "user.text", "user.sometimes"].map(str::to_owned).to_vec();
        Body::Rows(v1::Rows { columns, rows: self.rows.iter().map(row).collect() })
    }

    /// Everything about the message that is not in its rows.
    fn metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            ("chalk.environment_id", self.environment.to_owned()),
            ("chalk.deployment_id", self.deployment.clone()),
            ("chalk.operation_id", self.operation.clone()),
            ("chalk.operation_kind", "ONLINE_QUERY".to_owned()),
            ("chalk.observed_at", rfc3339(self.observed_at)),
        ]);
        if self.query {
            metadata.insert("chalk.query", self.query().to_string());
        }
        metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn batch(&self) -> RecordBatch {
        let number = |row: &Row| match row.seq {
            Seq::Number(number) => number,
            Seq::Text(_) => panic!("a column has one type"),
        };
        let ids: Int64Array = self.rows.iter().map(|row| row.id.map(|id| id as i64)).collect();
        let numbers: Int64Array = self.rows.iter().map(|row| Some(number(row))).collect();
        let texts: StringArray = self.rows.iter().map(|row| Some(row.text.clone())).collect();
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("__id__", Arc::new(ids)), ("user.seq", Arc::new(numbers)), ("user.text", Arc::new(texts))];
        if self.rows.iter().any(|row| row.sometimes.is_some()) {
            let values: Float64Array = self.rows.iter().map(|row| row.sometimes).collect();
            columns.push(("user.sometimes", Arc::new(values)));
        }
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }
}

fn file(batch: &RecordBatch, metadata: HashMap<String, String>) -> Vec<u8> {
    let schema = batch.schema().as_ref().clone().with_metadata(metadata);
    let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn stream(batch: &RecordBatch, metadata: HashMap<String, String>) -> Vec<u8> {
    let schema = batch.schema().as_ref().clone().with_metadata(metadata);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}
