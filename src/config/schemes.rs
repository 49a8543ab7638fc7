//! Schemes of store URIs: those of this version, which the registry has, and those of later ones.

use super::registry::{Registry, StoreDescription};
use super::store_kind::StoreKind;
use crate::nearest::hint;

/// Whether a known scheme is in this version.
#[derive(Clone, Copy, Debug)]
pub(super) enum Support {
    Works(&'static dyn StoreDescription),
    NotYet,
}

/// Schemes that the documentation names for later versions; one that the registry has works all the same.
const ONLINE: &[&str] = &["rediss", "valkey", "valkeys", "dynamodb", "bigtable", "postgres"];

const OFFLINE: &[&str] = &[
    "s3",
    "gs",
    "gcs",
    "az",
    "delta+file",
    "delta+s3",
    "delta+gs",
    "iceberg+rest",
    "iceberg+glue",
    "iceberg+sqlite",
    "snowflake",
    "bigquery",
    "redshift",
    "databricks",
    "postgres",
    "clickhouse",
];

const METRICS: &[&str] = &["sqlite", "postgres", "clickhouse", "victoriametrics+http"];

const USAGE: &[&str] = &["sqlite", "postgres", "clickhouse", "bigquery", "file", "s3", "gs", "az"];

const VECTOR: &[&str] =
    &["sqlite", "postgres", "opensearch+https", "milvus", "qdrant", "valkey", "redis", "turbopuffer", "s3vectors"];

fn later(kind: StoreKind) -> &'static [&'static str] {
    match kind {
        StoreKind::Online => ONLINE,
        StoreKind::Offline => OFFLINE,
        StoreKind::Metrics => METRICS,
        StoreKind::Usage => USAGE,
        StoreKind::Vector => VECTOR,
    }
}

/// Whether a store of this kind is known by the scheme, or why not.
pub(super) fn support(kind: StoreKind, scheme: &str, registry: &Registry) -> Result<Support, String> {
    let (here, later) = (registry.schemes(kind), later(kind));
    if let Some(store) = registry.store(kind, scheme) {
        return Ok(Support::Works(store));
    }
    if later.iter().any(|name| name.eq_ignore_ascii_case(scheme)) {
        return Ok(Support::NotYet);
    }
    let later = later.iter().filter(|name| !here.contains(name));
    let known: Vec<&str> = here.iter().chain(later).copied().collect();
    Err(format!("unknown scheme `{scheme}`; {}", hint(scheme, &known)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::own::OwnFields;
    use crate::config::settings::StoreSettings;

    /// A store of one kind.
    struct Novel(StoreKind);

    impl StoreDescription for Novel {
        fn name(&self) -> &'static str {
            "Novel"
        }

        fn schemes(&self) -> &'static [&'static str] {
            &["valkey", "novel"]
        }

        fn takes(&self, kind: StoreKind) -> bool {
            self.0 == kind
        }

        fn own(&self) -> OwnFields {
            OwnFields::NONE
        }

        fn before_path(&self) -> Option<&'static str> {
            None
        }

        fn keeps_nothing(&self) -> bool {
            false
        }

        fn check(&self, _: StoreKind, _: &StoreSettings) -> Result<(), String> {
            Ok(())
        }
    }

    static NOVEL: [Novel; 5] = [
        Novel(StoreKind::Online),
        Novel(StoreKind::Offline),
        Novel(StoreKind::Metrics),
        Novel(StoreKind::Usage),
        Novel(StoreKind::Vector),
    ];

    #[test]
    fn a_scheme_works_as_soon_as_the_registry_has_it() {
        let mut registry = Registry::default();
        assert!(matches!(support(StoreKind::Online, "valkey", &registry), Ok(Support::NotYet)));
        assert!(support(StoreKind::Online, "novel", &registry).is_err());
        for novel in &NOVEL {
            let kind = novel.0;
            registry.stores = vec![novel];
            for scheme in ["valkey", "Novel"] {
                assert!(matches!(support(kind, scheme, &registry), Ok(Support::Works(_))), "{kind:?} {scheme}");
            }
            let others = StoreKind::ALL.into_iter().filter(|other| *other != kind);
            assert!(others.into_iter().all(|other| support(other, "novel", &registry).is_err()), "{kind:?}");
        }
        registry.stores = vec![&NOVEL[0]];
        let error = support(StoreKind::Online, "nowel", &registry).expect_err("unknown");
        assert!(
            error.starts_with("unknown scheme `nowel`; did you mean `novel`? known are valkey, novel, "),
            "{error}"
        );
    }
}
