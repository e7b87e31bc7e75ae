//! Golden scripts: `tests/golden/<group>/<command>.txt` holds commands and the replies they must get.
//!
//! ```text
//! # a comment; "# resp3" as the first line: all connections begin with HELLO 3
//! # needs 7.4                  redis-server 7.0 does not know this command: not run against it
//! > SET k "a\x00b"             a command on connection 1, quoted as for redis-cli, and the lines of its reply
//! OK
//! 2> BLPOP list 0              a command on connection 2
//! (blocked)
//! 2<                           what connection 2 receives without having sent anything more
//! ~> KEYS *                    arrays are compared sorted, at every depth
//! %> HGETALL h                 a flat array of pairs is compared sorted by pairs
//! .> BLPOP list 0.01           the reply is waited for, though the command blocks
//! ?> EXISTS k                  repeated until the reply is as expected, or time is up
//! ! flush                      FLUSHALL on a side connection
//! ! config name value          CONFIG SET, taken back at the end of the script
//! ! repeat 200 RPUSH l v$i     a command many times, $i counts from 1, replies must not be errors
//! ! reconnect 2                a fresh connection
//! ```
//! An expected line that starts with `* ` is a pattern in which `*` stands for any text; a lone `*` is any rest of the
//! reply. Besides replies there are `(blocked)`, `(no reply)` and `(connection closed)`.
//!
//! `UPDATE_GOLDEN=1` writes the replies into the scripts instead of comparing (with `DURAMEN_BIN=/usr/bin/redis-server`: those
//! of the reference). `GOLDEN=strings/set` runs only scripts whose path contains that text.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::client::{Client, Value};
use support::{Options, Server, notation};

/// Bound for everything that must happen soon but not at once.
const SOON: Duration = Duration::from_secs(5);
/// How long silence must last to be called silence.
const SILENCE: Duration = Duration::from_millis(200);

#[test]
fn golden_scripts_get_the_expected_replies() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let only = std::env::var("GOLDEN").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut scripts = Vec::new();
    collect(&root, &mut scripts);
    scripts.retain(|path| path.to_string_lossy().contains(&only));
    scripts.sort();
    assert!(!scripts.is_empty(), "no script matches {only:?}");
    let mut server = Server::start(Options::default());
    let mut failed = Vec::new();
    let (mut ran, mut steps) = (0, 0);
    for path in &scripts {
        let name = path.strip_prefix(&root).expect("found below the root").display().to_string();
        let text = fs::read_to_string(path).expect("scripts are readable UTF-8");
        let script = parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        if server.is_redis() && script.needs_newer {
            continue;
        }
        if server.try_client().and_then(|mut client| client.call(["PING"])).is_err() {
            eprintln!("the server is gone; starting another for {name}\n{}", server.log());
            server = Server::start(Options::default());
        }
        let mut run = Run::new(&server, script.resp3);
        let outcome = run.script(&script, update);
        run.finish();
        ran += 1;
        steps += script.items.len();
        match outcome {
            Ok(items) if update => fs::write(path, write(&items)).expect("scripts are writable"),
            Ok(_) => {}
            Err(why) => failed.push(format!("{name}\n{why}")),
        }
    }
    println!("{ran} scripts, {steps} lines and steps, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {ran} scripts failed:\n{}", failed.len(), failed.join("\n"));
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("tests/golden is readable") {
        let path = entry.expect("tests/golden is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            into.push(path);
        }
    }
}

#[derive(Debug, Clone)]
struct Script {
    items: Vec<Item>,
    resp3: bool,
    needs_newer: bool,
}

#[derive(Debug, Clone)]
enum Item {
    /// Comments and blank lines.
    Text(String),
    Directive(String),
    Step(Step),
}

#[derive(Debug, Clone)]
struct Step {
    line_number: usize,
    raw: String,
    connection: usize,
    mode: Mode,
    /// `None`: receive only.
    command: Option<Vec<Vec<u8>>>,
    expected: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exact,
    Sorted,
    SortedPairs,
    Eventually,
    Patient,
}

fn parse(text: &str) -> Result<Script, String> {
    let resp3 = text.lines().next().is_some_and(|line| line.trim() == "# resp3");
    let needs_newer = text.lines().any(|line| line.starts_with("# needs "));
    let mut items: Vec<Item> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let step = parse_step(line, index + 1).map_err(|why| format!("line {}: {why}", index + 1))?;
        if let Some(step) = step {
            items.push(Item::Step(step));
        } else if line.is_empty() || line.starts_with('#') {
            items.push(Item::Text(line.to_owned()));
        } else if let Some(directive) = line.strip_prefix("! ") {
            items.push(Item::Directive(directive.to_owned()));
        } else if let Some(Item::Step(step)) = items.last_mut() {
            step.expected.push(line.to_owned());
        } else {
            return Err(format!("line {}: a reply without a command", index + 1));
        }
    }
    Ok(Script { items, resp3, needs_newer })
}

/// `[connection][mode]> command` or `connection<`.
fn parse_step(line: &str, line_number: usize) -> Result<Option<Step>, String> {
    let digit = line.bytes().next().filter(|b| (b'1'..=b'9').contains(b));
    let connection = digit.map_or(1, |b| usize::from(b - b'0'));
    let rest = &line[usize::from(digit.is_some())..];
    let (mode, rest) = match rest.as_bytes() {
        [b'~', b'>', ..] => (Mode::Sorted, &rest[1..]),
        [b'%', b'>', ..] => (Mode::SortedPairs, &rest[1..]),
        [b'.', b'>', ..] => (Mode::Patient, &rest[1..]),
        [b'?', b'>', ..] => (Mode::Eventually, &rest[1..]),
        _ => (Mode::Exact, rest),
    };
    let command = if digit.is_some() && rest == "<" {
        None
    } else if let Some(words) = rest.strip_prefix("> ") {
        Some(notation::split_command(words)?)
    } else {
        return Ok(None);
    };
    let raw = line.to_owned();
    Ok(Some(Step { line_number, raw, connection, mode, command, expected: Vec::new() }))
}

fn write(items: &[Item]) -> String {
    let mut out = String::new();
    for item in items {
        match item {
            Item::Text(line) => out.push_str(line),
            Item::Directive(line) => out.push_str(&format!("! {line}")),
            Item::Step(step) => {
                out.push_str(&step.raw);
                step.expected.iter().for_each(|line| out.push_str(&format!("\n{line}")));
            }
        }
        out.push('\n');
    }
    out
}

/// A connection of a script and the id that CLIENT LIST knows it by.
struct Connection {
    client: Client,
    id: i64,
}

struct Run<'a> {
    server: &'a Server,
    resp3: bool,
    side: Client,
    connections: BTreeMap<usize, Option<Connection>>,
    /// Directives to set back.
    changed: Vec<(String, Vec<u8>)>,
}

impl<'a> Run<'a> {
    fn new(server: &'a Server, resp3: bool) -> Self {
        let mut side = server.client();
        let flushed = side.call(["FLUSHALL"]).expect("the side connection works");
        assert_eq!(flushed, Value::ok(), "FLUSHALL before a script");
        Self { server, resp3, side, connections: BTreeMap::new(), changed: Vec::new() }
    }

    /// Runs all steps. Gives the items with the replies that came, or all mismatches as text.
    fn script(&mut self, script: &Script, update: bool) -> Result<Vec<Item>, String> {
        let mut items = script.items.clone();
        let mut mismatches = Vec::new();
        for item in &mut items {
            match item {
                Item::Text(_) => {}
                Item::Directive(line) => {
                    self.directive(line).unwrap_or_else(|why| mismatches.push(format!("  ! {line}: {why}")));
                }
                Item::Step(step) => {
                    let got = self.step(step, update);
                    if matches(&step.expected, &got) {
                        continue;
                    }
                    if !update {
                        mismatches.push(mismatch(step, &got));
                    }
                    step.expected = got;
                }
            }
        }
        self.complain_about_unread(&mut mismatches);
        if mismatches.is_empty() || update { Ok(items) } else { Err(mismatches.join("\n")) }
    }

    fn complain_about_unread(&mut self, mismatches: &mut Vec<String>) {
        for (number, connection) in &mut self.connections {
            let Some(connection) = connection else { continue };
            if let Ok(Some(more)) = connection.client.receive_within(Duration::from_millis(1)) {
                let more = notation::show(&more);
                mismatches.push(format!("  connection {number} received something more:\n{more}"));
            }
        }
    }

    fn step(&mut self, step: &Step, update: bool) -> Vec<String> {
        if step.mode != Mode::Eventually || (update && step.expected.is_empty()) {
            return self.attempt(step);
        }
        let begin = Instant::now();
        loop {
            let got = self.attempt(step);
            if matches(&step.expected, &got) || begin.elapsed() > SOON {
                return got;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn attempt(&mut self, step: &Step) -> Vec<String> {
        let Some(connection) = self.connection(step.connection) else {
            return vec!["(connection closed)".into()];
        };
        if let Some(command) = &step.command {
            connection.client.queue(command);
            // A closed connection shows at the next read.
            let _ = connection.client.flush();
        }
        match self.await_reply(step) {
            Ok(Ok(value)) => notation::lines(&arranged(value, step.mode)),
            Ok(Err(silence)) => vec![silence.into()],
            Err(_) => {
                self.connections.insert(step.connection, None);
                vec!["(connection closed)".into()]
            }
        }
    }

    /// A reply, or the name of the silence that there was instead.
    fn await_reply(&mut self, step: &Step) -> std::io::Result<Result<Value, &'static str>> {
        let begin = Instant::now();
        let expects = |what: &str| step.expected.first().is_some_and(|line| line == what);
        loop {
            let connection = self.connection(step.connection).expect("checked by the caller");
            let id = connection.id;
            if let Some(value) = connection.client.receive_within(Duration::from_millis(20))? {
                return Ok(Ok(value));
            }
            // A command that waits is told by CLIENT LIST. Receiving alone gives a served waiter time to be answered.
            let at_once = step.command.is_some() && step.mode != Mode::Patient || expects("(blocked)");
            let patience = if at_once { Duration::ZERO } else { SOON };
            if begin.elapsed() >= patience && self.is_blocked(id) {
                return Ok(Err("(blocked)"));
            }
            if begin.elapsed() > if expects("(no reply)") { SILENCE } else { SOON } {
                return Ok(Err("(no reply)"));
            }
        }
    }

    fn is_blocked(&mut self, id: i64) -> bool {
        let list = self.side.call(["CLIENT", "LIST", "ID", &id.to_string()]);
        let list = list.ok().and_then(|list| list.bytes().map(|b| String::from_utf8_lossy(b).into_owned()));
        let list = list.unwrap_or_default();
        let flags = list.split_whitespace().find_map(|field| field.strip_prefix("flags="));
        flags.is_some_and(|flags| flags.contains('b'))
    }

    fn connection(&mut self, number: usize) -> Option<&mut Connection> {
        if !self.connections.contains_key(&number) {
            let mut client = self.server.client();
            if self.resp3 {
                client.call(["HELLO", "3"]).expect("HELLO 3 is answered");
            }
            let id = client.call(["CLIENT", "ID"]).ok().and_then(|id| id.integer()).unwrap_or(0);
            self.connections.insert(number, Some(Connection { client, id }));
        }
        self.connections.get_mut(&number).expect("just made").as_mut()
    }

    fn directive(&mut self, line: &str) -> Result<(), String> {
        let words = notation::split_command(line)?;
        let text = |i: usize| String::from_utf8_lossy(words.get(i).map_or(b"", |w| w)).into_owned();
        match text(0).as_str() {
            "flush" => self.side(&["FLUSHALL".into()]),
            "reconnect" => {
                self.connections.remove(&text(1).parse().map_err(|_| "which connection?")?);
                Ok(())
            }
            "config" => {
                let old = self.side.call(["CONFIG", "GET", &text(1)]).map_err(|e| e.to_string())?;
                let old = old
                    .items()
                    .get(1)
                    .and_then(|v| v.bytes().map(<[u8]>::to_vec))
                    .ok_or("no such directive")?;
                self.changed.push((text(1), old));
                self.side(&["CONFIG".into(), "SET".into(), text(1), text(2)])
            }
            "repeat" => {
                for i in 1..=text(1).parse().map_err(|_| "how often?")? {
                    let fill =
                        |word: &Vec<u8>| String::from_utf8_lossy(word).replace("$i", &i32::to_string(&i));
                    self.side(&words[2..].iter().map(fill).collect::<Vec<_>>())?;
                }
                Ok(())
            }
            other => Err(format!("unknown directive {other}")),
        }
    }

    fn side(&mut self, command: &[String]) -> Result<(), String> {
        let reply = self.side.call(command).map_err(|e| e.to_string())?;
        if reply.is_error() { Err(notation::show(&reply)) } else { Ok(()) }
    }

    /// Takes configuration changes back; the connections close on drop.
    fn finish(mut self) {
        for (name, value) in std::mem::take(&mut self.changed).into_iter().rev() {
            let _ = self.side.call([b"CONFIG", b"SET".as_slice(), name.as_bytes(), &value]);
        }
    }
}

fn arranged(value: Value, mode: Mode) -> Value {
    match (mode, value) {
        (Mode::Sorted, Value::Array(items)) => Value::Array(sorted(items)),
        (Mode::Sorted, Value::Set(items)) => Value::Set(sorted(items)),
        (Mode::Sorted | Mode::SortedPairs, Value::Map(mut pairs)) => {
            pairs.sort();
            Value::Map(pairs)
        }
        (Mode::SortedPairs, Value::Array(items)) if items.len() % 2 == 0 => {
            let mut pairs: Vec<_> = items.chunks_exact(2).map(<[Value]>::to_vec).collect();
            pairs.sort();
            Value::Array(pairs.concat())
        }
        (_, value) => value,
    }
}

fn sorted(items: Vec<Value>) -> Vec<Value> {
    let mut items: Vec<Value> = items.into_iter().map(|item| arranged(item, Mode::Sorted)).collect();
    items.sort();
    items
}

fn matches(expected: &[String], got: &[String]) -> bool {
    for (i, line) in expected.iter().enumerate() {
        if line == "*" {
            return true;
        }
        let Some(got) = got.get(i) else { return false };
        let fits = line.strip_prefix("* ").map_or(line == got, |pattern| glob(pattern, got));
        if !fits {
            return false;
        }
    }
    expected.len() == got.len()
}

/// `*` stands for any text, also none; everything else for itself.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|skip| rest.get(skip..).is_some_and(|rest| glob(tail, rest)))
}

fn mismatch(step: &Step, got: &[String]) -> String {
    let show =
        |lines: &[String]| lines.iter().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n");
    let Step { line_number, raw, expected, .. } = step;
    format!("  line {line_number}: {raw}\n    expected\n{}\n    got\n{}", show(expected), show(got))
}

#[test]
fn a_reply_that_differs_is_noticed() {
    let lines = |text: &[&str]| text.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert!(matches(&lines(&["1) \"a\"", "2) \"b\""]), &lines(&["1) \"a\"", "2) \"b\""])));
    assert!(!matches(&lines(&["1) \"a\""]), &lines(&["1) \"a\"", "2) \"b\""])));
    assert!(!matches(&lines(&["1) \"a\"", "2) \"b\""]), &lines(&["1) \"a\""])));
    assert!(matches(&lines(&["* (integer) 9*"]), &lines(&["(integer) 99"])));
    assert!(!matches(&lines(&["* (integer) 9*"]), &lines(&["(integer) 89"])));
    assert!(matches(&lines(&["*"]), &lines(&["anything", "at all"])));
}
