//! The house rules, as a test: imports point down the floors, files and time and chance are touched only behind their seams,
//! nothing unfinished is left lying about.

use std::fs;
use std::path::{Path, PathBuf};

use duramen::mutation::Safeguard;

/// The floor of each part, by the longest prefix of its path under `src/` that is listed. Within `types/` the structure of a type
/// (floor 3) and its commands (floor 5) stand side by side, so there the file's name decides.
const FLOORS: &[(&str, u32)] = &[
    ("clock", 0),
    ("codec", 0),
    ("error", 0),
    ("glob", 0),
    ("hash", 0),
    ("allocator", 0),
    ("headroom", 0),
    ("long_double", 0),
    ("mutation", 0),
    ("prefetch", 0),
    ("memory_gauge", 0),
    ("process", 0),
    ("disk", 1),
    ("resp", 2),
    ("log", 2),
    ("config", 2),
    ("keyspace", 4),
    ("rdb", 4),
    ("command", 5),
    ("recovery", 5),
    ("snapshot", 5),
    ("admin", 5),
    ("engine", 6),
    ("scripting", 6),
    ("server", 7),
    ("tools", 7),
    ("main", 8),
    ("lib", 8),
];

/// File names of structures and their ops; everything else in a type's folder belongs to its commands.
const STRUCTURES: &[&str] = &[
    "value",
    "value_tests",
    "op",
    "block",
    "blocks",
    "packed",
    "limits",
    "strings",
    "text",
    "thin_bytes",
    "small_or",
    "member_table",
    "mod",
    "small",
    "large",
    "tree",
    "leaf",
    "leaves",
    "member_index",
    "intset",
    "text",
    "id",
    "entry",
    "sorted",
    "group",
];

/// Words and where they may stand, with what to use instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("std::fs", &["disk/", "process.rs"], "disk::Disk, or disk::plain for the administrator's files"),
    ("SystemTime", &["clock.rs"], "clock::Clock"),
    ("Instant::now", &["clock.rs"], "clock::Clock"),
    ("getrandom", &["clock.rs"], "Clock::random_id"),
    ("rand::", &[], "Clock::random_id, or disk::prng in tests"),
    ("RandomState", &[], "a hash keyed by the store's seed"),
];

const UNFINISHED: &[&str] =
    &["todo!(", "unimplemented!(", "dbg!(", concat!("FIX", "ME"), concat!("X", "XX"), "#[ignore"];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).expect("the source tree is readable") {
            let path: PathBuf = item.expect("the source tree is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("found under it").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("sources are text")));
            }
        }
    }
    files.sort();
    files
}

fn floor(path: &str) -> Option<u32> {
    let path = path.trim_end_matches(".rs");
    if let Some(rest) = path.strip_prefix("types") {
        let name = rest.rsplit('/').find(|part| !part.is_empty()).unwrap_or("mod");
        return Some(if STRUCTURES.contains(&name) { 3 } else { 5 });
    }
    let first = path.split('/').next()?;
    FLOORS.iter().find(|(name, _)| *name == first).map(|(_, floor)| *floor)
}

/// The module paths that a file names, as paths under `src/`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let parts: Vec<&str> = rest[..end].split("::").filter(|part| !part.is_empty()).collect();
        // The last word may be an item; of types three words decide, of the others one.
        let depth = if parts.first() == Some(&"types") { 3 } else { 1 };
        let modules = parts.iter().take(depth).filter(|p| p.starts_with(|c: char| c.is_lowercase()));
        found.push(modules.copied().collect::<Vec<_>>().join("/"));
    }
    found
}

/// The part of a file that is not its tests.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |at| &text[..at])
}

#[test]
fn imports_point_down_only() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let Some(own) = floor(&path) else {
            faults.push(format!("{path}: no floor; list it in tests/tidy.rs"));
            continue;
        };
        // A folder's mod.rs may name its own parts, and tests may look around.
        if path == "types/mod.rs" || path.ends_with("tests.rs") {
            continue;
        }
        for import in imports(without_tests(&text)) {
            if let Some(other) = floor(&import)
                && other > own
            {
                faults.push(format!("{path} (floor {own}) imports {import} (floor {other})"));
            }
            // They share a floor and nothing else.
            if path.starts_with("tools/") && import == "server"
                || path.starts_with("server/") && import == "tools"
            {
                faults.push(format!("{path} imports {import}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_time_and_chance_are_touched_only_behind_their_seams() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests.rs") {
            continue;
        }
        for (word, allowed, instead) in BANNED {
            if !allowed.iter().any(|place| path.starts_with(place)) {
                for (number, line) in without_tests(&text).lines().enumerate() {
                    if line.contains(word) && !line.trim_start().starts_with("//") {
                        faults.push(format!("{path}:{}: {word}: use {instead}", number + 1));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_unfinished_is_left_lying_about() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
                faults.push(format!("{path}:{}: {word}", number + 1));
            }
        }
        if text.lines().count() > 1000 {
            faults.push(format!("{path}: over 1,000 lines; one subject a file"));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{path}: begins without saying what it is (//!)"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `tests/mutations.sh` can only try what is listed, and readers find in the table what is tried.
#[test]
fn each_safeguard_that_can_be_switched_off_is_tried_documented_and_asked_about() {
    let read = |path: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the tree is readable")
    };
    let (tried, told) = (read("tests/mutations.txt"), read("docs/testing.md"));
    let tried: Vec<&str> = tried.lines().filter(|line| !line.starts_with('#')).collect();
    let name_of = |row: &&str| row.split(' ').next().unwrap_or_default().to_owned();
    let mut faults = Vec::new();
    for row in &tried {
        if !Safeguard::ALL.iter().any(|safeguard| safeguard.name() == name_of(row)) {
            faults.push(format!("tests/mutations.txt: there is no {}", name_of(row)));
        }
    }
    for safeguard in Safeguard::ALL {
        let name = safeguard.name();
        if !tried.iter().any(|row| name_of(row) == name) {
            faults.push(format!("{name}: no row in tests/mutations.txt"));
        }
        if !told.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`"))) {
            faults.push(format!("{name}: no row in docs/testing.md"));
        }
        let asked = format!("Safeguard::{safeguard:?}");
        let is_asked = |text: &str| {
            text.match_indices(&asked)
                .any(|(at, _)| !text[at + asked.len()..].starts_with(|c: char| c.is_alphanumeric()))
        };
        if !sources().iter().any(|(path, text)| path != "mutation.rs" && is_asked(text)) {
            faults.push(format!("{name}: nothing in src asks whether it is off"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
