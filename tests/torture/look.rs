//! Reads the stores by other means than the writer's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Requests that are sent to Redis before their answers are read.
const TOGETHER: usize = 200;

/// Time and number of each feature, as a store holds them.
pub type Values = HashMap<(u64, String), (i64, i64)>;

/// Where the online store is.
pub enum Online {
    Redis(u16),
    Sqlite(PathBuf),
}

impl Online {
    /// As the configuration names it.
    pub fn uri(&self) -> String {
        match self {
            Self::Redis(port) => format!("redis://127.0.0.1:{port}"),
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
        }
    }

    /// Everything that is stored of some entities.
    pub fn read(&self, entities: &[u64]) -> Values {
        match self {
            Self::Redis(port) => redis(*port, entities),
            Self::Sqlite(path) => sqlite(path, entities),
        }
    }
}

/// The number in a value: every feature of a message holds the message's number.
fn number(value: &serde_json::Value) -> i64 {
    match value {
        // The text holds an emoji and an accent beside the number, and nothing else with digits.
        serde_json::Value::String(text) => {
            text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
        }
        other => other.as_f64().unwrap() as i64,
    }
}

/// Reads a reply of Redis: an array of bulk strings.
fn strings(reader: &mut BufReader<TcpStream>) -> Vec<Vec<u8>> {
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end()[1..].parse::<usize>().unwrap()
    };
    let count = line(reader);
    (0..count)
        .map(|_| {
            let mut bytes = vec![0; line(reader) + 2];
            reader.read_exact(&mut bytes).unwrap();
            bytes.truncate(bytes.len() - 2);
            bytes
        })
        .collect()
}

fn redis(port: u16, entities: &[u64]) -> Values {
    let mut values = Values::new();
    let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    for some in entities.chunks(TOGETHER) {
        let request = |entity: &u64| {
            let key = format!("prod/user/{{{entity}}}");
            format!("*2\r\n$7\r\nHGETALL\r\n${}\r\n{key}\r\n", key.len())
        };
        let requests: String = some.iter().map(request).collect();
        reader.get_mut().write_all(requests.as_bytes()).unwrap();
        for entity in some {
            let reply = strings(&mut reader);
            for field in reply.chunks_exact(2).filter(|field| !field[0].is_empty()) {
                let time = i64::from_be_bytes(field[1][..8].try_into().unwrap());
                let value = match rmpv::decode::read_value(&mut &field[1][16..]).unwrap() {
                    rmpv::Value::Integer(number) => serde_json::json!(number.as_i64()),
                    rmpv::Value::F64(number) => serde_json::json!(number),
                    rmpv::Value::String(text) => serde_json::json!(text.as_str()),
                    other => panic!("{other}"),
                };
                values.insert((*entity, String::from_utf8(field[0].clone()).unwrap()), (time, number(&value)));
            }
        }
    }
    values
}

fn sqlite(path: &Path, entities: &[u64]) -> Values {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut query = database
        .prepare(
            "SELECT feature, value, observed_at FROM online_features
             WHERE environment = 'prod' AND namespace = 'user' AND pkey = ?1",
        )
        .unwrap();
    let mut values = Values::new();
    for entity in entities {
        let mut rows = query.query([entity.to_string()]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let value: String = row.get(1).unwrap();
            let value = number(&serde_json::from_str(&value).unwrap());
            values.insert((*entity, row.get(0).unwrap()), (row.get(2).unwrap(), value));
        }
    }
    values
}

/// What is in the lake, read file by file as files appear: none of them ever changes.
pub struct Lake {
    root: PathBuf,
    files: HashSet<PathBuf>,
    /// How often each row of history was written, by number of its message and entity.
    pub history: BTreeMap<(i64, u64), usize>,
    pub observation_ids: HashSet<String>,
    /// Numbers of messages in the query log.
    pub queries: HashSet<i64>,
    /// What no writer could have made.
    pub nonsense: Vec<String>,
}

impl Lake {
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            files: HashSet::new(),
            history: BTreeMap::new(),
            observation_ids: HashSet::new(),
            queries: HashSet::new(),
            nonsense: Vec::new(),
        }
    }

    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Rows of history that were written again.
    pub fn doubled(&self) -> usize {
        self.history.values().map(|times| times - 1).sum()
    }

    /// Reads the files that are new.
    pub fn read(&mut self) {
        for (table, read) in [("user", Self::read_history as fn(&mut Self, &Path)), ("query_log", Self::read_queries)] {
            let mut files = Vec::new();
            parquet_files(&self.root.join(table), &mut files);
            for file in files {
                if self.files.insert(file.clone()) {
                    read(self, &file);
                }
            }
        }
    }

    fn read_history(&mut self, file: &Path) {
        for batch in batches(file) {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let (id, operation) = (text("__observation_id__"), text("__operation_id__"));
            let entity = batch.column_by_name("__id__").unwrap().as_primitive::<Int64Type>().clone();
            let number = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
            for row in 0..batch.num_rows() {
                self.observation_ids.insert(id.value(row).to_owned());
                let key = (number_of(operation.value(row)), entity.value(row) as u64);
                *self.history.entry(key).or_default() += 1;
                if key.0 != number.value(row) {
                    self.nonsense.push(format!("{} has number {}", operation.value(row), number.value(row)));
                }
            }
        }
    }

    fn read_queries(&mut self, file: &Path) {
        for batch in batches(file) {
            let operation = batch.column_by_name("operation_id").unwrap().as_string::<i32>();
            self.queries.extend((0..batch.num_rows()).map(|row| number_of(operation.value(row))));
        }
    }
}

fn number_of(operation: &str) -> i64 {
    operation.strip_prefix("op-").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{operation}"))
}

fn batches(file: &Path) -> Vec<arrow::array::RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap())
        .unwrap_or_else(|error| panic!("{} is not whole: {error}", file.display()));
    reader.build().unwrap().map(Result::unwrap).collect()
}

fn parquet_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            parquet_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
}
