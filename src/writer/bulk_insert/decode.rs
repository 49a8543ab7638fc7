//! `OFFLINE_STORE_BULK_INSERT_WRITER`'s decoder: three ways in which files are announced, and the loads that they are.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::HashSet;

use super::object::{Object, Uploads};
use super::{gcs, s3, target};
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::proto::writer::v1::{BulkInsert, FileFormat, InsertFile, WriteMode};
use crate::result::body::unpacked;
use crate::result::checked;
use crate::result::sniff::Encoding;
use crate::row::load::{FileLoad, Load, LoadFile, Mode, Which};
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::from_parts;
use crate::writer::body::{self, Read};
use crate::writer::catalog::{Catalog, Known, Prepared};
use crate::writer::open::{Admitted, Gate, Unopened};
use crate::writer::time::Clock;
use crate::writer::{entity, skip};

/// What an environment is prepared for: its store.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) destination: Option<usize>,
}

impl Prepared for Place {
    fn destination(&self) -> Option<usize> {
        self.destination
    }
}

/// Makes loads of messages. Files are looked at by the store alone.
pub struct BulkInsertDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<Place>,
    pub(super) uploads: Uploads,
    pub(super) clock: Clock,
}

impl Decoder<FileLoad> for BulkInsertDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<FileLoad>) {
        if let Err(unopened) = self.message(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl BulkInsertDecoder {
    fn message<'a>(&self, message: &'a Message, decoded: &mut Decoded<FileLoad>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        decoded.event_time = admitted.event_time(None);
        if !admitted.envelope.says_its_type {
            if gcs::is_one(&message.headers) {
                self.objects(&admitted, vec![gcs::object(&message.headers)], decoded);
                return Ok(());
            }
            if let Some(notification) = notification(&admitted).map_err(|refusal| admitted.refused(refusal))? {
                self.objects(&admitted, notification.objects(), decoded);
                return Ok(());
            }
        }
        let Read { message: insert, unpacked } = body::read::<BulkInsert>(&admitted)?;
        decoded.unpacked = unpacked;
        admitted.is_of(&insert.environment_id)?;
        self.insert(&admitted, insert, decoded);
        Ok(())
    }

    /// Objects that notifications name: each is a load of its own.
    fn objects(
        &self,
        admitted: &Admitted<'_>,
        objects: Vec<Result<Option<Object<'_>>, Refusal>>,
        decoded: &mut Decoded<FileLoad>,
    ) {
        let time = self.time(admitted, None);
        for object in objects {
            let object = match object {
                Ok(Some(object)) => object,
                Ok(None) => {
                    decoded.skip(skip::NOT_A_NEW_OBJECT, 1);
                    continue;
                }
                Err(refusal) => {
                    let named = admitted.envelope.environment.and_then(|id| self.catalog.get(id));
                    decoded.environment = named.map(|known| known.id).or(decoded.environment.take());
                    decoded.refuse(refusal);
                    continue;
                }
            };
            let Some((environment, destination)) = self.place(admitted, "", 1, decoded) else { continue };
            decoded.event_time = admitted.event_time(object.time);
            match object.load(&self.uploads, &environment.id, time) {
                Ok(Some(load)) => decoded.rows.push(FileLoad { destination, load: Arc::new(load) }),
                Ok(None) => decoded.skip(skip::NOT_AN_UPLOAD, 1),
                Err(refusal) => decoded.refuse(refusal),
            }
        }
    }

    fn insert(&self, admitted: &Admitted<'_>, insert: BulkInsert, decoded: &mut Decoded<FileLoad>) {
        let files = insert.files.len() as u64;
        let environment = insert.environment_id.clone();
        let created_at = insert.created_at.map(|time| from_parts(time.seconds, time.nanos));
        decoded.event_time = admitted.event_time(created_at.flatten());
        let Some((environment, destination)) = self.place(admitted, &environment, files, decoded) else { return };
        let named = Refusal::row;
        let id = insert.load_id.clone();
        let load = match created_at {
            Some(None) => Err(wrong("created_at", "expected a time of the years 1 to 9999")),
            created_at => {
                let time = self.time(admitted, created_at.flatten());
                load(insert, &environment.id, time, self.uploads.skips_bad_files)
            }
        };
        match load {
            Ok(load) => decoded.rows.push(FileLoad { destination, load: Arc::new(load) }),
            Err(refusal) if id.is_empty() => decoded.refuse(refusal),
            Err(refusal) => decoded.refuse(named(refusal, format!("load {id}"))),
        }
    }

    /// The environment that the body names, else the headers, else the only one there is: a notification of a bucket
    /// names none.
    fn place(
        &self,
        admitted: &Admitted<'_>,
        body: &str,
        files: u64,
        decoded: &mut Decoded<FileLoad>,
    ) -> Option<(Known<Place>, usize)> {
        let id = if body.is_empty() { admitted.envelope.environment.unwrap_or_default() } else { body };
        let known = if id.is_empty() { self.catalog.only() } else { self.catalog.get(id) };
        let Some(known) = known else {
            decoded.refuse(entity::unknown_environment(id));
            return None;
        };
        decoded.environment = Some(known.id.clone());
        let Some(destination) = known.entry.destination else {
            decoded.skip(skip::NO_STORE, files);
            return None;
        };
        Some((known, destination))
    }

    /// The time that rows without one take: the same however often the message comes.
    fn time(&self, admitted: &Admitted<'_>, body: Option<i64>) -> i64 {
        body.or(admitted.envelope.time).or_else(|| admitted.bus_time()).unwrap_or_else(|| (self.clock)())
    }
}

/// Bytes of a load's id at the most: more than a bucket, a key of 1024 bytes and a version, and less than what a key of
/// Postgres takes.
const LONGEST_ID: usize = 2_000;

/// Files of a load at the most: their footers are in memory together.
const MOST_FILES: usize = 10_000;

/// The notification of S3 in a message that does not say what it is.
fn notification(admitted: &Admitted<'_>) -> Result<Option<s3::Notification>, Refusal> {
    let Admitted { message, envelope, limit, .. } = admitted;
    let body = unpacked(message, envelope, *limit, "BulkInsert, or a notification of a bucket")?;
    if Encoding::of(envelope.content_type, &body.bytes)? != Encoding::Json {
        return Ok(None);
    }
    let text = checked(&body.bytes)?;
    if s3::Notification::is_one(text) { s3::Notification::read(text).map(Some) } else { Ok(None) }
}

/// The load of a `BulkInsert`.
fn load(insert: BulkInsert, environment: &Arc<str>, time: i64, skips_bad_files: bool) -> Result<Load, Refusal> {
    if insert.load_id.is_empty() {
        return Err(wrong("load_id", "is missing; a load lands once by it"));
    }
    if insert.load_id.len() > LONGEST_ID || insert.load_id.contains('\0') {
        return Err(wrong("load_id", "expected at most 2000 bytes, and no U+0000"));
    }
    match FileFormat::try_from(insert.format) {
        Ok(FileFormat::Unspecified | FileFormat::Parquet) => {}
        _ => return Err(wrong("format", "expected PARQUET")),
    }
    let target = target::read(&insert.table)?;
    let keys: Vec<ByteString> = insert.key_columns.iter().map(|key| ByteString::from(key.as_str())).collect();
    let order = insert.order_column.filter(|order| !order.is_empty()).map(ByteString::from);
    let mode = match WriteMode::try_from(insert.write_mode) {
        Ok(WriteMode::Unspecified | WriteMode::Append) => Mode::Append,
        Ok(WriteMode::Upsert) if keys.is_empty() => {
            return Err(wrong("key_columns", "is empty; an upsert needs the columns whose values together name a row"));
        }
        Ok(WriteMode::Upsert) => Mode::Upsert { keys, order },
        Err(_) => return Err(wrong("write_mode", "expected APPEND or UPSERT")),
    };
    if insert.files.len() > MOST_FILES {
        let message =
            format!("files: {} are more than a load has, {MOST_FILES}; make several loads of them", insert.files.len());
        return Err(Refusal::new(ErrorClass::TooLarge, message).harmless());
    }
    let mut seen = HashSet::new();
    let mut files = Vec::with_capacity(insert.files.len());
    for (at, InsertFile { uri, row_count, size_bytes }) in insert.files.into_iter().enumerate() {
        let number = |name: &str, number: Option<i64>| {
            let number = number.map(u64::try_from).transpose();
            number.map_err(|_| wrong(&format!("files[{at}].{name}"), "expected a number not below 0"))
        };
        if uri.is_empty() || uri.contains('\0') {
            return Err(wrong(&format!("files[{at}].uri"), "is missing, or holds U+0000"));
        }
        let (rows, bytes) = (number("row_count", row_count)?, number("size_bytes", size_bytes)?);
        // A file that is named twice is one file.
        if seen.insert(uri.clone()) {
            files.push(LoadFile { uri: uri.into(), rows, bytes, which: Which::Newest });
        }
    }
    if files.is_empty() {
        return Err(wrong("files", "is empty; there is nothing to load"));
    }
    Ok(Load {
        environment: environment.clone(),
        id: insert.load_id.into(),
        target,
        files,
        mode,
        create: insert.create_table.unwrap_or(true),
        time,
        skips_bad_files,
    })
}

fn wrong(field: &str, what: &str) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("{field}: {what}")).harmless()
}
