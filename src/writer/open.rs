//! What every writer does first: is this message ours? And what does it say, where it is a result?
//! Bodies of other types are read in [`body`](super::body).
//! Where it belongs is the [catalog](super::catalog)'s to say.

use std::borrow::Cow;

use super::skip;
use super::time::MessageTimes;
use crate::config::names;
use crate::config::settings::WriterSettings;
use crate::dead_letter::headers::TARGET_GROUP;
use crate::message::{Envelope, EventType, Message};
use crate::result::{self, QueryResult, Wanted};
use crate::sink::{ErrorClass, Refusal};
use crate::writer::WriterType;

/// Lets a writer's messages in.
#[derive(Clone, Debug)]
pub struct Gate {
    writer_type: WriterType,
    group: String,
    /// The project of names that do not say it, where names have one.
    project: Option<String>,
    max_message_bytes: usize,
}

/// A message that a writer has to do with, of which the body is still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    pub(super) message: &'a Message,
    /// What its headers say.
    pub envelope: Envelope<'a>,
    /// Its type, one of those that the writer reads.
    pub event_type: EventType,
    /// Bytes that its body may have once unpacked, and its tables in Arrow form together once opened.
    pub limit: usize,
}

/// A result that a writer has to do with.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The message that it came in.
    pub admitted: Admitted<'a>,
    /// What its body says.
    pub result: QueryResult,
    /// Bytes of its unpacked body, 0 where it was not compressed.
    pub unpacked: usize,
}

/// A message that nothing is to be written of.
#[derive(Debug)]
pub enum Unopened<'a> {
    /// On purpose, for this reason.
    Skipped(&'static str),
    /// It cannot be read, or must not be.
    Refused {
        /// Why.
        refusal: Box<Refusal>,
        /// The environment that its headers name.
        environment: Option<&'a str>,
    },
}

impl Gate {
    /// For the writer of these settings.
    pub fn new(settings: &WriterSettings) -> Self {
        Self {
            writer_type: settings.writer_type,
            group: settings.group.clone(),
            project: settings.bus.project().map(str::to_owned),
            max_message_bytes: settings.tuning.max_message_bytes,
        }
    }

    /// Reads a message's envelope, and says whether it is for this writer.
    pub fn admit<'a>(&self, message: &'a Message) -> Result<Admitted<'a>, Unopened<'a>> {
        if let Some(group) = message.headers.get(TARGET_GROUP)
            && !self.is_ours(group)
        {
            return Err(Unopened::Skipped(skip::OTHER_GROUP));
        }
        let envelope = Envelope::read(message, self.writer_type.usual_message())
            .map_err(|refusal| Unopened::Refused { refusal: Box::new(refusal), environment: None })?;
        let refused = |refusal| Unopened::Refused { refusal: Box::new(refusal), environment: envelope.environment };
        let event_type = match envelope.event_type() {
            Some(known) if self.writer_type.info().messages.contains(&known) => known,
            Some(_) => return Err(Unopened::Skipped(skip::OTHER_TYPE)),
            None => return Err(refused(unknown_type(envelope.type_name))),
        };
        Ok(Admitted { message, envelope, event_type, limit: self.max_message_bytes })
    }

    /// Whether a group that a message is for is this writer's, which whoever sent it may have spelled out.
    fn is_ours(&self, group: &[u8]) -> bool {
        let is_named = |group: &str| names::group(self.project.as_deref(), group) == self.group;
        std::str::from_utf8(group).is_ok_and(is_named)
    }

    /// Reads a message's envelope and, where it is for this writer, the result in it.
    #[allow(clippy::inline_always, reason = "what is handed back is large, and copied more than once on the way")]
    #[inline(always)]
    pub fn open<'a>(&self, message: &'a Message, wanted: Wanted) -> Result<Opened<'a>, Unopened<'a>> {
        let mut opened = Opened { admitted: self.admit(message)?, result: QueryResult::default(), unpacked: 0 };
        let Opened { admitted, result, unpacked } = &mut opened;
        *unpacked = result::decode(message, &admitted.envelope, wanted, admitted.limit, result)
            .map_err(|refusal| admitted.refused(refusal))?;
        admitted.is_of(&result.environment_id)?;
        Ok(opened)
    }
}

impl<'a> Admitted<'a> {
    /// Says of a body that names an environment whether it may: headers that name one name the same.
    pub fn is_of(&self, environment: &str) -> Result<(), Unopened<'a>> {
        self.has_of(environment).map_err(|refusal| self.refused(refusal))
    }

    /// The same of a part of the body, which names one of its own.
    pub fn has_of(&self, environment: &str) -> Result<(), Refusal> {
        match self.envelope.environment {
            Some(header) if !environment.is_empty() && header != environment => {
                let message = format!("the headers name environment `{header}`, the body `{environment}`");
                Err(Refusal::new(ErrorClass::EnvironmentMismatch, message))
            }
            _ => Ok(()),
        }
    }

    /// The bus's timestamp, microseconds since 1970.
    pub fn bus_time(&self) -> Option<i64> {
        self.message.timestamp_ms.map(|time| time.saturating_mul(1_000))
    }

    /// The time that freshness is measured from; `body` is what the body says of it.
    pub fn event_time(&self, body: Option<i64>) -> Option<i64> {
        self.envelope.time.or(body).or_else(|| self.bus_time())
    }

    /// It as one of a type that is said to be read by its writer, and is not.
    pub fn unread(&self, event_type: EventType) -> Unopened<'a> {
        let message = format!("this version has no reader for messages of type `{}`", event_type.as_str());
        self.refused(Refusal::new(ErrorClass::UnknownType, message).harmless())
    }

    /// It as one that nothing is to be written of.
    pub fn refused(&self, refusal: Refusal) -> Unopened<'a> {
        Unopened::Refused { refusal: Box::new(refusal), environment: self.envelope.environment }
    }
}

fn unknown_type(name: &str) -> Refusal {
    let known = EventType::ALL.map(EventType::as_str).join(", ");
    Refusal::new(ErrorClass::UnknownType, format!("unknown type `{name}`; known are {known}")).harmless()
}

impl Opened<'_> {
    /// The environment's id; empty where neither headers nor body name one.
    pub fn environment(&self) -> &str {
        either(&self.result.environment_id, self.admitted.envelope.environment)
    }

    /// The deployment's id; may be empty.
    pub fn deployment(&self) -> &str {
        either(&self.result.deployment_id, self.admitted.envelope.deployment)
    }

    /// The query's id; may be empty.
    pub fn operation(&self) -> &str {
        either(&self.result.operation_id, self.admitted.envelope.operation)
    }

    /// The event's id; never empty.
    pub fn id(&self) -> Cow<'_, str> {
        self.admitted.envelope.id()
    }

    /// Who published it; empty where it does not say.
    pub fn source(&self) -> &str {
        self.admitted.envelope.source.unwrap_or_default()
    }

    /// The times that rows without one of their own take.
    pub fn times(&self) -> MessageTimes {
        MessageTimes { message: self.result.observed_at.or(self.admitted.envelope.time), bus: self.admitted.bus_time() }
    }

    /// The time that freshness is measured from.
    pub fn event_time(&self) -> Option<i64> {
        self.admitted.event_time(self.result.observed_at)
    }
}

fn either<'a>(body: &'a str, header: Option<&'a str>) -> &'a str {
    if body.is_empty() { header.unwrap_or_default() } else { body }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::writer::testing::{message, settings};

    const BODY: &str = r#"{"environment_id": "prod", "tables": []}"#;

    /// What becomes of a message: the environment that it is opened for, or why it is not.
    fn outcome(headers: &[(&str, &str)]) -> Result<String, String> {
        let mut message = message(headers);
        message.payload = Some(Bytes::from_static(BODY.as_bytes()));
        let mut settings = settings(WriterType::ONLINE, &[]);
        settings.tuning.max_message_bytes = BODY.len();
        match Gate::new(&settings).open(&message, Wanted::default()) {
            Ok(opened) => Ok(opened.environment().to_owned()),
            Err(Unopened::Skipped(reason)) => Err(reason.to_owned()),
            Err(Unopened::Refused { refusal, .. }) => Err(refusal.class.to_string()),
        }
    }

    #[test]
    fn a_message_without_an_envelope_is_read() {
        assert_eq!(outcome(&[]), Ok("prod".to_owned()));
    }

    #[test]
    fn a_type_of_another_writer_is_passed_over_and_an_unknown_one_refused() {
        assert_eq!(outcome(&[("ce_type", "chalk.result.v1")]), Ok("prod".to_owned()));
        assert_eq!(outcome(&[("ce_type", "chalk.metrics.v1")]), Err(skip::OTHER_TYPE.to_owned()));
        assert_eq!(outcome(&[("ce_type", "chalk.query_mirror.v1")]), Err(skip::OTHER_TYPE.to_owned()));
        assert_eq!(outcome(&[("ce_type", "chalk.result.v9")]), Err("UNKNOWN_TYPE".to_owned()));
    }

    #[test]
    fn a_replay_for_another_group_is_passed_over() {
        assert_eq!(outcome(&[("chalk_target_group", "chalk-writer")]), Ok("prod".to_owned()));
        assert_eq!(outcome(&[("chalk_target_group", "other")]), Err(skip::OTHER_GROUP.to_owned()));
    }

    #[test]
    fn both_names_of_its_subscription_are_its_group() {
        let mut gate = Gate::new(&settings(WriterType::ONLINE, &[]));
        let for_group = |gate: &Gate, group: &str| gate.admit(&message(&[("chalk_target_group", group)])).is_ok();
        let whole = "projects/p/subscriptions/chalk-writer";
        assert!(!for_group(&gate, whole), "elsewhere a group has one name");
        gate.project = Some("p".to_owned());
        assert!(for_group(&gate, whole) && for_group(&gate, "chalk-writer"));
        assert!(!for_group(&gate, "projects/other/subscriptions/chalk-writer"));
        gate.group = "projects/other/subscriptions/chalk-writer".to_owned();
        assert!(for_group(&gate, "projects/other/subscriptions/chalk-writer") && !for_group(&gate, whole));
    }

    #[test]
    fn headers_and_body_must_name_the_same_environment() {
        assert_eq!(outcome(&[("ce_environmentid", "prod")]), Ok("prod".to_owned()));
        assert_eq!(outcome(&[("ce_environmentid", "dev")]), Err("ENVIRONMENT_MISMATCH".to_owned()));
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_unread() {
        let mut message = message(&[]);
        message.payload = Some(Bytes::from(vec![b' '; 101]));
        let mut settings = settings(WriterType::ONLINE, &[]);
        settings.tuning.max_message_bytes = 100;
        let opened = Gate::new(&settings).open(&message, Wanted::default());
        let Err(Unopened::Refused { refusal, .. }) = opened else { panic!("it is too large") };
        assert_eq!(refusal.class, ErrorClass::TooLarge);
    }

    #[test]
    fn a_packed_body_is_opened_counted_and_bounded_unpacked() {
        for (name, compression) in result::unpack::Compression::ALL {
            let mut message = message(&[("content-encoding", name)]);
            message.payload = Some(compression.pack(BODY.as_bytes()).expect("packed").into());
            let mut settings = settings(WriterType::ONLINE, &[]);
            let gate = Gate::new(&settings);
            let opened = gate.open(&message, Wanted::default()).expect("opened");
            assert_eq!((opened.environment(), opened.unpacked), ("prod", BODY.len()));
            message.payload = Some(compression.pack(&[b' '; 10_000]).expect("packed").into());
            settings.tuning.max_message_bytes = 9_999;
            let gate = Gate::new(&settings);
            let opened = gate.open(&message, Wanted::default());
            let Err(Unopened::Refused { refusal, .. }) = opened else { panic!("it is too large") };
            assert_eq!(refusal.class, ErrorClass::TooLarge);
        }
    }
}
