//! `redis://[user[:password]]@host[:port][/database][?password=…&clustered=…]`, and how it is shown.

use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::store::StoreError;

const EXPECTED: &str = "expected `redis://[user[:password]]@host[:port][/database][?password=…&clustered=true|false]`";

/// Where a server is and how to enter. Printing it shows no credential.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u8,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) clustered: bool,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = match (&self.user, &self.password) {
            (None, None) => "",
            (None, Some(_)) => ":***@",
            (Some(_), _) => "***@",
        };
        let brackets = self.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "redis://{entry}{open}{}{close}:{}/{}", self.host, self.port, self.database)
    }
}

/// Reads a URI. What is wrong with one is said without quoting any of its text but names of parameters.
pub(super) fn parse(uri: &str) -> Result<Address, StoreError> {
    let wrong = |what: String| StoreError(format!("online store `redis://…`: {what}; {EXPECTED}"));
    let url = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
    if url.scheme() != "redis" {
        return Err(wrong(format!("scheme `{}`", url.scheme())));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host".to_owned()))?;
    let database = match url.path() {
        "" | "/" => 0,
        path => path
            .trim_start_matches('/')
            .parse()
            .map_err(|_| wrong("the path is not the number of a database (0 to 255)".to_owned()))?,
    };
    if url.fragment().is_some_and(|fragment| fragment != "insecure") {
        return Err(wrong("an unknown fragment; known is `#insecure`, which has no effect without TLS".to_owned()));
    }
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| wrong("a percent-encoded part is not UTF-8".to_owned()))
    };
    let mut address = Address {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port().unwrap_or(6379),
        database,
        user: Some(decoded(url.username())?).filter(|user| !user.is_empty()),
        password: url.password().map(decoded).transpose()?.map(SecretString::from),
        clustered: false,
    };
    for parameter in url.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "password" if address.password.is_some() => return Err(wrong("two passwords".to_owned())),
            "password" => address.password = Some(SecretString::from(decoded(value)?)),
            "clustered" => {
                address.clustered = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("`clustered` is neither `true` nor `false`".to_owned())),
                }
            }
            _ => return Err(wrong(format!("unknown parameter `{name}`; known are password, clustered"))),
        }
    }
    if address.user.is_some() && address.password.is_none() {
        return Err(wrong("a user without a password".to_owned()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::expose;

    #[test]
    fn every_part_is_read() {
        let address = parse("redis://ann:p%40ss+%2F@[::1]:7000/3?clustered=true#insecure").expect("sound");
        assert_eq!((address.host.as_str(), address.port, address.database), ("::1", 7000, 3));
        assert_eq!(address.user.as_deref(), Some("ann"));
        assert_eq!(address.password.as_ref().map(expose), Some("p@ss+/"));
        assert!(address.clustered);
        let address = parse("redis://store?password=a+b%25").expect("sound");
        assert_eq!((address.port, address.database, address.user), (6379, 0, None));
        assert_eq!(address.password.as_ref().map(expose), Some("a+b%"));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_credential() {
        let uri = "redis://ann:secret@host:1/0";
        assert_eq!(parse(uri).expect("sound").to_string(), "redis://***@host:1/0");
        assert_eq!(parse("redis://:secret@h").expect("sound").to_string(), "redis://:***@h:6379/0");
        for uri in [
            "redis://ann:secret@host:port",
            "redis://ann:secret@",
            "redis://ann:secret@host/zero",
            "redis://ann:secret@host?password=secret2",
            "redis://secret@host",
            "redis://ann:secret@host?secre",
            "redis://ann:secret@host?clustered=maybe",
            "redis://ann:secret@host#secure",
            "redis:secret",
        ] {
            let message = parse(uri).expect_err(uri).to_string();
            assert!(!message.contains("secret"), "{message}");
            assert!(message.contains("expected `redis://"), "{message}");
        }
    }
}
