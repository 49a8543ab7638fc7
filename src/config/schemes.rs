//! Schemes of store URIs: which are known, and which this version has.

use super::nearest::hint;

/// A kind of store in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreKind {
    Online,
    Offline,
    Metrics,
    Usage,
    Vector,
}

/// Whether a known scheme is in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    Works,
    NotYet,
}

use Support::{NotYet, Works};

const ONLINE: &[(&str, Support)] = &[
    ("sqlite", Works),
    ("redis", Works),
    ("rediss", NotYet),
    ("valkey", NotYet),
    ("valkeys", NotYet),
    ("dynamodb", NotYet),
    ("bigtable", NotYet),
    ("postgres", NotYet),
];

const OFFLINE: &[(&str, Support)] = &[
    ("file", Works),
    ("s3", NotYet),
    ("gs", NotYet),
    ("gcs", NotYet),
    ("az", NotYet),
    ("delta+file", NotYet),
    ("delta+s3", NotYet),
    ("delta+gs", NotYet),
    ("iceberg+rest", NotYet),
    ("iceberg+glue", NotYet),
    ("iceberg+sqlite", NotYet),
    ("snowflake", NotYet),
    ("bigquery", NotYet),
    ("redshift", NotYet),
    ("databricks", NotYet),
    ("postgres", NotYet),
    ("clickhouse", NotYet),
];

const METRICS: &[(&str, Support)] =
    &[("sqlite", NotYet), ("postgres", NotYet), ("clickhouse", NotYet), ("victoriametrics+http", NotYet)];

const USAGE: &[(&str, Support)] = &[
    ("sqlite", NotYet),
    ("postgres", NotYet),
    ("clickhouse", NotYet),
    ("bigquery", NotYet),
    ("file", NotYet),
    ("s3", NotYet),
    ("gs", NotYet),
    ("az", NotYet),
];

const VECTOR: &[(&str, Support)] = &[
    ("sqlite", NotYet),
    ("postgres", NotYet),
    ("opensearch+https", NotYet),
    ("milvus", NotYet),
    ("qdrant", NotYet),
    ("valkey", NotYet),
    ("redis", NotYet),
    ("turbopuffer", NotYet),
    ("s3vectors", NotYet),
];

const fn known(kind: StoreKind) -> &'static [(&'static str, Support)] {
    match kind {
        StoreKind::Online => ONLINE,
        StoreKind::Offline => OFFLINE,
        StoreKind::Metrics => METRICS,
        StoreKind::Usage => USAGE,
        StoreKind::Vector => VECTOR,
    }
}

/// Whether a store of this kind is known by the scheme, or why not.
pub(super) fn support(kind: StoreKind, scheme: &str) -> Result<Support, String> {
    let schemes = known(kind);
    schemes.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, support)| *support).ok_or_else(|| {
        let names: Vec<&str> = schemes.iter().map(|(name, _)| *name).collect();
        format!("unknown scheme `{scheme}`; {}", hint(scheme, &names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_store_is_said_to_work() {
        for scheme in crate::store::online::ONLINE_STORES.iter().flat_map(|kind| kind.schemes) {
            assert_eq!(support(StoreKind::Online, scheme), Ok(Works), "{scheme}");
        }
        for scheme in crate::store::offline::OFFLINE_STORES.iter().flat_map(|kind| kind.schemes) {
            assert_eq!(support(StoreKind::Offline, scheme), Ok(Works), "{scheme}");
        }
    }
}
