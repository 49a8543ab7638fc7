//! The published `MetadataService` over what a configuration file says: read again for each question, so that a change
//! of the file needs no restart. A file that is wrong changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::{Snapshot, convert};
use crate::proto::writer::v1::metadata_service_server::{MetadataService, MetadataServiceServer};
use crate::proto::writer::v1::{GetEnvironmentsRequest, GetEnvironmentsResponse};

/// What is served.
pub struct Served {
    /// Reads the file; an error is told in the log, and the last good answer stays.
    read: Box<dyn Fn() -> Result<Snapshot, String> + Send + Sync>,
    last: Mutex<Arc<Snapshot>>,
}

impl Served {
    /// What is described now, and how it is read again.
    pub fn new(first: Snapshot, read: impl Fn() -> Result<Snapshot, String> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), last: Mutex::new(Arc::new(first)) }
    }

    fn now(&self) -> Arc<Snapshot> {
        let found = (self.read)();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) if found.etag != last.etag => {
                tracing::info!(etag = found.etag, "the environments have changed");
                *last = Arc::new(found);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("what was served before is served on: {error}"),
        }
        Arc::clone(&last)
    }
}

struct Service(Arc<Served>);

#[async_trait]
impl MetadataService for Service {
    async fn get_environments(
        &self,
        request: Request<GetEnvironmentsRequest>,
    ) -> Result<Response<GetEnvironmentsResponse>, Status> {
        let served = Arc::clone(&self.0);
        let now = tokio::task::spawn_blocking(move || served.now()).await;
        let now = now.map_err(|_| Status::internal("the configuration could not be read"))?;
        let etag = now.etag.clone();
        let unchanged = request.into_inner().known_etag == etag;
        let environments = if unchanged { BTreeMap::new() } else { convert::to_messages(&now.environments) };
        Ok(Response::new(GetEnvironmentsResponse { etag, unchanged, environments }))
    }
}

/// Serves until `end` comes. With a certificate and its key, both PEM, over TLS.
pub async fn serve(
    served: Served,
    listener: TcpListener,
    identity: Option<(String, String)>,
    end: impl Future<Output = ()>,
) -> Result<(), String> {
    let mut server = Server::builder();
    if let Some((certificate, key)) = identity {
        let config = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        server = server.tls_config(config).map_err(|error| format!("certificate or key: {error}"))?;
    }
    let service = MetadataServiceServer::new(Service(Arc::new(served)));
    let serving = server.add_service(service).serve_with_incoming_shutdown(TcpIncoming::from(listener), end);
    serving.await.map_err(|error| error.to_string())
}
