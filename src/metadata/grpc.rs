//! Asks a server that has the published `MetadataService`.

use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::{MetadataError, Snapshot, convert};
use crate::causes::and_causes;
use crate::proto::writer::v1::metadata_service_client::MetadataServiceClient;
use crate::proto::writer::v1::{GetEnvironmentsRequest, GetEnvironmentsResponse};
use crate::tls;

/// For TCP, and once more for TLS.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// The longest that connecting and answering take, to the last byte of the answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// The largest description of all environments.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// A client of one server, which connects for each question.
///
/// # Why
/// A connection that is kept lies idle between questions, and whatever is on the way may forget it without a word: each
/// question would then wait in vain, until TCP gives up after a quarter of an hour. Pings would notice, but a server of
/// gRPC ends connections that ping more often than every five minutes without a question, and what is on the way may
/// forget sooner. A connection twice a minute costs less than either, and follows a server that moves.
pub(super) struct Client {
    url: String,
    endpoint: Endpoint,
}

impl Client {
    pub(super) fn of(url: &str) -> Result<Self, MetadataError> {
        let wrong = |error: &dyn std::fmt::Display| MetadataError::away(format!("{url}: {error}"));
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| wrong(&error))?;
        if url.starts_with("https:") {
            let authorities = tls::system_authorities().map_err(|error| wrong(&error))?;
            // The endpoint's own limit ends with TCP, and a question that is given up does not end the handshake, which
            // is a task of its own: without a limit each question to a silent peer would leave one, with its socket.
            let config = ClientTlsConfig::new().timeout(CONNECTED_WITHIN);
            let config = config.ca_certificate(Certificate::from_pem(authorities));
            endpoint = endpoint.tls_config(config).map_err(|error| wrong(&error))?;
        }
        Ok(Self { url: url.to_owned(), endpoint: endpoint.connect_timeout(CONNECTED_WITHIN) })
    }

    pub(super) async fn fetch(&self, known: &str) -> Result<Option<Snapshot>, MetadataError> {
        let answer = timeout(ANSWERS_WITHIN, self.ask(known)).await.unwrap_or_else(|_| {
            let within = ANSWERS_WITHIN.as_secs();
            Err(MetadataError::away(format!("{} gives no environments: no answer within {within} s", self.url)))
        })?;
        if answer.unchanged || (answer.etag == known && !known.is_empty()) {
            return Ok(None);
        }
        let mut found = Snapshot::of(convert::from_messages(answer.environments));
        // One that the server does not name is made of what is in it.
        if !answer.etag.is_empty() {
            found.etag = answer.etag;
        } else if found.etag == known {
            return Ok(None);
        }
        Ok(Some(found))
    }

    async fn ask(&self, known: &str) -> Result<GetEnvironmentsResponse, MetadataError> {
        let service = MetadataServiceClient::new(self.endpoint.connect_lazy());
        let request = Request::new(GetEnvironmentsRequest { known_etag: known.to_owned() });
        let answer = service.max_decoding_message_size(MOST_BYTES).get_environments(request).await;
        Ok(answer.map_err(|status| self.explain(&status))?.into_inner())
    }

    fn explain(&self, status: &Status) -> MetadataError {
        let url = &self.url;
        let why = and_causes(status.message(), status);
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                MetadataError::denied(format!("{url} does not let this writer ask: {why}"))
            }
            Code::Unimplemented => MetadataError::denied(format!(
                "{url} has no `chalk_writer.v1.MetadataService`; `chalk-writer metadata serve` has, or describe \
                 `environments` in this file"
            )),
            code => MetadataError::away(format!("{url} gives no environments: {code:?}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, copy_bidirectional};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    use super::*;
    use crate::metadata::{Served, serve};

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// Passes on what comes. When it is told to forget, the connections that it has stay open, and nothing comes through.
    async fn pass_on(from: TcpListener, to: SocketAddr, forget: Arc<Notify>) {
        while let Ok((mut near, _)) = from.accept().await {
            let forget = Arc::clone(&forget);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("the server");
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = forget.notified() => std::future::pending::<()>().await,
                }
            });
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_forgotten_on_the_way_holds_up_no_question() {
        let described = Snapshot::of(json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}}));
        let etag = described.etag.clone();
        let (server, at) = listener().await;
        let served = Served::new(described.clone(), move || Ok(described.clone()));
        let (way, url) = listener().await;
        let forget = Arc::new(Notify::new());
        tokio::spawn(pass_on(way, at, Arc::clone(&forget)));
        let asking = async {
            let client = Client::of(&format!("http://{url}")).expect("a URL");
            let first = client.fetch("").await.expect("an answer").expect("the first");
            assert_eq!(first.etag, etag);
            forget.notify_waiters();
            let again = timeout(ANSWERS_WITHIN / 2, client.fetch(&etag)).await.expect("in time");
            assert_eq!(again.expect("an answer"), None);
        };
        tokio::select! {
            ended = serve(served, server, None, std::future::pending()) => panic!("the server has ended: {ended:?}"),
            () = asking => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_greets_back_is_left() {
        let (silent, url) = listener().await;
        let client = Client::of(&format!("https://{url}")).expect("a URL");
        let left = async {
            let (mut near, _) = silent.accept().await.expect("a question");
            near.read_to_end(&mut Vec::new()).await
        };
        let (answer, left) = tokio::join!(client.fetch(""), timeout(ANSWERS_WITHIN * 2, left));
        assert!(answer.is_err(), "{answer:?}");
        left.expect("in time").expect("an end");
    }
}
