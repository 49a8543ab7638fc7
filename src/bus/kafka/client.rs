//! What every client of librdkafka hears, and what it means for the caller.
//!
//! librdkafka says the same trouble many times over; here it is kept for whoever asks, and its own
//! log lines go out at `debug` unless they say something that no error says.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::access::Access;
use super::tokens::Tokens;
use crate::bus::BusError;

/// How long a client waits for its first token.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// The last complaint of a client that may explain why nothing moves.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<(Code, String)>>,
    /// Who signs in, for people.
    who: Option<String>,
}

impl Complaints {
    /// Of a client that signs in so.
    pub(super) fn of(access: &Access) -> Self {
        Self { last: Mutex::default(), who: access.who.clone() }
    }

    /// A refusal, with who is refused.
    pub(super) fn denied(&self, what: &str) -> BusError {
        BusError::Denied(match &self.who {
            Some(who) => format!("{what} ({who})"),
            None => what.to_owned(),
        })
    }

    /// What the caller can do about a code, and who is refused where that is it.
    pub(super) fn classify(&self, code: Code, text: String) -> BusError {
        match classify(code, text) {
            BusError::Denied(text) => self.denied(&text),
            other => other,
        }
    }

    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == Code::PartitionEOF {
            return;
        }
        tracing::debug!(target: "librdkafka", %code, "{reason}");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That every broker is away follows from the reason, and says less.
        let explained = last.as_ref().is_some_and(|(known, _)| is_denied(*known) || is_connection(*known));
        if !(code == Code::AllBrokersDown && explained) {
            *last = Some((code, reason.to_owned()));
        }
    }

    /// The last complaint.
    pub(super) fn last(&self) -> Option<(Code, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets it, since things work.
    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The error of a call, explained by the last complaint where the call alone says too little.
    pub(super) fn explain(&self, what: &str, error: &KafkaError) -> BusError {
        match (code_of(error), self.last()) {
            (Some(code), Some((last, reason))) if is_vague(code) && (is_denied(last) || is_connection(last)) => {
                self.classify(last, format!("{what}: {reason}"))
            }
            (Some(code), _) => self.classify(code, format!("{what}: {code}")),
            (None, _) => BusError::Failed(format!("{what}: {error}")),
        }
    }
}

/// The code of an error, where it has one.
pub(super) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Codes that say that an answer did not come, not why.
fn is_vague(code: Code) -> bool {
    use Code::{
        AllBrokersDown, BrokerTransportFailure, MessageTimedOut, OperationTimedOut, PurgeInflight, PurgeQueue,
        RequestTimedOut, WaitingForCoordinator,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerTransportFailure
            | MessageTimedOut
            | OperationTimedOut
            | RequestTimedOut
            | PurgeQueue
            | PurgeInflight
            | WaitingForCoordinator
    )
}

/// Codes about who we are or what we may.
pub(super) fn is_denied(code: Code) -> bool {
    use Code::{
        Authentication, ClusterAuthorizationFailed, GroupAuthorizationFailed, SSL, SaslAuthenticationFailed,
        TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
    };
    matches!(
        code,
        Authentication
            | SaslAuthenticationFailed
            | SSL
            | TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
    )
}

fn is_connection(code: Code) -> bool {
    matches!(code, Code::BrokerTransportFailure | Code::Resolve)
}

/// Whether a broker says it of a request, in which other messages may be those that it means.
pub(super) fn is_of_a_request(code: Code) -> bool {
    use Code::{
        InvalidDifferentRecord, InvalidRecord, InvalidTimestamp, MessageBatchTooLarge, MessageSizeTooLarge,
        PolicyViolation,
    };
    matches!(
        code,
        MessageSizeTooLarge
            | MessageBatchTooLarge
            | InvalidRecord
            | InvalidDifferentRecord
            | InvalidTimestamp
            | PolicyViolation
    )
}

/// What the caller can do about a code.
pub(super) fn classify(code: Code, text: String) -> BusError {
    match code {
        code if is_denied(code) => BusError::Denied(text),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => BusError::NotFound(text),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => BusError::TooLarge(text),
        // The last one is what proxies with rules of their own answer.
        Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation => BusError::Refused(text),
        Code::InvalidTopic | Code::InvalidPartitions | Code::InvalidArgument => BusError::Settings(text),
        _ => BusError::Unavailable(text),
    }
}

/// Passes on a log line of librdkafka.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    // Failed connections come as errors too, and are told once a change instead of at every attempt.
    let told = matches!(facility, "FAIL" | "ERROR" | "OFFSET" | "CONFWARN" | "SESSTMOUT" | "HBEAT" | "COMMITFAIL");
    match level {
        Emerg | Alert | Critical | Error | Warning if !told => {
            tracing::warn!(target: "librdkafka", facility, "{text}");
        }
        Debug => tracing::trace!(target: "librdkafka", facility, "{text}"),
        Emerg | Alert | Critical | Error | Warning | Notice | Info => {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        }
    }
}

/// The context of a client that is in no group.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pub(super) complaints: Arc<Complaints>,
    tokens: Option<Tokens>,
    /// A token was handed over.
    admitted: AtomicBool,
    /// Why there was none.
    refused: Mutex<Option<BusError>>,
}

impl Asking {
    /// For a client that is let in so.
    pub(super) fn of(access: &Access) -> Self {
        Self { complaints: Arc::new(Complaints::of(access)), tokens: access.tokens.clone(), ..Self::default() }
    }

    fn refused(&self) -> MutexGuard<'_, Option<BusError>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the token of a client that nobody polls: it is asked for, and handed over, only in polling. Without one it
/// would wait in vain for every answer; that there is none is the error.
pub(super) fn admit(consumer: &BaseConsumer<Asking>) -> Result<(), BusError> {
    let context = consumer.context();
    let until = Instant::now() + TOKEN_WITHIN;
    while context.tokens.is_some() && !context.admitted.load(Ordering::Acquire) {
        let _ = consumer.poll(Duration::from_millis(50));
        if let Some(error) = context.refused().take() {
            return Err(error);
        }
        if Instant::now() > until {
            return Err(BusError::Unavailable(format!("no token within {} s", TOKEN_WITHIN.as_secs())));
        }
    }
    Ok(())
}

/// A token, for whoever is let in by one.
pub(super) fn token(tokens: Option<&Tokens>) -> Result<OAuthToken, BusError> {
    let text = "a token was asked for, and nothing here makes any";
    tokens.ok_or_else(|| BusError::Failed(text.to_owned()))?.token()
}

impl ClientContext for Asking {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match token(self.tokens.as_ref()) {
            Ok(token) => {
                self.admitted.store(true, Ordering::Release);
                Ok(token)
            }
            Err(error) => {
                *self.refused() = Some(error.clone());
                Err(error.into_reason().into())
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.note(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Asking {}
