//! The environments as a writer looks them up: prepared once, found by the id in a message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{HashMap, HashSet};

use super::open::{Opened, Unopened};
use super::{entity, skip};
use crate::config::settings::{Environment, Environments};
use crate::decode::Decoded;
use crate::sink::Row;

/// How many ids under `*` are kept; more are still written, only not remembered.
const REMEMBERED: usize = 10_000;

/// What a writer prepared for each entry of the configuration, by environment.
#[derive(Debug)]
pub struct Catalog<E> {
    named: HashMap<Box<str>, Known<E>>,
    star: Option<Star<E>>,
}

/// The entry `*`, and the ids that came under it.
#[derive(Debug)]
struct Star<E> {
    entry: Arc<E>,
    ids: Mutex<HashSet<Arc<str>>>,
}

/// An environment that the configuration knows.
#[derive(Debug)]
pub struct Known<E> {
    /// Its id, shared by all of its rows.
    pub id: Arc<str>,
    /// What was prepared for it; environments under `*` share one.
    pub entry: Arc<E>,
}

impl<E> Clone for Known<E> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), entry: self.entry.clone() }
    }
}

impl<E> Catalog<E> {
    /// Prepares every entry.
    pub fn new(environments: &Environments, mut prepare: impl FnMut(&str, &Environment) -> E) -> Self {
        let mut entries: BTreeMap<_, _> =
            environments.entries.iter().map(|(id, entry)| (id.as_str(), Arc::new(prepare(id, entry)))).collect();
        let star = entries.remove("*").map(|entry| Star { entry, ids: Mutex::default() });
        let named = entries.into_iter().map(|(id, entry)| (id.into(), Known { id: id.into(), entry })).collect();
        Self { named, star }
    }

    /// The environment of an id: its own entry, else `*`. No id is no environment, `*` or not.
    pub fn get(&self, id: &str) -> Option<Known<E>> {
        self.find(id).map(Cow::into_owned)
    }

    /// The same, not cloned where it need not be: a clone for every message takes time.
    fn find(&self, id: &str) -> Option<Cow<'_, Known<E>>> {
        if let Some(known) = self.named.get(id) {
            return Some(Cow::Borrowed(known));
        }
        let star = self.star.as_ref().filter(|_| !id.is_empty() && id != "*")?;
        let mut ids = star.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ids.get(id).cloned().unwrap_or_else(|| {
            let id: Arc<str> = id.into();
            if ids.len() < REMEMBERED {
                ids.insert(id.clone());
            }
            id
        });
        Some(Cow::Owned(Known { id, entry: star.entry.clone() }))
    }

    /// The environment of a message that names none and is of a type that cannot: `*` stands for any, else there is but
    /// one entry.
    pub fn only(&self) -> Option<Known<E>> {
        if let Some(star) = &self.star {
            return Some(Known { id: "*".into(), entry: star.entry.clone() });
        }
        let mut named = self.named.values();
        named.next().filter(|_| named.next().is_none()).cloned()
    }

    /// Tells why nothing is to be written of a message.
    pub fn unopened<R: Row>(&self, unopened: Unopened<'_>, decoded: &mut Decoded<R>) {
        match unopened {
            Unopened::Skipped(reason) => decoded.skip(reason, 1),
            Unopened::Refused { refusal, environment } => {
                decoded.environment = environment.and_then(|id| self.get(id)).map(|known| known.id);
                decoded.refuse(*refusal);
            }
        }
    }
}

/// What is prepared for an environment, as far as every writer needs it.
pub trait Prepared {
    /// Index of the pipeline's destination; `None` where it has no store.
    fn destination(&self) -> Option<usize>;
}

impl<E: Prepared> Catalog<E> {
    /// The environment and the destination of what is of environment `id`; `None` once it is told why there is
    /// none. `values` is how many there are, for the counter of those that are left out.
    ///
    /// An environment that nobody configured may be a mistake, so its message is buried. One whose
    /// entry has no store of this kind says that nothing of it is kept there, so its message is skipped.
    pub fn place<R: Row>(
        &self,
        id: &str,
        values: impl FnOnce() -> u64,
        decoded: &mut Decoded<R>,
    ) -> Option<(Cow<'_, Known<E>>, usize)> {
        let Some(environment) = self.find(id) else {
            decoded.refuse(entity::unknown_environment(id));
            return None;
        };
        let Some(destination) = environment.entry.destination() else {
            decoded.environment = Some(environment.id.clone());
            decoded.skip(skip::NO_STORE, values());
            return None;
        };
        decoded.environment = Some(environment.id.clone());
        Some((environment, destination))
    }

    /// The same of an opened result, whose time and size are noted.
    pub fn place_result<R: Row>(
        &self,
        opened: &Opened<'_>,
        decoded: &mut Decoded<R>,
    ) -> Option<(Cow<'_, Known<E>>, usize)> {
        decoded.event_time = opened.event_time();
        let placed = self.place(opened.environment(), || entity::values_of(&opened.result.tables), decoded)?;
        decoded.unpacked = opened.unpacked;
        Some(placed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(ids: &[&str]) -> Catalog<String> {
        let entries = ids.iter().map(|id| ((*id).to_owned(), Environment::default())).collect();
        Catalog::new(&Environments { entries }, |id, _| format!("entry of {id}"))
    }

    #[test]
    fn an_environment_has_its_own_entry_or_the_star() {
        let catalog = catalog(&["prod", "*"]);
        let found = |id: &str| catalog.get(id).map(|known| (known.id.to_string(), known.entry.to_string()));
        assert_eq!(found("prod"), Some(("prod".to_owned(), "entry of prod".to_owned())));
        assert_eq!(found("dev"), Some(("dev".to_owned(), "entry of *".to_owned())));
        assert_eq!(found(""), None);
        assert_eq!(found("*"), None);
        assert!(Arc::ptr_eq(&catalog.get("dev").expect("star").id, &catalog.get("dev").expect("star").id));
    }

    #[test]
    fn who_names_no_environment_is_of_the_star_or_the_only_one() {
        let only = |ids: &[&str]| catalog(ids).only().map(|known| known.id.to_string());
        assert_eq!(only(&["prod"]).as_deref(), Some("prod"));
        assert_eq!(only(&["prod", "*"]).as_deref(), Some("*"));
        assert_eq!((only(&["prod", "dev"]), only(&[])), (None, None));
    }

    #[test]
    fn without_a_star_an_unlisted_environment_is_unknown() {
        assert!(catalog(&["prod"]).get("dev").is_none());
    }
}
