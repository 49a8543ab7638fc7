//! How things are called here and in librdkafka: one name of each.

/// What librdkafka calls signing in with a token.
pub(super) const OAUTHBEARER: &str = "OAUTHBEARER";

/// Tokens that could not be had, or not be had anew.
pub(super) const TOKEN_ERRORS: &str = "chalk_writer_bus_token_errors_total";

/// Second names that librdkafka has for some properties, each with the one that is used here. Under
/// two names one property would have two values, of which either might win.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("auto.commit.enable", "enable.auto.commit"),
];

/// The one name of a property.
pub(super) fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, used)| used)
}
