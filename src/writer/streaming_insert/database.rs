//! Whether the database that a table's name begins with is the one that the rows would go to.

use secrecy::ExposeSecret;

use crate::config::secret::SecretRef;
use crate::config::settings::StoreSettings;
use crate::message::insert::TableName;
use crate::sink::{ErrorClass, Refusal};
use crate::store;

/// The database of a store; `None` of one that has none, and where only a secret knows.
pub(super) fn of(settings: &StoreSettings) -> Option<String> {
    match &settings.uri {
        SecretRef::Plain(uri) => store::database(uri.expose_secret()),
        SecretRef::Named { .. } => None,
    }
}

/// A table in another database than that of its environment's store would land where nobody looks for it.
pub(super) fn check(name: &TableName, known: Option<&str>) -> Result<(), Refusal> {
    match (&name.database, known) {
        (Some(wanted), Some(known)) if wanted != known => {
            let message = format!(
                "attribute `table` names database `{wanted}`, and the environment's offline store is database `{known}`"
            );
            Err(Refusal::new(ErrorClass::ValueRefused, message).table(&name.table).harmless())
        }
        _ => Ok(()),
    }
}
