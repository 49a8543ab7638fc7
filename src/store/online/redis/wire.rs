//! A socket that speaks Redis's protocol: bytes out, answers in, each within its time.
//!
//! Nothing here reconnects and nothing is sent twice: whoever holds the socket knows that what it
//! sends and what it is answered belong to one connection, and when that ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::uri::Security;

/// For making a connection, the exchange of credentials included.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// For one answer; a call of the script takes a few milliseconds.
pub(super) const COMMAND: Duration = Duration::from_secs(10);

/// Read from the socket at once.
const READ: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// One connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
}

/// Why a connection is of no use any more, or was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The other side ended it.
    Ended(String),
    /// No answer in time.
    Late(Duration),
    /// No connection could be made.
    Unreachable(String),
    /// The two sides do not trust one another.
    Untrusted(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(why) => write!(f, "the connection ended: {why}"),
            Self::Late(limit) => write!(f, "timeout: no answer within {} s", limit.as_secs()),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Untrusted(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl Wire {
    /// Connects, with TLS where that is asked for.
    pub(super) async fn connect(host: &str, port: u16, security: Option<&Security>) -> Result<Self, Failure> {
        let unreachable = |error: std::io::Error| Failure::Unreachable(error.to_string());
        let socket = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let stream: Box<dyn Stream> = match security {
            None => Box::new(socket),
            Some(security) => {
                let untrusted = |error: &dyn fmt::Display| Failure::Untrusted(error.to_string());
                let config = security.tls.client_config().map_err(|error| untrusted(&error))?;
                let name = security.server_name.as_deref().unwrap_or(host).to_owned();
                let name = ServerName::try_from(name).map_err(|error| untrusted(&error))?;
                let connected = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
                Box::new(connected.map_err(|error| handshake(&error))?)
            }
        };
        Ok(Self { stream, incoming: BytesMut::new() })
    }

    /// Sends all of it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(COMMAND, sending).await.map_err(|_| Failure::Late(COMMAND))?.map_err(|error| ended(&error))
    }

    /// The next answer.
    pub(super) async fn receive(&mut self) -> Result<BytesFrame, Failure> {
        loop {
            match decode_bytes_mut(&mut self.incoming) {
                Ok(Some((frame, _, _))) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(Failure::Ended(format!("an answer that is not Redis's: {error}"))),
            }
            self.incoming.reserve(READ);
            let read = timeout(COMMAND, self.stream.read_buf(&mut self.incoming)).await;
            match read.map_err(|_| Failure::Late(COMMAND))? {
                Ok(0) => return Err(Failure::Ended("the server closed it".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(ended(&error)),
            }
        }
    }
}

/// What ended a connection. A client's certificate is refused only after the handshake in TLS 1.3.
fn ended(error: &std::io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => handshake(error),
        _ => Failure::Ended(error.to_string()),
    }
}

/// What a handshake failed at, and what to do about it.
fn handshake(error: &std::io::Error) -> Failure {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    let hint = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. })) => {
            "; put the host into the URI that the certificate is for, or name that one with `server_name=`"
        }
        Some(Error::InvalidCertificate(Certificate::UnknownIssuer)) => {
            "; name the file of the authority that signed it with `ca=/path`"
        }
        Some(Error::InvalidMessage(_)) => "; is this a port without TLS?",
        Some(Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure)) => {
            "; the server may want a client's certificate: name it with `cert=/path&key=/path`"
        }
        Some(Error::AlertReceived(_) | Error::InvalidCertificate(_)) => "",
        _ => return Failure::Unreachable(format!("TLS: {error}")),
    };
    Failure::Untrusted(format!("{error}{hint}"))
}
