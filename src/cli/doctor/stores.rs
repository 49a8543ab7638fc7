//! The stores of a writer, each examined as its kind is.

use super::report::Report;
use crate::cli::deployment::store_options;
use crate::cli::exit::Failure;
use crate::config::StoreKind;
use crate::config::settings::WriterSettings;
use crate::store;
use crate::store::examine::Finding;
use crate::writer;

/// Examines what a writer writes to.
pub(super) async fn examine(settings: &WriterSettings, report: &mut Report) -> Result<(), Failure> {
    let plan = writer::plan(settings)?;
    let kind = settings.writer_type.info().store.and_then(StoreKind::of_field);
    for (name, settings_of_store) in plan.destinations() {
        let (Some(of_store), Some(kind)) = (settings_of_store, kind) else { continue };
        match store_options(of_store, &settings.tuning).await {
            Ok(options) => {
                for finding in store::examine(kind, &options).await {
                    report.add(name, finding);
                }
            }
            Err(error) => {
                let fix = "put the secret where `secret_client` looks for it";
                report.add(name, Finding::fail("secret", error.to_string(), fix));
            }
        }
    }
    Ok(())
}
