//! How to get to brokers: as a client of the checker's does it, and as writers are told to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rdkafka::ClientConfig;
use serde_json::{Value, json};

/// Where brokers are, and properties of the client beyond the usual.
#[derive(Clone, Debug)]
pub struct Access {
    pub bootstrap: String,
    properties: BTreeMap<String, String>,
}

impl Access {
    /// Brokers that let everybody in.
    pub fn free(bootstrap: String) -> Self {
        Self { bootstrap, properties: BTreeMap::new() }
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("log_level", "0").set("reconnect.backoff.max.ms", "500");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

/// Brokers of somebody else.
#[derive(Clone, Debug)]
pub struct Theirs {
    pub access: Access,
    /// The secret's file, where there is one.
    secret: Option<PathBuf>,
}

/// Names that stand for another one's value in a file of properties.
const SAME: &[(&str, &str)] = &[("sasl.mechanisms", "sasl.mechanism")];

/// What the writers have fields for, beside the properties of their client.
const FIELDS: &[(&str, &str)] =
    &[("security.protocol", "kafka_security_protocol"), ("sasl.mechanism", "kafka_sasl_mechanism")];

/// The credentials: in a secret of the writers.
const CREDENTIALS: [&str; 2] = ["sasl.username", "sasl.password"];

impl Theirs {
    /// Of a list of brokers, the text of a file of properties, and a secret's file; or which variable is wrong, and how.
    pub fn of(
        bootstrap: Option<&str>,
        properties: Option<&str>,
        secret: Option<(PathBuf, String)>,
    ) -> Result<Self, (&'static str, String)> {
        let mut properties = match properties {
            None => BTreeMap::new(),
            Some(text) => read(text).map_err(|error| ("TORTURE_KAFKA_PROPERTIES", error))?,
        };
        let mut listed = properties.remove("bootstrap.servers");
        let secret = match secret {
            None => None,
            Some((path, text)) => {
                let wrong = |error: String| ("TORTURE_KAFKA_SECRET", format!("{}: {error}", path.display()));
                let (brokers, credentials) = read_secret(&text).map_err(wrong)?;
                listed = listed.or(brokers);
                properties.extend(CREDENTIALS.map(str::to_owned).into_iter().zip(credentials));
                Some(path)
            }
        };
        let bootstrap = bootstrap.map(str::to_owned).or(listed);
        let bootstrap: Vec<String> = bootstrap
            .ok_or(("TORTURE_KAFKA", "missing, and neither properties nor secret list brokers".to_owned()))?
            .split(',')
            .map(|address| address.trim().to_owned())
            .collect();
        for address in &bootstrap {
            let is_sound =
                address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !is_sound {
                return Err((
                    "TORTURE_KAFKA",
                    format!("`{address}` is not HOST:PORT; several have commas between them"),
                ));
            }
        }
        // As the program has it.
        if properties.contains_key("sasl.password") {
            properties.entry("security.protocol".to_owned()).or_insert_with(|| "SASL_SSL".to_owned());
            properties.entry("sasl.mechanism".to_owned()).or_insert_with(|| "SCRAM-SHA-512".to_owned());
        }
        if let Some(mechanism) = properties.get("sasl.mechanism")
            && !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&&**mechanism)
        {
            let error = format!("sasl.mechanism {mechanism}: the checker signs in with PLAIN and SCRAM alone");
            return Err(("TORTURE_KAFKA_PROPERTIES", error));
        }
        Ok(Self { access: Access { bootstrap: bootstrap.join(","), properties }, secret })
    }

    /// Tells writers the same; credentials go into a file of `folder` that its owner alone reads.
    pub fn configure(&self, config: &mut Value, folder: &Path) {
        let properties = &self.access.properties;
        config["kafka_bootstrap_servers"] = self.access.bootstrap.clone().into();
        config["common_persistence_specs"]["secret_client"] = "FILE".into();
        for (property, field) in FIELDS {
            if let Some(value) = properties.get(*property) {
                config[*field] = value.clone().into();
            }
        }
        let given = self.secret.clone();
        let made = || {
            let [user, password] = CREDENTIALS.map(|name| properties.get(name));
            let path = folder.join("kafka-secret.json");
            write_for_me(&path, &json!({"username": user?, "password": password?}).to_string());
            Some(path)
        };
        if let Some(path) = given.or_else(made) {
            config["kafka_sasl_secret"] = path.to_str().expect("a path in UTF-8").into();
        }
        for (name, value) in properties {
            if FIELDS.iter().all(|(field, _)| field != name) && !CREDENTIALS.contains(&&**name) {
                config["kafka"][name] = value.clone().into();
            }
        }
    }
}

/// A file that nobody else can read.
pub(super) fn write_for_me(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Lines `name=value`; `#` begins a comment.
fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut properties = BTreeMap::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {} is not `name=value`, as librdkafka names properties", number + 1));
        };
        let name = name.trim();
        let name = SAME.iter().find(|(other, _)| *other == name).map_or(name, |(_, same)| same);
        properties.insert(name.to_owned(), value.trim().to_owned());
    }
    Ok(properties)
}

/// Brokers, where it has them, and user and password of a secret, in both shapes that the program reads.
fn read_secret(text: &str) -> Result<(Option<String>, [String; 2]), String> {
    let secret: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: line {}", error.line()))?;
    let field = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| secret[*name].as_str());
        found.map(str::to_owned).ok_or_else(|| format!("neither `{}` nor `{}` is in it as text", names[0], names[1]))
    };
    let brokers = match &secret["bootstrap_servers"] {
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
        other => other.as_str().map(str::to_owned),
    };
    Ok((brokers, [field(["username", "sasl_username"])?, field(["password", "sasl_password"])?]))
}

#[test]
fn properties_and_secrets_are_told_to_the_checker_and_to_writers_alike() {
    let secret = r#"{"bootstrap_servers": ["b-1:9096", "b-2:9096"], "sasl_username": "u", "sasl_password": "hunter2"}"#;
    let theirs = Theirs::of(None, Some("ssl.ca.location = /ca.pem"), Some(("/s.json".into(), secret.to_owned())));
    let theirs = theirs.unwrap();
    let client = theirs.access.client();
    assert_eq!(client.get("bootstrap.servers"), Some("b-1:9096,b-2:9096"));
    assert_eq!((client.get("sasl.username"), client.get("security.protocol")), (Some("u"), Some("SASL_SSL")));
    let mut config = json!({"common_persistence_specs": {}, "kafka": {}});
    theirs.configure(&mut config, Path::new("/nowhere"));
    assert_eq!(
        (&config["kafka_sasl_secret"], &config["kafka_sasl_mechanism"]),
        (&json!("/s.json"), &json!("SCRAM-SHA-512"))
    );
    assert_eq!(config["kafka"], json!({"ssl.ca.location": "/ca.pem"}));
    assert!(!config.to_string().contains("hunter2"));
}

#[test]
fn what_is_wrong_of_brokers_is_named_with_its_variable() {
    let wrong = |bootstrap, properties, secret: Option<&str>| {
        Theirs::of(bootstrap, properties, secret.map(|text| ("/s".into(), text.to_owned()))).unwrap_err()
    };
    assert_eq!(wrong(Some("kafka"), None, None).0, "TORTURE_KAFKA");
    assert_eq!(wrong(None, Some("x=y"), None).0, "TORTURE_KAFKA");
    assert_eq!(wrong(Some("k:1"), Some("nonsense"), None).0, "TORTURE_KAFKA_PROPERTIES");
    assert_eq!(wrong(Some("k:1"), Some("sasl.mechanism=GSSAPI"), None).0, "TORTURE_KAFKA_PROPERTIES");
    let (variable, error) = wrong(Some("k:1"), None, Some(r#"{"username": "u", "secret": "hunter2"}"#));
    assert!(variable == "TORTURE_KAFKA_SECRET" && error.contains("`sasl_password`") && !error.contains("hunter2"));
}
