//! One server, or the nodes of a cluster: whoever has a slot answers, the others say who has it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Online, Values, number};

/// Requests that are sent before their answers are read.
const TOGETHER: usize = 200;

/// How long a cluster may take until somebody has every slot. It bounds a hang and nothing else.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

pub struct Redis {
    pub ports: Vec<u16>,
}

impl Online for Redis {
    fn read(&self, entities: &[u64]) -> Values {
        let mut values = Values::new();
        let mut left = entities.to_vec();
        let begun = Instant::now();
        while !left.is_empty() {
            for port in &self.ports {
                left = ask(*port, &left, &mut values);
            }
            assert!(begun.elapsed() < ANSWERS_WITHIN, "no node has users {left:?}");
        }
        values
    }
}

/// Takes what one node has; returns the entities that it does not answer for.
fn ask(port: u16, entities: &[u64], values: &mut Values) -> Vec<u64> {
    let mut elsewhere = Vec::new();
    let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    for some in entities.chunks(TOGETHER) {
        let request = |entity: &u64| {
            let key = format!("prod/user/{{{entity}}}");
            format!("*2\r\n$7\r\nHGETALL\r\n${}\r\n{key}\r\n", key.len())
        };
        let requests: String = some.iter().map(request).collect();
        reader.get_mut().write_all(requests.as_bytes()).unwrap();
        for entity in some {
            let Some(reply) = strings(&mut reader) else {
                elsewhere.push(*entity);
                continue;
            };
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
    elsewhere
}

/// Reads a reply: an array of bulk strings, or an error.
fn strings(reader: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end()[1..].parse::<usize>().ok()
    };
    let count = line(reader)?;
    let strings = (0..count).map(|_| {
        let mut bytes = vec![0; line(reader).expect("a length") + 2];
        reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    });
    Some(strings.collect())
}
