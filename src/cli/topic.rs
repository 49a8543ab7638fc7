//! A topic that a command needs, made where it may be.

use crate::bus::{Bus, BusError};
use crate::config::settings::BusSettings;

use super::exit::{Exit, Failure};

/// Makes a topic that is not there: on the embedded bus always, elsewhere when partitions were named.
pub(super) async fn make_topic(
    bus: &dyn Bus,
    settings: &BusSettings,
    topic: &str,
    partitions: Option<u32>,
) -> Result<(), Failure> {
    match bus.topic(topic).await {
        Ok(_) => Ok(()),
        Err(BusError::NotFound(_)) if partitions.is_some() || settings.is_embedded() => {
            Ok(bus.create_topic(topic, partitions.unwrap_or(4)).await?)
        }
        Err(BusError::NotFound(_)) => Err(Failure::new(
            Exit::Configuration,
            format_args!("no topic `{topic}` on this bus; `--partitions N` makes it"),
        )),
        Err(error) => Err(error.into()),
    }
}
