//! What Google's errors mean to the caller.

use google_cloud_gax::client_builder::Error as BuildError;
use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_pubsub::Error;

use crate::bus::BusError;
use crate::causes::in_full;

/// An error of a call about something: a topic, a subscription.
pub(super) fn classify(what: &str, error: &Error) -> BusError {
    let said = describe(error);
    let text = format!("{what}: {said}");
    if error.is_authentication() {
        let text = format!("{what}: no token of Google's could be had: {said}");
        return if may_pass(error) { BusError::Unavailable(text) } else { BusError::Denied(text) };
    }
    match error.status().map(|status| status.code) {
        Some(Code::NotFound) => BusError::NotFound(text),
        Some(Code::PermissionDenied | Code::Unauthenticated) => BusError::Denied(text),
        Some(Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented) => BusError::Failed(text),
        // A policy of the organisation, or a state that others change.
        Some(_) | None => BusError::Unavailable(text),
    }
}

/// Whether credentials that could not be had may be had by waiting alone: whoever gives them is away.
fn may_pass(error: &Error) -> bool {
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<CredentialsError>())
        .is_some_and(CredentialsError::is_transient)
}

/// Whether the service finds something wrong with what it was given: a message, or a name.
pub(super) fn is_about_an_argument(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == Code::InvalidArgument)
}

/// Whether the service knows who asks, and does not let them.
pub(super) fn is_about_a_right(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == Code::PermissionDenied)
}

/// Whether it was not taken, for good, that these credentials say who asks: by the service, or by whoever gives tokens for them.
pub(super) fn is_about_credentials(error: &Error) -> bool {
    let is_not_known = error.status().is_some_and(|status| status.code == Code::Unauthenticated);
    is_not_known || (error.is_authentication() && !may_pass(error))
}

/// Whether something was to be made that is there.
pub(super) fn already_exists(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == Code::AlreadyExists)
}

/// A client that could not be made: no identity, mostly.
pub(super) fn unmade(error: &BuildError) -> BusError {
    BusError::Denied(format!("no client of Pub/Sub: {}", in_full(error)))
}

/// What an error says, with its code, and with what it hides behind it where it has no answer of the service.
pub(super) fn describe(error: &Error) -> String {
    match error.status() {
        Some(status) => format!("{}: {}", status.code.name(), status.message),
        None => in_full(error),
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::Status;

    use super::*;

    fn of(code: Code) -> BusError {
        classify("subscription `s`", &Error::service(Status::default().set_code(code).set_message("said so")))
    }

    #[test]
    fn who_gives_tokens_and_is_away_is_waited_for_and_who_refuses_them_is_told() {
        let of = |is_transient| {
            let cause = CredentialsError::from_msg(is_transient, "said so");
            classify("subscription `s`", &Error::authentication(cause))
        };
        let away = of(true);
        assert!(
            matches!(&away, BusError::Unavailable(text) if text.contains("no token") && text.contains("said so")),
            "{away:?}"
        );
        assert!(matches!(of(false), BusError::Denied(_)), "{:?}", of(false));
    }

    #[test]
    fn credentials_are_doubted_where_nobody_knows_who_asks_and_not_where_a_right_is_missing() {
        let status = |code| Error::service(Status::default().set_code(code));
        let token = |may_pass| Error::authentication(CredentialsError::from_msg(may_pass, "said so"));
        assert!(is_about_credentials(&status(Code::Unauthenticated)) && is_about_credentials(&token(false)));
        assert!(!is_about_credentials(&status(Code::PermissionDenied)) && !is_about_credentials(&token(true)));
    }

    #[test]
    fn what_may_pass_is_transient_and_what_cannot_is_not() {
        assert!(matches!(of(Code::NotFound), BusError::NotFound(_)));
        assert!(matches!(of(Code::PermissionDenied), BusError::Denied(_)));
        assert!(matches!(of(Code::Unauthenticated), BusError::Denied(_)));
        assert!(matches!(of(Code::InvalidArgument), BusError::Failed(_)));
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded, Code::FailedPrecondition] {
            assert!(matches!(of(code), BusError::Unavailable(_)), "{code:?}");
        }
        assert_eq!(of(Code::Aborted).into_reason(), "subscription `s`: ABORTED: said so");
    }
}
