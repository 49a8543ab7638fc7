//! A Postgres of somebody else: everything of a run is in one schema of the run's name, and one beside it.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use url::Url;

use crate::postgres::{PostgresServer, each_row, said};

/// Seconds that `psql` waits for a connection.
const CONNECTS_WITHIN: &str = "15";

/// Parameters of a URI that are the program's, or stand in the way of a schema of ours.
const NOT_LIBPQS: [&str; 4] = ["schema", "statement_timeout", "tcp_user_timeout", "application_name"];

/// It, and where in it everything is.
#[derive(Clone)]
pub struct OwnPostgres {
    uri: Url,
    pub host: String,
    pub port: u16,
    schema: String,
}

impl OwnPostgres {
    /// Of a URI as the program takes it; the error has no credential in it.
    pub fn of(uri: &str, name: &str) -> Result<Self, String> {
        let uri = Url::parse(uri).map_err(|error| format!("no URI: {error}"))?;
        if !["postgres", "postgresql"].contains(&uri.scheme()) {
            return Err(format!("scheme `{}`; postgres://USER:PASSWORD@HOST:PORT/DATABASE is needed", uri.scheme()));
        }
        let host = uri.host_str().filter(|host| !host.is_empty() && !host.contains(','));
        let host = host.ok_or("one host is needed, by name or address")?.to_owned();
        let port = uri.port().unwrap_or(5432);
        if uri.query_pairs().any(|(name, value)| name == "sslmode" && value.starts_with("verify")) {
            return Err(
                "sslmode=verify-…: writers come through a proxy of the run, whose name is another; use `require`"
                    .to_owned(),
            );
        }
        Ok(Self { uri, host, port, schema: name.replace('-', "_") })
    }

    /// As writers are told, through another port of the loopback.
    pub fn uri(&self, through: u16, schema: &str) -> String {
        let mut uri = self.uri.clone();
        uri.set_host(Some("127.0.0.1")).expect("a URI with a host");
        uri.set_port(Some(through)).expect("a URI with a port");
        let kept: Vec<_> = self.uri.query_pairs().filter(|(name, _)| name != "schema").collect();
        uri.query_pairs_mut().clear().extend_pairs(kept).append_pair("schema", schema);
        uri.into()
    }

    /// The schema of a run, and that of its second environment.
    pub fn schemas(&self) -> [String; 2] {
        [self.schema.clone(), format!("{}_spare", self.schema)]
    }

    fn psql(&self) -> Command {
        let mut uri = self.uri.clone();
        let password = uri.password().map(|text| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>());
        uri.set_password(None).expect("a URI with a host");
        let kept: Vec<_> = self.uri.query_pairs().filter(|(name, _)| !NOT_LIBPQS.contains(&&**name)).collect();
        uri.query_pairs_mut().clear().extend_pairs(kept);
        let mut psql = Command::new("psql");
        psql.args(["-XqAtw", "-v", "ON_ERROR_STOP=1", "-d", uri.as_str()]).env("PGCONNECT_TIMEOUT", CONNECTS_WITHIN);
        if let Some(password) = password {
            psql.env("PGPASSWORD", String::from_utf8_lossy(&password).as_ref());
        }
        psql
    }

    /// Whether everything is as a run needs it, and nothing of its name there; what is wrong else.
    pub fn examine(&self, has_vectors: bool) -> Result<(), String> {
        if Command::new("psql").arg("--version").output().is_err() {
            return Err("`psql` is not installed, by which the checker looks into it".to_owned());
        }
        let ask = |text: &str| said(self.psql(), text).map_err(|error| error.trim().to_owned());
        for schema in self.schemas() {
            if ask(&format!("SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'"))? == "1" {
                return Err(format!("schema `{schema}` is there already; drop it, or give another TORTURE_NAME"));
            }
        }
        if ask("SELECT has_database_privilege(current_database(), 'CREATE')")? != "t" {
            return Err("the role may not make a schema: GRANT CREATE ON DATABASE … TO …".to_owned());
        }
        if has_vectors && ask("SELECT 1 FROM pg_extension WHERE extname = 'vector'")? != "1" {
            let without = "or leave ONLINE_VECTOR_STORE_WRITER out (TORTURE_WRITERS)";
            return Err(format!("extension `vector` is not in the database: CREATE EXTENSION vector, {without}"));
        }
        Ok(())
    }

    /// Removes what a run has made.
    pub fn remove(&self) {
        for schema in self.schemas() {
            if let Err(error) = said(self.psql(), &format!("DROP SCHEMA IF EXISTS {schema} CASCADE")) {
                eprintln!("torture: schema `{schema}` is left: {}", error.trim());
            }
        }
    }
}

/// A Postgres as the checker asks it.
#[derive(Clone)]
pub enum Sql {
    Started(Rc<RefCell<PostgresServer>>),
    Own(Rc<OwnPostgres>),
}

impl Sql {
    pub fn psql(&self) -> Command {
        match self {
            Self::Started(server) => server.borrow().psql(),
            Self::Own(own) => own.psql(),
        }
    }

    /// Shows each row of what a query finds, with `|` between columns; what `psql` says where it fails.
    pub fn each_row(&self, query: &str, show: &mut dyn FnMut(&str)) -> Result<(), String> {
        each_row(self.psql(), query, show)
    }

    /// The schema of tables whose usual one is this.
    pub fn schema(&self, usual: &str, is_spare: bool) -> String {
        match (self, is_spare) {
            (Self::Started(_), false) => usual.to_owned(),
            (Self::Started(_), true) => "spare".to_owned(),
            (Self::Own(own), is_spare) => own.schemas()[usize::from(is_spare)].clone(),
        }
    }
}

#[test]
fn writers_come_through_the_proxy_into_the_schema_of_the_run_and_psql_is_told_no_password() {
    let own = OwnPostgres::of("postgres://u:p%40ss@db.example:6432/f?schema=x&sslmode=require", "torture-1").unwrap();
    let expected = "postgres://u:p%40ss@127.0.0.1:7/f?sslmode=require&schema=torture_1";
    assert_eq!(own.uri(7, &own.schemas()[0]), expected);
    let psql = own.psql();
    let told: Vec<_> = psql.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    assert!(told.contains(&"postgres://u@db.example:6432/f?sslmode=require".to_owned()), "{told:?}");
    assert!(psql.get_envs().any(|(_, value)| value.is_some_and(|value| value == "p@ss")));
    for wrong in ["postgres:///f?host=/run", "mysql://h/f", "db", "postgres://u@h/f?sslmode=verify-full"] {
        assert!(OwnPostgres::of(wrong, "torture-1").is_err(), "{wrong}");
    }
}
