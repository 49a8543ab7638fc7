//! `OFFLINE_WRITER`: each row and query once in Postgres and at least once in the lake, under one id, in either environment.

use super::republish;
use super::role::{Made, Making, Pace, Role};

pub const ROLE: Role = Role {
    name: "history",
    writers: &["OFFLINE_WRITER"],
    topic: republish::ROLE.topic,
    more_topics: &[],
    message: "chalk.result.v1",
    store: republish::ROLE.store,
    is_in_both: true,
    pace: Pace::Share(30.0),
    make,
    look: republish::look,
};

/// Keys of messages.
const KEYS: i64 = 50;

fn make(making: &mut Making<'_>) -> Made {
    let environment = making.environment();
    Made { key: format!("{environment}/{}", making.number % KEYS), ..republish::make_for(making, environment) }
}
