//! `metadata serve`: the environments of a configuration file, for writers with `metadata_provider: GRPC_SERVER`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tokio::net::TcpListener;

use crate::metadata::{Served, Snapshot, serve};

use super::deployment::Deployment;
use super::exit::{Exit, Failure, OrExit};
use super::signals::Signals;

/// Describe environments to writers
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Arguments),
}

/// Serve the `environments` of a configuration file over the published `MetadataService` (gRPC)
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Configuration file; read again for each question
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9191")]
    listen: String,
    /// Certificate in PEM, for TLS
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Serve URIs also where there is a password in them. Anyone who can reach the port can read them
    #[arg(long)]
    with_passwords: bool,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Serve(arguments) = command;
    let mut signals = Signals::listen().or_exit(Exit::Failed)?;
    let first = snapshot(&arguments.config, arguments.with_passwords)?;
    let identity = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => Some((text(certificate)?, text(key)?)),
        _ => None,
    };
    let listener = TcpListener::bind(&arguments.listen).await;
    let listener = listener.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen on {} (`--listen`): {error}", arguments.listen))
    })?;
    let address = listener.local_addr().or_exit(Exit::Failed)?;
    let tls = identity.is_some();
    tracing::info!(listening = %address, tls, etag = first.etag, "serving environments");
    if !tls && !address.ip().is_loopback() {
        tracing::warn!(
            "without TLS whoever is on the way can read and change what is described; `--certificate` and `--key`"
        );
    }
    let (config, with_passwords) = (arguments.config, arguments.with_passwords);
    let read = move || snapshot(&config, with_passwords).map_err(|failure| failure.text);
    let end = async move {
        signals.next().await;
    };
    serve(Served::new(first, read), listener, identity, end).await.or_exit(Exit::Failed)
}

fn snapshot(config: &Path, with_passwords: bool) -> Result<Snapshot, Failure> {
    let deployment = Deployment::load_as_it_stands(config)?;
    let environments = deployment.environments();
    if !environments.is_object() {
        let text = format!("{}: has no `environments` to serve", config.display());
        return Err(Failure::new(Exit::Configuration, text));
    }
    let passwords = deployment.passwords();
    if !with_passwords && !passwords.is_empty() {
        let text = format!(
            "{}: {} would be served with a password in plain text; put the URI into a secret and name it \
             (`secret:NAME`), or serve it with `--with-passwords`",
            config.display(),
            passwords.join(", ")
        );
        return Err(Failure::new(Exit::Configuration, text));
    }
    Ok(Snapshot::of(environments.clone()))
}

fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))
}
