//! Subcommands of the one binary that work on a data directory no server has open, or on a copy of one.
//!
//! ```text
//! check    whole or damaged, and what is at stake     load      replay without opening
//! inspect  what it is made of                         damage    how far the log is good, what is readable behind
//! dump     records or keys as commands                words     ops as commands, quoting, times
//! repair   the part before the damage, as a store     snapshot  the reports' part about snapshots
//! restore  the state as of a moment, as a store       new_directory  a store made of another's files
//! kept     whether what retention keeps can be used        salvage  the state that a damaged snapshot still vouches for
//! salvage_repair  that state as a store                     snapshot_files  snapshot files and their rows
//! key_commands  what makes a key, for a server       torture  brings servers down and counts the losses
//! backup   has a running server make a backup         live      check of a running server's memory
//! stake    what a damaged directory stands to lose     made      folders that go again if nothing was put into them
//! ```
//!
//! Only `repair` and `restore` write, and `repair` never changes what it reads from unless it is told `--in-place`. While a tool reads it holds the
//! directory's lock together with other readers, so that no server starts; where a server runs it refuses. `backup` and `check --live`
//! are clients of a running server (connect), and read what it makes for them.

pub mod backup;
pub mod check;
mod connect;
pub mod damage;
pub mod dump;
pub mod inspect;
pub mod json;
mod kept;
mod key_commands;
pub mod live;
#[cfg(test)]
mod live_tests;
pub mod load;
mod made;
mod new_directory;
mod output;
pub mod repair;
pub mod restore;
pub mod salvage;
mod salvage_repair;
pub mod snapshot;
pub mod snapshot_files;
mod stake;
#[cfg(test)]
mod tests;
pub mod torture;
pub mod words;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use crate::clock::OsClock;
use crate::config::edit_distance;
use crate::disk::{Disk, Lock, LogIo, OsDisk, plain};
use crate::error::StoreError;

use made::Made;

/// Exit codes. 0 is good for every tool.
pub const GOOD: i32 = 0;
/// `check`: a server starts, and there is something to know (a torn tail is cut, a copy of the manifest is unusable).
pub const WARNINGS: i32 = 1;
/// `repair`: a server starts on the directory as it is.
pub const NOTHING_TO_REPAIR: i32 = 1;
/// `check`, `inspect`, `dump`: a server refuses the directory.
pub const DAMAGED: i32 = 2;
/// `repair`, `restore`: the result is not good; this is a fault of the tool.
pub const UNREPAIRED: i32 = 2;
/// The arguments, the disk, a lock, or a format of another version.
pub const CANNOT_TELL: i32 = 3;

/// Of a server that nobody configured.
const ADDRESS: &str = "127.0.0.1:6379";

const NAMES: [&str; 7] = ["backup", "check", "inspect", "dump", "repair", "restore", "torture"];

/// Runs a tool if the first argument names one. Returns the process' exit code.
pub fn run(args: &[String]) -> Option<i32> {
    let first = args.first()?;
    if !NAMES.contains(&first.as_str()) {
        let why = no_such_name(first)?;
        eprintln!("duramen: {why}");
        return Some(CANNOT_TELL);
    }
    let with_program = std::iter::once("duramen").chain(args.iter().map(String::as_str));
    let matches = match command().try_get_matches_from(with_program) {
        Ok(matches) => matches,
        Err(error) => {
            // To standard output for --help, else to standard error; if that is closed nobody reads it.
            let _ = error.print();
            return Some(if error.use_stderr() { CANNOT_TELL } else { GOOD });
        }
    };
    let (name, matches) = matches.subcommand()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = run_tool(name, matches, &mut out).and_then(|done| {
        out.flush().map_err(write_failed)?;
        Ok(done)
    });
    Some(match outcome {
        Ok((code, why)) => {
            if let Some(why) = why {
                eprintln!("duramen {name}: {why}");
            }
            code
        }
        // The reader has seen enough.
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => GOOD,
        Err(error) => {
            let _ = out.flush();
            eprintln!("duramen {name}: {error}");
            CANNOT_TELL
        }
    })
}

/// What is wrong with a first word that is neither a tool nor anything that the server takes.
fn no_such_name(word: &str) -> Option<String> {
    let is_a_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_a_word || plain::exists(word) {
        return None;
    }
    let near = NAMES.map(|name| (edit_distance(word.to_ascii_lowercase().as_bytes(), name.as_bytes()), name));
    let near = near.into_iter().min().filter(|&(distance, _)| distance <= 2);
    let hint = near.map_or(String::new(), |(_, name)| format!(" Did you mean '{name}'?"));
    Some(format!(
        "'{word}' is neither a tool nor a configuration file.{hint} The tools are {}; duramen --help says how the server is started",
        NAMES.join(", ")
    ))
}

pub(crate) fn write_failed(error: io::Error) -> StoreError {
    StoreError::io("write the output")(error)
}

type Done = Result<(i32, Option<String>), StoreError>;

fn run_tool(name: &str, matches: &ArgMatches, out: &mut dyn Write) -> Done {
    match name {
        "backup" => return backup(matches, out),
        "check" if matches.contains_id("live") => return check_live(matches, out),
        "torture" => return Ok((torture::cli::run(matches, out)?, None)),
        _ => {}
    }
    let dir = path(matches, if name == "restore" { "from" } else { "DIR" }).unwrap_or_default();
    let disk =
        OsDisk::open_existing(dir.clone()).map_err(StoreError::io(format!("open {}", dir.display())))?;
    let in_place = name == "repair" && matches.get_flag("in-place");
    let json = matches.get_flag("json");
    if in_place && !repair::is_store(&disk) {
        return Ok((repair::no_store(json, out)?, None));
    }
    let _lock = if in_place { Some(lock(&disk)?) } else { lock_shared(&disk)? };
    let clock = OsClock::new();
    match name {
        "check" => {
            let report = check::check(&disk, &clock)?;
            let text = if json { report.json().to_string() + "\n" } else { report.text() };
            out.write_all(text.as_bytes()).map_err(write_failed)?;
            Ok((report.exit_code(), None))
        }
        "inspect" => {
            let top = matches.get_one::<usize>("top").copied().unwrap_or(10);
            let view = match matches.get_one::<String>("VIEW").map(String::as_str) {
                Some("segments") => inspect::View::Segments,
                Some("frames") => inspect::View::Frames,
                Some("keys") => inspect::View::Keys,
                Some("snapshots") => inspect::View::Snapshots,
                _ => inspect::View::All,
            };
            inspect::inspect(&disk, &clock, view, top, json, out)
        }
        "dump" => {
            let filter = filter(matches);
            if let Some(rows) = matches.get_one::<snapshot_files::Rows>("snapshot") {
                return snapshot_files::dump(&disk, rows, &filter, json, out);
            }
            let run = if matches.get_flag("keys") { dump::keys } else { dump::records };
            run(&disk, &clock, &filter, json, out)
        }
        "restore" => {
            let moment = match (matches.get_one::<u64>("to-lsn"), matches.get_one::<u64>("to-time")) {
                (Some(&lsn), _) => restore::Moment::Lsn(lsn),
                (None, time) => restore::Moment::Time(time.copied().unwrap_or(0)),
            };
            let into = path(matches, "into").unwrap_or_default();
            let _made = Made::watch(&into);
            let target = new_directory(&into)?;
            Ok((restore::restore(&disk, &clock, &target, moment, json, out)?, None))
        }
        _ => {
            let salvage = matches.get_flag("salvage");
            let Some(into) = path(matches, "into") else {
                return Ok((repair::repair(&disk, &clock, &repair::Place::Here, salvage, json, out)?, None));
            };
            let _made = Made::watch(&into);
            let target = new_directory(&into)?;
            let place = repair::Place::Into(&target);
            Ok((repair::repair(&disk, &clock, &place, salvage, json, out)?, None))
        }
    }
}

fn backup(matches: &ArgMatches, out: &mut dyn Write) -> Done {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let socket = text("unix").map(plain::absolute);
    let address = socket.as_deref().or(text("from")).unwrap_or(ADDRESS);
    let dir = plain::absolute(&path(matches, "DIR").unwrap_or_default().to_string_lossy());
    let mut server = connect::Server::connect(address, text("password"))?;
    let (copy, json) = (matches.get_flag("copy"), matches.get_flag("json"));
    backup::backup(&mut server, &dir, copy, json, &OsClock::new(), out)
}

/// Backups are made beside the data directory, where linking works, unless another place is named.
fn check_live(matches: &ArgMatches, out: &mut dyn Write) -> Done {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let mut server = connect::Server::connect(text("live").unwrap_or(ADDRESS), text("password"))?;
    let own = format!("check-live-{}", std::process::id());
    let _made = path(matches, "scratch").map(|dir| Made::watch(&dir));
    let scratch = match path(matches, "scratch") {
        Some(dir) => format!("{}/{own}", plain::absolute(&dir.to_string_lossy())),
        None => format!("{}.{own}", server.data_dir()?),
    };
    live::check(&mut server, &scratch, matches.get_flag("json"), &OsClock::new(), out)
}

/// Makes a directory to write into.
fn new_directory(into: &std::path::Path) -> Result<OsDisk, StoreError> {
    let target = OsDisk::open_dir(into.to_owned(), LogIo::Buffered);
    let target = target.map_err(StoreError::io(format!("make {}", into.display())))?;
    let names = target.list("").map_err(StoreError::io(format!("list {}", into.display())))?;
    if !names.is_empty() {
        return Err(StoreError::Refused(format!("{} is not empty; name a new directory", into.display())));
    }
    Ok(target)
}

fn lock_shared(disk: &OsDisk) -> Result<Option<Box<dyn Lock>>, StoreError> {
    disk.lock_shared("LOCK").map_err(in_use)
}

fn lock(disk: &OsDisk) -> Result<Box<dyn Lock>, StoreError> {
    disk.lock("LOCK").map_err(in_use)
}

fn in_use(error: io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::WouldBlock {
        return StoreError::Refused(format!(
            "the data directory is in use ({error}). Stop the server first, or work on a copy of the directory"
        ));
    }
    StoreError::io("lock the data directory")(error)
}

fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(name).cloned()
}

fn filter(matches: &ArgMatches) -> dump::Filter {
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    dump::Filter {
        from_lsn: number("from-lsn"),
        to_lsn: number("to-lsn"),
        from_us: number("from-time"),
        to_us: number("to-time"),
        key: matches.get_one::<String>("key").map(|pattern| pattern.clone().into_bytes()),
        db: matches.get_one::<u32>("db").copied(),
    }
}

fn time(text: &str) -> Result<u64, String> {
    words::parse_time(text).ok_or_else(|| {
        "give UTC as 2026-11-21T06:05:00 (parts of a second and Z as you like), or seconds since 1970"
            .to_owned()
    })
}

fn command() -> Command {
    let dir = || {
        Arg::new("DIR")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("A data directory that no server has open, or a copy of one")
    };
    let json =
        || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON to standard output");
    let tool = |name: &'static str, about: &'static str, codes: &'static str| {
        Command::new(name).about(about).after_help(codes).arg(dir()).arg(json())
    };
    let check = tool(
        "check",
        "Verifies a data directory: checksums, order, and that all of it replays. Changes nothing",
        "Exit codes: 0 good; 1 good, with warnings (a torn tail that the next start cuts); 2 damaged, or memory and disk differ; 3 cannot tell",
    )
    .mut_arg("DIR", |dir| dir.required(false).required_unless_present("live"))
    .args(live_arguments());
    let inspect = tool(
        "inspect",
        "Shows what a data directory is made of. Changes nothing",
        "Exit codes: 0; 2 damage was met; 3 cannot tell",
    )
    .arg(Arg::new("VIEW").value_parser(["segments", "frames", "keys", "snapshots"]).help("Only this part"))
    .arg(Arg::new("top").long("top").value_parser(value_parser!(usize)).help("How many of the biggest [10]"));
    let repair = tool(
        "repair",
        "Makes a directory that starts out of what is good of a damaged one, and tells what is lost",
        "Exit codes: 0 repaired; 1 nothing to repair; 2 the result is not good; 3 cannot be done",
    )
    .arg(
        Arg::new("into")
            .long("into")
            .value_name("COPY_DIR")
            .value_parser(value_parser!(PathBuf))
            .help("The new directory; DIR is not changed"),
    )
    .arg(
        Arg::new("in-place")
            .long("in-place")
            .action(ArgAction::SetTrue)
            .help("Cut the log in DIR itself; what is changed or removed is put aside in DIR/damaged-<time>"),
    )
    .group(ArgGroup::new("target").args(["into", "in-place"]).required(true))
    .arg(Arg::new("salvage").long("salvage").action(ArgAction::SetTrue).help(
        "Also where a snapshot is damaged and no older one leads to the same state: keeps every key that is certain, names the others",
    ));
    Command::new("duramen").disable_help_subcommand(true).subcommand_required(true).subcommands([
        backup_command(json()),
        check,
        inspect,
        dump_command(tool),
        repair,
        restore_command(json()),
        torture::cli::command(),
    ])
}

fn restore_command(json: Arg) -> Command {
    let directory = |name: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name("DIR").value_parser(value_parser!(PathBuf));
        arg.required(true).help(help)
    };
    Command::new("restore")
        .about(
            "Makes a data directory as of a moment: the newest snapshot before it, and the log's records from there to the moment",
        )
        .after_help(
            "How far back this goes is what `log-retain` keeps (INFO: oldest_restorable_lsn, oldest_restorable_time); \
             `snapshot-retain` keeps single snapshots, which can be restored by their exact LSN.\n\n\
             To undo a mistake, look for it, and restore to the record before it:\n  \
             duramen dump DIR --key 'user:*' --from-time 2026-11-21T06:00:00\n  \
             duramen restore --from DIR --into NEW --to-lsn 48120\n  \
             duramen --dir NEW\n\n\
             Exit codes: 0 restored, loaded and verified; 2 the result is not good; 3 cannot be done",
        )
        .arg(directory("from", "A data directory that no server has open, or a copy of one; it is not changed"))
        .arg(directory("into", "The new directory, which must be empty or not exist"))
        .arg(
            Arg::new("to-lsn")
                .long("to-lsn")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("All records that end at this LSN or before"),
        )
        .arg(
            Arg::new("to-time")
                .long("to-time")
                .value_name("T")
                .value_parser(time)
                .help("All records up to the first that was written after this time (UTC)"),
        )
        .group(ArgGroup::new("moment").args(["to-lsn", "to-time"]).required(true))
        .arg(json)
}

fn password() -> Arg {
    Arg::new("password").long("password").value_name("TEXT").help(
        "Password of the default user. Others can see it here: better in the environment, DURAMEN_PASSWORD or REDISCLI_AUTH",
    )
}

fn live_arguments() -> [Arg; 3] {
    [
        Arg::new("live")
            .long("live")
            .value_name("ADDRESS")
            .num_args(0..=1)
            .default_missing_value(ADDRESS)
            .conflicts_with("DIR")
            .help("Instead of a directory: prove that what the server at host:port (or unix socket) has in memory is what its disk says"),
        Arg::new("scratch")
            .long("scratch")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .requires("live")
            .help("Where the server makes a backup for that, removed at the end [beside its data directory]"),
        password().requires("live"),
    ]
}

fn backup_command(json: Arg) -> Command {
    Command::new("backup")
        .about("Has a running server make a backup of itself, and verifies it. Writes go on meanwhile")
        .after_help(
            "The backup is a data directory: start a server on it, check it, restore from it. It holds everything that was written before the \
             command began. DIR is on the server's machine, and is made; it may exist if it is empty. Files are hard-linked where DIR is on the \
             same file system as the data directory: that takes hardly any time or room, and lasts as long as the disk. To survive the loss of \
             the disk, name a DIR on another one, or copy the backup away.\n\n  \
             duramen backup /backups/monday\n  \
             duramen backup /backups/monday --from 127.0.0.1:7000 && rsync -a /backups/monday other:/backups/\n  \
             duramen --dir /backups/monday --port 7001\n\n\
             The server must allow it: enable-backup-command local (as it is by default) or yes.\n\
             Exit codes: 0 made and verified; 1 with warnings; 2 made, and damaged; 3 not made, or not readable from here",
        )
        .arg(
            Arg::new("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The new directory, on the server's machine"),
        )
        .arg(Arg::new("from").long("from").value_name("HOST:PORT").help("The server [127.0.0.1:6379]"))
        .arg(
            Arg::new("unix")
                .long("unix")
                .value_name("PATH")
                .conflicts_with("from")
                .help("The server's unix socket"),
        )
        .arg(password())
        .arg(
            Arg::new("copy")
                .long("copy")
                .action(ArgAction::SetTrue)
                .help("Copy everything, also where it could be linked"),
        )
        .arg(json)
}

fn dump_command(tool: impl Fn(&'static str, &'static str, &'static str) -> Command) -> Command {
    let bound = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64)).help(help)
    };
    let moment = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("T").value_parser(time).help(help)
    };
    tool(
        "dump",
        "Writes the log's records as readable commands, or with --keys commands that make its keys. Changes nothing",
        "Exit codes: 0; 2 damage was met (the records before it are written); 3 cannot tell",
    )
    .arg(bound("from-lsn", "Only records that end behind this LSN"))
    .arg(bound("to-lsn", "Only records that end at this LSN or before"))
    .arg(moment("from-time", "Only records written at this time (UTC) or later"))
    .arg(moment("to-time", "Only records written at this time (UTC) or before"))
    .arg(Arg::new("key").long("key").value_name("GLOB").help("Only ops on keys that match"))
    .arg(
        Arg::new("db")
            .long("db")
            .value_name("N")
            .value_parser(value_parser!(u32))
            .help("Only ops on keys of this database"),
    )
    .arg(
        Arg::new("keys")
            .long("keys")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["from-lsn", "to-lsn", "from-time", "to-time"])
            .help("The keys as they are at the end of the log, as commands for redis-cli"),
    )
    .arg(
        Arg::new("snapshot")
            .long("snapshot")
            .value_name("FILE|SLOTS")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("")
            .value_parser(snapshot_files::parse_rows)
            .conflicts_with_all(["from-lsn", "to-lsn", "from-time", "to-time", "keys"])
            .help("The rows of the newest snapshot's files, of one file (=00000003.snap) or of slots (=100..200)"),
    )
}
