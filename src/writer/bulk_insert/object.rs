//! What notifications of both clouds say of an object, and the load that it is.

use std::sync::Arc;

use bytestring::ByteString;

use super::target;
use crate::row::load::{Load, LoadFile, Mode, Which, shown};
use crate::sink::{ErrorClass, Refusal};

/// A new object in a bucket.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// `s3`, `gs`
    pub(super) scheme: &'static str,
    pub(super) bucket: &'a str,
    /// Its name in the bucket, not escaped.
    pub(super) key: String,
    pub(super) which: Which,
    /// What tells it from other objects that were ever under its name: version, generation or tag.
    pub(super) identity: String,
    pub(super) bytes: Option<u64>,
    /// When it was made, in microseconds since 1970.
    pub(super) time: Option<i64>,
}

/// Where uploads lie in a bucket, and what becomes of a load with a bad file.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    /// Without `/` at either end; empty where tables lie in the bucket itself.
    pub(super) prefix: String,
    pub(super) skips_bad_files: bool,
}

impl Object<'_> {
    /// The load of the object; `None` where it is no file of a table.
    ///
    /// Names that begin with `_` or `.` are those that engines keep for themselves (`_SUCCESS`, `_temporary`), and one
    /// that ends with `/` is a folder.
    pub(super) fn load(
        self,
        uploads: &Uploads,
        environment: &Arc<str>,
        message_time: i64,
    ) -> Result<Option<Load>, Refusal> {
        let Self { scheme, bucket, key, which, identity, bytes, time } = self;
        let below = match &*uploads.prefix {
            "" => Some(&*key),
            prefix => key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(below) = below else { return Ok(None) };
        let hidden = |segment: &str| segment.is_empty() || segment.starts_with(['_', '.']);
        if below.split('/').any(hidden) {
            return Ok(None);
        }
        let uri = format!("{scheme}://{bucket}/{key}");
        let shown = shown(&uri);
        let Some((table, _)) = below.split_once('/') else {
            let prefix = if uploads.prefix.is_empty() { "the bucket" } else { &uploads.prefix };
            let message = format!("the first folder below {prefix} names a table, and this object is in none");
            return Err(Refusal::new(ErrorClass::Decode, message).row(shown));
        };
        let target = target::read(table).map_err(|refusal| refusal.row(&shown))?;
        Ok(Some(Load {
            environment: environment.clone(),
            id: ByteString::from(format!("{bucket}/{key}@{identity}")),
            target,
            files: vec![LoadFile { uri: uri.into(), rows: None, bytes, which }],
            mode: Mode::Append,
            create: true,
            time: time.unwrap_or(message_time),
            skips_bad_files: uploads.skips_bad_files,
        }))
    }
}
