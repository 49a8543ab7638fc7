//! Queries over HTTP, with the paths, headers and bodies of Chalk's public API.
//!
//! A query is sent once: whatever becomes of it, it is not sent again, and no redirection is followed. Dropped or
//! too late, its connection is closed, so that the server sees that nobody waits any more.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};
use url::Url;

use super::answer::{Answer, Form};
use super::feather;
use super::query::Query;
use super::room::Room;
use super::token::{Credentials, Tokens};
use crate::http::{self, reason};
use crate::tls::{Tls, Trust};

/// As which of the forms queries are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// As tables where every input is a list of as many values, as JSON where not.
    #[default]
    Auto,
    /// As JSON.
    Json,
    /// As tables.
    Feather,
}

/// The server, and how it is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is, without the paths of the API.
    pub url: Url,
    /// Who asks; `None` sends no token.
    pub credentials: Option<Credentials>,
    /// The branch that is asked, whatever branch a query was asked on.
    pub branch: Option<String>,
    /// How long one query may take.
    pub deadline: Duration,
    /// In which form.
    pub body: Body,
    /// Bytes of an answer, and of the tables in it once opened.
    pub most_bytes: usize,
    /// How many queries are under way at once, at the most.
    pub at_once: usize,
    /// Bytes of all answers that are read at the same time; one of the largest is always taken.
    pub bytes_at_once: usize,
}

/// Asks queries.
#[derive(Debug)]
pub struct Client {
    options: Options,
    http: reqwest::Client,
    tokens: Option<Tokens>,
    room: Room,
    json: Url,
    feather: Url,
}

/// What came of asking a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The server took it, and answered.
    Answered {
        /// The status of the response.
        status: u16,
        /// The answer; an error where none can be read, as a sentence.
        answer: Result<Answer, String>,
        /// From sending it to the end of the answer.
        took: Duration,
    },
    /// The server would rather not be asked.
    Throttled {
        /// The status of the response.
        status: u16,
        /// How long it wants to be left alone.
        after: Option<Duration>,
        /// From sending it to that answer.
        took: Duration,
    },
    /// There was no answer in time.
    TimedOut {
        /// How long was waited.
        took: Duration,
    },
    /// No connection, or one that broke.
    Unreachable(String),
    /// The server gave no token; the query was not sent.
    NoToken(String),
    /// The query cannot be asked in the form that is set; it was not sent.
    Unaskable(String),
}

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What is set cannot be used.
    #[error("{0}")]
    Settings(String),
}

/// The URL of a server from a host name, with or without a scheme.
pub fn server(host: &str, insecure: bool) -> Result<Url, String> {
    let host = host.trim();
    let text = match host.contains("://") {
        true => host.to_owned(),
        false if insecure => format!("http://{host}"),
        false => format!("https://{host}"),
    };
    // The text itself may have a password in it.
    let mut url = Url::parse(&text).map_err(|error| format!("is no URL and no host name: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has scheme `{}`; known are http, https", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("is more than a host: no user, password, query or fragment is taken".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

impl Client {
    /// A client of a server; contacts nothing.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let path = |path: &str| options.url.join(path).map_err(|error| ClientError::Settings(error.to_string()));
        let (json, feather, token) = (path("v1/query/online")?, path("v1/query/feather")?, path("v1/oauth/token")?);
        let tls = Tls { trust: Trust::Host, authorities: None, identity: None };
        let http = http::client(&tls).map_err(ClientError::Settings)?;
        let tokens = options.credentials.clone().map(|credentials| Tokens::new(credentials, token));
        if let Some(branch) = &options.branch {
            header("branch", branch).map_err(ClientError::Settings)?;
        }
        let room = Room::new(options.at_once, options.most_bytes, options.bytes_at_once);
        Ok(Self { options, http, tokens, room, json, feather })
    }

    /// The server that it asks.
    pub const fn url(&self) -> &Url {
        &self.options.url
    }

    /// How long one query may take.
    pub const fn deadline(&self) -> Duration {
        self.options.deadline
    }

    /// Asks a query once, on behalf of an environment.
    pub async fn ask(&self, query: &Query, environment: &str) -> Reply {
        let branch = self.options.branch.clone().or_else(|| query.branch());
        let prepared = self
            .form(query)
            .and_then(|(form, body)| Ok((form, body, headers(query, environment, branch.as_deref(), form)?)));
        let (form, body, mut headers) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return Reply::Unaskable(why),
        };
        let begun = Instant::now();
        let mut sent = None;
        let asking = async {
            if let Some(tokens) = &self.tokens {
                let token = tokens.get(&self.http).await.map_err(Reply::NoToken)?;
                let mut bearer = header("token", &format!("Bearer {}", token.expose_secret()))
                    .map_err(|_| Reply::NoToken("a token that no header can hold".to_owned()))?;
                bearer.set_sensitive(true);
                headers.insert(reqwest::header::AUTHORIZATION, bearer);
            }
            sent = Some(Instant::now());
            let url = if form == Form::Json { &self.json } else { &self.feather };
            let request = self.http.post(url.clone()).headers(headers).body(body);
            let response = request.send().await.map_err(|error| Reply::Unreachable(reason(&error)))?;
            let status = response.status();
            let after = retry_after(&response);
            if is_trouble(status) {
                return Err(Reply::Throttled { status: status.as_u16(), after, took: Duration::ZERO });
            }
            let body = self.room.whole(response).await.map_err(|error| Reply::Unreachable(reason(&error)))?;
            Ok((status, body))
        };
        let answer = timeout(self.options.deadline, asking).await;
        let took = sent.unwrap_or(begun).elapsed();
        match answer {
            Err(_) if sent.is_none() => Reply::NoToken("no token in time".to_owned()),
            Err(_) => Reply::TimedOut { took },
            Ok(Err(Reply::Throttled { status, after, .. })) => Reply::Throttled { status, after, took },
            Ok(Err(reply)) => reply,
            Ok(Ok((status, body))) => {
                if status == StatusCode::UNAUTHORIZED
                    && let Some(tokens) = &self.tokens
                {
                    tokens.forget().await;
                }
                let most = self.options.most_bytes;
                let answer = body
                    .ok_or_else(|| format!("the answer is larger than {most} bytes"))
                    .and_then(|body| read(status, form, &body.bytes, most));
                Reply::Answered { status: status.as_u16(), answer, took }
            }
        }
    }

    fn form(&self, query: &Query) -> Result<(Form, Vec<u8>), String> {
        let request = query.again(self.options.branch.as_deref());
        let json = || (Form::Json, request.to_text().into_bytes());
        Ok(match self.options.body {
            Body::Json => json(),
            Body::Auto => feather::body(request.clone()).map_or_else(|_| json(), |body| (Form::Feather, body)),
            Body::Feather => (Form::Feather, feather::body(request)?),
        })
    }
}

/// A server that says this is asked less, whoever of those before it says so.
fn is_trouble(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn headers(query: &Query, environment: &str, branch: Option<&str>, form: Form) -> Result<HeaderMap, String> {
    let content_type = if form == Form::Json { "application/json" } else { "application/octet-stream" };
    let deployment_type = if branch.is_some() { "branch" } else { "engine" };
    let name = query.name();
    let mut headers = HeaderMap::new();
    for (key, value) in [
        ("content-type", Some(content_type)),
        ("accept", Some(content_type)),
        ("x-chalk-env-id", Some(environment).filter(|environment| !environment.is_empty())),
        ("x-chalk-deployment-type", Some(deployment_type)),
        ("x-chalk-branch-id", branch),
        ("x-chalk-query-name", name.as_deref()),
    ] {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(key), header(key, value)?);
        }
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| format!("{name} has characters that no header can hold"))
}

/// Seconds, or a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    (date.to_utc() - chrono::Utc::now()).to_std().ok()
}

/// The answer in a body; of an error only its status counts where its body is none.
fn read(status: StatusCode, form: Form, body: &Bytes, limit: usize) -> Result<Answer, String> {
    if status.is_success() {
        return Answer::read(form, body, limit);
    }
    // Errors come as JSON whatever was asked.
    let answer = Answer::read(Form::Json, body, limit).unwrap_or_default();
    if answer.errors.is_empty() { Err(format!("the server answered {status}")) } else { Ok(answer) }
}

#[cfg(test)]
mod tests;
