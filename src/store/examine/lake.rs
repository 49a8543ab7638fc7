//! A lake: its folder, whether files can be made there, and room for them.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::{Finding, can_make_files};
use crate::config::secret::expose;
use crate::store::StoreOptions;
use crate::store::offline::lake::{self, read};

/// Less room than this is soon gone.
const LITTLE: u64 = 1 << 30;

pub(in crate::store) async fn examine(options: &StoreOptions) -> Vec<Finding> {
    let root = match lake::root(expose(&options.fetched)) {
        Ok(root) => root,
        Err(error) => return vec![Finding::fail("folder", error.to_string(), "correct the URI")],
    };
    let done = tokio::task::spawn_blocking(move || look(&root)).await;
    done.unwrap_or_else(|error| vec![Finding::fail("folder", error.to_string(), "report this")])
}

fn look(root: &Path) -> Vec<Finding> {
    let shown = root.display();
    let there = root.ancestors().find(|folder| folder.exists()).unwrap_or(root);
    if !there.is_dir() {
        return vec![Finding::fail(
            "folder",
            format!("`{}` is no folder", there.display()),
            "move it away or name another",
        )];
    }
    let mut findings = vec![if there == root {
        match read::tables(root) {
            Ok(tables) => Finding::ok("folder", format!("`{shown}` with {} tables", tables.len())),
            Err(error) => Finding::fail("folder", format!("`{shown}`: {error}"), "let the writer's user read it"),
        }
    } else {
        Finding::warn(
            "folder",
            format!("`{shown}` is not there; the first write makes it in `{}`", there.display()),
            "mount it first, if a volume belongs there",
        )
    }];
    // Readers pass over what is in this folder; without it, over names that begin with `_`.
    let staging = there.join("_staging");
    let place = if staging.is_dir() { &staging } else { there };
    findings.push(match can_make_files(place) {
        Ok(()) => Finding::ok("writable", "a file was made and removed beside those that are under way"),
        Err(error) => Finding::fail(
            "writable",
            format!("no file can be made in `{}`: {error}", place.display()),
            "let the writer's user write there",
        ),
    });
    match statvfs(there) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let found = format!("{} MiB free", free >> 20);
            findings.push(if free < LITTLE {
                Finding::warn("room", found, "make room: a full disk holds the writer up, and loses nothing")
            } else {
                Finding::ok("room", found)
            });
        }
        Err(error) => findings.push(Finding::warn("room", error.to_string(), "look by hand")),
    }
    findings
}
