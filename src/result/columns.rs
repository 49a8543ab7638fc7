//! The columns of a table while it is read: each name once, found again fast.
//!
//! Tables of one query have the same columns in the same order, so the names of tables read before are
//! remembered: as long as those of the table in hand are the same nothing is made of them, and in the end
//! both share one list.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use hashbrown::HashMap;

/// Up to so many columns a search through all is the fastest, and a hostile message cannot make it slow.
const FEW: usize = 16;

/// The names of a table's columns, in order; tables alike share them.
#[derive(Clone)]
pub struct Names {
    names: Arc<[ByteString]>,
    list: Option<ListId>,
}

/// A list that was read before, in the forms in which it is found again.
#[derive(Debug)]
struct Known {
    names: Names,
    /// The `columns` of a table of protobuf that has these: the fields one after another.
    wire: Box<[u8]>,
    /// Whether each name stands in JSON as it is.
    plain: bool,
}

/// One list of names among all that this process remembered: two of the same id are equal, without a look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListId(NonZeroU64);

impl ListId {
    fn next() -> Option<Self> {
        static MADE: AtomicU64 = AtomicU64::new(1);
        NonZeroU64::new(MADE.fetch_add(1, Ordering::Relaxed)).map(Self)
    }
}

impl Names {
    /// Which of the remembered lists it is.
    pub fn list(&self) -> Option<ListId> {
        self.list
    }
}

impl Default for Names {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.names.fmt(f)
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Names {}

impl Deref for Names {
    type Target = [ByteString];

    fn deref(&self) -> &[ByteString] {
        &self.names
    }
}

impl From<Vec<ByteString>> for Names {
    fn from(names: Vec<ByteString>) -> Self {
        Self { names: names.into(), list: None }
    }
}

impl<N: Into<ByteString>> FromIterator<N> for Names {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), list: None }
    }
}

/// Lists that were read before, each in the slot of its first name.
struct Remembered {
    slots: [Option<Rc<Known>>; Self::SLOTS],
    missed: u32,
}

impl Remembered {
    const SLOTS: usize = 64;
    /// Longer lists are not worth their memory: they cost little of a message that has values for them.
    const LONGEST: usize = 256;
    /// The same for the bytes of all names of a list.
    const LARGEST: usize = 16 << 10;
    /// A list is remembered at one miss in so many: where every table is another one, that costs next to nothing.
    const EVERY: u32 = 8;

    fn slot(first: &str) -> usize {
        let print = fingerprint(first).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (print >> (64 - Self::SLOTS.trailing_zeros())) as usize
    }

    fn find(&self, first: &str) -> Option<&Rc<Known>> {
        self.slots[Self::slot(first)].as_ref().filter(|known| *known.names[0] == *first)
    }

    /// Takes a copy of names that are slices of a message, which would otherwise be kept with them.
    fn missed(&mut self, names: &[ByteString]) {
        self.missed = self.missed.wrapping_add(1);
        let bytes: usize = names.iter().take(Self::LONGEST).map(|name| name.len()).sum();
        let small = names.len() <= Self::LONGEST && bytes <= Self::LARGEST;
        if !names.is_empty() && small && self.missed % Self::EVERY == 1 {
            let mut wire = Vec::with_capacity(bytes + 3 * names.len());
            for name in names {
                prost::encoding::string::encode(1, &name.to_string(), &mut wire);
            }
            let copied = names.iter().map(|name| ByteString::from(name.to_string()));
            let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
            let plain = !names.iter().any(|name| name.bytes().any(special));
            let slot = Self::slot(&names[0]);
            let names = Names { names: copied.collect(), list: ListId::next() };
            self.slots[slot] = Some(Rc::new(Known { names, wire: wire.into(), plain }));
        }
    }
}

thread_local! {
    static REMEMBERED: RefCell<Remembered> = const { RefCell::new(Remembered { slots: [const { None }; 64], missed: 0 }) };
}

/// How a column begins in protobuf: field 1, of a length.
pub(super) const COLUMNS: u8 = 0x0a;

/// Names of columns in order.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// A list whose first names are those of this table, so far,
    known: Option<Rc<Known>>,
    /// and how many they are.
    same: usize,
    /// The names of this table, from the first one on that is not in the list.
    own: Option<Box<Own>>,
}

/// Names that are not those of a list.
#[derive(Debug, Default)]
struct Own {
    names: Vec<ByteString>,
    /// Length and last bytes of each name: names of one table differ at their ends.
    prints: [u64; FEW],
    /// Filled beyond [`FEW`] columns.
    index: HashMap<ByteString, usize>,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.own.as_ref().map_or(self.same, |own| own.names.len())
    }

    /// Where a name stands, and whether it is new; tried first where rows that look alike have it.
    /// `make` makes the name where it has to be kept.
    #[inline]
    pub(super) fn place(&mut self, name: &str, expected: usize, make: impl FnOnce() -> ByteString) -> (usize, bool) {
        if self.own.is_none() {
            if self.same == 0 {
                self.known = REMEMBERED.with_borrow(|remembered| remembered.find(name).cloned());
            }
            if let Some(known) = &self.known
                && expected <= self.same
                && known.names.get(expected).is_some_and(|known| **known == *name)
            {
                // No name stands twice in the list, so one that is next in it has not come before.
                let new = expected == self.same;
                self.same += usize::from(new);
                return (expected, new);
            }
        }
        let own = self.own();
        match own.find(name, expected) {
            Some(at) => (at, false),
            None => (own.push(make()), true),
        }
    }

    /// Whether `fields`, the rest of a table's body in protobuf, begin with the columns of a list that was read before, all of
    /// them; `first` is the first of them. If so, these are the columns so far, and so many bytes were read.
    pub(super) fn place_all(&mut self, first: &str, fields: &[u8]) -> Option<usize> {
        debug_assert_eq!(self.len(), 0, "the columns of a table come first, or are read one by one");
        self.known = REMEMBERED.with_borrow(|remembered| remembered.find(first).cloned());
        let known = self.known.as_ref()?;
        fields.strip_prefix(&*known.wire)?;
        self.same = known.names.len();
        Some(known.wire.len())
    }

    /// How many columns the table is likely to have, if it began like one that was read before.
    pub(super) fn likely_len(&self) -> Option<usize> {
        self.known.as_ref().filter(|_| self.own.is_none()).map(|known| known.names.len())
    }

    /// The name that is likely to be next, of a list that was read before, if JSON has it as it is. Where it is next,
    /// [`Columns::place_expected`] takes it.
    pub(super) fn likely(&self, expected: usize) -> Option<&str> {
        let known = self.known.as_ref().filter(|known| self.own.is_none() && known.plain && expected <= self.same)?;
        known.names.get(expected).map(|name| &**name)
    }

    /// Takes the name that was likely.
    pub(super) fn place_expected(&mut self, expected: usize) {
        debug_assert!(expected <= self.same, "no more than the next one was likely");
        self.same = self.same.max(expected + 1);
    }

    /// The names apart from the list.
    fn own(&mut self) -> &mut Own {
        self.own.get_or_insert_with(|| {
            let mut own = Box::<Own>::default();
            for name in self.known.iter().flat_map(|known| &known.names[..self.same]) {
                own.push(name.clone());
            }
            own
        })
    }

    pub(super) fn into_names(mut self) -> Names {
        if self.own.is_none()
            && let Some(known) = &self.known
            && known.names.len() == self.same
        {
            return known.names.clone();
        }
        let names = std::mem::take(&mut self.own().names);
        REMEMBERED.with_borrow_mut(|remembered| remembered.missed(&names));
        names.into()
    }
}

impl Own {
    fn find(&self, name: &str, expected: usize) -> Option<usize> {
        if self.names.get(expected).is_some_and(|known| **known == *name) {
            return Some(expected);
        }
        if self.names.len() > FEW {
            return self.index.get(name).copied();
        }
        let print = fingerprint(name);
        let mut candidates = self.prints[..self.names.len()].iter().enumerate().filter(|(_, known)| **known == print);
        candidates.find(|(at, _)| *self.names[*at] == *name).map(|(at, _)| at)
    }

    /// Adds a name that [`Own::find`] did not find.
    fn push(&mut self, name: ByteString) -> usize {
        let at = self.names.len();
        if at < FEW {
            self.prints[at] = fingerprint(&name);
            if at == 0 {
                self.names.reserve_exact(FEW);
            }
        } else {
            if at == FEW {
                self.index = self.names.iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
            }
            self.index.insert(name.clone(), at);
        }
        self.names.push(name);
        at
    }
}

fn fingerprint(name: &str) -> u64 {
    let tail = match name.as_bytes().last_chunk::<7>() {
        Some(tail) => tail.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        None => name.bytes().fold(0, |sum, byte| sum << 8 | u64::from(byte)),
    };
    tail << 8 | (name.len() as u64 & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_where_it_was_put_however_many_there_are_and_however_often() {
        for round in 0..20 {
            for count in [0, 1, FEW - 1, FEW, FEW + 1, 1000] {
                let mut columns = Columns::default();
                let name = |at: usize| format!("user.feature_{at}");
                for at in 0..count {
                    assert_eq!(columns.place(&name(at), at, || name(at).into()), (at, true), "round {round}");
                }
                for at in 0..count {
                    for expected in [0, at, count, usize::MAX] {
                        assert_eq!(columns.place(&name(at), expected, || panic!("it is there")), (at, false));
                    }
                }
                assert_eq!(columns.len(), count);
                let names: Vec<_> = (0..count).map(|at| ByteString::from(name(at))).collect();
                assert_eq!(*columns.into_names(), names);
            }
        }
    }

    fn read(names: &[&'static str]) -> Names {
        let mut columns = Columns::default();
        for (at, name) in names.iter().enumerate() {
            columns.place(name, at, || ByteString::from_static(name));
        }
        columns.into_names()
    }

    #[test]
    fn tables_alike_share_their_names_and_others_do_not() {
        for _ in 0..=Remembered::EVERY {
            read(&["user.a", "user.b", "user.c"]);
        }
        let (one, two) = (read(&["user.a", "user.b", "user.c"]), read(&["user.a", "user.b", "user.c"]));
        assert!(Arc::ptr_eq(&one.names, &two.names));
        assert!(one.list().is_some() && one.list() == two.list());
        for names in [
            &["user.a", "user.b"][..],
            &["user.a", "user.c", "user.b"],
            &["user.a", "user.b", "user.c", "user.d"],
            &["user.a"],
            &["user.b", "user.a"],
            &[],
        ] {
            assert_eq!(read(names).iter().map(|name| &**name).collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn names_that_are_large_are_not_remembered() {
        let long: &'static str = String::leak("x".repeat(Remembered::LARGEST));
        for _ in 0..=Remembered::EVERY {
            read(&["user.long", long]);
        }
        let (one, two) = (read(&["user.long", long]), read(&["user.long", long]));
        assert!(one == two && !Arc::ptr_eq(&one.names, &two.names) && one.list().is_none());
    }

    #[test]
    fn what_is_remembered_keeps_no_message() {
        let buffer = bytes::Bytes::from(b"user.x".to_vec());
        for _ in 0..=Remembered::EVERY {
            let name = ByteString::try_from(buffer.clone()).expect("text");
            let mut columns = Columns::default();
            columns.place("user.x", 0, || name);
            drop(columns.into_names());
        }
        assert!(buffer.is_unique());
    }
}
