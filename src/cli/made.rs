//! `publish --generate`: what is made up, and how.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::generate::{BodyEncoding, Kind, Made, Messages, Options};
use crate::message::Outgoing;
use crate::writer::WriterType;

use super::deployment;
use super::exit::{Exit, Failure, OrExit};

#[derive(Args, Debug)]
pub(super) struct MadeUp {
    /// Make up so many messages
    #[arg(long, value_name = "N")]
    generate: Option<u64>,
    /// What they are; without it, what a message without a type is to the writer of `--type`, else results
    #[arg(long, value_name = "KIND", requires = "generate", value_parser = kinds())]
    what: Option<Kind>,
    /// The same seed makes the same messages, and with `--start` of the same times
    #[arg(long, default_value_t = 1, requires = "generate")]
    seed: u64,
    /// Environment of generated messages
    #[arg(long, default_value = "prod", requires = "generate")]
    environment: String,
    /// Encoding of generated messages; `json` without it. Streaming inserts are parquet
    #[arg(long, requires = "generate")]
    encoding: Option<Encoding>,
    /// About how many entities of each namespace they are
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "generate")]
    entities: u64,
    /// Event time of the first of them: RFC 3339, or so long ago (`2h`); without it, now
    #[arg(long, value_name = "TIME", value_parser = deployment::moment, requires = "generate")]
    start: Option<DateTime<Utc>>,
    /// The folder for the files that generated bulk inserts tell of
    #[arg(long, value_name = "DIR", requires = "generate")]
    files: Option<PathBuf>,
}

/// How generated messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Encoding {
    /// JSON; results with features by name
    Json,
    /// Results as JSON with values aligned with columns
    CompactJson,
    /// Protobuf
    Protobuf,
    /// Results as Arrow files; one of several tables is protobuf with tables in Arrow form
    Arrow,
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    let names = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str));
    names.try_map(|name| Kind::named(&name).ok_or("no kind of messages"))
}

impl MadeUp {
    /// The messages that were asked for, for a topic and the writer that reads it, where it was named; none where
    /// nothing is to be made up.
    pub(super) fn messages(
        &self,
        topic: &str,
        reader: Option<WriterType>,
    ) -> Result<impl Iterator<Item = Made> + use<>, Failure> {
        let Some(number) = self.generate else { return Ok(None.into_iter().flatten()) };
        let usual = reader.and_then(|reader| Kind::of(reader.usual_message()));
        let kind = self.what.or(usual).unwrap_or(Kind::Result);
        if let Some(reader) = reader {
            read_by(reader, kind)?;
        }
        let messages = Messages::new(kind, self.seed, self.options(kind, topic)?, self.folder(kind)?);
        Ok(Some(messages.take(number as usize)).into_iter().flatten())
    }

    fn options(&self, kind: Kind, topic: &str) -> Result<Options, Failure> {
        let wrong = |text: String| Err(Failure::new(Exit::Usage, text));
        let encoding = match (self.encoding, kind) {
            (Some(_), Kind::StreamingInsert) => {
                return wrong("streaming inserts are parquet files; leave `--encoding` out".to_owned());
            }
            (Some(Encoding::CompactJson | Encoding::Arrow), kind) if kind != Kind::Result => {
                return wrong(format!("this encoding is for results; {} takes `json` or `protobuf`", kind.as_str()));
            }
            (None | Some(Encoding::Json), _) => BodyEncoding::Json,
            (Some(Encoding::CompactJson), _) => BodyEncoding::CompactJson,
            (Some(Encoding::Protobuf), _) => BodyEncoding::Protobuf,
            (Some(Encoding::Arrow), _) => BodyEncoding::Arrow,
        };
        let defaults = Options::default();
        Ok(Options {
            topic: topic.to_owned(),
            environment: self.environment.clone(),
            entities: self.entities,
            // Of a fixed day they would have expired, or be too old to be asked again, before anybody sees them stored.
            start: self.start.unwrap_or_else(Utc::now).timestamp_micros(),
            encoding,
            ..defaults
        })
    }

    /// The folder of files, whole and made.
    fn folder(&self, kind: Kind) -> Result<PathBuf, Failure> {
        match (&self.files, kind) {
            (Some(folder), Kind::BulkInsert) => {
                let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
                made.with_context(|| format!("cannot make {}", folder.display())).or_exit(Exit::Failed)
            }
            (None, Kind::BulkInsert) => Err(Failure::new(
                Exit::Usage,
                "bulk inserts tell of parquet files; `--files DIR` says where to put them",
            )),
            (Some(_), kind) => {
                Err(Failure::new(Exit::Usage, format_args!("`--files` is for bulk-insert, not for {}", kind.as_str())))
            }
            (None, _) => Ok(PathBuf::new()),
        }
    }
}

/// A mistake where a writer would pass over what is made for it.
fn read_by(reader: WriterType, kind: Kind) -> Result<(), Failure> {
    let read = reader.info().messages;
    if read.contains(&kind.event_type()) {
        return Ok(());
    }
    let known: Vec<&str> = read.iter().filter_map(|known| Kind::of(*known)).map(Kind::as_str).collect();
    let text = format!(
        "{reader} does not read {}; it reads {}; to publish it all the same name the topic (`--topic`) in place of the type",
        kind.as_str(),
        known.join(", ")
    );
    Err(Failure::new(Exit::Usage, text))
}

/// A message whose files are on the disk.
pub(super) fn with_its_files(made: Made) -> Result<Outgoing, Failure> {
    for (path, content) in &made.files {
        fs::write(path, content).with_context(|| path.display().to_string()).or_exit(Exit::Failed)?;
    }
    Ok(made.message)
}
