//! Waiting until replicas have what was written, so that a failover to one of them loses nothing.

use fred::util::redis_keyslot;

use super::answer::{Kind, Trouble};
use super::calls::Call;
use super::session::Session;
use super::topology::{Redirection, Topology};

/// How long replicas may take to have a write, in milliseconds.
const LIMIT: u32 = 5_000;

/// Waits until so many replicas have what was just written over this connection, of which `call` is a part.
///
/// A server waits only for what the connection itself has changed, and values that another connection
/// brought it are stale here: so something is changed first.
pub(super) async fn wait(session: &mut Session, topology: &Topology, call: &Call, wanted: u32) -> Result<(), Trouble> {
    let mut key = format!("{}__chalk_wait__", topology.link.prefix);
    if topology.clustered {
        // A key of the same slot: some thousand attempts, once a write.
        let tag = (0..=u32::MAX).find(|tag| redis_keyslot(tag.to_string().as_bytes()) == call.slot);
        key.push_str(&format!("{{{}}}", tag.unwrap_or_default()));
    }
    let touch = vec![key.into(), "".into(), "PX".into(), 1_000.into()];
    if let Err(error) = session.send(call.ask.is_some(), "SET", touch).await {
        // The slot may have left since the call was answered.
        let left = topology.clustered && Redirection::read(error.details(), &session.host).is_some();
        return Err(if left { topology.moving() } else { Trouble::of(&session.name, &error) });
    }
    let found = session.ask("WAIT", vec![wanted.into(), LIMIT.into()]).await?;
    match found.as_u64() {
        Some(found) if found >= u64::from(wanted) => Ok(()),
        Some(found) => Err(Trouble {
            kind: Kind::Passing,
            reason: format!(
                "{}: {found} replicas had the write within {} s; `wait_replicas` asks for {wanted}",
                session.name,
                LIMIT / 1_000,
            ),
        }),
        None => Err(Trouble::unexpected(&session.name, "no number of replicas")),
    }
}
