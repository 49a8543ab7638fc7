//! As much of the language of Redis as it takes to look into a server: no client of the program's.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long a server may take to say something. It bounds a hang and nothing else.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// A server, and how to sign in.
#[derive(Clone, Default)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: Option<u32>,
}

impl Server {
    /// One of the loopback that lets everybody in.
    pub fn of_port(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port, ..Self::default() }
    }
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Text or bytes, or a number as text; nothing where there is none.
    Bytes(Vec<u8>),
    List(Vec<Answer>),
}

impl Answer {
    /// Of a list its members.
    pub fn list(self) -> Vec<Self> {
        match self {
            Self::List(members) => members,
            other @ Self::Bytes(_) => panic!("{other:?} is no list"),
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            other @ Self::List(_) => panic!("{other:?} is no text"),
        }
    }

    pub fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("text")
    }
}

/// A connection.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub fn to(server: &Server) -> Result<Self, String> {
        let stream = TcpStream::connect((&*server.host, server.port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN)).map_err(|error| error.to_string())?;
        let mut wire = Self(BufReader::new(stream));
        if let Some(password) = &server.password {
            let user = server.user.as_deref().filter(|user| !user.is_empty());
            let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([&**password]).collect();
            wire.say(&words)?;
        }
        if let Some(database) = server.database {
            wire.say(&["SELECT", &database.to_string()])?;
        }
        Ok(wire)
    }

    /// Says a command, and hears the answer; what the server says where it refuses.
    pub fn say<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Answer, String> {
        self.send([command])?;
        self.hear()
    }

    /// Says several at once; their answers are heard one by one.
    pub fn send<'a, A: AsRef<[u8]> + 'a>(&mut self, commands: impl IntoIterator<Item = &'a [A]>) -> Result<(), String> {
        let mut request = Vec::new();
        for command in commands {
            request.extend(format!("*{}\r\n", command.len()).bytes());
            for part in command {
                let part = part.as_ref();
                request.extend(format!("${}\r\n", part.len()).bytes());
                request.extend(part);
                request.extend(b"\r\n");
            }
        }
        self.0.get_mut().write_all(&request).map_err(|error| error.to_string())
    }

    pub fn hear(&mut self) -> Result<Answer, String> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(|error| error.to_string())?;
        let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
            return Err("it hung up".to_owned());
        };
        let number = || rest.parse::<i64>().map_err(|_| line.clone());
        Ok(match kind {
            "+" | ":" => Answer::Bytes(rest.as_bytes().to_vec()),
            "-" => return Err(rest.to_owned()),
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()?).map_or(0, |length| length + 2)];
                self.0.read_exact(&mut bytes).map_err(|error| error.to_string())?;
                bytes.truncate(bytes.len().saturating_sub(2));
                Answer::Bytes(bytes)
            }
            "*" => Answer::List((0..number()?).map(|_| self.hear()).collect::<Result<_, _>>()?),
            _ => return Err(line),
        })
    }

    /// Every key that begins with something.
    pub fn keys(&mut self, prefix: &str) -> Result<Vec<Vec<u8>>, String> {
        let (pattern, mut cursor) = (format!("{}*", literal(prefix)), "0".to_owned());
        let mut keys = Vec::new();
        loop {
            let answer = self.say(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "5000"])?;
            let [next, some] = <[Answer; 2]>::try_from(answer.list()).expect("a cursor and keys");
            keys.extend(some.list().into_iter().map(Answer::bytes));
            cursor = next.text();
            if cursor == "0" {
                return Ok(keys);
            }
        }
    }

    /// The fields of a hash, as they come next.
    pub fn hear_fields(&mut self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
        let mut fields = BTreeMap::new();
        let mut answers = self.hear()?.list().into_iter();
        while let (Some(name), Some(value)) = (answers.next(), answers.next()) {
            fields.insert(name.bytes(), value.bytes());
        }
        Ok(fields)
    }
}

/// A pattern of this text alone.
fn literal(text: &str) -> String {
    text.chars().flat_map(|c| "*?[]^\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}
