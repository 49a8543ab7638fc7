//! Another body for a letter: from an editor, from a command, or from a file.
//!
//! `content-type` follows the body; everything else of the message stays, `ce_id` above all.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use bytes::{Bytes, BytesMut};

use crate::dead_letter::DeadLetter;
use crate::dead_letter::read::Original;
use crate::message::Headers;
use crate::message::headers::append;
use crate::result::readable::readable;
use crate::result::sniff::Encoding;
use crate::result::unpack::Compression;
use crate::sink::Refusal;

use super::super::text;

const CONTENT_TYPE: &str = "content-type";
const CONTENT_ENCODING: &str = "content-encoding";

/// Exit codes of a shell whose command is not there, or cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// Where another body comes from.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// This editor, on a file that holds the body.
    Editor(String),
    /// This command: the body is its input, and its output replaces it.
    Through(String),
    /// This body.
    Body(Bytes),
}

/// Why a letter has no other body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// It is about this letter.
    #[error("{0}")]
    Letter(String),
    /// The command failed: for this letter, or for all if it goes on like that.
    #[error("{0}")]
    Command(String),
    /// It will be so for every letter.
    #[error("{0}")]
    Every(String),
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Letter(reason)
    }
}

/// A body as it is offered for editing.
pub(super) struct Draft {
    text: Vec<u8>,
    /// What it was in the beginning, where it may stay that; it may stand for another encoding.
    first: Option<Vec<u8>>,
    /// What each edited message is made of.
    original: Original,
}

impl Draft {
    /// The body of a letter: JSON as it is, a protobuf result as JSON, anything else byte for byte. A
    /// compressed one may come to as much as its writer takes.
    fn of(letter: &DeadLetter, limit: usize) -> Result<Self, String> {
        let body = letter.original.payload.clone().unwrap_or_default();
        let header = |name: &str| letter.original.headers.get_str(name).filter(|value| !value.is_empty());
        let packed = Compression::named(header(CONTENT_ENCODING)).map_err(|refusal| unpackable(&refusal))?;
        let body = match packed {
            Some(compression) => compression.unpack(&body, limit).map_err(|refusal| unpackable(&refusal))?,
            None => body,
        };
        let text = match Encoding::of(header(CONTENT_TYPE), &body) {
            Ok(Encoding::Protobuf) => readable(&body).unwrap_or_else(|| body.to_vec()),
            _ => body.to_vec(),
        };
        Ok(Self { first: Some(text.clone()), text, original: letter.original.clone() })
    }
}

fn unpackable(refusal: &Refusal) -> String {
    format!("the body cannot be unpacked ({}); `--set-body` takes another", refusal.message)
}

impl Draft {
    /// What each edited message is made of.
    pub(super) fn original(&self) -> &Original {
        &self.original
    }
}

impl Edit {
    /// What is edited of a letter. A body that replaces it does not ask what was there.
    pub(super) fn draft(&self, letter: &DeadLetter, limit: usize) -> Result<Draft, String> {
        match self {
            Self::Body(_) => Ok(Draft { text: Vec::new(), first: None, original: letter.original.clone() }),
            Self::Editor(_) | Self::Through(_) => Draft::of(letter, limit),
        }
    }

    /// The body after editing; `None` where it is what it was in the beginning. What was edited is the
    /// next draft, so that a mistake in it can be put right, or taken back.
    pub(super) fn apply(&self, draft: &mut Draft) -> Result<Option<Bytes>, Trouble> {
        let edited = match self {
            Self::Editor(editor) => {
                let edited = in_editor(editor, &shown(&draft.text))?;
                // Indented it says the same.
                let same = [draft.first.as_ref(), Some(&draft.text)].into_iter().flatten();
                same.clone().find(|text| shown(text) == edited).cloned().unwrap_or(edited)
            }
            Self::Through(command) => through(command, &draft.text)?,
            Self::Body(body) => body.to_vec(),
        };
        draft.text.clone_from(&edited);
        if draft.first.as_ref() == Some(&edited) {
            return Ok(None);
        }
        let is_json = std::str::from_utf8(&edited).is_ok_and(is_json);
        // A file ends with a new line, a message does not.
        let body = if is_json { edited.trim_ascii() } else { &edited[..] };
        if body.is_empty() {
            return Err(Trouble::Letter("nothing is left of the body".to_owned()));
        }
        if draft.original.payload.as_deref() == Some(body) {
            return Ok(None);
        }
        Ok(Some(Bytes::copy_from_slice(body)))
    }
}

/// Indented for the eye, where it is JSON.
fn shown(text: &[u8]) -> Vec<u8> {
    let json = std::str::from_utf8(text).ok().filter(|text| is_json(text));
    json.map_or_else(|| text.to_vec(), |json| format!("{}\n", text::body(json.as_bytes())).into_bytes())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Gives a message another body, and the content type that goes with it.
pub(super) fn replace(original: &mut Original, body: Bytes) {
    let encoding = Encoding::sniff(&body);
    let said = original.headers.get_str(CONTENT_TYPE).filter(|value| !value.is_empty());
    let content_type = match said {
        Some(said) if Encoding::of(Some(said), &body) == Ok(encoding) => Some(said.to_owned()),
        Some(_) => Some(encoding.content_type().to_owned()),
        // Who reads it looks at the first bytes as we do.
        None => None,
    };
    let mut block = BytesMut::new();
    for (name, value) in original.headers.iter().filter(|(name, _)| ![CONTENT_TYPE, CONTENT_ENCODING].contains(name)) {
        append(&mut block, name, value);
    }
    if let Some(content_type) = content_type {
        append(&mut block, CONTENT_TYPE, Some(content_type.as_bytes()));
    }
    original.headers = Headers::from_block(block.freeze());
    original.payload = Some(body);
}

/// Opens a file with the body in an editor, and reads it when the editor ends.
fn in_editor(editor: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
    let file = Private::new(body).map_err(|error| format!("cannot write a file for the editor: {error}"))?;
    // As git does: the editor may have arguments of its own.
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&file.path).status();
    let status = status.map_err(|error| unable(editor, &error))?;
    if !status.success() {
        return Err(match ended_badly(editor, status) {
            // Also a person's way of saying that this letter stays as it is.
            Trouble::Command(reason) => Trouble::Letter(reason),
            trouble => trouble,
        });
    }
    std::fs::read(&file.path).map_err(|error| format!("the edited file cannot be read: {error}").into())
}

/// The shell itself could not be run.
fn unable(command: &str, error: &io::Error) -> Trouble {
    Trouble::Every(if error.kind() == io::ErrorKind::NotFound {
        format!(
            "cannot run `{command}`: there is no `sh` here (the image of this program has none); copy the binary out of \
             the image and run it where there is one"
        )
    } else {
        format!("cannot run `{command}`: {error}")
    })
}

fn ended_badly(command: &str, status: ExitStatus) -> Trouble {
    match status.code() {
        Some(NOT_FOUND) => Trouble::Every(format!("`{command}` ended with {status}: the shell does not find it")),
        Some(NOT_RUN) => Trouble::Every(format!("`{command}` ended with {status}: the shell cannot run it")),
        _ => Trouble::Command(format!("`{command}` ended with {status}")),
    }
}

/// Runs a command with the body as its input, and returns its output.
fn through(command: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
    let failed = |error: io::Error| unable(command, &error);
    let mut shell = Command::new("sh");
    let mut child = shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut input = child.stdin.take();
    let output = std::thread::scope(|threads| {
        threads.spawn(move || {
            // A command that does not read all of it says in its own way whether that was right.
            let _ = input.take().map(|mut input| input.write_all(body));
        });
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    if !output.status.success() {
        return Err(ended_badly(command, output.status));
    }
    Ok(output.stdout)
}

/// A file that nobody else can read, gone when it is dropped: bodies are about people.
struct Private {
    path: PathBuf,
}

impl Private {
    fn new(body: &[u8]) -> std::io::Result<Self> {
        let ending = if std::str::from_utf8(body).is_ok_and(is_json) { "json" } else { "bin" };
        let path = std::env::temp_dir().join(format!("chalk-writer-{}.{ending}", uuid::Uuid::new_v4()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let private = Self { path };
        file.write_all(body)?;
        Ok(private)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let path: &Path = &self.path;
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "{} holds the body of a letter and cannot be removed", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;
    use crate::generate::{BodyEncoding, Generator, Options};

    fn letter(content_type: Option<&str>, body: &[u8]) -> DeadLetter {
        let headers = [("ce_id", Some("e-1")), (CONTENT_TYPE, content_type)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let original = Original { headers, payload: Some(Bytes::copy_from_slice(body)), ..Original::default() };
        DeadLetter { original, ..DeadLetter::default() }
    }

    fn edited(edit: &Edit, letter: &DeadLetter) -> Result<Option<Bytes>, Trouble> {
        edit.apply(&mut edit.draft(letter, LIMIT)?)
    }

    fn through(command: &str) -> Edit {
        Edit::Through(command.to_owned())
    }

    #[test]
    fn a_command_gets_the_body_and_its_output_replaces_it() {
        let json = letter(Some("application/json"), br#"{"a":1}"#);
        assert_eq!(edited(&through("sed s/1/2/"), &json), Ok(Some(Bytes::from(r#"{"a":2}"#))));
        assert_eq!(edited(&through("cat"), &json), Ok(None), "left as it is");
        assert_eq!(edited(&through("cat; echo"), &json), Ok(None), "a new line at the end is the editor's");
        assert!(
            edited(&through("exit 3"), &json)
                .is_err_and(|trouble| { matches!(&trouble, Trouble::Command(reason) if reason.contains("exit 3")) })
        );
        for missing in ["no-such-command", "/dev/null"] {
            let trouble = edited(&through(missing), &json).expect_err("it cannot be run");
            assert!(matches!(trouble, Trouble::Every(_)), "{trouble}");
        }
        assert!(edited(&through("true"), &json).is_err_and(|trouble| trouble.to_string().contains("nothing is left")));
        let large = letter(None, &vec![b'x'; 1 << 20]);
        assert_eq!(edited(&through("tr x y"), &large), Ok(Some(Bytes::from(vec![b'y'; 1 << 20]))));
    }

    #[test]
    fn an_editor_gets_a_file_of_indented_json() {
        let json = letter(None, br#"{"a":1}"#);
        let editor = Edit::Editor("sed -i 's/^  \"a\": 1$/  \"a\": 2/'".to_owned());
        assert_eq!(edited(&editor, &json), Ok(Some(Bytes::from("{\n  \"a\": 2\n}"))));
        assert_eq!(edited(&Edit::Editor("true".to_owned()), &json), Ok(None), "indented is not edited");
        assert!(edited(&Edit::Editor("false".to_owned()), &json).is_err());
    }

    #[test]
    fn an_edit_that_is_taken_back_in_an_editor_is_none() {
        let mut draft = Draft::of(&letter(None, br#"{"a":1}"#), LIMIT).expect("a draft");
        let editor = |from: u8, to: u8| Edit::Editor(format!("sed -i 's/: {from}$/: {to}/'"));
        assert_eq!(editor(1, 2).apply(&mut draft), Ok(Some(Bytes::from("{\n  \"a\": 2\n}"))));
        assert_eq!(editor(2, 1).apply(&mut draft), Ok(None), "indented is not edited");
    }

    #[test]
    fn what_was_edited_is_the_next_draft() {
        let mut draft = Draft::of(&letter(None, br#"{"a":1}"#), LIMIT).expect("a draft");
        let edit = through("sed s/1/11/");
        assert_eq!(edit.apply(&mut draft), Ok(Some(Bytes::from(r#"{"a":11}"#))));
        assert_eq!(edit.apply(&mut draft), Ok(Some(Bytes::from(r#"{"a":111}"#))));
    }

    #[test]
    fn protobuf_is_edited_as_json_and_stays_what_it_is_where_nothing_is_changed() {
        let options = Options { encoding: BodyEncoding::Protobuf, ..Options::default() };
        let body = Generator::new(1, options).next().and_then(|message| message.payload).expect("a body");
        let mut protobuf = letter(Some("application/protobuf"), &body);
        assert_eq!(edited(&through("cat"), &protobuf), Ok(None));
        let json = edited(&through("sed 's/\"prod\"/\"dev\"/'"), &protobuf).expect("edited").expect("changed");
        assert!(json.starts_with(br#"{"environment_id":"dev""#), "{json:?}");
        replace(&mut protobuf.original, json);
        assert_eq!(protobuf.original.headers.get_str(CONTENT_TYPE), Some("application/json"));
    }

    #[test]
    fn a_protobuf_result_is_the_same_as_json_and_one_that_would_not_be_is_offered_byte_for_byte() {
        let bodies = |encoding| {
            let options = Options { encoding, ..Options::default() };
            Generator::new(7, options).take(50).map(|message| message.payload.expect("a body"))
        };
        for (protobuf, json) in bodies(BodyEncoding::Protobuf).zip(bodies(BodyEncoding::Json)) {
            let text =
                |body: &[u8]| Draft::of(&letter(Some("application/protobuf"), body), LIMIT).expect("a draft").text;
            assert_eq!(text(&protobuf), json);
            // A field with a number that no version has so far, which protobuf's readers pass over.
            let newer = [&protobuf[..], b"\xfa\x7f\x01x"].concat();
            assert_eq!(text(&newer), newer);
        }
        assert_eq!(readable(b"\xff\xff"), None);
        assert_eq!(readable(b""), None);
    }

    #[test]
    fn the_content_type_follows_the_body_and_the_id_stays() {
        for (said, body, expected) in [
            (Some("application/json; charset=utf-8"), &b"{}"[..], Some("application/json; charset=utf-8")),
            (Some("application/protobuf"), b"{}", Some("application/json")),
            (Some("text/plain"), b"{}", Some("application/json")),
            (Some("application/json"), b"\x0a\x04prod", Some("application/protobuf")),
            (None, b"{}", None),
        ] {
            let mut letter = letter(said, b"x");
            replace(&mut letter.original, Bytes::copy_from_slice(body));
            assert_eq!(letter.original.headers.get_str(CONTENT_TYPE), expected, "{said:?}");
            assert_eq!(letter.original.headers.get_str("ce_id"), Some("e-1"));
        }
    }

    #[test]
    fn a_compressed_body_is_offered_unpacked_and_replaced_by_a_plain_one() {
        let packed = |body: &[u8]| {
            let mut letter = letter(Some("application/json"), body);
            let headers = letter.original.headers.iter().chain([(CONTENT_ENCODING, Some(&b"zstd"[..]))]);
            letter.original.headers = headers.collect();
            letter
        };
        let mut letter = packed(&Compression::Zstd.pack(b"{\"a\": 1}").expect("packs"));
        let text = Draft::of(&letter, LIMIT).map(|draft| draft.text);
        assert_eq!(text.as_deref(), Ok(&b"{\"a\": 1}"[..]));
        assert!(Draft::of(&letter, 8).is_ok());
        assert!(Draft::of(&letter, 7).is_err_and(|reason| reason.contains("more than 7 bytes")));
        assert!(Draft::of(&packed(b"(no zstd)"), LIMIT).is_err_and(|reason| reason.contains("zstd")));
        replace(&mut letter.original, Bytes::from("{}"));
        assert_eq!(letter.original.headers.get(CONTENT_ENCODING), None);
    }
}
