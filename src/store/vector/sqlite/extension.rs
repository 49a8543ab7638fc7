//! The vector index of the embedded store: sqlite-vec, linked in and given to one connection.
//!
//! # Why there is `unsafe`
//! SQLite takes an extension as a C function, and every way to hand it one is unsafe in `rusqlite`, the dynamic
//! loading of libraries as well as `register_auto_extension`, which moreover would put it into every connection of
//! the process, those of the embedded bus and of other stores included. So its entry is called for the one
//! connection that wants it, as a program in C would.
//!
//! # Why it is sound
//! - The declaration below is that of `sqlite-vec.c`, whose version is pinned. The crate declares the same symbol
//!   without its arguments, and builds it with `SQLITE_CORE`: it calls the SQLite that this program is linked with,
//!   and never reads the table of functions that is null here.
//! - The handle is of an open connection that is borrowed for the whole call, in which nobody else can use it.
//! - All the entry does is register functions and modules with the connection, none of which keep anything of
//!   ours. `message` is valid for writing; what it is set to was allocated by SQLite, is read as the text that it is,
//!   once, and given back to SQLite.
#![expect(
    unsafe_code,
    reason = "SQLite takes extensions as C functions; the module's documentation says why it is sound"
)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use rusqlite::{Connection, ffi};
// The library that the symbol is in.
use sqlite_vec as _;

unsafe extern "C" {
    fn sqlite3_vec_init(
        connection: *mut ffi::sqlite3,
        message: *mut *mut c_char,
        functions: *const ffi::sqlite3_api_routines,
    ) -> c_int;
}

/// Gives a connection the module `vec0` and the functions of sqlite-vec, for as long as it is open.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<()> {
    let mut message: *mut c_char = ptr::null_mut();
    // SAFETY: see the module's documentation.
    let (code, text) = unsafe {
        let code = sqlite3_vec_init(connection.handle(), &raw mut message, ptr::null());
        let text = (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned());
        ffi::sqlite3_free(message.cast());
        (code, text)
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_connection_that_asked_has_it() {
        let version =
            |connection: &Connection| connection.query_row("SELECT vec_version()", [], |row| row.get::<_, String>(0));
        let (with, without) = (Connection::open_in_memory(), Connection::open_in_memory());
        let (with, without) = (with.expect("a database"), without.expect("a database"));
        load(&with).expect("loaded");
        load(&with).expect("twice does no harm");
        assert_eq!(version(&with).expect("a version"), "v0.1.9");
        assert!(version(&without).is_err());
        let later = Connection::open_in_memory().expect("a database");
        assert!(version(&later).is_err(), "it is in no connection that is opened later");
    }
}
