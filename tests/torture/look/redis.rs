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
        let mut left: Vec<Wanted> =
            entities.iter().map(|entity| Wanted { entity: *entity, asking: false, answer: String::new() }).collect();
        let begun = Instant::now();
        while !left.is_empty() {
            for port in &self.ports {
                left = ask(*port, &left, &mut values);
            }
            if begun.elapsed() > ANSWERS_WITHIN {
                let said = left.iter().map(|wanted| format!("\nuser {}: {}", wanted.entity, wanted.answer));
                panic!("no node has these users:{}", said.collect::<String>());
            }
        }
        values
    }
}

/// An entity to be read.
struct Wanted {
    entity: u64,
    /// The owner of its slot says that it is where the slot is going.
    asking: bool,
    /// What was said last instead of an answer.
    answer: String,
}

/// Takes what one node has; returns what it does not answer for.
fn ask(port: u16, entities: &[Wanted], values: &mut Values) -> Vec<Wanted> {
    let mut elsewhere = Vec::new();
    let stream = match TcpStream::connect(("127.0.0.1", port)) {
        Ok(stream) => stream,
        Err(error) => {
            std::thread::sleep(Duration::from_millis(20));
            let again = |Wanted { entity, asking, .. }: &Wanted| Wanted {
                entity: *entity,
                asking: *asking,
                answer: format!("port {port}: {error}"),
            };
            return entities.iter().map(again).collect();
        }
    };
    let mut reader = BufReader::new(stream);
    for some in entities.chunks(TOGETHER) {
        let request = |Wanted { entity, asking, .. }: &Wanted| {
            let key = format!("prod/user/{{{entity}}}");
            let asking = if *asking { "*1\r\n$6\r\nASKING\r\n" } else { "" };
            format!("{asking}*2\r\n$7\r\nHGETALL\r\n${}\r\n{key}\r\n", key.len())
        };
        let requests: String = some.iter().map(request).collect();
        reader.get_mut().write_all(requests.as_bytes()).unwrap();
        for Wanted { entity, asking, .. } in some {
            if *asking {
                line(&mut reader);
            }
            let reply = match strings(&mut reader) {
                Ok(reply) => reply,
                Err(error) => {
                    let asking = *asking || error.starts_with("ASK ");
                    elsewhere.push(Wanted { entity: *entity, asking, answer: error });
                    continue;
                }
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
fn strings(reader: &mut BufReader<TcpStream>) -> Result<Vec<Vec<u8>>, String> {
    let count = line(reader);
    let count: usize = count.parse().map_err(|_| count)?;
    let strings = (0..count).map(|_| {
        let mut bytes = vec![0; line(reader).parse::<usize>().expect("a length") + 2];
        reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    });
    Ok(strings.collect())
}

/// A line without its kind.
fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end()[1..].to_owned()
}
