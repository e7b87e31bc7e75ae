//! From the command line to a configuration: the file, what it includes, the options.

use std::io::{ErrorKind, Read};

use crate::config::Loader;
use crate::config::conf::{self, CommandLine};

use crate::config::{Config, Name};
use crate::disk::plain;

pub const HELP: &str = "\
Duramen: a Redis-compatible server for data that must not be lost.

Usage: duramen [redis.conf] [--directive value ...]
       duramen check | inspect | dump | repair DIR ...     look at a stopped data directory; see duramen check --help
       duramen restore --from DIR --into DIR ...           a data directory as of an earlier moment
       duramen backup DIR | check --live                   back up, or check, a running server; see duramen backup --help
       duramen torture ...                                 try this machine and its disk; see duramen torture --help
       duramen --version | --help

Every directive of redis.conf may stand on the command line, after the file:
  duramen                                   listen on 127.0.0.1:6379, keep the data in this directory
  duramen --port 7000 --dir /var/lib/duramen
  duramen /etc/duramen.conf --appendfsync always
  echo 'maxclients 500' | duramen -         read directives from standard input

What decides about safety:
  --appendfsync always     a reply to a write leaves when it is on the disk
  --appendfsync everysec   when the kernel has it; a power failure may take the last second (default)
  --appendfsync no         when the kernel has it; the kernel decides about the rest

docs/configuration.md lists all directives, docs/durability.md what is promised under each policy,
docs/tools.md the tools. A configuration file that is named like a tool is given as ./check.
";

/// A configuration, and where it came from.
pub struct Settings {
    pub config: Config,
    /// Absolute path of the configuration file.
    pub file: Option<String>,
    /// Some of it was read from standard input.
    pub from_stdin: bool,
    /// To be logged once there is a log.
    pub warnings: Vec<String>,
}

/// Reads the command line's arguments, without the program's name. The error is for the terminal.
pub fn load(args: &[String]) -> Result<Settings, String> {
    let CommandLine { conf_file, conf_from_stdin, options } =
        conf::command_line(args).map_err(|e| e.to_string())?;
    let config = Config::new();
    let mut include = |pattern: &str| include(pattern);
    let mut loader = Loader::new(&config, &mut include);
    let mut file = None;
    if let Some(path) = conf_file {
        let text = plain::read(&path).map_err(|e| {
            format!("Can't open the configuration file '{path}': {e}. Give a readable file, or none.")
        })?;
        loader.file(&text).map_err(|e| e.to_string())?;
        file = Some(plain::absolute(&path));
    }
    if conf_from_stdin {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).map_err(|e| format!("Can't read standard input: {e}"))?;
        loader.file(&text).map_err(|e| e.to_string())?;
    }
    loader.options(&options).map_err(|e| e.to_string())?;
    let warnings = loader.finish();
    let dir = plain::absolute(&config.dir());
    config.set_at_start(Name::dir, &dir).map_err(|e| format!("dir '{dir}': {e}"))?;
    Ok(Settings { config, file, from_stdin: conf_from_stdin, warnings })
}

/// The files that an `include` line names, with their contents.
fn include(pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    plain::glob(pattern)
        .and_then(|paths| paths.into_iter().map(|path| Ok((path.clone(), plain::read(&path)?))).collect())
        .map_err(|e| format!("can't include '{pattern}': {e}"))
}

/// CONFIG REWRITE of the file at `path`. One that was removed meanwhile is made anew; one that can't be read is left alone.
pub fn rewrite(path: &str, config: &Config) -> Result<(), String> {
    let existing = match plain::read(path) {
        Ok(existing) => existing,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{path}: {error}")),
    };
    let text = crate::config::rewrite(&existing, config, &mut include).map_err(|e| e.to_string())?;
    plain::replace_text(path, text).map_err(|e| format!("{path}: {e}"))
}
