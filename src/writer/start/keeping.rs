//! How a topic keeps what is sent to it, against what dead letters and parked messages need.

use crate::bus::Keeping;

/// A topic that keeps its letters for less than a long weekend loses some before anybody looks.
const KEPT_FOR_MS: u64 = 4 * 86_400_000;

/// Clocks differ by less than this.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// What is wrong with how a dead letter topic keeps its letters.
pub fn worries(keeping: &Keeping) -> Vec<String> {
    let Keeping { compacts, for_ms, refuses_beyond_ms } = *keeping;
    let mut worries = Vec::new();
    if compacts {
        worries.push(
            "LOSES DEAD LETTERS: it is compacted (`cleanup.policy`), so the second bad message of a key removes the \
             first, and of one in parts only the last is left; set `cleanup.policy` to `delete`"
                .to_owned(),
        );
    }
    let short = for_ms.filter(|for_ms| *for_ms < KEPT_FOR_MS);
    worries.extend(short.map(|for_ms| {
        format!("keeps a letter for {} only (`retention.ms`): one of Friday night may be gone on Monday", hours(for_ms))
    }));
    let strict = refuses_beyond_ms.filter(|beyond| *beyond < CLOCKS_DIFFER_MS);
    worries.extend(strict.map(|beyond| {
        format!(
            "refuses letters once this machine's clock is {beyond} ms from the broker's \
             (`message.timestamp.before.max.ms`, `.after.max.ms`, `.difference.max.ms`)"
        )
    }));
    worries
}

fn hours(milliseconds: u64) -> String {
    match milliseconds / 3_600_000 {
        0 => format!("{} s", milliseconds / 1_000),
        hours => format!("{hours} h"),
    }
}

/// Why messages cannot be parked in a topic that keeps them so.
pub fn unfit_for_parking(keeping: &Keeping) -> Option<&'static str> {
    let text = "is compacted (`cleanup.policy`): the second message of a key would remove the first; set `cleanup.policy` \
                to `delete`";
    keeping.compacts.then_some(text)
}

/// Why messages cannot be published to a topic that keeps them so: those of writers have no key.
pub fn unfit_for_publishing(keeping: &Keeping) -> Option<&'static str> {
    let text = "is compacted (`cleanup.policy`), and takes no message without a key, as all are that are published to it; set \
                `cleanup.policy` to `delete`";
    keeping.compacts.then_some(text)
}

/// What may come of parking messages in a topic that keeps them so.
pub fn worry_of_parking(keeping: &Keeping) -> Option<String> {
    let short = keeping.for_ms.filter(|for_ms| *for_ms < KEPT_FOR_MS);
    short.map(|for_ms| {
        let kept = hours(for_ms);
        format!("keeps a message for {kept} only (`retention.ms`): a store that is away for longer loses it")
    })
}
