//! Who shall have which partition: even shares, and as few moves as possible.

use std::collections::HashMap;

/// Shares partitions out to members, given in order of joining; `before` names who had each so far.
///
/// Shares differ by one at the most. A member keeps what it had up to its share, and what nobody holds goes
/// to those below theirs. The result depends on its arguments alone, and sharing it out again changes
/// nothing: any member may compute it at any time.
pub(super) fn share(members: &[String], before: &[Option<String>]) -> Vec<Option<String>> {
    if members.is_empty() {
        return vec![None; before.len()];
    }
    let mut had: HashMap<&str, usize> = members.iter().map(|member| (member.as_str(), 0)).collect();
    for member in before.iter().flatten() {
        if let Some(count) = had.get_mut(member.as_str()) {
            *count += 1;
        }
    }
    // Where shares are uneven, the larger ones stay with those who have most: that moves least.
    let mut order: Vec<&str> = members.iter().map(String::as_str).collect();
    order.sort_by_key(|member| std::cmp::Reverse(had[member]));
    let (least, larger) = (before.len() / members.len(), before.len() % members.len());
    let mut room: HashMap<&str, usize> =
        order.iter().enumerate().map(|(rank, member)| (*member, least + usize::from(rank < larger))).collect();

    let mut after: Vec<Option<String>> = before
        .iter()
        .map(|holder| {
            let room = room.get_mut(holder.as_deref()?).filter(|room| **room > 0)?;
            *room -= 1;
            holder.clone()
        })
        .collect();
    let mut takers = members.iter().flat_map(|member| std::iter::repeat_n(member, room[member.as_str()]));
    for holder in after.iter_mut().filter(|holder| holder.is_none()) {
        *holder = takers.next().cloned();
    }
    after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(numbers: &[u8]) -> Vec<String> {
        numbers.iter().map(|number| format!("m{number}")).collect()
    }

    #[test]
    fn a_member_that_joins_takes_only_what_it_is_due() {
        let alone = share(&names(&[1]), &vec![None; 4]);
        let both = share(&names(&[1, 2]), &alone);
        assert_eq!(both, names(&[1, 1, 2, 2]).into_iter().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_means_nobody() {
        assert_eq!(share(&[], &[Some("gone".to_owned())]), [None]);
    }

    proptest! {
        #[test]
        fn shares_are_even_complete_stable_and_move_little(
            members in proptest::collection::btree_set(0_u8..12, 1..6),
            before in proptest::collection::vec(proptest::option::of(0_u8..12), 0..24),
        ) {
            let members = names(&members.into_iter().collect::<Vec<_>>());
            let before: Vec<_> = before.into_iter().map(|holder| holder.map(|number| format!("m{number}"))).collect();
            let after = share(&members, &before);
            let count = |list: &[Option<String>], member: &String| {
                list.iter().flatten().filter(|holder| *holder == member).count()
            };
            let counts: Vec<usize> = members.iter().map(|member| count(&after, member)).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), before.len());
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            prop_assert_eq!(&share(&members, &after), &after);
            // A partition leaves a living member only when that member had more than the least share.
            for (member, now) in members.iter().zip(&counts) {
                let kept = before.iter().zip(&after).filter(|(b, a)| b.as_ref() == Some(member) && a == b).count();
                prop_assert_eq!(kept, count(&before, member).min(*now));
            }
        }
    }
}
