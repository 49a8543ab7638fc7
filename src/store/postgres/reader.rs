//! A server that is only read from, beside all stores: by a URI of the shape that stores have.

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::{quoted, uri};
use crate::store::StoreError;

/// How to reach it. Whose server it is, whoever connects says himself.
pub struct Reader {
    /// What the client connects by.
    pub config: Config,
    /// The schema in which tables are, quoted and with a point behind it; empty where the URI names none.
    pub schema: String,
}

impl Reader {
    /// Reads a URI. What is wrong with one is said without quoting any of its text but names of parameters.
    pub fn of(what: &str, uri: &str) -> Result<Self, StoreError> {
        if !matches!(uri.split_once("://"), Some(("postgres" | "postgresql", _))) {
            return Err(StoreError(format!("{what}: no URI of Postgres, which begins with `postgres://`")));
        }
        let address = uri::parse(what, uri)?;
        if address.tls.as_ref().is_some_and(|tls| tls.authorities.is_some() || tls.identity.is_some()) {
            let text = "certificates are secrets of their own here, and no files that the URI names (`sslrootcert`, `sslcert`, `sslkey`)";
            return Err(StoreError(format!("{what} `postgres://…`: {text}")));
        }
        let schema = address.schema("");
        let schema = if schema.is_empty() { String::new() } else { format!("{}.", quoted(schema)) };
        let mut config = address.config;
        // Reading asks for no server that takes writes.
        config.target_session_attrs(TargetSessionAttrs::Any);
        Ok(Self { config, schema })
    }

    /// Whether the URI asks for plain text.
    pub fn is_plain(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Disable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<Reader, String> {
        Reader::of("metadata database", uri).map_err(|error| error.to_string())
    }

    #[test]
    fn a_uri_is_read_as_those_of_stores_are_and_any_server_will_do() {
        // What looks like a parameter and is part of a password stays what it is.
        let reader = of("postgres://ann:sslmode=verify-full@h/db?sslmode=verify-full&schema=My%20own").expect("sound");
        assert_eq!(reader.config.get_password(), Some(&b"sslmode=verify-full"[..]));
        assert_eq!((reader.config.get_ssl_mode(), &*reader.schema), (SslMode::Require, "\"My own\"."));
        assert_eq!(reader.config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert!(of("postgresql://u@h/d?sslmode=disable").expect("sound").is_plain());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text_of_the_uri() {
        for (uri, word) in [
            ("mysql://ann:secret@h/d", "begins with `postgres://`"),
            ("secret", "begins with `postgres://`"),
            ("postgres://ann:secret@h/d?sslmode=secret", "`sslmode` is none of"),
            ("postgres://ann:secret@h/d?sslrootcert=/secret", "secrets of their own"),
        ] {
            let text = of(uri).err().expect(word);
            assert!(text.contains(word) && !text.replace("secrets", "").contains("secret"), "{text}");
        }
    }
}
