//! Which partition a message goes to: the key's hash as Kafka's Java client computes it, so a key lands in
//! the same partition on both buses.

use crate::message::Outgoing;

/// The partition of a message among `count`; `turn` is used where it has neither partition nor key.
pub(super) fn partition(message: &Outgoing, count: usize, turn: &mut usize) -> i32 {
    if let Some(partition) = message.partition {
        return partition;
    }
    let index = if let Some(key) = &message.key {
        (murmur2(key) & 0x7fff_ffff) as usize % count
    } else {
        *turn = turn.wrapping_add(1);
        *turn % count
    };
    index as i32
}

/// The 32-bit `MurmurHash2` with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ word.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        // From the unit tests of Apache Kafka's `Utils.murmur2`.
        let known: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn messages_without_a_key_take_turns() {
        let mut turn = usize::MAX;
        let taken: Vec<i32> = (0..4).map(|_| partition(&Outgoing::default(), 2, &mut turn)).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
    }
}
