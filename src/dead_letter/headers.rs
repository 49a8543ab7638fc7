//! Names of the headers of a dead letter: a published contract, never changed, only added to.

/// Version of this contract, as the header [`SCHEMA_VERSION`] carries it.
pub const VERSION: &str = "1";

/// What every header of ours begins with.
pub const PREFIX: &str = "chalk_dlq_";
/// What every header of Kafka Connect's error reports begins with.
pub const CONNECT_PREFIX: &str = "__connect.errors.";

/// The contract's version; its presence makes a message a dead letter.
pub const SCHEMA_VERSION: &str = "chalk_dlq_schema_version";
/// The topic that the message was read from.
pub const TOPIC: &str = "chalk_dlq_topic";
/// Its partition there.
pub const PARTITION: &str = "chalk_dlq_partition";
/// Its offset there.
pub const OFFSET: &str = "chalk_dlq_offset";
/// The message's timestamp on the bus, milliseconds since 1970; empty where the bus gave none. The letter's
/// own is the time of burial, from which retention counts. Letters of older versions do not have it: there
/// the letter's own timestamp is that of the message.
pub const TIMESTAMP_MS: &str = "chalk_dlq_timestamp_ms";
/// `ONLINE_WRITER`, …
pub const WRITER_TYPE: &str = "chalk_dlq_writer_type";
/// Version of the program that buried it.
pub const WRITER_VERSION: &str = "chalk_dlq_writer_version";
/// Consumer group of the writer that buried it: the one that a replay is for.
pub const GROUP: &str = "chalk_dlq_group";
/// The environment, where known.
pub const ENVIRONMENT: &str = "chalk_dlq_environment";
/// The destination that refused it.
pub const SINK: &str = "chalk_dlq_sink";
/// The table or namespace of the row at fault.
pub const TABLE: &str = "chalk_dlq_table";
/// The class: `DECODE`, `TYPE_MISMATCH`, …
pub const ERROR_CLASS: &str = "chalk_dlq_error_class";
/// The store's own code.
pub const ERROR_CODE: &str = "chalk_dlq_error_code";
/// What was found and what was expected.
pub const ERROR_MESSAGE: &str = "chalk_dlq_error_message";
/// Index or key of the row at fault inside the message.
pub const ERROR_ROW: &str = "chalk_dlq_error_row";
/// RFC 3339, UTC.
pub const FIRST_FAILED_AT: &str = "chalk_dlq_first_failed_at";
/// RFC 3339, UTC.
pub const FAILED_AT: &str = "chalk_dlq_failed_at";
/// How many times it was tried.
pub const ATTEMPTS: &str = "chalk_dlq_attempts";
/// How many times Pub/Sub had delivered the message, where it tells: of a subscription with a dead letter policy of Google's.
pub const DELIVERY_ATTEMPT: &str = "chalk_dlq_delivery_attempt";
/// The batch that it was in.
pub const BATCH_ID: &str = "chalk_dlq_batch_id";
/// How many times it has been sent again; 0 for a first burial.
pub const REDRIVE_COUNT: &str = "chalk_dlq_redrive_count";
/// Number of this part, from 1; absent where the letter is whole.
pub const PART: &str = "chalk_dlq_part";
/// How many parts there are.
pub const PARTS: &str = "chalk_dlq_parts";
/// Length of what stands before the body in the joined parts: key and headers that had no room in
/// the record's own.
pub const FOLDED: &str = "chalk_dlq_folded_bytes";

/// Makes a record a mark, which is no dead letter: the place in the dead letter topic of the letter
/// that was sent again, as `partition/offset`.
pub const REPLAYED: &str = "chalk_dlq_replayed";
/// Of a mark: where the letter's message had been read from, as `topic/partition/offset`. A mark
/// counts for a letter only where both agree: offsets of a copied topic are other ones.
pub const REPLAYED_ORIGIN: &str = "chalk_dlq_replayed_origin";
/// Of a mark: when it was sent again, RFC 3339, UTC.
pub const REPLAYED_AT: &str = "chalk_dlq_replayed_at";
/// Of a mark: where it landed, as `topic/partition/offset`.
pub const REPLAYED_TO: &str = "chalk_dlq_replayed_to";

/// Of a message that was sent again: the one consumer group that it is for. It is no note, and stays
/// when the message is buried again.
pub const TARGET_GROUP: &str = "chalk_target_group";

/// Of a message that was parked: the topic that it was read from first. A letter of it names that, not the parking topic.
pub const PARKED_TOPIC: &str = "chalk_parked_topic";
/// Its partition there.
pub const PARKED_PARTITION: &str = "chalk_parked_partition";
/// Its offset there.
pub const PARKED_OFFSET: &str = "chalk_parked_offset";
/// Its timestamp, milliseconds since 1970; the parked message's own is that of the parking, from which retention counts.
pub const PARKED_TIMESTAMP_MS: &str = "chalk_parked_timestamp_ms";
/// What those begin with.
pub const PARKED_PREFIX: &str = "chalk_parked_";

/// Kafka Connect: the original topic.
pub const CONNECT_TOPIC: &str = "__connect.errors.topic";
/// Kafka Connect: the original partition.
pub const CONNECT_PARTITION: &str = "__connect.errors.partition";
/// Kafka Connect: the original offset.
pub const CONNECT_OFFSET: &str = "__connect.errors.offset";
/// Kafka Connect: the connector; ours is the writer's type.
pub const CONNECT_NAME: &str = "__connect.errors.connector.name";
/// Kafka Connect: `VALUE_CONVERTER` for what could not be read, `TASK_PUT` for what a store refused.
pub const CONNECT_STAGE: &str = "__connect.errors.stage";
/// Kafka Connect: the class of the exception; ours is the error class.
pub const CONNECT_CLASS: &str = "__connect.errors.exception.class.name";
/// Kafka Connect: the message of the exception.
pub const CONNECT_MESSAGE: &str = "__connect.errors.exception.message";

/// Whether a header is a note about a burial or a parking and no part of the original message.
pub fn is_note(name: &str) -> bool {
    [PREFIX, CONNECT_PREFIX, PARKED_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}
