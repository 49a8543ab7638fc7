//! Stored objects by their uri: `file://`, `s3://` and `gs://`, and what an error of their store means.
//!
//! Where the store is and who may read are in the environment, under the names that its own tools use: `AWS_REGION`,
//! `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …; `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_BASE_URL`, …

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientConfigKey, ClientOptions, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, RetryConfig};
use url::Url;

use crate::causes::{causes, in_full};
use crate::cut::cut;
use crate::row::load::{LoadFile, Which};
use crate::sink::{ErrorClass, Refusal, SinkError};

/// Why a file is not read.
#[derive(Clone, Debug)]
pub enum Unread {
    /// It never will be as it is.
    Refused(Refusal),
    /// Nothing is known of it: its store is away, or lets nobody in.
    Store(SinkError),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Requests are repeated by whoever writes, for as long as it takes; here only against what passes at once.
const RETRIES: usize = 2;
const RETRY_FOR: Duration = Duration::from_secs(20);

/// How long a request may take as a whole, and how long it may be silent. The first hangs on the size of a group of rows
/// and is no sign of anything; the library has 30 seconds for it, and no bound of the second.
const TIMES: [(ClientConfigKey, &str); 2] =
    [(ClientConfigKey::Timeout, "1 day"), (ClientConfigKey::ReadTimeout, "30 seconds")];

/// Clients of stores, one a bucket.
#[derive(Debug, Default)]
pub struct Buckets {
    known: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

/// One object, of which nothing has been read yet.
#[derive(Clone, Debug)]
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// As others may see it.
    uri: String,
    version: Option<String>,
    tag: Option<String>,
    /// Whether the message names the tag.
    is_announced: bool,
}

impl Buckets {
    /// The object that a message means. Nothing is asked of its store.
    pub(super) fn object(&self, file: &LoadFile) -> Result<Object, Unread> {
        let uri = &*file.uri;
        let (bucket, path) = place(uri).map_err(|what| invalid(format!("{what} ({EXPECTED})")))?;
        let store = self.store(bucket)?;
        let (version, tag) = match &file.which {
            Which::Newest => (None, None),
            Which::Version(version) => (Some(version.to_string()), None),
            Which::Tag(tag) => (None, Some(tag.to_string())),
        };
        Ok(Object { store, path, uri: file.shown(), version, is_announced: tag.is_some(), tag })
    }

    fn store(&self, bucket: Bucket<'_>) -> Result<Arc<dyn ObjectStore>, Unread> {
        let key = format!("{bucket:?}");
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = known.get(&key) {
            return Ok(store.clone());
        }
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
        let store: Result<Arc<dyn ObjectStore>, Error> = match bucket {
            Bucket::Files => Ok(Arc::new(LocalFileSystem::new())),
            Bucket::S3(name) => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(name).with_retry(retry);
                for (key, time) in times(|key| builder.get_config_value(&AmazonS3ConfigKey::Client(key))) {
                    builder = builder.with_config(AmazonS3ConfigKey::Client(key), time);
                }
                builder.build().map(|store| Arc::new(store) as _)
            }
            Bucket::Gcs(name) => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(name).with_retry(retry);
                for (key, time) in times(|key| builder.get_config_value(&GoogleConfigKey::Client(key))) {
                    builder = builder.with_config(GoogleConfigKey::Client(key), time);
                }
                builder.build().map(|store| Arc::new(store) as _)
            }
        };
        // What is in the environment does not make a client: for a person to put right, not the file's fault.
        let denied = |error: Error| {
            let reason = format!("{key}: what the environment says of it makes no client: {}", whole(&error));
            Unread::Store(SinkError::Denied { reason })
        };
        let store = store.map_err(denied)?;
        known.insert(key, store.clone());
        Ok(store)
    }
}

/// The times of requests that the environment leaves as they are.
fn times(of: impl Fn(ClientConfigKey) -> Option<String>) -> Vec<(ClientConfigKey, &'static str)> {
    let default = ClientOptions::default();
    TIMES.into_iter().filter(|(key, _)| of(*key) == default.get_config_value(key)).collect()
}

/// Where objects are.
#[derive(Debug)]
enum Bucket<'a> {
    Files,
    S3(&'a str),
    Gcs(&'a str),
}

const EXPECTED: &str = "expected `file:///folder/file`, `s3://bucket/key` or `gs://bucket/object`";

/// The bucket of a uri and the path in it. Of buckets the path is the object's name, with nothing escaped.
fn place(uri: &str) -> Result<(Bucket<'_>, Path), String> {
    let (scheme, rest) = uri.split_once("://").ok_or("not a uri")?;
    let wrong = |error: object_store::path::Error| format!("not a path: {error}");
    if scheme == "file" {
        let path = Url::parse(uri).ok().and_then(|url| url.to_file_path().ok()).ok_or("not a path")?;
        return Ok((Bucket::Files, Path::from_absolute_path(path).map_err(wrong)?));
    }
    let (bucket, key) = rest.split_once('/').unwrap_or_default();
    if bucket.is_empty() || key.is_empty() {
        return Err("names no file".to_owned());
    }
    if bucket.contains(['@', ':']) {
        return Err("credentials do not belong in a uri".to_owned());
    }
    let bucket = match scheme {
        "s3" | "s3a" => Bucket::S3(bucket),
        "gs" | "gcs" => Bucket::Gcs(bucket),
        _ => return Err(format!("scheme `{scheme}` is not in this version")),
    };
    Ok((bucket, Path::parse(key).map_err(wrong)?))
}

/// The last bytes of an object, and what its store says of it.
pub(super) struct Tail {
    pub(super) bytes: Bytes,
    pub(super) size: u64,
}

impl Object {
    /// Reads the last bytes, up to `length`. From then on the object is the one that was read now, or gone.
    pub(super) async fn tail(&mut self, length: u64) -> Result<Tail, Unread> {
        let options = GetOptions { range: Some(GetRange::Suffix(length)), ..self.options() };
        let (meta, bytes) = match self.store.get_opts(&self.path, options).await {
            Ok(found) => (found.meta.clone(), found.bytes().await.map_err(|error| self.unread(&error))?),
            // No range of an empty object can be had.
            Err(error) => {
                let meta = self.store.get_opts(&self.path, GetOptions { head: true, ..self.options() }).await;
                match meta.map(|found| found.meta) {
                    Ok(meta) if meta.size == 0 => (meta, Bytes::new()),
                    _ => return Err(self.unread(&error)),
                }
            }
        };
        let ObjectMeta { size, e_tag, version, .. } = meta;
        let plain = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
        if self.is_announced
            && let (Some(wanted), Some(found)) = (&self.tag, &e_tag)
            && plain(wanted) != plain(found)
        {
            return Err(Unread::Refused(self.replaced()));
        }
        // Either holds the object still.
        (self.version, self.tag) = match version.or(self.version.take()) {
            Some(version) => (Some(version), None),
            None => (None, e_tag),
        };
        Ok(Tail { bytes, size })
    }

    /// Reads some bytes, all of them.
    pub(super) async fn range(&self, range: Range<u64>) -> Result<Bytes, Unread> {
        let length = range.end - range.start;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: self.tag.clone(), ..self.options() };
        let read = match self.store.get_opts(&self.path, options).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let bytes = read.map_err(|error| self.unread(&error))?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        let reason = format!("{}: {} bytes came where {length} were asked for", self.uri, bytes.len());
        Err(Unread::Store(SinkError::Transient { reason }))
    }

    fn options(&self) -> GetOptions {
        GetOptions { version: self.version.clone(), ..GetOptions::default() }
    }

    fn replaced(&self) -> Refusal {
        missing("another object has taken its place, and is announced by itself")
    }

    /// What it means for the file that another object is there since it was first read.
    pub(super) fn overwritten(&self) -> Unread {
        if self.is_announced {
            return Unread::Refused(self.replaced());
        }
        // The message means whatever is there, which is another from now on: it is opened anew.
        let reason = format!("{}: another object took its place while it was read", self.uri);
        Unread::Store(SinkError::Transient { reason })
    }

    /// What an error means for the file. That the bucket is missing says nothing of it: it may be misspelt in the
    /// configuration of whoever made it, or be made later.
    fn unread(&self, error: &Error) -> Unread {
        let mut text = whole(error);
        // The path is in the words of an error, escaped or not, and in it what may be secret.
        if self.uri.ends_with('…') {
            let lower = text.to_ascii_lowercase();
            text.truncate(lower.find('?').unwrap_or(text.len()).min(lower.find("%3f").unwrap_or(text.len())));
        }
        let reason = format!("{}: {text}", self.uri);
        match error {
            Error::NotFound { .. } if text.contains("NoSuchBucket") => Unread::Store(SinkError::Transient { reason }),
            Error::NotFound { .. } => Unread::Refused(missing("there is no such file")),
            Error::Precondition { .. } => self.overwritten(),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Unread::Store(SinkError::Denied { reason })
            }
            _ if is_denied(error) => Unread::Store(SinkError::Denied { reason }),
            _ => Unread::Store(SinkError::Transient { reason }),
        }
    }
}

/// Whether the file system lets nobody in.
fn is_denied(error: &Error) -> bool {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
}

/// An error with its causes, cut short.
fn whole(error: &Error) -> String {
    cut(&in_full(error), 400).into_owned()
}

/// The verdict on a file that is not.
pub(super) fn missing(what: impl Into<String>) -> Refusal {
    Refusal::new(ErrorClass::FileMissing, what)
}

/// The verdict on a file that is there.
pub fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::new(ErrorClass::FileInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_take_long_but_not_be_silent_where_the_environment_says_nothing_else() {
        let of = |builder: AmazonS3Builder| times(|key| builder.get_config_value(&AmazonS3ConfigKey::Client(key)));
        assert_eq!(of(AmazonS3Builder::new()), TIMES);
        let set = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        assert_eq!(of(AmazonS3Builder::new().with_config(set, "5 minutes")), TIMES[1..]);
        let mut builder = AmazonS3Builder::new().with_bucket_name("b").with_region("r");
        for (key, time) in TIMES {
            builder = builder.with_config(AmazonS3ConfigKey::Client(key), time);
        }
        builder.build().expect("times that can be read");
    }

    #[tokio::test]
    async fn a_file_that_is_overwritten_while_it_is_read_is_gone_where_its_tag_was_announced_and_else_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        let file = |which| LoadFile {
            uri: format!("file://{}?X-Amz-Signature=SECRET", path.display()).into(),
            rows: None,
            bytes: None,
            which,
        };
        let buckets = Buckets::default();
        write("one");
        let mut newest = buckets.object(&file(Which::Newest)).expect("a file");
        assert_eq!(newest.tail(8).await.expect("read").size, 3);
        let tag = newest.tag.clone().expect("a tag");
        let mut announced = buckets.object(&file(Which::Tag(tag.trim_matches('"').into()))).expect("a file");
        announced.tail(8).await.expect("the one that was announced");
        write("another");
        let Err(Unread::Store(SinkError::Transient { reason })) = newest.range(0..3).await else {
            panic!("a file that is there is not buried");
        };
        assert!(reason.contains("took its place") && !reason.contains("SECRET"), "{reason}");
        let Err(Unread::Refused(refusal)) = announced.range(0..3).await else { panic!("it is gone") };
        assert_eq!(refusal.class, ErrorClass::FileMissing);
        assert_eq!(newest.tail(8).await.map(|tail| tail.size).ok(), Some(7), "opened anew");
    }

    #[test]
    fn a_uri_names_a_bucket_and_a_path_in_it() {
        let read = |uri: &str| place(uri).map(|(bucket, path)| format!("{bucket:?} {path}"));
        assert_eq!(read("s3://b/a/x y%20.parquet").as_deref(), Ok("S3(\"b\") a/x y%20.parquet"));
        assert_eq!(read("gs://b/a").as_deref(), Ok("Gcs(\"b\") a"));
        assert_eq!(read("gcs://b/a").as_deref(), Ok("Gcs(\"b\") a"));
        assert_eq!(read("file:///data/a%20b.parquet").as_deref(), Ok("Files data/a b.parquet"));
        for wrong in [
            "s3://key:secret@b/a",
            "s3://key:sec/ret@b/a",
            "",
            "b/a",
            "s3://b",
            "s3:///a",
            "s3://b/",
            "s3://b/a//c",
            "az://b/a",
            "file://host/a",
            "http://b/a",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
