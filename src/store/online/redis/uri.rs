//! `redis://[user[:password]]@host[:port][/database][?…]`, its three sister schemes, and how it is shown.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::store::StoreError;
use crate::tls::{Identity, Tls, Trust};

/// The schemes, and whether one means TLS.
const SCHEMES: [(&str, bool); 4] = [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)];

const EXPECTED: &str = "expected `redis://[user[:password]]@host[:port][/database][?name=value&…]` or the same with \
                        `rediss://` (TLS), `valkey://` or `valkeys://` (TLS)";

const KNOWN: &str = "password, clustered, wait_replicas, field_expiry, and with TLS ca, cert, key, server_name";

/// Where a server is and how to enter. Printing it shows no credential.
#[derive(Clone, Debug)]
pub(super) struct Address {
    scheme: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u8,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    /// `None` where the URI does not say.
    pub(super) clustered: Option<bool>,
    /// Replicas that a write waits for; `None` where the URI does not say.
    pub(super) wait_replicas: Option<u32>,
    /// Whether fields get an expiry of their own where the server has that.
    pub(super) field_expiry: bool,
    pub(super) security: Option<Security>,
}

/// TLS, and the name that a server's certificate must have where that is not the host's.
#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) tls: Tls,
    pub(super) server_name: Option<String>,
}

impl Address {
    /// A server of the same deployment, without credentials, for messages.
    pub(super) fn name_of(&self, host: &str, port: u16) -> String {
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{}://{open}{host}{close}:{port}", self.scheme)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = match (&self.user, &self.password) {
            (None, None) => "",
            (None, Some(_)) => ":***@",
            (Some(_), _) => "***@",
        };
        let name = self.name_of(&self.host, self.port);
        let (scheme, place) = name.split_once("://").unwrap_or_default();
        write!(f, "{scheme}://{entry}{place}/{}", self.database)
    }
}

/// Reads a URI. What is wrong with one is said without quoting any of its text but names of parameters.
pub(super) fn parse(uri: &str) -> Result<Address, StoreError> {
    let wrong = |what: String| StoreError(format!("online store `redis://…`: {what}; {EXPECTED}"));
    let url = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
    let Some((scheme, tls)) = SCHEMES.into_iter().find(|(scheme, _)| *scheme == url.scheme()) else {
        return Err(wrong(format!("scheme `{}`", url.scheme())));
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host".to_owned()))?;
    let database = match url.path() {
        "" | "/" => 0,
        path => path
            .trim_start_matches('/')
            .parse()
            .map_err(|_| wrong("the path is not the number of a database (0 to 255)".to_owned()))?,
    };
    let trust = match url.fragment() {
        None => Trust::Host,
        Some("insecure") => Trust::Anyone,
        Some(_) => {
            let known = "known is `#insecure`, which believes any certificate and has no effect without TLS";
            return Err(wrong(format!("an unknown fragment; {known}")));
        }
    };
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| wrong("a percent-encoded part is not UTF-8".to_owned()))
    };
    let mut address = Address {
        scheme,
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port().unwrap_or(6379),
        database,
        user: Some(decoded(url.username())?).filter(|user| !user.is_empty()),
        password: url.password().map(decoded).transpose()?.map(SecretString::from),
        clustered: None,
        wait_replicas: None,
        field_expiry: true,
        security: None,
    };
    let (mut ca, mut certificate, mut key, mut server_name) = (None, None, None, None);
    for parameter in url.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let yes_or_no = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(wrong(format!("`{name}` is neither `true` nor `false`"))),
        };
        match name {
            "password" if address.password.is_some() => return Err(wrong("two passwords".to_owned())),
            "password" => address.password = Some(SecretString::from(decoded(value)?)),
            "clustered" => address.clustered = Some(yes_or_no()?),
            "field_expiry" => address.field_expiry = yes_or_no()?,
            "wait_replicas" => {
                let number = value.parse().map_err(|_| wrong("`wait_replicas` is no number".to_owned()))?;
                address.wait_replicas = Some(number);
            }
            "ca" | "cert" | "key" | "server_name" if !tls => {
                return Err(wrong(format!("`{name}` is for TLS, and `{scheme}://` is without; write `{scheme}s://`")));
            }
            "ca" | "cert" | "key" | "server_name" if value.is_empty() => {
                return Err(wrong(format!("`{name}` is empty")));
            }
            "ca" => ca = Some(PathBuf::from(decoded(value)?)),
            "cert" => certificate = Some(PathBuf::from(decoded(value)?)),
            "key" => key = Some(PathBuf::from(decoded(value)?)),
            "server_name" => server_name = Some(decoded(value)?),
            _ => return Err(wrong(format!("unknown parameter `{name}`; known are {KNOWN}"))),
        }
    }
    if address.user.is_some() && address.password.is_none() {
        return Err(wrong("a user without a password".to_owned()));
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => return Err(wrong("one of `cert` and `key` without the other".to_owned())),
    };
    if tls {
        address.security = Some(Security { tls: Tls { trust, authorities: ca, identity }, server_name });
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::expose;

    #[test]
    fn every_part_is_read() {
        let address =
            parse("redis://ann:p%40ss+%2F@[::1]:7000/3?clustered=true&wait_replicas=2#insecure").expect("sound");
        assert_eq!((address.host.as_str(), address.port, address.database), ("::1", 7000, 3));
        assert_eq!(address.user.as_deref(), Some("ann"));
        assert_eq!(address.password.as_ref().map(expose), Some("p@ss+/"));
        assert_eq!((address.clustered, address.wait_replicas, address.field_expiry), (Some(true), Some(2), true));
        assert!(address.security.is_none());
        let address = parse("valkey://store?password=a+b%25&field_expiry=false").expect("sound");
        assert_eq!((address.port, address.database, address.user), (6379, 0, None));
        assert_eq!(address.password.as_ref().map(expose), Some("a+b%"));
        assert_eq!((address.clustered, address.wait_replicas, address.field_expiry), (None, None, false));
    }

    #[test]
    fn tls_is_a_matter_of_the_scheme() {
        for scheme in ["rediss", "valkeys"] {
            let uri = format!("{scheme}://h?ca=/a%20b.pem&cert=c.pem&key=k.pem&server_name=redis.example.com");
            let Security { tls, server_name } = parse(&uri).expect("sound").security.expect("TLS");
            assert_eq!(tls.trust, Trust::Host);
            assert_eq!(tls.authorities, Some(PathBuf::from("/a b.pem")));
            assert_eq!(tls.identity.map(|identity| identity.key), Some(PathBuf::from("k.pem")));
            assert_eq!(server_name.as_deref(), Some("redis.example.com"));
        }
        let any = parse("rediss://h#insecure").expect("sound").security.expect("TLS");
        assert_eq!(any.tls.trust, Trust::Anyone);
        assert!(parse("redis://h").expect("sound").security.is_none());
        assert!(parse("rediss://h?cert=c.pem").expect_err("half").to_string().contains("`cert` and `key`"));
        assert!(parse("redis://h?ca=a.pem").expect_err("no TLS").to_string().contains("write `rediss://`"));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_credential() {
        let uri = "redis://ann:secret@host:1/0";
        assert_eq!(parse(uri).expect("sound").to_string(), "redis://***@host:1/0");
        assert_eq!(parse("valkeys://:secret@h").expect("sound").to_string(), "valkeys://:***@h:6379/0");
        for uri in [
            "redis://ann:secret@host:port",
            "redis://ann:secret@",
            "redis://ann:secret@host/zero",
            "redis://ann:secret@host?password=secret2",
            "redis://secret@host",
            "redis://ann:secret@host?secre",
            "redis://ann:secret@host?clustered=maybe",
            "rediss://ann:secret@host?wait_replicas=secret",
            "redis://ann:secret@host#secure",
            "redis:secret",
        ] {
            let message = parse(uri).expect_err(uri).to_string();
            assert!(!message.contains("secret"), "{message}");
            assert!(message.contains("expected `redis://"), "{message}");
        }
    }
}
