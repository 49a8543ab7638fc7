//! The columns of a table while it is read: each name once, found again fast.

use bytestring::ByteString;
use hashbrown::HashMap;

/// Up to so many columns a search through all is the fastest, and a hostile message cannot make it slow.
const FEW: usize = 16;

/// Names of columns in order.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<ByteString>,
    /// Length and last bytes of each name: names of one table differ at their ends.
    prints: [u64; FEW],
    /// Filled beyond [`FEW`] columns.
    index: HashMap<ByteString, usize>,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Where a name stands; tried first where rows that look alike have it.
    pub(super) fn find(&self, name: &str, expected: usize) -> Option<usize> {
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

    /// Adds a name that [`Columns::find`] did not find.
    pub(super) fn push(&mut self, name: ByteString) -> usize {
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

    pub(super) fn into_names(self) -> Vec<ByteString> {
        self.names
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
    fn every_name_is_found_where_it_was_put_however_many_there_are() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, 1000] {
            let mut columns = Columns::default();
            let name = |at: usize| format!("user.feature_{at}");
            for at in 0..count {
                assert_eq!(columns.find(&name(at), at), None);
                assert_eq!(columns.push(name(at).into()), at);
            }
            for at in 0..count {
                for expected in [0, at, count] {
                    assert_eq!(columns.find(&name(at), expected), Some(at));
                }
            }
            assert_eq!(columns.find("", 0), None);
            assert_eq!(columns.into_names().len(), count);
        }
    }
}
