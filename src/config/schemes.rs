//! Schemes of store URIs: those of this version, which the registry has, and those of later ones.

use super::registry::Registry;
use super::store_kind::StoreKind;
use crate::nearest::hint;

/// Whether a known scheme is in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    Works,
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
    let among = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    if among(here) {
        return Ok(Support::Works);
    }
    if among(later) {
        return Ok(Support::NotYet);
    }
    let later = later.iter().filter(|name| !here.contains(name));
    let known: Vec<&str> = here.iter().chain(later).copied().collect();
    Err(format!("unknown scheme `{scheme}`; {}", hint(scheme, &known)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::registry::KindOfStore;

    #[test]
    fn a_scheme_works_as_soon_as_the_registry_has_it() {
        let mut registry = Registry::default();
        assert_eq!(support(StoreKind::Online, "valkey", &registry), Ok(Support::NotYet));
        assert!(support(StoreKind::Online, "novel", &registry).is_err());
        for kind in StoreKind::ALL {
            let stores = KindOfStore { schemes: vec!["valkey", "novel"], check: |_| Ok(()) };
            registry.stores = BTreeMap::from([(kind, stores)]);
            assert_eq!(support(kind, "valkey", &registry), Ok(Support::Works));
            assert_eq!(support(kind, "Novel", &registry), Ok(Support::Works));
            let others = StoreKind::ALL.into_iter().filter(|other| *other != kind);
            assert!(others.into_iter().all(|other| support(other, "novel", &registry).is_err()), "{kind:?}");
        }
        let stores = KindOfStore { schemes: vec!["valkey", "novel"], check: |_| Ok(()) };
        registry.stores = BTreeMap::from([(StoreKind::Online, stores)]);
        let error = support(StoreKind::Online, "nowel", &registry).expect_err("unknown");
        assert!(
            error.starts_with("unknown scheme `nowel`; did you mean `novel`? known are valkey, novel, "),
            "{error}"
        );
    }
}
