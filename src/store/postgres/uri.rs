//! `postgres://[user[:password]]@host[:port][,…]/database[?schema=…&sslmode=…&…]`, and how it is shown.
//!
//! What libpq calls its parameters is what they are called here; where they mean something else, or are
//! something else where nothing is said, `docs/postgres.md` says so. `schema` and `statement_timeout` are ours.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::options;
use crate::config::StoreKind;
use crate::config::units;
use crate::store::StoreError;
use crate::tls::{Identity, Tls, Trust};

const EXPECTED: &str = "expected `postgres://[user[:password]]@host[:port]/database[?schema=…&sslmode=disable|prefer|\
                        require|verify-ca|verify-full&sslrootcert=…&sslcert=…&sslkey=…&statement_timeout=60s&…]`";

/// Parameters that the client itself reads.
const PASSED_ON: [&str; 15] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
];

/// What libpq calls the client's `keepalives_retries`.
const KEEPALIVES_COUNT: &str = "keepalives_count";

/// Settings of a session that `options` cannot have, each with what is to be done instead: the stores set them.
const SET_HERE: [(&str, &str); 4] = [
    ("search_path", "name a `schema`"),
    ("statement_timeout", "name it as a parameter of the URI"),
    ("timezone", "times have one everywhere"),
    ("client_min_messages", "nobody reads notices here"),
];

/// For reaching each address where the URI does not say.
const CONNECT: Duration = Duration::from_secs(10);
/// For one statement where the URI does not say.
const STATEMENT: Duration = Duration::from_secs(120);
/// The longest that the server takes for a statement, which is its largest number of milliseconds.
const LONGEST_STATEMENT: Duration = Duration::from_millis(i32::MAX as u64);
/// Silence after which a connection is asked whether it lives, and how long it may not answer.
const IDLE: Duration = Duration::from_secs(30);

/// Where a server is and how to enter. Printing it shows no credential.
#[derive(Clone)]
pub(in crate::store) struct Address {
    pub(super) config: Config,
    /// `None`: not encrypted.
    pub(super) tls: Option<Tls>,
    /// Whether the server is asked for its certificate, but believed without.
    pub(super) unverified: bool,
    /// The schema in which tables are, where the URI says so.
    schema: Option<String>,
    /// How long the server may take for one statement.
    pub(super) statement_timeout: Duration,
    /// Whether `options` says how long a statement may wait for a lock.
    pub(super) has_lock_timeout: bool,
    shown: String,
}

/// The database that a URI names; `None` of one that names none, or is no such thing.
pub(in crate::store) fn database(uri: &str) -> Option<String> {
    parse(StoreKind::Offline.name(), uri).ok()?.database().map(str::to_owned)
}

impl Address {
    /// The database: without a name that of the user.
    pub(in crate::store) fn database(&self) -> Option<&str> {
        self.config.get_dbname().or_else(|| self.config.get_user())
    }

    /// The schema in which tables are: the URI's, else this one.
    pub(in crate::store) fn schema<'a>(&'a self, otherwise: &'a str) -> &'a str {
        self.schema.as_deref().unwrap_or(otherwise)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What the parameters say that the client does not read.
#[derive(Default)]
struct Ours {
    schema: Option<String>,
    statement_timeout: Option<Duration>,
    mode: Option<Mode>,
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    attributes: Option<TargetSessionAttrs>,
    /// `tcp_user_timeout`, which the client would take for seconds.
    unanswered: Option<Duration>,
    /// Names of the parameters that the client reads.
    passed_on: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Reads a URI. What is wrong with one is said without quoting any of its text but names of parameters.
pub(in crate::store) fn parse(store: &str, uri: &str) -> Result<Address, StoreError> {
    let wrong = |what: String| StoreError(format!("{store} `postgres://…`: {what}; {EXPECTED}"));
    let Some((_, rest)) = uri.split_once("://") else { return Err(wrong("no `//` after the scheme".to_owned())) };
    if rest.contains('#') {
        return Err(wrong("a `#`; in a password it is written `%23`".to_owned()));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (ours, theirs) = parameters(query).map_err(wrong)?;
    let mut config: Config = format!("postgres://{place}{theirs}").parse().map_err(|error| wrong(reason(&error)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(wrong("no host".to_owned()));
    }
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.is_empty())) {
        return Err(wrong("an empty host".to_owned()));
    }
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    if hosts > 0 && addresses > 0 && hosts != addresses {
        return Err(wrong(format!("{hosts} hosts, and another number of `hostaddr`")));
    }
    let ports = config.get_ports().len();
    if ports > 1 && ports != hosts.max(addresses) {
        return Err(wrong(format!("{ports} ports, and another number of hosts")));
    }
    if config.get_user().is_none_or(str::is_empty) {
        return Err(wrong("no user".to_owned()));
    }
    let set = config.get_options().map(options::names).unwrap_or_default();
    if let Some((name, instead)) = SET_HERE.iter().find(|(name, _)| set.iter().any(|set| set == name)) {
        return Err(wrong(format!("a `{name}` in `options`, which has no effect; {instead}")));
    }
    let has_lock_timeout = set.iter().any(|name| name == "lock_timeout");
    let (tls, ssl_mode) = ours.tls().map_err(wrong)?;
    let unverified = tls.as_ref().is_some_and(|tls| tls.trust == Trust::Anyone);
    let shown = shown(&config);
    config.ssl_mode(ssl_mode);
    config.target_session_attrs(ours.attributes.unwrap_or(TargetSessionAttrs::ReadWrite));
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    let said = |name: &str| ours.passed_on.iter().any(|passed_on| passed_on == name);
    if !said("keepalives_idle") {
        config.keepalives_idle(IDLE);
    }
    if !said("keepalives_interval") {
        config.keepalives_interval(IDLE / 3);
    }
    if !said("keepalives_retries") {
        config.keepalives_retries(3);
    }
    let unanswered = ours.unanswered.unwrap_or(IDLE * 2);
    if !unanswered.is_zero() {
        config.tcp_user_timeout(unanswered);
    }
    if config.get_application_name().is_none() {
        config.application_name("chalk-writer");
    }
    Ok(Address {
        config,
        tls,
        unverified,
        schema: ours.schema,
        statement_timeout: ours.statement_timeout.unwrap_or(STATEMENT),
        has_lock_timeout,
        shown,
    })
}

/// The parameters that are read here, and the text of the others, which the client reads.
fn parameters(query: &str) -> Result<(Ours, String), String> {
    let (mut ours, mut theirs) = (Ours::default(), String::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = percent_decode_str(raw).decode_utf8().map_err(|_| format!("`{name}` is not UTF-8"))?.into_owned();
        let path = || Some(value.clone()).filter(|value| !value.is_empty()).ok_or_else(|| format!("`{name}` is empty"));
        match name {
            "schema" if value.is_empty() || value.contains('\0') || value.len() > 63 => {
                return Err("`schema` is not a name of 1 to 63 bytes".to_owned());
            }
            "schema" => ours.schema = Some(value),
            "statement_timeout" => {
                let known = units::duration(&value).filter(|time| *time >= Duration::from_millis(1));
                let known = known.ok_or("`statement_timeout` is not a duration such as `30s` or `500ms`")?;
                if known > LONGEST_STATEMENT {
                    return Err(
                        "`statement_timeout` is longer than 24 days, the longest that Postgres takes".to_owned()
                    );
                }
                ours.statement_timeout = Some(known);
            }
            "sslmode" => ours.mode = Some(mode(&value)?),
            "sslrootcert" => ours.authorities = Some(path()?),
            "sslcert" => ours.certificate = Some(path()?),
            "sslkey" => ours.key = Some(path()?),
            "target_session_attrs" => {
                ours.attributes = Some(match value.as_str() {
                    "any" => TargetSessionAttrs::Any,
                    "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                    _ => {
                        return Err(
                            "`target_session_attrs` is none of `any`, `read-write` and `primary`; no other finds \
                                    a server that is sure to take writes"
                                .to_owned(),
                        );
                    }
                });
            }
            "tcp_user_timeout" => {
                let time = value.parse().map(Duration::from_millis);
                ours.unanswered = Some(time.map_err(|_| "`tcp_user_timeout` is not a number of milliseconds")?);
            }
            _ if PASSED_ON.contains(&name) || name == KEEPALIVES_COUNT => {
                let name = if name == KEEPALIVES_COUNT { "keepalives_retries" } else { name };
                ours.passed_on.push(name.to_owned());
                theirs.push(if theirs.is_empty() { '?' } else { '&' });
                theirs.push_str(name);
                theirs.push('=');
                theirs.push_str(raw);
            }
            _ => {
                let known = PASSED_ON.join(", ");
                return Err(format!(
                    "unknown parameter `{name}`; known are schema, statement_timeout, sslmode, sslrootcert, sslcert, \
                     sslkey, target_session_attrs, tcp_user_timeout, {KEEPALIVES_COUNT}, {known}"
                ));
            }
        }
    }
    Ok((ours, theirs))
}

fn mode(value: &str) -> Result<Mode, String> {
    Ok(match value {
        "disable" => Mode::Disable,
        "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => return Err("`sslmode` is none of disable, prefer, require, verify-ca, verify-full".to_owned()),
    })
}

impl Ours {
    /// As libpq reads them: `prefer` where nothing is said, and a CA file that is named is held to.
    fn tls(&self) -> Result<(Option<Tls>, SslMode), String> {
        let mode = self.mode.unwrap_or(Mode::Prefer);
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: PathBuf::from(certificate), key: PathBuf::from(key) })
            }
            _ => return Err("one of `sslcert` and `sslkey` without the other".to_owned()),
        };
        if mode == Mode::Disable {
            if self.authorities.is_some() || identity.is_some() {
                return Err("certificates beside `sslmode=disable`".to_owned());
            }
            return Ok((None, SslMode::Disable));
        }
        let of_the_system = self.authorities.as_deref() == Some("system");
        if of_the_system && mode != Mode::VerifyFull {
            return Err("`sslrootcert=system` asks for `sslmode=verify-full`".to_owned());
        }
        let authorities = self.authorities.as_ref().filter(|_| !of_the_system).map(PathBuf::from);
        let trust = match mode {
            Mode::VerifyFull => Trust::Host,
            Mode::VerifyCa => Trust::Authority,
            _ if authorities.is_some() => Trust::Authority,
            _ => Trust::Anyone,
        };
        let ssl_mode = if mode == Mode::Prefer { SslMode::Prefer } else { SslMode::Require };
        Ok((Some(Tls { trust, authorities, identity }), ssl_mode))
    }
}

/// What the client says is wrong; it names parameters and quotes no values.
fn reason(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| "not a connection URI".to_owned(), ToString::to_string)
}

fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let names: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let names = if names.is_empty() { config.get_hostaddrs().iter().map(ToString::to_string).collect() } else { names };
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let places: Vec<String> = names.iter().enumerate().map(|(at, name)| format!("{name}:{}", port(at))).collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{}/{database}", places.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Address {
        parse("online store", uri).expect(uri)
    }

    #[test]
    fn every_part_is_read() {
        let address = of("postgresql://ann:p%40ss%23@h1:7000,[::1]/db?schema=My%20Schema&statement_timeout=1500ms");
        assert_eq!(address.to_string(), "postgres://h1:7000,[::1]:5432/db");
        assert_eq!(address.schema("public"), "My Schema");
        assert_eq!(address.statement_timeout, Duration::from_millis(1500));
        assert_eq!(address.config.get_password(), Some(&b"p@ss#"[..]));
        assert_eq!(address.config.get_connect_timeout(), Some(&CONNECT));
        let address = of("postgres://ann@%2Frun%2Fpg/db?connect_timeout=3&application_name=x");
        assert_eq!(address.to_string(), "postgres:///run/pg:5432/db");
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(address.schema("public"), "public");
        assert_eq!(of("postgres:///db?host=h&user=u&password=p").to_string(), "postgres://h:5432/db");
    }

    #[test]
    fn what_the_uri_says_stands_and_only_the_rest_is_set() {
        let times = |query: &str| {
            let config = of(&format!("postgres://u:keepalives_idle@h/d{query}")).config;
            (
                config.get_keepalives_idle().as_secs(),
                config.get_keepalives_interval().map(|time| time.as_secs()),
                config.get_keepalives_retries(),
                config.get_tcp_user_timeout().map(Duration::as_millis),
            )
        };
        assert_eq!(times(""), (30, Some(10), Some(3), Some(60_000)));
        assert_eq!(times("?password=keepalives_idle"), (30, Some(10), Some(3), Some(60_000)));
        assert_eq!(times("?keepalives_interval=5"), (30, Some(5), Some(3), Some(60_000)));
        assert_eq!(times("?keepalives_retries=7"), (30, Some(10), Some(7), Some(60_000)));
        assert_eq!(times("?keepalives_count=7&keepalives_idle=9"), (9, Some(10), Some(7), Some(60_000)));
        assert_eq!(times("?tcp_user_timeout=1500"), (30, Some(10), Some(3), Some(1500)));
        assert_eq!(times("?tcp_user_timeout=0"), (30, Some(10), Some(3), None));
    }

    #[test]
    fn a_server_that_takes_writes_is_looked_for_unless_any_will_do() {
        let attributes = |query: &str| of(&format!("postgres://u@h/d{query}")).config.get_target_session_attrs();
        assert_eq!(attributes(""), TargetSessionAttrs::ReadWrite);
        assert_eq!(attributes("?target_session_attrs=primary"), TargetSessionAttrs::ReadWrite);
        assert_eq!(attributes("?target_session_attrs=any"), TargetSessionAttrs::Any);
        for other in ["read-only", "standby", "prefer-standby"] {
            let uri = format!("postgres://u@h/d?target_session_attrs={other}");
            let message = parse("online store", &uri).expect_err(other).to_string();
            assert!(message.contains("sure to take writes"), "{message}");
        }
    }

    #[test]
    fn options_are_held_to_or_refused() {
        assert!(!of("postgres://u@h/d?options=-c%20work_mem%3D1MB").has_lock_timeout);
        assert!(of("postgres://u@h/d?options=-c%20lock_timeout%3D5s").has_lock_timeout);
        for name in ["search_path", "statement_timeout", "TimeZone", "client_min_messages"] {
            let uri = format!("postgres://u@h/d?options=-c%20{name}%3D1");
            let message = parse("online store", &uri).expect_err(name).to_string();
            assert!(message.contains("in `options`, which has no effect; "), "{message}");
        }
    }

    #[test]
    fn a_statement_may_take_as_long_as_the_server_can_count() {
        let longest = of("postgres://u@h/d?statement_timeout=24d").statement_timeout;
        assert_eq!(longest, Duration::from_secs(24 * 86_400));
        for longer in ["30d", "2147483648ms"] {
            let uri = format!("postgres://u@h/d?statement_timeout={longer}");
            let message = parse("online store", &uri).expect_err(longer).to_string();
            assert!(message.contains("`statement_timeout` is longer than 24 days"), "{message}");
        }
    }

    #[test]
    fn tls_goes_by_libpqs_names() {
        let tls = |query: &str| {
            let address = of(&format!("postgres://u@h/d{query}"));
            (address.tls.map(|tls| (tls.trust, tls.authorities.is_some())), address.config.get_ssl_mode())
        };
        assert_eq!(tls("?sslmode=disable"), (None, SslMode::Disable));
        assert_eq!(tls(""), (Some((Trust::Anyone, false)), SslMode::Prefer));
        assert_eq!(tls("?sslmode=require"), (Some((Trust::Anyone, false)), SslMode::Require));
        assert_eq!(tls("?sslmode=require&sslrootcert=/ca"), (Some((Trust::Authority, true)), SslMode::Require));
        assert_eq!(tls("?sslmode=verify-ca"), (Some((Trust::Authority, false)), SslMode::Require));
        assert_eq!(tls("?sslmode=verify-full&sslrootcert=/ca"), (Some((Trust::Host, true)), SslMode::Require));
        assert_eq!(tls("?sslmode=verify-full&sslrootcert=system"), (Some((Trust::Host, false)), SslMode::Require));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_credential() {
        let address = of("postgres://ann:secret@host:1/db?password=secret");
        assert!(!format!("{address} {address:?}").contains("secret"));
        for uri in [
            "postgres:ann:secret@host",
            "postgres://ann:secret@host:port/db",
            "postgres://ann:secret@/db",
            "postgres://:secret@host/db",
            "postgres://host/db?password=secret",
            "postgres://ann:sec#ret@host/secret",
            "postgres://ann:secret@host/db?secre=secret",
            "postgres://ann:secret@host/db?sslmode=secret",
            "postgres://ann:secret@host/db?schema=",
            "postgres://ann:secret@host/db?sslcert=secret",
            "postgres://ann:secret@host/db?sslmode=disable&sslrootcert=secret",
            "postgres://ann:secret@host/db?sslrootcert=system",
            "postgres://ann:secret@host/db?statement_timeout=secret",
            "postgres://ann:secret@host/db?connect_timeout=secret",
            "postgres://ann:secret@host/db?target_session_attrs=secret",
            "postgres://ann:secret@host/db?options=-c%20search_path%3Dsecret",
            "postgres://ann:secret@host/db?tcp_user_timeout=secret",
            "postgres://ann:secret@h1,h2/db?port=1,2,3",
        ] {
            let message = parse("offline store", uri).expect_err(uri).to_string();
            assert!(!message.contains("secret"), "{message}");
            assert!(message.starts_with("offline store `postgres://…`: "), "{message}");
            assert!(message.contains("expected `postgres://"), "{message}");
        }
    }
}
