//! Compares the stores with what was sent, reading them by other means than the writer's own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::processes::Redis;
use super::sent::Sent;

/// Time and number of each feature, as a store holds them.
type Stored = BTreeMap<(u64, String), (i64, i64)>;

fn compare_online(sent: &Sent, stored: &Stored) -> Vec<String> {
    let mut problems = Vec::new();
    for ((entity, feature), newest) in &sent.newest {
        match stored.get(&(*entity, (*feature).to_owned())) {
            None => problems.push(format!("online: {feature} of user {entity} is lost: {newest:?}")),
            Some(found) if found != newest => {
                problems.push(format!("online: {feature} of user {entity} is {found:?}, not the newest {newest:?}"));
            }
            Some(_) => {}
        }
    }
    println!("torture: {} online values compared", sent.newest.len());
    problems
}

/// The number in a value: every feature of a message holds the message's number.
fn number(value: &serde_json::Value) -> i64 {
    match value {
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

pub fn redis(sent: &Sent, redis: &Redis) -> Vec<String> {
    let mut stored = Stored::new();
    let stream = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    let entities: BTreeSet<u64> = sent.newest.keys().map(|(entity, _)| *entity).collect();
    for entity in entities {
        let key = format!("prod/user/{{{entity}}}");
        // In one write: a request in pieces waits for an acknowledgement between them.
        let request = format!("*2\r\n$7\r\nHGETALL\r\n${}\r\n{key}\r\n", key.len());
        reader.get_mut().write_all(request.as_bytes()).unwrap();
        let reply = strings(&mut reader);
        for field in reply.chunks_exact(2).filter(|field| !field[0].is_empty()) {
            let time = i64::from_be_bytes(field[1][..8].try_into().unwrap());
            let value = rmpv::decode::read_value(&mut &field[1][16..]).unwrap();
            let value = match value {
                rmpv::Value::Integer(number) => serde_json::json!(number.as_i64()),
                rmpv::Value::F64(number) => serde_json::json!(number),
                rmpv::Value::String(text) => serde_json::json!(text.as_str()),
                other => panic!("{other}"),
            };
            // The text holds an emoji and an accent beside the number, and nothing else with digits.
            stored.insert((entity, String::from_utf8(field[0].clone()).unwrap()), (time, number(&value)));
        }
    }
    compare_online(sent, &stored)
}

pub fn sqlite(sent: &Sent, path: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut query = database.prepare("SELECT pkey, feature, value, observed_at FROM online_features").unwrap();
    let rows = query.query_map([], |row| {
        let (key, feature, value): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(((key, feature), (row.get::<_, i64>(3)?, value)))
    });
    let stored = rows.unwrap().map(|row| {
        let ((key, feature), (time, value)) = row.unwrap();
        ((key.parse().unwrap(), feature), (time, number(&serde_json::from_str(&value).unwrap())))
    });
    compare_online(sent, &stored.collect())
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

pub fn lake(sent: &Sent, root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut rows, mut ids) = (0_usize, HashSet::new());
    let mut found = BTreeSet::new();
    let mut files = Vec::new();
    parquet_files(&root.join("user"), &mut files);
    for file in &files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap())
            .unwrap_or_else(|error| panic!("{} is not whole: {error}", file.display()));
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let (id, operation) = (text("__observation_id__"), text("__operation_id__"));
            let entity = batch.column_by_name("__id__").unwrap().as_primitive::<Int64Type>().clone();
            let number = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
            for row in 0..batch.num_rows() {
                rows += 1;
                ids.insert(id.value(row).to_owned());
                found.insert((operation.value(row).to_owned(), entity.value(row) as u64));
                if operation.value(row) != format!("op-{}", number.value(row)) {
                    problems.push(format!("lake: {} has number {}", operation.value(row), number.value(row)));
                }
            }
        }
    }
    for lost in sent.history.difference(&found) {
        problems.push(format!("lake: row of user {} in {} is lost", lost.1, lost.0));
    }
    for stranger in found.difference(&sent.history) {
        problems.push(format!("lake: row of user {} in {} was never sent", stranger.1, stranger.0));
    }
    if ids.len() != sent.history.len() {
        problems.push(format!("lake: {} observation ids for {} rows", ids.len(), sent.history.len()));
    }
    problems.extend(query_log(sent, root));
    println!(
        "torture: {} rows of history in {} files, {} of them written again",
        sent.history.len(),
        files.len(),
        rows - ids.len().min(rows)
    );
    problems
}

fn query_log(sent: &Sent, root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    parquet_files(&root.join("query_log"), &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let operation = batch.column_by_name("operation_id").unwrap().as_string::<i32>();
            found.extend((0..batch.num_rows()).map(|row| operation.value(row).to_owned()));
        }
    }
    let lost = sent.queries.difference(&found).map(|operation| format!("query_log: {operation} is lost"));
    let strange = found.difference(&sent.queries).map(|operation| format!("query_log: {operation} was never sent"));
    lost.chain(strange).collect()
}

/// `letters`: body and error class of every dead letter.
pub fn dead_letters(sent: &Sent, letters: &[(Vec<u8>, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let buried: BTreeSet<(&[u8], &str)> =
        letters.iter().map(|(body, class)| (body.as_slice(), class.as_str())).collect();
    let mut expected = BTreeSet::new();
    for message in &sent.messages {
        if let Some(class) = message.bad {
            expected.insert((message.body.as_slice(), class));
        }
    }
    for (body, class) in expected.difference(&buried) {
        problems.push(format!("dead letters: not buried as {class}: {}", String::from_utf8_lossy(body)));
    }
    for (body, class) in buried.difference(&expected) {
        problems.push(format!("dead letters: buried as {class} for nothing: {}", String::from_utf8_lossy(body)));
    }
    println!("torture: {} bad messages, {} dead letters of two writers", expected.len(), letters.len());
    problems
}
