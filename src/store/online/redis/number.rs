//! The number of the layout: looked for before anything is written, and set where there is none.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fred::util::redis_keyslot;

use super::answer::{Kind, Trouble};
use super::layout::{LAYOUT, layout_key};
use super::node::Node;
use super::topology::Topology;

impl Topology {
    /// Finds this layout's number, or sets it where no layout has been used yet; again whenever a connection
    /// was opened since, because the server may be another one.
    ///
    /// In a cluster the number's own slot may be away while others are not. Their rows are written then, and the number is asked
    /// for again with the next write; only one that was read, and is another's, refuses them.
    pub(super) async fn ensure_layout(&self) -> Result<(), Trouble> {
        let (opened, seen) = (self.link.opened().max(1), self.layout_seen.load(Ordering::Acquire));
        if opened == seen {
            return Ok(());
        }
        match self.settle_layout().await {
            Ok(()) => self.layout_seen.store(opened, Ordering::Release),
            Err(trouble) if self.may_do_without(&trouble) => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// Whether the others of a cluster may be served where one key of it is not.
    fn may_do_without(&self, trouble: &Trouble) -> bool {
        self.clustered && trouble.kind != Kind::Denied
    }

    /// Read before it is set: a server that takes no writes may still tell that it holds another layout.
    async fn settle_layout(&self) -> Result<(), Trouble> {
        if self.holds_layout().await? {
            return Ok(());
        }
        let key = layout_key(&self.link.prefix);
        self.run(self.slot(key.as_bytes()), "SET", vec![key.into(), LAYOUT.into(), "NX".into()]).await?;
        self.check_layout().await
    }

    /// Whether the store can be reached, and holds no other layout; of a cluster any node that serves will do.
    pub(super) async fn reach(&self) -> Result<(), Trouble> {
        match self.check_layout().await {
            Err(trouble) if self.may_do_without(&trouble) && Box::pin(self.serves_any()).await => Ok(()),
            checked => checked,
        }
    }

    /// Whether any node of a cluster answers for a key of a slot of its own.
    async fn serves_any(&self) -> bool {
        if self.refresh(None).await.is_err() {
            return false;
        }
        let mut asked: Vec<Arc<Node>> = Vec::new();
        for (first, last, owner) in self.map().iter() {
            if asked.iter().any(|known| Arc::ptr_eq(known, owner)) {
                continue;
            }
            asked.push(owner.clone());
            let key = key_of(&self.link.prefix, *first..=*last);
            if self.run(self.slot(key.as_bytes()), "GET", vec![key.into()]).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Refuses a store that another layout has been used in.
    pub(super) async fn check_layout(&self) -> Result<(), Trouble> {
        self.holds_layout().await.map(|_| ())
    }

    /// Whether the number is there; another than this layout's is a denial.
    async fn holds_layout(&self) -> Result<bool, Trouble> {
        let key = layout_key(&self.link.prefix);
        // Boxed, because so many futures within one another are more than the compiler follows.
        let found = Box::pin(self.run(self.slot(key.as_bytes()), "GET", vec![key.clone().into()])).await?;
        let found = match found.as_bytes() {
            None => return Ok(false),
            Some(number) if number == LAYOUT.as_bytes() => return Ok(true),
            Some(other) => String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned(),
        };
        Err(Trouble::denied(format!(
            "{}: `{key}` is {found}; this version reads and writes layout {LAYOUT}: use another prefix or database",
            self.link.address,
        )))
    }
}

/// A key of a prefix in one of these slots, which nobody writes. A prefix has no `{`, so the tag alone says which.
fn key_of(prefix: &str, slots: RangeInclusive<u16>) -> String {
    let keys = (0_u32..).map(|number| format!("{prefix}__chalk_probe__{{{number}}}"));
    let mut keys = keys.filter(|key| slots.contains(&redis_keyslot(key.as_bytes())));
    keys.next().expect("every slot has keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_key_to_be_asked_for() {
        for slot in [0, 1, 5_461, 16_383] {
            let key = key_of("a/b}c/", slot..=slot);
            assert!(key.starts_with("a/b}c/__chalk_probe__{"), "{key}");
            assert_eq!(redis_keyslot(key.as_bytes()), slot);
        }
    }
}
