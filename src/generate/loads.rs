//! Bulk inserts: parquet files, and a notification that they are there.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::inserts::logins;
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1::{BulkInsert, FileFormat, InsertFile, WriteMode};
use crate::result::encode::timestamp;

/// A load of one file or some, which are appended to `files`.
pub(super) fn message(draft: &mut Draft, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Outgoing {
    let load_id = draft.id();
    let mut named = Vec::new();
    for number in 0..draft.random.usize(1..4) {
        let rows = draft.random.usize(50..200);
        let content = logins(draft, rows);
        let path = folder.join(format!("{load_id}-{number}.parquet"));
        named.push(InsertFile {
            uri: uri(&path),
            row_count: Some(rows as i64),
            size_bytes: Some(content.len() as i64),
        });
        files.push((path, content));
    }
    let load = BulkInsert {
        environment_id: draft.options.environment.clone(),
        load_id,
        table: "login_archive".to_owned(),
        files: named,
        format: FileFormat::Parquet.into(),
        write_mode: WriteMode::Append.into(),
        created_at: Some(timestamp(draft.time())),
        ..BulkInsert::default()
    };
    draft.message(EventType::BulkInsert, "", &load)
}

/// `file:///absolute/path`, with what a URI cannot have escaped.
fn uri(path: &Path) -> String {
    url::Url::from_file_path(path).map_or_else(|()| format!("file://{}", path.display()), String::from)
}
