//! Panics of others that are caught on purpose, told from those that end the process.
//!
//! A library may panic over what a stranger sent. Such a call goes through [`caught`], and whoever
//! installs a panic hook asks [`is_caught`] before it ends the process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// The answer of a call that may panic and leaves nothing half done when it does; `None` when it did.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let before = CAUGHT.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(call)).ok();
    CAUGHT.set(before);
    answer
}

/// Whether a panic of this thread would be caught now, and means nothing to anyone else.
pub(crate) fn is_caught() -> bool {
    CAUGHT.get()
}
