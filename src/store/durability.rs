//! What becomes of rows that a store has acknowledged when its server ends, or another one takes its place.

/// Where rows are once a store has acknowledged them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On a disk of this machine.
    OwnDisk,
    /// On the disk of a server, whose standbys have them when its own configuration says so.
    ServersDisk,
    /// In the memory of a server; on its disk, and in replicas, as its own configuration says.
    ServersMemory,
    /// Nowhere.
    Nowhere,
}

/// Stores by the scheme of their URIs; a test holds it against every registry.
const KNOWN: &[(&[&str], Durability)] = &[
    (&["sqlite", "file"], Durability::OwnDisk),
    (&["postgres", "postgresql"], Durability::ServersDisk),
    (super::online::redis::SCHEMES, Durability::ServersMemory),
    (super::online::KEEPS_NOTHING, Durability::Nowhere),
];

/// That of the store of a scheme; `None` where nothing is known of it.
pub fn of(scheme: &str) -> Option<Durability> {
    KNOWN.iter().find(|(schemes, _)| schemes.contains(&scheme)).map(|(_, durability)| *durability)
}

/// Replicas that must have a write before it counts, as the URI of a store says; `None` where it does not.
pub fn replicas(uri: &str) -> Option<u32> {
    super::online::redis::replicas(uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{load, metrics, offline, online, schemes, usage, vector};

    #[test]
    fn it_is_known_of_every_store() {
        let all = [
            schemes(online::ONLINE_STORES),
            schemes(offline::OFFLINE_STORES),
            schemes(load::LOAD_STORES),
            schemes(metrics::METRICS_STORES),
            schemes(usage::USAGE_STORES),
            schemes(vector::VECTOR_STORES),
        ];
        let unknown: Vec<&str> = all.into_iter().flatten().filter(|scheme| of(scheme).is_none()).collect();
        assert!(unknown.is_empty(), "add them to `KNOWN`: {unknown:?}");
    }
}
