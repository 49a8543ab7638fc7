//! The stores of [`STORES`] by the kind of rows that they take and the scheme of a URI.

use std::sync::Arc;

use super::description::{Store, Takes};
use super::examine::Finding;
use super::look::Look;
use super::online::OnlineStore;
use super::stores::STORES;
use super::tables::prepare::TableStore;
use super::vector::VectorStore;
use super::{StoreError, StoreLimits, StoreOptions};
use crate::config::own::OwnFields;
use crate::config::secret::{SecretRef, expose};
use crate::config::settings::StoreSettings;
use crate::config::{StoreDescription, StoreKind};
use crate::row::load::FileLoad;
use crate::row::table::TableRows;
use crate::sink::Sink;

/// The stores that take rows of one kind; `S` is what each opens.
pub struct Family<S: ?Sized + 'static> {
    /// The kind of store that an environment has them under.
    pub kind: StoreKind,
    of: fn(&Store) -> Option<&Takes<S>>,
}

/// Stores of newest values.
pub static ONLINE: Family<dyn OnlineStore> = Family { kind: StoreKind::Online, of: |store| store.online.as_ref() };

/// Stores of history.
pub static OFFLINE: Family<dyn TableStore> = Family { kind: StoreKind::Offline, of: |store| store.offline.as_ref() };

/// The same stores, as files are loaded into them.
pub static LOADS: Family<dyn Sink<FileLoad>> = Family { kind: StoreKind::Offline, of: |store| store.loads.as_ref() };

/// Stores of metrics, queries and errors, for each of the roles that one can have.
pub static METRICS: Family<dyn Sink<TableRows>> =
    Family { kind: StoreKind::Metrics, of: |store| store.metrics.as_ref() };

/// Stores of usage.
pub static USAGE: Family<dyn Sink<TableRows>> = Family { kind: StoreKind::Usage, of: |store| store.usage.as_ref() };

/// Stores of vectors.
pub static VECTOR: Family<dyn VectorStore> = Family { kind: StoreKind::Vector, of: |store| store.vector.as_ref() };

impl<S: ?Sized> Family<S> {
    /// Its stores, each with how it takes the rows.
    pub fn stores(&self) -> impl Iterator<Item = (&'static Store, &'static Takes<S>)> {
        STORES.iter().filter_map(|store| Some((*store, (self.of)(store)?)))
    }

    /// The schemes of its stores.
    pub fn schemes(&self) -> Vec<&'static str> {
        self.stores().flat_map(|(store, _)| store.schemes).copied().collect()
    }

    /// Opens the store that the URI's scheme names. Contacts nothing.
    pub fn open(&self, options: &StoreOptions) -> Result<Arc<S>, StoreError> {
        let (scheme, store, takes) = self.find(expose(&options.fetched))?;
        self.no_others(&scheme, store, options)?;
        (takes.open)(options)
    }

    /// Whether the store of a URI takes rows again without a trace: see [`Takes::absorbs_repeats`].
    pub fn absorbs_repeats(&self, uri: &str) -> Result<bool, StoreError> {
        self.find(uri).map(|(.., takes)| takes.absorbs_repeats)
    }

    /// The store that a URI's scheme names.
    ///
    /// The error names the scheme alone, and only where it is one: the rest of a URI, or what stands in
    /// its place, may be a password.
    fn find(&self, uri: &str) -> Result<(String, &'static Store, &'static Takes<S>), StoreError> {
        let name = self.kind.name();
        let known = || self.schemes().join(", ");
        let scheme = scheme(uri);
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(sound) {
            return Err(StoreError(format!("{name}: a URI without a scheme; known are {}", known())));
        }
        match of_uri(uri).and_then(|store| Some((store, (self.of)(store)?))) {
            Some((store, takes)) => Ok((scheme, store, takes)),
            None => {
                let text = format!("{name}: scheme `{scheme}` is not in this version; known are {}", known());
                Err(StoreError(text))
            }
        }
    }

    /// Settings that another store of the family has mean nothing to this one. Which it is may have been known to a
    /// secret alone until now.
    fn no_others(&self, scheme: &str, store: &Store, options: &StoreOptions) -> Result<(), StoreError> {
        let mine = store.own.properties();
        for (other, _) in self.stores() {
            let names = other.own.properties();
            if let Some(name) = names.keys().find(|name| options.own.has(name) && !mine.contains_key(*name)) {
                let (kind, other) = (self.kind.name(), other.name);
                return Err(StoreError(format!("{kind} `{scheme}:`: `{name}` is for {other}; leave it out")));
            }
        }
        Ok(())
    }
}

/// The scheme of a URI, in lower case; empty where there is none.
fn scheme(uri: &str) -> String {
    uri.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase()
}

/// The store that a URI's scheme names: the one place where they are compared.
pub fn of_uri(uri: &str) -> Option<&'static Store> {
    let scheme = scheme(uri);
    STORES.iter().find(|store| store.schemes.contains(&scheme.as_str())).copied()
}

/// A look into the store that the URI's scheme names, which is of a kind. Contacts nothing.
pub fn open_look(kind: StoreKind, options: &StoreOptions) -> Result<Arc<dyn Look>, StoreError> {
    let uri = expose(&options.fetched);
    let Some(open) = of_uri(uri).and_then(|store| store.look) else {
        let with_tables = STORES.iter().filter(|store| store.look.is_some());
        let schemes: Vec<&str> = with_tables.flat_map(|store| store.schemes).copied().collect();
        let (scheme, known) = (scheme(uri), schemes.join(", "));
        return Err(StoreError(format!("there are no tables to show in a `{scheme}:` store; there are in {known}")));
    };
    open(kind, options)
}

/// Examines the store that the URI's scheme names, which is of a kind.
pub async fn examine(kind: StoreKind, options: &StoreOptions) -> Vec<Finding> {
    match of_uri(expose(&options.fetched)).map(|store| (store.name, store.examine)) {
        Some((_, Some(examine))) => examine(kind, options).await,
        Some((name, None)) => vec![Finding::warn("store", format!("{name} is not examined"), "look at it by hand")],
        None => vec![Finding::fail("store", "its URI is of no store of this version", "correct the URI")],
    }
}

/// The database that a URI names; `None` where its store has none, or it is no URI of a store.
pub fn database(uri: &str) -> Option<String> {
    of_uri(uri).and_then(|store| (store.database)(uri))
}

impl StoreDescription for Store {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    fn takes(&self, kind: StoreKind) -> bool {
        Self::takes(self, kind)
    }

    fn own(&self) -> OwnFields {
        self.own
    }

    fn before_path(&self) -> Option<&'static str> {
        self.before_path
    }

    fn keeps_nothing(&self) -> bool {
        Self::keeps_nothing(self)
    }

    /// A URI in a secret is judged when it is fetched.
    fn check(&self, kind: StoreKind, settings: &StoreSettings) -> Result<(), String> {
        let SecretRef::Plain(fetched) = &settings.uri else { return Ok(()) };
        let options = StoreOptions::new(settings, fetched.clone(), StoreLimits::default());
        let opened = match kind {
            StoreKind::Online => ONLINE.open(&options).map(drop),
            StoreKind::Offline => OFFLINE.open(&options).map(drop),
            StoreKind::Metrics => METRICS.open(&options).map(drop),
            StoreKind::Usage => USAGE.open(&options).map(drop),
            StoreKind::Vector => VECTOR.open(&options).map(drop),
        };
        opened.map_err(|error| error.to_string().replace(expose(fetched), &settings.uri.describe()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn schemes_and_settings_are_of_one_store_each() {
        let mut schemes = BTreeSet::new();
        for (scheme, store) in STORES.iter().flat_map(|store| store.schemes.iter().map(move |scheme| (scheme, store))) {
            assert!(schemes.insert(scheme), "`{scheme}` is in two descriptions, one of them {}", store.name);
            assert_eq!(*scheme, scheme.to_ascii_lowercase());
        }
        for kind in StoreKind::ALL {
            let mut settings = BTreeSet::from(["uri".to_owned(), "cache_prefix".to_owned()]);
            let stores: Vec<_> = STORES.iter().filter(|store| store.takes(kind)).collect();
            assert!(!stores.is_empty(), "no {}", kind.name());
            for store in stores {
                let names = store.own.properties().into_iter().map(|(name, _)| name);
                for name in names.chain(store.own.inherited().iter().map(|(name, _)| (*name).to_owned())) {
                    assert!(settings.insert(name.clone()), "`{name}` of {} is taken", store.name);
                }
            }
        }
    }

    #[test]
    fn a_scheme_may_be_in_capitals_wherever_it_is_asked_for() {
        for uri in ["postgres://u@h/features", "POSTGRES://u@h/features", "PostgreSQL://u@h/features"] {
            assert_eq!(of_uri(uri).map(|store| store.name), Some("Postgres"), "{uri}");
            assert_eq!(database(uri).as_deref(), Some("features"), "{uri}");
            assert_eq!(OFFLINE.absorbs_repeats(uri), Ok(true), "{uri}");
        }
        assert!(of_uri("no scheme at all").is_none() && database("no scheme at all").is_none());
    }

    #[test]
    fn what_takes_files_takes_history_too() {
        for store in STORES {
            assert!(store.loads.is_none() || store.offline.is_some(), "{}", store.name);
        }
    }
}
