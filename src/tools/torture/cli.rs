//! The arguments of `duramen torture`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Mode, Options, Until};
use crate::clock::{Clock, OsClock};
use crate::error::StoreError;
use crate::tools::{GOOD, connect, write_failed};

/// A promise was broken.
const BROKEN: i32 = 2;
const SECONDS: u64 = 30;
const CLIENTS_MAX: u64 = 1000;

/// With nothing to do, no promise is kept or broken.
fn at_least_one() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..)
}

pub fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64)).help(help)
    };
    Command::new("torture")
        .about("Brings a server down under load, over and over, and checks that nothing acknowledged is lost")
        .long_about(
            "Starts a server on a scratch folder, loads it from several clients, brings it down in the middle, starts it again, and \
             compares what it holds with what it acknowledged; over and over. Run it on the machine and the disk that you want \
             to trust.\n\n\
             kill    SIGKILL (the default)\n\
             power   frozen (SIGSTOP), on a file system that then loses what was not synced; needs root and loop devices\n\
             enospc  on a file system that fills up and is freed again; needs root and loop devices\n\
             sim     a simulated server, disk and clock; the same seed repeats the same run\n\n\
             With --target it tortures another RESP server: --restart-command must kill it the hard way and start it again on the \
             same data. It waits for the old process to be gone, or the port is still taken:\n  \
             --target 127.0.0.1:6400 --restart-command 'p=$(cat /tmp/r.pid); kill -9 $p; while kill -0 $p 2>/dev/null; do :; done; \
             redis-server /tmp/r.conf --daemonize yes'",
        )
        .after_help("Exit codes: 0 every promise was kept; 2 one was broken (the data is kept for a look); 3 cannot tell")
        .arg(
            Arg::new("mode")
                .long("mode")
                .value_parser(["kill", "power", "enospc", "sim"])
                .default_value("kill")
                .help("How the server is brought down"),
        )
        .arg(number("seconds", "How long [30, unless --rounds is given]").value_parser(at_least_one()))
        .arg(number("rounds", "How many crashes").value_parser(at_least_one()))
        .arg(
            number("clients", "How many clients with keys of their own, up to 1000 [6]")
                .value_parser(at_least_one().range(..=CLIENTS_MAX)),
        )
        .arg(number("seed", "Of the load [by chance, and told]"))
        .arg(
            Arg::new("fsync")
                .long("fsync")
                .value_parser(["always", "everysec", "no"])
                .default_value("always")
                .help("appendfsync of the server; of another server: what it is set to"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_parser(value_parser!(PathBuf))
                .default_value(".")
                .help("Where the scratch folder is made: on the disk to be tried"),
        )
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("PROGRAM")
                .value_parser(value_parser!(PathBuf))
                .help("Another build of this server [this program]"),
        )
        .arg(
            Arg::new("target")
                .long("target")
                .value_name("HOST:PORT")
                .requires("restart-command")
                .help("Another server, which runs; keys that begin with torture: are changed"),
        )
        .arg(
            Arg::new("restart-command")
                .long("restart-command")
                .value_name("COMMAND")
                .requires("target")
                .help("Kills that server and starts it again"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON to standard output"))
}

pub fn run(matches: &ArgMatches, out: &mut dyn Write) -> Result<i32, StoreError> {
    let clock = OsClock::new();
    let options = options(matches, &clock)?;
    let shows_lines = io::stderr().is_terminal();
    let mut tell = |line: &str| {
        if shows_lines {
            eprintln!("{line}");
        }
    };
    let report = super::run(&options, &clock, &mut tell)?;
    let text = if matches.get_flag("json") { report.json().to_string() + "\n" } else { report.text() };
    out.write_all(text.as_bytes()).map_err(write_failed)?;
    Ok(if report.is_good() { GOOD } else { BROKEN })
}

fn options(matches: &ArgMatches, clock: &dyn Clock) -> Result<Options, StoreError> {
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let mode = match text("mode").as_deref() {
        Some("power") => Mode::Power,
        Some("enospc") => Mode::Enospc,
        Some("sim") => Mode::Sim,
        _ => Mode::Kill,
    };
    if let Some(address) = text("target") {
        connect::parse(&address)?;
    }
    let other = text("target").zip(text("restart-command"));
    if other.is_some() && mode != Mode::Kill {
        return Err(StoreError::Refused("another server can be killed only: leave --mode out".to_owned()));
    }
    let rounds = number("rounds");
    let program = match path("server") {
        Some(program) => program,
        None => std::env::current_exe().map_err(StoreError::io("find this program"))?,
    };
    let seed = match number("seed") {
        Some(seed) => seed,
        None => {
            let id = clock.random_id().map_err(StoreError::io("draw a seed"))?;
            u64::from(u32::from_le_bytes([id[0], id[1], id[2], id[3]]))
        }
    };
    Ok(Options {
        mode,
        until: Until { seconds: number("seconds").or(rounds.is_none().then_some(SECONDS)), rounds },
        clients: number("clients").unwrap_or(6) as usize,
        fsync: text("fsync").unwrap_or_default(),
        seed,
        dir: path("dir").unwrap_or_default(),
        program,
        other,
    })
}
