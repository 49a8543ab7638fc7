//! Calls of administration for who signs in with a token.
//!
//! librdkafka asks for tokens while it is polled, and the library's client for such calls polls nothing
//! (rust-rdkafka, issue 757). So the two calls that are needed are made here, each over a connection of its own:
//! [`wire`] has the little of the protocol that they take.

mod wire;

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::client::OAuthToken;

use self::wire::{Answer, Body, Line};
use super::access::Access;
use super::names::{OAUTHBEARER, canonical};
use crate::bus::BusError;
use crate::config::settings::KafkaSettings;
use crate::tls::{Identity, Tls, Trust};

/// Calls by their number and the version of it that every broker from Apache Kafka 2.4 to 4 takes.
const SASL_HANDSHAKE: (i16, i16) = (17, 1);
const SASL_AUTHENTICATE: (i16, i16) = (36, 0);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const DESCRIBE_CONFIGS: (i16, i16) = (32, 1);

/// What a broker says by a number.
const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_DENIED: i16 = 29;
const CLUSTER_DENIED: i16 = 31;
const TOPIC_EXISTS: i16 = 36;
const NOT_CONTROLLER: i16 = 41;
/// A name, a number of partitions or of replicas, an assignment, a setting, a policy that forbids it.
const UNFIT: [i16; 7] = [17, 37, 38, 39, 40, 42, 44];

/// A topic, among the kinds of things that have a configuration.
const TOPIC: i8 = 2;

/// What the configuration of a topic says, by name; [`BusError::Denied`] where we may not know it.
pub(super) async fn configuration(
    settings: &KafkaSettings,
    access: &Access,
    topic: &str,
) -> Result<Vec<(String, Option<String>)>, BusError> {
    let topic = topic.to_owned();
    let body = Body::default().count(1).byte(TOPIC).text(&topic).nothing().byte(0);
    ask(settings, access, DESCRIBE_CONFIGS, body, move |answer| {
        let (_throttled, _count) = (answer.int()?, answer.int()?);
        let (code, message) = (answer.short()?, answer.text()?);
        if code != 0 {
            return Ok(Err(refused(code, &format!("limits of topic {topic}"), message.as_deref())));
        }
        let (_kind, _name, count) = (answer.byte()?, answer.text()?, answer.int()?);
        let mut found = Vec::new();
        for _ in 0..count {
            let (name, value) = (answer.text()?.unwrap_or_default(), answer.text()?);
            let (_read_only, _source, _sensitive, synonyms) =
                (answer.byte()?, answer.byte()?, answer.byte()?, answer.int()?);
            for _ in 0..synonyms {
                let _ = (answer.text()?, answer.text()?, answer.byte()?);
            }
            found.push((name, value));
        }
        Ok(Ok(found))
    })
    .await
}

/// Makes a topic with as many replicas as the brokers make by default; one that exists is left alone.
pub(super) async fn create(
    settings: &KafkaSettings,
    access: &Access,
    topic: &str,
    partitions: i32,
    within: Duration,
) -> Result<(), BusError> {
    let topic = topic.to_owned();
    let millis = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let body = Body::default().count(1).text(&topic).int(partitions).short(-1).count(0).count(0).int(millis).byte(0);
    ask(settings, access, CREATE_TOPICS, body, move |answer| {
        let (_throttled, _count, _name) = (answer.int()?, answer.int()?, answer.text()?);
        let (code, message) = (answer.short()?, answer.text()?);
        Ok(match code {
            0 | TOPIC_EXISTS => Ok(()),
            code => Err(refused(code, &format!("topic {topic} was not made"), message.as_deref())),
        })
    })
    .await
}

/// Asks the first broker that answers, on a thread that may wait.
async fn ask<T: Send + 'static>(
    settings: &KafkaSettings,
    access: &Access,
    call: (i16, i16),
    body: Body,
    read: impl FnOnce(&mut Answer) -> std::io::Result<Result<T, BusError>> + Send + 'static,
) -> Result<T, BusError> {
    let Some(tokens) = access.tokens.clone() else {
        return Err(BusError::Failed("a call that signs in with a token, and nothing here makes any".to_owned()));
    };
    let tls = if settings.security_protocol.ends_with("SSL") { Some(tls(settings)?) } else { None };
    let brokers: Vec<String> = access.brokers.split(',').map(str::to_owned).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let token = tokens.token()?;
        let mut line = open(&brokers, tls.as_ref(), &token)?;
        let answered = line.ask(call, body).and_then(|mut answer| read(&mut answer));
        answered.map_err(|error| away(&line.broker, &error))?
    });
    asked.await.map_err(|error| BusError::Failed(format!("a call of administration: {error}")))?
}

/// The first broker that answers and lets us in.
fn open(brokers: &[String], tls: Option<&Tls>, token: &OAuthToken) -> Result<Line, BusError> {
    let mut last = BusError::Unavailable("no broker is named".to_owned());
    for broker in brokers {
        let opened = Line::open(broker, tls).map_err(|error| away(broker, &error));
        match opened.and_then(|mut line| sign_in(&mut line, token).map(|()| line)) {
            Err(error @ BusError::Unavailable(_)) => last = error,
            settled => return settled,
        }
    }
    Err(last)
}

fn away(broker: &str, error: &std::io::Error) -> BusError {
    BusError::Unavailable(format!("no answer of {broker} to a call of administration: {error}"))
}

fn sign_in(line: &mut Line, token: &OAuthToken) -> Result<(), BusError> {
    let broker = line.broker.clone();
    let signed = (|| {
        let mut answer = line.ask(SASL_HANDSHAKE, Body::default().text(OAUTHBEARER))?;
        if answer.short()? != 0 {
            return Ok(Some("the broker does not let in with tokens".to_owned()));
        }
        let first = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.token);
        let mut answer = line.ask(SASL_AUTHENTICATE, Body::default().bytes(first.as_bytes()))?;
        let (code, message, said) = (answer.short()?, answer.text()?, answer.bytes()?);
        // A refusal is the server's next message, or an error.
        Ok(match (code, said.is_empty()) {
            (0, true) => None,
            (0, false) => Some(String::from_utf8_lossy(&said).into_owned()),
            (code, _) => Some(message.unwrap_or_else(|| format!("error {code}"))),
        })
    })();
    match signed.map_err(|error: std::io::Error| away(&broker, &error))? {
        None => Ok(()),
        Some(why) => Err(BusError::Denied(format!("{broker} does not take the token: {why}"))),
    }
}

/// What a number means for the caller.
fn refused(code: i16, what: &str, message: Option<&str>) -> BusError {
    let message = message.filter(|message| !message.is_empty());
    let text = message.map_or_else(|| format!("{what}: error {code}"), |message| format!("{what}: {message}"));
    match code {
        UNKNOWN_TOPIC => BusError::NotFound(text),
        TOPIC_DENIED | CLUSTER_DENIED => BusError::Denied(text),
        // A cluster with ZooKeeper, of which only one broker does this.
        NOT_CONTROLLER => BusError::Settings(format!("{what}: that broker may not; use the broker's own tools")),
        code if UNFIT.contains(&code) => BusError::Settings(text),
        _ => BusError::Unavailable(text),
    }
}

/// TLS as librdkafka's properties have it.
fn tls(settings: &KafkaSettings) -> Result<Tls, BusError> {
    let mut tls = Tls { trust: Trust::Host, authorities: None, identity: None };
    let (mut certificate, mut key) = (None, None);
    let off = |value: &str| matches!(value, "false" | "f" | "0" | "none");
    for (name, value) in
        settings.properties.iter().filter(|(name, _)| name.starts_with("ssl.") || name.contains(".ssl."))
    {
        match canonical(name) {
            "ssl.ca.location" if value != "probe" => tls.authorities = Some(PathBuf::from(value)),
            "ssl.certificate.location" => certificate = Some(PathBuf::from(value)),
            "ssl.key.location" => key = Some(PathBuf::from(value)),
            "ssl.endpoint.identification.algorithm" if off(value) && tls.trust == Trust::Host => {
                tls.trust = Trust::Authority;
            }
            "enable.ssl.certificate.verification" if off(value) => tls.trust = Trust::Anyone,
            // As they are without being set.
            "ssl.ca.location" | "ssl.endpoint.identification.algorithm" | "enable.ssl.certificate.verification" => {}
            _ => {
                let text = format!("kafka property `{name}` is not known to calls of administration with a token");
                return Err(BusError::Settings(text));
            }
        }
    }
    tls.identity = certificate.zip(key).map(|(certificate, key)| Identity { certificate, key });
    Ok(tls)
}
