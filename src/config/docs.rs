//! `docs/configuration.md`, written from the table.

use std::fmt::Write;

use super::directive::{Access, Directive, Effect, FILE_ONLY};
use super::table::DIRECTIVES;
use super::value::{Kind, TextRule, WordsRule};

const INTRODUCTION: &str = "\
# Configuration

Written from the table of directives (`src/config/table.rs`); a test fails when this page is out of date, and rewrites it
when run with `UPDATE_DOCS=1`.

The server reads a file in the syntax of redis.conf (`duramen /etc/duramen.conf`), then options: every directive can be
given as `--name value` or `--name=value`. `-` as the last word reads more configuration from standard input, between the two.
An unknown directive is an error that names the nearest known one. `CONFIG GET`, `CONFIG SET` and `CONFIG REWRITE` work as in Redis.

Sizes take the units `k` = 1000, `kb` = 1024, `m`, `mb`, `g`, `gb`, in any case. *Run time* says whether `CONFIG SET` may change the
value; `protected` depends on `enable-protected-configs`. Directives marked **no effect** are accepted, checked and shown, so that
files written for Redis load; nothing reads them. One that is set to something else than its default is named in the log at start.

Values are UTF-8; comments may hold any bytes, and `CONFIG REWRITE` leaves them as they are.
";

/// The whole page.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut section = "";
    for directive in DIRECTIVES {
        if directive.section != section {
            section = directive.section;
            write!(out, "\n## {section}\n\n").expect("writing to a string succeeds");
            out.push_str("| Directive | Values | Default | Run time | Meaning |\n|---|---|---|---|---|\n");
        }
        write_row(&mut out, directive).expect("writing to a string succeeds");
    }
    out.push_str("\n## In files and on the command line only\n\n| Directive | Meaning |\n|---|---|\n");
    for (name, doc) in FILE_ONLY {
        writeln!(out, "| `{name}` | {doc} |").expect("writing to a string succeeds");
    }
    out
}

fn write_row(out: &mut String, directive: &Directive) -> std::fmt::Result {
    write!(out, "| `{}`", directive.name)?;
    for alias in directive.aliases {
        write!(out, ", `{alias}`")?;
    }
    let default = if directive.default.is_empty() { "\"\"" } else { directive.default };
    let access = match directive.access {
        Access::Mutable => "yes",
        Access::Immutable => "no",
        Access::Protected => "protected",
    };
    let effect = match directive.effect {
        Effect::Live => "",
        Effect::Inert => "**No effect.** ",
    };
    writeln!(out, " | {} | `{default}` | {access} | {effect}{} |", values(directive.kind), directive.doc)
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Bool => "`yes`, `no`".to_string(),
        Kind::Int { min, max } => match upper_bound(max as u64) {
            Some(max) => format!("{min} to {max}"),
            None => format!("{min} or more"),
        },
        Kind::Size { min: 0, .. } => "size".to_string(),
        Kind::Size { min, .. } => format!("size, at least {min}"),
        Kind::SizeOrPercent => "size or percentage".to_string(),
        Kind::LogRetain => {
            "`0`, a time (`s`, `min`, `h`, `d`) or a size (`kb`, `mb`, `gb`, `tb`)".to_string()
        }
        Kind::Octal => "octal file mode".to_string(),
        Kind::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        Kind::Text(TextRule::Any) => "text".to_string(),
        Kind::Text(TextRule::FileName(..) | TextRule::DirName(_)) => "name without `/`".to_string(),
        Kind::Text(TextRule::TitleTemplate) => "template".to_string(),
        Kind::Words(WordsRule::Addresses) => "up to 16 addresses".to_string(),
        Kind::Words(WordsRule::Percentiles) => "numbers from 0 to 100".to_string(),
        Kind::Words(WordsRule::OomScores) => "three numbers".to_string(),
        Kind::Words(WordsRule::ReplicaOf) => "`no one`".to_string(),
        Kind::Save => "pairs of numbers, or \"\" for none".to_string(),
        Kind::BufferLimits => "class, size, size, seconds; repeated".to_string(),
        Kind::Notify => "letters of `KEg$lshzxetdnmA`".to_string(),
        Kind::Shutdown => "`default` or words of `save`, `nosave`, `now`, `force`".to_string(),
    }
}

/// A maximum worth telling.
fn upper_bound(max: u64) -> Option<u64> {
    (max < i32::MAX as u64).then_some(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = markdown();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == page, "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1");
    }
}
