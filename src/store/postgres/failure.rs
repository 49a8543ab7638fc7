//! What an error of the server or of the connection to it means for a writer.

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::causes::{and_causes, causes};
use crate::sink::{ErrorClass, Refusal, SinkError};

/// How a credential that was put in order reaches the writer.
const CREDENTIALS: &str = "a URI in a secret of `secret_client` FILE is read again by itself, one from ENV or in the \
                           configuration with a restart";
const TIME_OUT: &str = "`statement_timeout` of the URI says how long a statement may take";

/// How the text begins that is shown in the place of what somebody's code in the database says.
const OWN_CODE: &str = "an error of the database's own code";

/// Where in the server's sources errors come from whose text PL/pgSQL takes from a function: `RAISE` and `ASSERT`.
const RAISES: [&str; 2] = ["exec_stmt_raise", "exec_stmt_assert"];

/// Where in the server's sources a row is held against what a view or a policy lets in (`execMain.c`).
const CHECKS_ROWS: &str = "ExecWithCheckOptions";

/// How the files of other languages' sources begin: what they report is what a function says, or what is wrong with it.
const LANGUAGES: [&str; 4] = ["plpy", "plperl", "pltcl", "plv8"];

/// Sorts an error by its SQLSTATE. `server` is shown before it and holds no credential.
///
/// Only the classes that speak of data are a verdict on a row, and of which one they do not say: 22, 23 and 54; 44, what
/// a view's `WITH CHECK OPTION` does not let in, which a policy of rows says under 42501; and P0, with which `RAISE` and
/// `ASSERT` end a function, such as one of a trigger that looks at rows. What is neither that nor missing rights may be put right while the writer waits: a full
/// disk, too many connections, a shutdown, a deadlock, a table that others are changing.
pub(in crate::store) fn of(server: &str, error: &Error) -> SinkError {
    let Some(db) = error.as_db_error() else { return of_connection(server, error) };
    let code = db.code().code();
    let said = own_code(db).unwrap_or_else(|| db.message().to_owned());
    let reason = format!("{server}: {said} (SQLSTATE {code}){}", hint(db));
    match &code[..2] {
        // A database that is not there, and a role that may not enter or do this: for a person to put right.
        "28" => SinkError::Denied { reason: format!("{reason}; {CREDENTIALS}") },
        "3D" => SinkError::Denied { reason },
        // Also said where a person ends the statement.
        "57" if code == "57014" => SinkError::Transient { reason: format!("{reason}; {TIME_OUT}") },
        // No right to the table, or a policy of its rows that does not let one in: the server has one code for both.
        "42" if code == "42501" && db.routine() == Some(CHECKS_ROWS) => SinkError::Poisoned(refusal(db)),
        "42" if code == "42501" => SinkError::Denied { reason },
        "22" | "23" | "44" | "54" | "P0" => SinkError::Poisoned(refusal(db)),
        _ => SinkError::Transient { reason },
    }
}

/// What the server advises. Its detail may hold values of rows, and is never shown.
fn hint(db: &DbError) -> String {
    let hint = db.hint().filter(|_| own_code(db).is_none());
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// What is shown of an error whose text is what somebody wrote in the database, such as a trigger's `RAISE`: where that is.
/// The text may hold values of rows.
fn own_code(db: &DbError) -> Option<String> {
    let is_raised = db.routine().is_some_and(|routine| RAISES.contains(&routine));
    let is_of_a_language = db.file().is_some_and(|file| LANGUAGES.iter().any(|language| file.starts_with(language)));
    if !(is_raised || is_of_a_language || db.code().code().starts_with("P0")) {
        return None;
    }
    // The innermost place comes first. Only this form is the server's own words throughout: others quote statements.
    let place = db.where_().and_then(|place| place.lines().next()).filter(|place| place.starts_with("PL/"));
    Some(place.map_or_else(|| OWN_CODE.to_owned(), |place| format!("{OWN_CODE}: {place}")))
}

/// What a verdict says that cannot be one on a row, because none was sent: as logs may have it.
pub(in crate::store) fn not_of_a_row(refusal: Refusal) -> String {
    match refusal.about {
        Some(about) if about.starts_with(OWN_CODE) => about.into(),
        _ => refusal.message,
    }
}

fn refusal(db: &DbError) -> Refusal {
    let code = db.code().code().to_owned();
    if let Some(place) = own_code(db) {
        // The letter is for whoever may see the row.
        let advice = db.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        let message = format!("{}{advice} ({place})", db.message());
        return Refusal { code: Some(code.into()), ..Refusal::new(ErrorClass::ValueRefused, message).about(place) };
    }
    let mut message = db.message().to_owned();
    if let Some(column) = db.column() {
        message = format!("column `{column}`: {message}");
    } else if let Some(constraint) = db.constraint() {
        message = format!("{message} (constraint `{constraint}`)");
    }
    message.push_str(&hint(db));
    // What is too large by its own limits has a class of its own; SQLSTATE 54000 is said of a row or a value.
    let class = if code.starts_with("54") { ErrorClass::TooLarge } else { ErrorClass::ValueRefused };
    let about = db.column().map(|column| format!("column `{column}`").into());
    Refusal { code: Some(code.into()), about, ..Refusal::new(class, message) }
}

fn of_connection(server: &str, error: &Error) -> SinkError {
    let reason = and_causes(&format!("{server}: {error}"), error);
    let certificate = causes(error).any(|cause| {
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        tls.is_some_and(of_a_certificate)
    });
    let password = reason.contains("password missing") || reason.contains("channel binding is required");
    if certificate || password { SinkError::Denied { reason } } else { SinkError::Transient { reason } }
}

/// Whether one side does not believe the certificate of the other, which stays so until a person renews it.
fn of_a_certificate(error: &rustls::Error) -> bool {
    use rustls::AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown, UnknownCA,
        UnsupportedCertificate,
    };
    match error {
        rustls::Error::InvalidCertificate(_) => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            BadCertificate
                | CertificateExpired
                | CertificateRequired
                | CertificateRevoked
                | CertificateUnknown
                | UnknownCA
                | UnsupportedCertificate
        ),
        _ => false,
    }
}
