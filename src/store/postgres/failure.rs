//! What an error of the server or of the connection to it means for a writer.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::sink::{ErrorClass, Refusal, SinkError};

/// Sorts an error by its SQLSTATE. `server` is shown before it and holds no credential.
///
/// Only the classes that speak of data are a verdict on a row, and of which one they do not say. What
/// is neither that nor missing rights may be put right while the writer waits: a full disk, too many
/// connections, a shutdown, a deadlock, a table that others are changing.
pub(in crate::store) fn of(server: &str, error: &Error) -> SinkError {
    let Some(db) = error.as_db_error() else { return of_connection(server, error) };
    let code = db.code().code();
    let reason = format!("{server}: {} (SQLSTATE {code})", db.message());
    match &code[..2] {
        // A database that is not there, and a role that may not enter or do this: for a person to put right.
        "28" | "3D" => SinkError::Denied { reason },
        "42" if code == "42501" => SinkError::Denied { reason },
        "22" | "23" | "54" => SinkError::Poisoned(refusal(db)),
        _ => SinkError::Transient { reason },
    }
}

fn refusal(db: &DbError) -> Refusal {
    let code = db.code().code().to_owned();
    let mut message = db.message().to_owned();
    if let Some(column) = db.column() {
        message = format!("column `{column}`: {message}");
    } else if let Some(constraint) = db.constraint() {
        message = format!("{message} (constraint `{constraint}`)");
    }
    // What is too large by its own limits has a class of its own; SQLSTATE 54000 is said of a row or a value.
    let class = if code.starts_with("54") { ErrorClass::TooLarge } else { ErrorClass::ValueRefused };
    Refusal { code: Some(code.into()), ..Refusal::new(class, message) }
}

fn of_connection(server: &str, error: &Error) -> SinkError {
    let mut reason = format!("{server}: {error}");
    let mut cause = error.source();
    let mut certificate = false;
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        let tls = inner.downcast_ref::<rustls::Error>().or_else(|| {
            let io = inner.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        certificate |= matches!(tls, Some(rustls::Error::InvalidCertificate(_)));
        cause = inner.source();
    }
    let password = reason.contains("password missing") || reason.contains("channel binding is required");
    if certificate || password { SinkError::Denied { reason } } else { SinkError::Transient { reason } }
}
