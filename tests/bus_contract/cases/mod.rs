//! The cases, by name.

mod by_hand;
mod delivery;
mod drain;
mod messages;
mod queue;
mod sharing;
mod status;
mod topics;
mod transactions;

use std::sync::Arc;

use futures::future::BoxFuture;

use super::harness::Capability::{
    self, AnyBytes, EachByItself, FindsTimes, FreesGroups, KeepsPositionsOfTransactions, KeepsTimestamps,
    LimitsMessageSize, MakesTopics, PartialHandover, Positions, RefusesUnknownTopics, TakesLastPositions, Transactions,
};
use super::harness::Harness;

/// One rule of the contract, tried on a bus.
pub type Case = fn(Arc<dyn Harness>) -> BoxFuture<'static, ()>;

/// Every rule, what a bus must be able to do for it to be a rule of that bus, and how it is tried.
pub const CASES: &[(&str, &[Capability], Case)] = &[
    ("each_partition_arrives_in_order_and_each_message_once", &[Positions], |h| {
        Box::pin(delivery::each_partition_arrives_in_order_and_each_message_once(h))
    }),
    ("delivery_numbers_count_up_by_one", &[], |h| Box::pin(delivery::delivery_numbers_count_up_by_one(h))),
    ("a_new_group_starts_at_the_earliest_message", &[], |h| {
        Box::pin(delivery::a_new_group_starts_at_the_earliest_message(h))
    }),
    ("two_groups_both_get_everything", &[], |h| Box::pin(delivery::two_groups_both_get_everything(h))),
    ("closing_commits_what_was_acknowledged_and_a_restart_goes_on_there", &[], |h| {
        Box::pin(delivery::closing_commits_what_was_acknowledged_and_a_restart_goes_on_there(h))
    }),
    ("what_was_not_acknowledged_comes_again", &[], |h| Box::pin(delivery::what_was_not_acknowledged_comes_again(h))),
    ("an_acknowledged_number_covers_every_partition_before_it", &[Positions], |h| {
        Box::pin(delivery::an_acknowledged_number_covers_every_partition_before_it(h))
    }),
    ("an_acknowledgement_becomes_durable_without_closing", &[], |h| {
        Box::pin(delivery::an_acknowledgement_becomes_durable_without_closing(h))
    }),
    ("a_dropped_wait_loses_nothing", &[], |h| Box::pin(delivery::a_dropped_wait_loses_nothing(h))),
    ("reading_up_to_the_end_is_said", &[], |h| Box::pin(delivery::reading_up_to_the_end_is_said(h))),
    ("headers_keep_order_repetition_and_null", &[AnyBytes], |h| {
        Box::pin(messages::headers_keep_order_repetition_and_null(h))
    }),
    ("a_null_body_is_not_an_empty_one", &[AnyBytes], |h| Box::pin(messages::a_null_body_is_not_an_empty_one(h))),
    ("key_and_timestamp_survive", &[AnyBytes, KeepsTimestamps], |h| Box::pin(messages::key_and_timestamp_survive(h))),
    ("publishing_tells_where_each_message_landed", &[], |h| {
        Box::pin(messages::publishing_tells_where_each_message_landed(h))
    }),
    ("one_key_stays_in_one_partition", &[Positions], |h| Box::pin(messages::one_key_stays_in_one_partition(h))),
    ("many_publishers_at_once_get_places_of_their_own", &[], |h| {
        Box::pin(messages::many_publishers_at_once_get_places_of_their_own(h))
    }),
    ("publishing_nothing_is_nothing", &[], |h| Box::pin(messages::publishing_nothing_is_nothing(h))),
    ("a_message_above_the_limit_is_too_large", &[LimitsMessageSize], |h| {
        Box::pin(messages::a_message_above_the_limit_is_too_large(h))
    }),
    ("a_message_with_many_headers_is_buried_and_sent_again_with_all_of_them", &[], |h| {
        Box::pin(messages::a_message_with_many_headers_is_buried_and_sent_again_with_all_of_them(h))
    }),
    ("a_member_that_joins_gets_a_share_and_only_after_the_release", &[Positions], |h| {
        Box::pin(sharing::a_member_that_joins_gets_a_share_and_only_after_the_release(h))
    }),
    ("nothing_of_a_lost_partition_comes_after_its_release", &[Positions], |h| {
        Box::pin(sharing::nothing_of_a_lost_partition_comes_after_its_release(h))
    }),
    ("a_handover_is_heard_unread_and_what_was_fetched_ahead_is_dropped", &[Positions], |h| {
        Box::pin(sharing::a_handover_is_heard_unread_and_what_was_fetched_ahead_is_dropped(h))
    }),
    ("a_late_acknowledgement_does_not_move_a_lost_partition", &[Positions], |h| {
        Box::pin(sharing::a_late_acknowledgement_does_not_move_a_lost_partition(h))
    }),
    ("kept_partitions_go_on_untouched", &[Positions, PartialHandover], |h| {
        Box::pin(sharing::kept_partitions_go_on_untouched(h))
    }),
    ("a_member_that_leaves_gives_its_share_back", &[Positions], |h| {
        Box::pin(sharing::a_member_that_leaves_gives_its_share_back(h))
    }),
    ("more_members_than_partitions_do_no_harm", &[Positions], |h| {
        Box::pin(sharing::more_members_than_partitions_do_no_harm(h))
    }),
    ("a_drain_ends_with_empty_partitions", &[], |h| Box::pin(drain::a_drain_ends_with_empty_partitions(h))),
    ("a_drain_of_an_empty_topic_ends", &[], |h| Box::pin(drain::a_drain_of_an_empty_topic_ends(h))),
    ("a_drain_waits_for_the_acknowledgement", &[], |h| Box::pin(drain::a_drain_waits_for_the_acknowledgement(h))),
    ("a_drain_ends_at_the_ends_it_found", &[Positions], |h| Box::pin(drain::a_drain_ends_at_the_ends_it_found(h))),
    ("a_drain_of_what_is_done_already_ends", &[], |h| Box::pin(drain::a_drain_of_what_is_done_already_ends(h))),
    ("two_members_drain_together", &[], |h| Box::pin(drain::two_members_drain_together(h))),
    ("the_status_follows_acknowledgements_and_lag_is_zero_at_the_end", &[Positions, KeepsTimestamps], |h| {
        Box::pin(status::the_status_follows_acknowledgements_and_lag_is_zero_at_the_end(h))
    }),
    ("an_unknown_topic_is_not_found", &[RefusesUnknownTopics], |h| Box::pin(topics::an_unknown_topic_is_not_found(h))),
    ("a_topic_that_exists_is_left_as_it_is", &[MakesTopics], |h| {
        Box::pin(topics::a_topic_that_exists_is_left_as_it_is(h))
    }),
    ("a_topic_tells_its_partitions_and_how_many_messages_it_has", &[Positions], |h| {
        Box::pin(topics::a_topic_tells_its_partitions_and_how_many_messages_it_has(h))
    }),
    ("browsing_starts_where_it_is_told", &[Positions], |h| Box::pin(topics::browsing_starts_where_it_is_told(h))),
    ("browsing_ends_at_the_end_it_found_and_leaves_groups_alone", &[], |h| {
        Box::pin(topics::browsing_ends_at_the_end_it_found_and_leaves_groups_alone(h))
    }),
    ("a_stretch_is_found_by_time", &[Positions, FindsTimes], |h| Box::pin(by_hand::a_stretch_is_found_by_time(h))),
    ("a_stretch_is_read_again_to_its_end_and_groups_are_left_alone", &[Positions], |h| {
        Box::pin(by_hand::a_stretch_is_read_again_to_its_end_and_groups_are_left_alone(h))
    }),
    ("positions_are_told_from_outside", &[Positions], |h| Box::pin(by_hand::positions_are_told_from_outside(h))),
    ("positions_in_an_unknown_topic_are_not_found", &[Positions, RefusesUnknownTopics], |h| {
        Box::pin(by_hand::positions_in_an_unknown_topic_are_not_found(h))
    }),
    ("a_position_is_not_moved_by_hand_while_somebody_is_in_the_group", &[Positions], |h| {
        Box::pin(by_hand::a_position_is_not_moved_by_hand_while_somebody_is_in_the_group(h))
    }),
    ("a_position_is_moved_by_hand_once_everybody_has_left", &[Positions, FreesGroups], |h| {
        Box::pin(by_hand::a_position_is_moved_by_hand_once_everybody_has_left(h))
    }),
    ("the_position_of_a_group_that_was_never_there_can_be_moved", &[Positions], |h| {
        Box::pin(by_hand::the_position_of_a_group_that_was_never_there_can_be_moved(h))
    }),
    ("messages_and_positions_move_together_and_in_no_other_way", &[Transactions], |h| {
        Box::pin(transactions::messages_and_positions_move_together_and_in_no_other_way(h))
    }),
    ("a_member_goes_on_where_the_last_transaction_ended", &[Transactions, KeepsPositionsOfTransactions], |h| {
        Box::pin(transactions::a_member_goes_on_where_the_last_transaction_ended(h))
    }),
    ("a_transaction_that_is_asked_for_again_lands_once", &[Transactions], |h| {
        Box::pin(transactions::a_transaction_that_is_asked_for_again_lands_once(h))
    }),
    ("a_transaction_with_a_message_that_is_refused_does_nothing", &[Transactions, LimitsMessageSize], |h| {
        Box::pin(transactions::a_transaction_with_a_message_that_is_refused_does_nothing(h))
    }),
    ("a_lost_partition_keeps_all_of_a_transaction_from_landing", &[Transactions], |h| {
        Box::pin(transactions::a_lost_partition_keeps_all_of_a_transaction_from_landing(h))
    }),
    ("a_partition_that_is_being_let_go_can_still_be_committed", &[Transactions, TakesLastPositions], |h| {
        Box::pin(transactions::a_partition_that_is_being_let_go_can_still_be_committed(h))
    }),
    ("a_closed_member_commits_nothing", &[Transactions], |h| {
        Box::pin(transactions::a_closed_member_commits_nothing(h))
    }),
    ("members_that_come_and_go_count_every_message_once", &[Transactions, KeepsPositionsOfTransactions], |h| {
        Box::pin(transactions::members_that_come_and_go_count_every_message_once(h))
    }),
    (
        "a_drain_in_transactions_ends_where_transactions_left_marks",
        &[Transactions, KeepsPositionsOfTransactions],
        |h| Box::pin(transactions::a_drain_in_transactions_ends_where_transactions_left_marks(h)),
    ),
    ("messages_of_one_key_come_in_order", &[EachByItself], |h| Box::pin(queue::messages_of_one_key_come_in_order(h))),
    ("what_is_held_is_not_delivered_again", &[EachByItself], |h| {
        Box::pin(queue::what_is_held_is_not_delivered_again(h))
    }),
    ("what_a_member_has_not_acknowledged_goes_to_another_when_it_closes", &[EachByItself], |h| {
        Box::pin(queue::what_a_member_has_not_acknowledged_goes_to_another_when_it_closes(h))
    }),
    ("lag_is_the_age_of_the_oldest_message_that_is_held", &[EachByItself], |h| {
        Box::pin(queue::lag_is_the_age_of_the_oldest_message_that_is_held(h))
    }),
    ("a_stretch_of_time_is_read_again_and_subscriptions_are_left_alone", &[EachByItself], |h| {
        Box::pin(queue::a_stretch_of_time_is_read_again_and_subscriptions_are_left_alone(h))
    }),
    ("the_last_messages_and_one_by_its_id_are_found", &[EachByItself], |h| {
        Box::pin(queue::the_last_messages_and_one_by_its_id_are_found(h))
    }),
    ("positions_cannot_be_moved", &[EachByItself], |h| Box::pin(queue::positions_cannot_be_moved(h))),
    ("what_cannot_be_carried_is_refused_before_anything_is_sent", &[EachByItself], |h| {
        Box::pin(queue::what_cannot_be_carried_is_refused_before_anything_is_sent(h))
    }),
];
