//! The stores of a writer, each examined as its kind is.

use super::report::Report;
use crate::cli::exit::Failure;
use crate::config::StoreKind;
use crate::config::secret::{SecretError, Trouble};
use crate::config::settings::WriterSettings;
use crate::store::examine::Finding;
use crate::store::{self, StoreLimits, StoreOptions};
use crate::writer;

/// Examines what a writer writes to.
pub(super) async fn examine(settings: &WriterSettings, report: &mut Report) -> Result<(), Failure> {
    let plan = writer::plan(settings)?;
    let kind = settings.writer_type.info().store.and_then(StoreKind::of_field);
    for (name, settings_of_store) in plan.destinations() {
        let (Some(of_store), Some(kind)) = (settings_of_store, kind) else { continue };
        match StoreOptions::fetch(of_store, StoreLimits::new(&settings.tuning, 1)).await {
            Ok(options) => {
                for finding in store::examine(kind, &options).await {
                    report.add(name, finding);
                }
            }
            Err(error) => {
                report.add(name, Finding::fail("secret", error.to_string(), secret_fix(&error)));
            }
        }
    }
    Ok(())
}

fn secret_fix(error: &SecretError) -> &'static str {
    match error.trouble {
        Trouble::Never | Trouble::Missing => "put the secret where `secret_client` looks for it, as it looks for it",
        Trouble::Denied => "make the secret, or give the right to read it to who asks (docs/secrets.md)",
        Trouble::Away => "let this machine reach the secret manager",
    }
}
