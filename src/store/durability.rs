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
