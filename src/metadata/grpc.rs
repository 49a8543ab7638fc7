//! Asks a server that has the published `MetadataService`.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::{MetadataError, Snapshot, convert};
use crate::causes::and_causes;
use crate::proto::writer::v1::GetEnvironmentsRequest;
use crate::proto::writer::v1::metadata_service_client::MetadataServiceClient;
use crate::tls;

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// The largest description of all environments.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// A client of one server, which connects when it is asked, and again when it has to.
pub(super) struct Client {
    url: String,
    service: MetadataServiceClient<Channel>,
}

impl Client {
    pub(super) fn of(url: &str) -> Result<Self, MetadataError> {
        let wrong = |error: &dyn std::fmt::Display| MetadataError::away(format!("{url}: {error}"));
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| wrong(&error))?;
        if url.starts_with("https:") {
            let authorities = tls::system_authorities().map_err(|error| wrong(&error))?;
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
            endpoint = endpoint.tls_config(config).map_err(|error| wrong(&error))?;
        }
        let channel = endpoint.connect_timeout(CONNECTED_WITHIN).timeout(ANSWERS_WITHIN).connect_lazy();
        let service = MetadataServiceClient::new(channel).max_decoding_message_size(MOST_BYTES);
        Ok(Self { url: url.to_owned(), service })
    }

    pub(super) async fn fetch(&self, known: &str) -> Result<Option<Snapshot>, MetadataError> {
        let request = Request::new(GetEnvironmentsRequest { known_etag: known.to_owned() });
        let answer = self.service.clone().get_environments(request).await.map_err(|status| self.explain(&status))?;
        let answer = answer.into_inner();
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
