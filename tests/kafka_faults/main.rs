//! What the Kafka bus does when things go wrong: brokers that err, vanish and come back, logs that
//! lost their beginning, readers that stall, members that nobody listens to.
//!
//! The first half runs on librdkafka's mock cluster; `real` needs a real Kafka.

mod mock;
mod reader;
mod real;
