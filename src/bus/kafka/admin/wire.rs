//! Requests and answers of Kafka's protocol, in the versions before they became compact: numbers, texts and lists, one
//! behind the other.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::tls::Tls;

/// The longest wait for a connection, and for each part of an answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST_BYTES: usize = 4 << 20;

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection to one broker.
pub(super) struct Line {
    pub(super) broker: String,
    stream: Box<dyn Stream>,
    asked: i32,
}

impl Line {
    /// Connects to `host:port`.
    pub(super) fn open(broker: &str, tls: Option<&Tls>) -> Result<Self> {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
        let mut last = Error::new(ErrorKind::NotFound, "no address");
        let mut connected = None;
        for address in broker.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, WITHIN) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let tcp = connected.ok_or(last)?;
        tcp.set_read_timeout(Some(WITHIN))?;
        tcp.set_write_timeout(Some(WITHIN))?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(tls) => {
                let config = tls.client_config().map_err(Error::other)?;
                let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;
                let client = ClientConnection::new(Arc::new(config), name).map_err(Error::other)?;
                Box::new(StreamOwned::new(client, tcp))
            }
        };
        Ok(Self { broker: broker.to_owned(), stream, asked: 0 })
    }

    /// Makes a call, by its number and version.
    pub(super) fn ask(&mut self, (call, version): (i16, i16), body: Body) -> Result<Answer> {
        self.asked += 1;
        let head = Body::default().short(call).short(version).int(self.asked).text("chalk-writer");
        let length = (head.0.len() + body.0.len()) as i32;
        let request = [&length.to_be_bytes()[..], &head.0, &body.0].concat();
        self.stream.write_all(&request)?;
        self.stream.flush()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| *length <= MOST_BYTES);
        let mut answer = vec![0; length.ok_or_else(garbled)?];
        self.stream.read_exact(&mut answer)?;
        let mut answer = Answer { bytes: answer, at: 0 };
        if answer.int()? == self.asked { Ok(answer) } else { Err(garbled()) }
    }
}

fn garbled() -> Error {
    Error::new(ErrorKind::InvalidData, "an answer that is none of Kafka's")
}

/// What is sent, one thing behind the other.
#[derive(Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    fn with(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn byte(self, value: i8) -> Self {
        self.with(&value.to_be_bytes())
    }

    pub(super) fn short(self, value: i16) -> Self {
        self.with(&value.to_be_bytes())
    }

    pub(super) fn int(self, value: i32) -> Self {
        self.with(&value.to_be_bytes())
    }

    /// How many things follow.
    pub(super) fn count(self, many: i32) -> Self {
        self.int(many)
    }

    /// Instead of a list: as many as there are.
    pub(super) fn nothing(self) -> Self {
        self.int(-1)
    }

    /// Names are never so long that their length does not fit.
    pub(super) fn text(self, text: &str) -> Self {
        self.short(text.len() as i16).with(text.as_bytes())
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        self.int(bytes.len() as i32).with(bytes)
    }
}

/// What comes back, read one thing behind the other.
pub(super) struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    fn take(&mut self, many: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(many).ok_or_else(garbled)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(garbled)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| garbled())
    }

    pub(super) fn byte(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<Option<String>> {
        let length = self.short()?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        String::from_utf8(self.take(length)?.to_vec()).map(Some).map_err(|_| garbled())
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        let length = usize::try_from(self.int()?).unwrap_or_default();
        Ok(self.take(length)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_reads_back_and_what_is_cut_is_an_error() {
        let sent = Body::default().byte(-2).short(3).int(4).text("tøpic").bytes(b"\x01\x02").0;
        let read = |bytes: &[u8]| -> Result<_> {
            let mut answer = Answer { bytes: bytes.to_vec(), at: 0 };
            Ok((answer.byte()?, answer.short()?, answer.int()?, answer.text()?, answer.bytes()?))
        };
        assert_eq!(read(&sent).unwrap(), (-2, 3, 4, Some("tøpic".to_owned()), vec![1, 2]));
        for cut in 0..sent.len() {
            assert!(read(&sent[..cut]).is_err(), "{cut}");
        }
        let mut nothing = Answer { bytes: vec![0xff, 0xff], at: 0 };
        assert_eq!(nothing.text().unwrap(), None);
    }
}
