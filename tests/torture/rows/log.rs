//! Where the messages of a role landed, in eight bytes each: there are millions. What is in one is made again from its number.

use std::collections::BTreeMap;

use crate::bus::Place;

/// A message by its number.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    pub number: u32,
    pub is_bad: bool,
    /// It came before, and leaves nothing more.
    pub is_again: bool,
}

/// Where a message landed.
#[derive(Clone, Copy, Debug)]
pub struct Landed {
    pub number: u32,
    /// Partition and offset.
    pub from: (i32, i64),
}

/// Of what came before, the highest bit is set.
const AGAIN: u32 = 1 << 31;

#[derive(Default)]
pub struct Log {
    /// Offset and number of each, by partition.
    partitions: BTreeMap<i32, Vec<(u32, u32)>>,
    pub messages: usize,
    pub bad: usize,
}

impl Log {
    pub fn add(&mut self, place: Place, message: Numbered) {
        let offset = u32::try_from(place.offset).expect("fewer than four thousand million");
        let number = message.number | if message.is_again { AGAIN } else { 0 };
        self.partitions.entry(place.partition).or_default().push((offset, number));
        self.messages += 1;
        self.bad += usize::from(message.is_bad);
    }

    /// Those that landed before a position of their partition, each once.
    pub fn before<'a>(&'a self, positions: Option<&'a BTreeMap<i32, i64>>) -> impl Iterator<Item = Landed> + 'a {
        self.partitions.iter().flat_map(move |(partition, messages)| {
            let end = positions.map_or(i64::MAX, |positions| positions[partition]);
            let due = messages.iter().filter(move |(offset, number)| i64::from(*offset) < end && number & AGAIN == 0);
            due.map(|(offset, number)| Landed { number: *number, from: (*partition, (*offset).into()) })
        })
    }

    /// Behind the last one of each partition.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let end = |messages: &Vec<(u32, u32)>| messages.last().map_or(0, |(offset, _)| i64::from(*offset) + 1);
        self.partitions.iter().map(|(partition, messages)| (*partition, end(messages))).collect()
    }

    /// How many of them a group that is at these positions has not acknowledged.
    pub fn behind(&self, positions: &BTreeMap<i32, i64>) -> usize {
        let of = |(partition, messages): (&i32, &Vec<(u32, u32)>)| {
            messages.len() - messages.partition_point(|(offset, _)| i64::from(*offset) < positions[partition])
        };
        self.partitions.iter().map(of).sum()
    }
}
