//! No files that import one another: each can be read with what is below it, and none needs what needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::sources;

/// Files that may import one another, each with why.
const ALLOWED: &[(&[&str], &str)] =
    &[(&["result::json::part", "result::json::scan"], "a part of a body is scanned, and a scan finds parts")];

/// A path of modules from the crate's root.
type Name = Vec<String>;

/// The sources by the module that each is.
fn modules() -> BTreeMap<Name, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let module = |file: &Path| {
        let relative = file.strip_prefix(&root).expect("under src").with_extension("");
        let parts = relative.iter().map(|part| part.to_string_lossy().into_owned());
        parts.filter(|part| !["mod", "lib"].contains(&part.as_str())).collect()
    };
    let sound = files.iter().filter(|file| !file.ends_with("tests.rs") && !file.ends_with("main.rs"));
    sound.map(|file| (module(file), code(&fs::read_to_string(file).expect("a source file")))).collect()
}

/// What is built: without comments and without the tests at its end.
fn code(text: &str) -> String {
    let built = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    built.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths that begin at the start of a text, braces taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Name> {
    let name = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let rest = &text[name.len()..];
    let of =
        |tails: Vec<Name>| tails.into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect::<Vec<Name>>();
    let Some(rest) = rest.strip_prefix("::") else { return vec![vec![name]] };
    let Some(list) = rest.strip_prefix('{') else { return of(paths(rest)) };
    let (mut depth, mut begun, mut tails) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                tails.extend(paths(list[begun..at].trim()));
                begun = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    of(tails)
}

/// Every path of a module's code that begins with `crate`, `self` or `super`, from the root on.
fn named(module: &Name, code: &str) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || [':', '_', '$'].contains(&c)) {
                continue;
            }
            // `pub(in crate::x)` uses nothing.
            if code[..at].ends_with("(in ") {
                continue;
            }
            found.extend(paths(&code[at..]).into_iter().map(|path| absolute(module, &path)));
        }
    }
    found
}

fn absolute(module: &Name, path: &Name) -> Name {
    let mut base = if path[0] == "crate" { Vec::new() } else { module.clone() };
    let mut rest = path.as_slice();
    while let Some((first, others)) = rest.split_first()
        && ["crate", "self", "super"].contains(&first.as_str())
    {
        if first == "super" {
            base.pop();
        }
        rest = others;
    }
    [base, rest.to_vec()].concat()
}

/// What modules pass on under names of their own: `pub use a::B` in `x` is `x::B`, which is `x::a::B`.
fn passed_on(modules: &BTreeMap<Name, String>) -> BTreeMap<Name, Name> {
    let mut found = BTreeMap::new();
    for (module, code) in modules {
        for statement in code.split(';').map(str::trim) {
            let Some((visibility, paths_of)) = statement.rsplit_once("use ") else { continue };
            if !visibility.trim_start().starts_with("pub") && !visibility.contains("\npub") {
                continue;
            }
            for path in paths(paths_of.trim()) {
                let path = match path[0].as_str() {
                    "crate" | "self" | "super" => absolute(module, &path),
                    _ => [module.clone(), path].concat(),
                };
                let name = path.last().expect("not empty").clone();
                found.insert([module.clone(), vec![name]].concat(), path);
            }
        }
    }
    found
}

/// The file in which a path leads to what it names.
fn file_of(path: &Name, modules: &BTreeMap<Name, String>, passed_on: &BTreeMap<Name, Name>) -> Option<Name> {
    let mut path = path.clone();
    for _ in 0..9 {
        let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
        let item = path.get(..length + 1);
        match item.and_then(|item| passed_on.get(item)) {
            Some(further) => path = [further.clone(), path[length + 1..].to_vec()].concat(),
            None => return Some(path[..length].to_vec()),
        }
    }
    None
}

/// Which files import which. A re-export is no import: whoever names it imports what is behind it.
fn imports() -> BTreeMap<Name, BTreeSet<Name>> {
    let modules = modules();
    let passed_on = passed_on(&modules);
    let of = |module: &Name, code: &str| -> BTreeSet<Name> {
        let own: String = code.split_inclusive(';').filter(|text| !is_passed_on(text)).collect();
        let files = named(module, &own).into_iter().filter_map(|path| file_of(&path, &modules, &passed_on));
        files.filter(|file| file != module).collect()
    };
    modules.iter().map(|(module, code)| (module.clone(), of(module, code))).collect()
}

fn is_passed_on(statement: &str) -> bool {
    statement.lines().any(|line| line.starts_with("pub") && line.contains(" use "))
}

/// Files from which a file is reached again by way of its imports, in groups.
fn circles(imports: &BTreeMap<Name, BTreeSet<Name>>) -> BTreeSet<BTreeSet<Name>> {
    let reached = |from: &Name| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(next) = left.pop() {
            for further in imports.get(&next).into_iter().flatten() {
                if seen.insert(further.clone()) {
                    left.push(further.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Name, BTreeSet<Name>> = imports.keys().map(|file| (file, reached(file))).collect();
    let group = |file: &Name| -> BTreeSet<Name> {
        reached[file]
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
            .cloned()
            .collect()
    };
    imports.keys().map(group).filter(|group| !group.is_empty()).collect()
}

#[test]
fn no_files_import_one_another() {
    let imports = imports();
    let mut wrong = Vec::new();
    let mut unused: Vec<&[&str]> = ALLOWED.iter().map(|(files, _)| *files).collect();
    for group in circles(&imports) {
        let names: Vec<String> = group.iter().map(|file| file.join("::")).collect();
        if ALLOWED.iter().any(|(files, _)| *files == names) {
            unused.retain(|files| *files != names);
            continue;
        }
        let edges = |file: &Name| {
            let inside: Vec<String> = imports[file].intersection(&group).map(|file| file.join("::")).collect();
            format!("  {} imports {}", file.join("::"), inside.join(", "))
        };
        wrong.push(group.iter().map(edges).collect::<Vec<_>>().join("\n"));
    }
    wrong.extend(unused.iter().map(|files| format!("no circle of {files:?} any more: take it away")));
    assert!(wrong.is_empty(), "files that import one another:\n{}", wrong.join("\n\n"));
}

#[test]
fn a_path_is_followed_to_the_file_of_what_it_names() {
    let modules: BTreeMap<Name, String> = [
        ("", ""),
        ("a", "pub use self::b::{C, d::E as F};\nuse self::b::C;"),
        ("a b", "use super::{c, F};\nuse crate::a::C;"),
        ("a c", "pub(in crate::a) fn f() { super::b::g() }"),
    ]
    .into_iter()
    .map(|(name, code)| (name.split_whitespace().map(str::to_owned).collect(), code.to_owned()))
    .collect();
    let name = |name: &str| -> Name { name.split_whitespace().map(str::to_owned).collect() };
    let passed_on = passed_on(&modules);
    assert_eq!(passed_on[&name("a C")], name("a b C"));
    assert_eq!(file_of(&name("a C"), &modules, &passed_on), Some(name("a b")));
    assert_eq!(named(&name("a b"), &modules[&name("a b")]), [name("a c"), name("a F"), name("a C")].into());
    assert_eq!(named(&name("a c"), &modules[&name("a c")]), [name("a b g")].into());
    let imports = [(name("x"), [name("y")].into()), (name("y"), [name("x"), name("z")].into()), (name("z"), [].into())];
    assert_eq!(circles(&imports.into()), [[name("x"), name("y")].into()].into());
}
