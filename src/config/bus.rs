//! Makes the settings of the bus.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use super::choice::{BusBackend, Choice, MetadataProvider, SaslMechanism, SecretClientName, SecurityProtocol};
use super::errors::Problem;
use super::path;
use super::raw::{RawDeployment, get};
use super::registry::Registry;
use super::secret::{Manager, SecretClient, SecretRef};
use super::settings::{BusSettings, KafkaSettings, LocalSettings, PubsubSettings};
use crate::google;

/// The embedded bus's file where none is named.
const LOCAL_BUS_FILE: &str = "chalk-bus.sqlite";

/// librdkafka properties that the writer sets by itself, because its guarantees rest on them.
const OWN_PROPERTIES: [&str; 6] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
];

/// librdkafka properties with a credential in them.
const CREDENTIALS: [&str; 9] = [
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// What is wrong with the bus, by path under the schema's names.
#[derive(Debug, Default)]
pub(super) struct BusFindings {
    pub(super) errors: Vec<(String, Problem)>,
    pub(super) warnings: Vec<(String, String)>,
}

/// Which bus: the one that is named, or Kafka where its brokers or its secret are.
pub(super) fn backend(raw: &RawDeployment) -> Option<BusBackend> {
    get(raw.common_persistence_specs.bus_backend.as_ref()).or_else(|| {
        (raw.kafka_bootstrap_servers.is_some() || raw.kafka_sasl_secret.is_some()).then_some(BusBackend::Kafka)
    })
}

/// Who we are to Google.
pub(super) fn google_identity(raw: &RawDeployment) -> google::Identity {
    let aws = get(raw.common_persistence_specs.use_aws_pool_for_google_adc.as_ref());
    google::Identity { use_aws_pool: aws.unwrap_or(false) }
}

/// The secret client that the file names.
pub(super) fn secret_client(raw: &RawDeployment, folder: &Path) -> Option<SecretClient> {
    get(raw.common_persistence_specs.secret_client.as_ref()).map(|name| match name {
        SecretClientName::Env => SecretClient::Env,
        SecretClientName::File => SecretClient::File { folder: folder.to_owned() },
        SecretClientName::Aws => SecretClient::Manager(Manager::Aws),
        SecretClientName::Gcp => {
            let common = &raw.common_persistence_specs;
            let project = get(common.google_cloud_project.as_ref());
            SecretClient::Manager(Manager::Gcp { project, identity: google_identity(raw) })
        }
    })
}

/// The bus; `None` where the file does not say enough.
pub(super) fn settings(raw: &RawDeployment, folder: &Path, registry: &Registry) -> (Option<BusSettings>, BusFindings) {
    let mut findings = BusFindings::default();
    let at = "common_persistence_specs.bus_backend".to_owned();
    let settings = match backend(raw) {
        None => {
            let text = "is missing; it is KAFKA, LOCAL (a file, nothing to install) or PUBSUB";
            findings.errors.push((at.clone(), Problem::Rule(text.to_owned())));
            None
        }
        Some(BusBackend::Local) => {
            let file = get(raw.local_bus_path.as_ref()).unwrap_or_else(|| LOCAL_BUS_FILE.to_owned());
            Some(BusSettings::Local(LocalSettings { path: folder.join(file) }))
        }
        Some(BusBackend::Pubsub) => Some(BusSettings::Pubsub(pubsub(raw, &mut findings))),
        Some(BusBackend::Kafka) => Some(BusSettings::Kafka(kafka(raw, folder, &mut findings))),
    };
    if let (Some(settings), Some(known)) = (&settings, &registry.of_buses)
        && findings.errors.is_empty()
        && registry.buses.contains(&settings.name())
        && let Err(text) = (known.check)(settings)
    {
        let path = if matches!(settings, BusSettings::Kafka(_)) { "kafka".to_owned() } else { at.clone() };
        findings.errors.push((path, Problem::Rule(text)));
    }
    if let Some(absent) = settings.as_ref().map(BusSettings::name).filter(|name| !registry.buses.contains(name)) {
        let text = format!("{absent} is not in this version; it has {}", registry.buses.join(", "));
        findings.warnings.push((at, text));
    }
    (settings, findings)
}

/// Streams of a writer where none are given: what fills two cores, with room for the service to place them.
const STREAMS: usize = 4;
/// How long silence lasts that means that a subscription is empty.
const DRAIN_IDLE: Duration = Duration::from_secs(10);
/// How long silence lasts that means that a reading beside subscriptions is over.
const BROWSE_IDLE: Duration = Duration::from_secs(5);
/// How long a stream may be silent before it is opened anew.
const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

fn pubsub(raw: &RawDeployment, findings: &mut BusFindings) -> PubsubSettings {
    let common = &raw.common_persistence_specs;
    let project = get(common.google_cloud_project.as_ref()).unwrap_or_default();
    if project.is_empty() {
        let text = "is missing; it is the id of the Google Cloud project that topics and subscriptions are in (the \
                    variable GOOGLE_CLOUD_PROJECT will do)";
        let at = "common_persistence_specs.google_cloud_project".to_owned();
        findings.errors.push((at, Problem::Rule(text.to_owned())));
    }
    let emulator = get(raw.pubsub_emulator_host.as_ref()).filter(|address| !address.is_empty());
    if let Some(address) = emulator.as_ref().filter(|address| address.contains("://") || !address.contains(':')) {
        let text = format!("`{address}` is no `host:port`");
        findings.errors.push(("pubsub_emulator_host".to_owned(), Problem::Rule(text)));
    }
    let endpoint = get(raw.pubsub.endpoint.as_ref());
    let wrong = endpoint.as_ref().and_then(|endpoint| wrong_endpoint(endpoint, emulator.as_deref()));
    if let Some(text) = wrong {
        findings.errors.push(("pubsub.endpoint".to_owned(), Problem::Rule(text)));
    }
    // Google's emulator never learns of a stream that was cut off: each would keep a share of the messages.
    let stale_after = get(raw.pubsub.stale_after.as_ref()).or(emulator.is_none().then_some(STALE_AFTER));
    PubsubSettings {
        project,
        emulator,
        endpoint,
        stale_after,
        streams: get(raw.pubsub.streams.as_ref()).map_or(STREAMS, NonZeroUsize::get),
        drain_idle: get(raw.pubsub.drain_idle.as_ref()).unwrap_or(DRAIN_IDLE),
        browse_idle: get(raw.pubsub.browse_idle.as_ref()).unwrap_or(BROWSE_IDLE),
        identity: google_identity(raw),
    }
}

/// What is wrong with a place of the service.
fn wrong_endpoint(endpoint: &str, emulator: Option<&str>) -> Option<String> {
    if let Some(emulator) = emulator {
        return Some(format!(
            "is set beside the emulator {emulator} (`pubsub_emulator_host`, PUBSUB_EMULATOR_HOST); take one off"
        ));
    }
    let Ok(url) = url::Url::parse(endpoint) else { return Some(format!("`{endpoint}` is no URL")) };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        return Some("is `https://HOST` or `https://HOST:PORT`, and nothing more".to_owned());
    }
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Some(format!("`{endpoint}` names no host")),
    };
    match url.scheme() {
        "https" => None,
        "http" if is_here => None,
        "http" => {
            Some("is `http://`, by which everybody on the way could read the token; make it `https://`".to_owned())
        }
        _ => Some(format!("`{endpoint}` is no `https://HOST`")),
    }
}

fn kafka(raw: &RawDeployment, folder: &Path, findings: &mut BusFindings) -> KafkaSettings {
    let servers = get(raw.kafka_bootstrap_servers.as_ref()).map(|brokers| brokers.0).unwrap_or_default();
    let secret = get(raw.kafka_sasl_secret.as_ref());
    if servers.is_empty() && secret.is_none() {
        let text = "is missing; it is `host:port` of one broker or more (a `bootstrap_servers` in the secret that \
                    `kafka_sasl_secret` names will do)";
        findings.errors.push(("kafka_bootstrap_servers".to_owned(), Problem::Rule(text.to_owned())));
    }
    let mechanism = get(raw.kafka_sasl_mechanism.as_ref());
    let protocol = get(raw.kafka_security_protocol.as_ref()).unwrap_or(if mechanism.is_some() || secret.is_some() {
        SecurityProtocol::SaslSsl
    } else {
        SecurityProtocol::Plaintext
    });
    let sasl = matches!(protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
    let by_itself = matches!(mechanism, Some(SaslMechanism::Gssapi | SaslMechanism::AwsMskIam));
    if sasl && secret.is_none() && !by_itself {
        let what = match mechanism {
            Some(SaslMechanism::OauthBearer) => "a client's id and secret",
            _ => "the user name and password",
        };
        let text = format!("is missing; {} signs in with {what} of that secret", protocol.word());
        findings.errors.push(("kafka_sasl_secret".to_owned(), Problem::Rule(text)));
    }
    if !sasl && mechanism.is_some() {
        let text = format!("is not used with {}", protocol.word());
        findings.warnings.push(("kafka_sasl_mechanism".to_owned(), text));
    }
    if !sasl && secret.is_some() && !servers.is_empty() {
        let text = format!("is not used with {}", protocol.word());
        findings.warnings.push(("kafka_sasl_secret".to_owned(), text));
    }
    let mut properties = BTreeMap::new();
    for (name, value) in &raw.kafka {
        let problem = if OWN_PROPERTIES.contains(&&**name) {
            Some("is set by the writer itself, because its guarantees rest on it")
        } else if CREDENTIALS.contains(&&**name) {
            Some(
                "is a credential, which does not belong here; user name and password go into the secret that \
                  `kafka_sasl_secret` names, keys into files (`ssl.key.location`)",
            )
        } else {
            None
        };
        match problem {
            Some(text) => findings.errors.push((path::key("kafka", name), Problem::Rule(text.to_owned()))),
            None => drop(properties.insert(name.clone(), value.0.0.clone())),
        }
    }
    KafkaSettings {
        bootstrap_servers: servers,
        security_protocol: protocol.word().to_owned(),
        sasl_mechanism: sasl.then(|| mechanism.unwrap_or(SaslMechanism::ScramSha512).word().to_owned()),
        sasl_secret: secret
            .zip(secret_client(raw, folder))
            .filter(|_| sasl || raw.kafka_bootstrap_servers.is_none())
            .map(|(name, client)| SecretRef::named(&name, client)),
        properties,
    }
}

/// Values that are fetched through the secret client: where each stands, and what it says.
pub(super) fn secrets_in_use(raw: &RawDeployment) -> Vec<(String, String)> {
    let kafka = get(raw.kafka_sasl_secret.as_ref()).filter(|_| backend(raw) == Some(BusBackend::Kafka));
    let mut used: Vec<_> = kafka.map(|name| ("kafka_sasl_secret".to_owned(), name)).into_iter().collect();
    let mut may_name = |path: String, text: Option<String>| {
        used.extend(text.filter(|text| SecretRef::is_name(text)).map(|text| (path, text)));
    };
    for (number, writer) in raw.writers.iter().enumerate() {
        let sql = [
            ("metadata_sql_uri_secret", &writer.metadata_sql_uri_secret),
            ("metadata_sql_ssl_ca_cert_secret", &writer.metadata_sql_ssl_ca_cert_secret),
            ("metadata_sql_ssl_client_cert_secret", &writer.metadata_sql_ssl_client_cert_secret),
            ("metadata_sql_ssl_client_key_secret", &writer.metadata_sql_ssl_client_key_secret),
        ];
        if get(raw.metadata_provider.as_ref()) == Some(MetadataProvider::Sql) {
            for (field, value) in sql {
                let name = get(value.as_ref()).map(|name| SecretRef::with_prefix(&name));
                may_name(format!("writers[{number}].{field}"), name);
            }
        }
        let own =
            [("mirror.client_secret", &writer.mirror.client_secret), ("usage_store_uri", &writer.usage_store_uri)];
        for (field, value) in own {
            may_name(format!("writers[{number}].{field}"), get(value.as_ref()));
        }
    }
    for (id, environment) in raw.environments.iter().flatten() {
        for (kind, field, uri) in environment.uris() {
            may_name(format!("{}.{}.{field}", path::key("environments", id), kind.field()), uri);
        }
    }
    used
}
