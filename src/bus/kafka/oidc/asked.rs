//! What the properties ask for, and which of them nobody can be asked.

use std::path::PathBuf;

use url::Url;

use crate::bus::BusError;
use crate::bus::kafka::names::{OAUTHBEARER, canonical};
use crate::config::settings::KafkaSettings;

const METHOD: &str = "sasl.oauthbearer.method";
const GRANT_TYPE: &str = "sasl.oauthbearer.grant.type";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
const SCOPE: &str = "sasl.oauthbearer.scope";
const AUTHORITIES: &str = "https.ca.location";

/// What begins so is about tokens: read here, or refused.
const ABOUT_TOKENS: [&str; 3] = ["sasl.oauthbearer.", "https.ca.", "enable.sasl.oauthbearer."];

/// Whether a property is kept from librdkafka under these settings.
pub(in crate::bus::kafka) fn is_ours(settings: &KafkaSettings, name: &str) -> bool {
    settings.sasl_mechanism.as_deref() == Some(OAUTHBEARER)
        && ABOUT_TOKENS.iter().any(|beginning| canonical(name).starts_with(beginning))
}

/// Refuses properties of which nothing can come, without contacting anything.
pub(in crate::bus::kafka) fn check(settings: &KafkaSettings) -> Result<(), BusError> {
    if settings.sasl_mechanism.as_deref() == Some(OAUTHBEARER) { Asked::of(settings).map(drop) } else { Ok(()) }
}

/// What the properties ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) endpoint: Url,
    pub(super) client_id: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) authorities: Option<PathBuf>,
}

impl Asked {
    pub(super) fn of(settings: &KafkaSettings) -> Result<Self, BusError> {
        let refused = |text: String| Err(BusError::Settings(text));
        for (name, value) in settings.properties.iter().filter(|(name, _)| is_ours(settings, name)) {
            let why = match (canonical(name), value.as_str()) {
                (ENDPOINT | CLIENT_ID | SCOPE | AUTHORITIES, _) | (GRANT_TYPE, "client_credentials") => continue,
                (METHOD, method) if method.eq_ignore_ascii_case("oidc") => continue,
                (METHOD, _) => "the one method here is `oidc`",
                (GRANT_TYPE, _) => "the one grant here is `client_credentials`",
                ("sasl.oauthbearer.extensions", _) => {
                    "the client library hands over tokens without extensions, and the broker would be told nothing"
                }
                ("sasl.oauthbearer.client.secret", _) => {
                    "it is a credential, which goes into the secret that `kafka_sasl_secret` names"
                }
                ("https.ca.pem", _) => "authorities come from a file: `https.ca.location`",
                _ => "a token is had with a client's id and secret, and for nothing else here",
            };
            return refused(format!("kafka property `{name}` cannot be set with OAUTHBEARER: {why}"));
        }
        let given = |name: &str| {
            let found = settings.properties.iter().find(|(known, _)| canonical(known) == name);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let Some(endpoint) = given(ENDPOINT) else {
            return refused(format!(
                "OAUTHBEARER needs the kafka property `{ENDPOINT}`: where the issuer gives tokens for a client's id and \
                 secret (`token_endpoint` in its `/.well-known/openid-configuration`)"
            ));
        };
        let endpoint =
            endpoint_of(endpoint).map_err(|why| BusError::Settings(format!("kafka property `{ENDPOINT}` {why}")))?;
        Ok(Self {
            endpoint,
            client_id: given(CLIENT_ID).map(str::to_owned),
            scope: given(SCOPE).map(str::to_owned),
            // `probe` is librdkafka's word for wherever the system has them.
            authorities: given(AUTHORITIES).filter(|path| *path != "probe").map(PathBuf::from),
        })
    }
}

/// The error says nothing of the URL: it may have a password in it.
fn endpoint_of(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has scheme `{}`; known are https, http", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "has a user in it; the client's id and secret go into the secret that `kafka_sasl_secret` names".to_owned()
        );
    }
    Ok(url)
}

/// The id of the client that the properties name.
pub(in crate::bus::kafka) fn client_id(settings: &KafkaSettings) -> Option<&str> {
    let found = settings.properties.iter().find(|(known, _)| canonical(known) == CLIENT_ID);
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://issuer.example.com/oauth2/token";

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            security_protocol: "SASL_SSL".to_owned(),
            sasl_mechanism: Some(OAUTHBEARER.to_owned()),
            sasl_secret: None,
            properties: properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    #[test]
    fn librdkafkas_own_properties_are_read() {
        let asked = Asked::of(&settings(&[
            (METHOD, "OIDC"),
            (ENDPOINT, URL),
            ("sasl.oauthbearer.client.credentials.client.id", "writer"),
            (SCOPE, "kafka"),
            (GRANT_TYPE, "client_credentials"),
            (AUTHORITIES, "probe"),
            ("fetch.wait.max.ms", "100"),
        ]))
        .unwrap();
        assert_eq!((asked.endpoint.as_str(), asked.client_id.as_deref()), (URL, Some("writer")));
        assert_eq!((asked.scope.as_deref(), asked.authorities), (Some("kafka"), None));
        assert!(check(&settings(&[(ENDPOINT, URL)])).is_ok());
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name_and_no_value_is_shown() {
        let endpoint = (ENDPOINT, URL);
        for (properties, words) in [
            (&[][..], "needs the kafka property `sasl.oauthbearer.token.endpoint.url`"),
            (&[(ENDPOINT, "issuer/hunter2")], "is no URL"),
            (&[(ENDPOINT, "ftp://issuer/hunter2")], "has scheme `ftp`"),
            (&[(ENDPOINT, "https://u:hunter2@issuer/")], "has a user in it"),
            (&[endpoint, (METHOD, "default")], "the one method here is `oidc`"),
            (&[endpoint, (GRANT_TYPE, "urn:ietf:params:oauth:grant-type:jwt-bearer")], "the one grant here"),
            (&[endpoint, ("sasl.oauthbearer.extensions", "logicalCluster=hunter2")], "without extensions"),
            (&[endpoint, ("sasl.oauthbearer.client.secret", "hunter2")], "is a credential"),
            (&[endpoint, ("sasl.oauthbearer.assertion.file", "hunter2")], "for nothing else"),
            (&[endpoint, ("https.ca.pem", "hunter2")], "`https.ca.location`"),
            (&[endpoint, ("enable.sasl.oauthbearer.unsecure.jwt", "true")], "cannot be set with OAUTHBEARER"),
        ] {
            let error = check(&settings(properties)).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{properties:?}: {error}");
        }
    }

    #[test]
    fn nothing_of_it_is_looked_at_where_people_sign_in_otherwise() {
        let mut settings = settings(&[(METHOD, "default")]);
        settings.sasl_mechanism = Some("PLAIN".to_owned());
        assert!(check(&settings).is_ok() && !is_ours(&settings, METHOD));
    }
}
