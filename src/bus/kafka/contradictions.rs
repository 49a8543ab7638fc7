//! Properties that contradict one another: librdkafka, or the broker, would refuse them only once a writer starts.

use crate::bus::BusError;
use crate::config::settings::KafkaSettings;

use super::names::canonical;
use super::properties::defaults;

/// Pairs of which the first is at most the second, and what comes of it otherwise.
const AT_MOST: &[(&str, &str, &str)] = &[
    ("session.timeout.ms", "max.poll.interval.ms", "a member would be given up before it is missed"),
    ("heartbeat.interval.ms", "session.timeout.ms", "every member would be taken for dead between two signs of life"),
    ("message.timeout.ms", "transaction.timeout.ms", "a message would be sent on when its transaction has been ended"),
];

/// What the broker decides where it assigns partitions itself.
const OF_THE_BROKER: [&str; 3] = ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"];

/// Refuses them, with what and why; contacts nothing.
pub(super) fn check(settings: &KafkaSettings) -> Result<(), BusError> {
    let given = |name: &str| {
        let own = settings.properties.iter().find(|(known, _)| canonical(known) == name);
        own.map(|(_, value)| value.as_str())
    };
    for (small, large, harm) in AT_MOST {
        if given(small).or(given(large)).is_none() {
            continue;
        }
        let number = |name: &str| given(name).map_or_else(|| defaults(name), |value| value.parse::<u64>().ok());
        if let (Some(least), Some(most)) = (number(small), number(large))
            && least > most
        {
            return Err(BusError::Settings(format!(
                "kafka property `{small}` is {least} and `{large}` is {most}: {harm}; make `{small}` the smaller one"
            )));
        }
    }
    if given("group.protocol") == Some("consumer")
        && let Some(name) = OF_THE_BROKER.iter().find(|name| given(name).is_some())
    {
        return Err(BusError::Settings(format!(
            "kafka property `{name}` contradicts `group.protocol` = `consumer`: the broker decides it then \
             (`group.consumer.…`); leave one of them out"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(properties: &[(&str, &str)]) -> Option<String> {
        let settings = KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            security_protocol: "PLAINTEXT".to_owned(),
            sasl_mechanism: None,
            sasl_secret: None,
            properties: properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        check(&settings).err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_both_hold_is_refused_with_both_values() {
        for (properties, words) in [
            (
                &[("session.timeout.ms", "400000")][..],
                &["`session.timeout.ms` is 400000", "`max.poll.interval.ms` is 300000"][..],
            ),
            (&[("session.timeout.ms", "6000"), ("max.poll.interval.ms", "5000")], &["6000", "5000"]),
            (&[("session.timeout.ms", "2000")], &["`heartbeat.interval.ms` is 3000", "2000"]),
            (
                &[("delivery.timeout.ms", "90000"), ("transaction.timeout.ms", "60000")],
                &["`message.timeout.ms` is 90000"],
            ),
            (
                &[("group.protocol", "consumer"), ("session.timeout.ms", "6000")],
                &["session.timeout.ms", "the broker decides"],
            ),
        ] {
            let error = refused(properties).unwrap_or_else(|| panic!("{properties:?} is refused"));
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn what_fits_together_is_not() {
        for properties in [
            &[][..],
            &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")],
            &[("max.poll.interval.ms", "60000")],
            // Without a time of its own a transaction outlives its messages.
            &[("message.timeout.ms", "90000")],
            &[("group.protocol", "consumer")],
            &[("group.protocol", "classic"), ("partition.assignment.strategy", "range")],
        ] {
            assert_eq!(refused(properties), None, "{properties:?}");
        }
    }
}
