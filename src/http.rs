//! A client of other people's HTTP servers: made in one way, with answers that are bounded and errors for people.

use bytes::BytesMut;
use reqwest::{Client, Response, redirect};

use crate::causes::causes;
use crate::tls::Tls;

/// A client that follows no redirection: what it carries is meant for one server.
pub(crate) fn client(tls: &Tls) -> Result<Client, String> {
    let config = tls.client_config().map_err(|error| error.to_string())?;
    let builder = Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("chalk-writer/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|error| reason(&error))
}

/// Reads on until the end, or until there is more than there may be: then it is false.
pub(crate) async fn ends_within(most: usize, response: &mut Response, body: &mut BytesMut) -> reqwest::Result<bool> {
    while body.len() <= most {
        match response.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Why a request came to nothing: what happened, down to its cause, without the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_timeout() => return "no answer in time".to_owned(),
        error if error.is_connect() => "no connection".to_owned(),
        error if error.is_builder() => "the request cannot be made".to_owned(),
        _ => "the connection broke".to_owned(),
    };
    if let Some(last) = causes(error).last() {
        text.push_str(": ");
        text.push_str(&last.to_string());
    }
    text
}
