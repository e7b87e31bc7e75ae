//! A command's syntax line as the tree of arguments that COMMAND DOCS shows.
//!
//! ```text
//! sequence      item item ...
//! item          word | TOKEN | [ alternatives ] | < alternatives >
//! alternatives  sequence | sequence | ...
//! [x ...]       behind x: x may be repeated; [...]: the whole group may be
//! ```
//!
//! A token belongs to what follows it in its sequence. Types are guessed from names. Names of groups are ours where Redis has no
//! rule for them. The input is the crate's own declarations: any text gives some tree, but only a sensible one a sensible tree.

use crate::command::{Command, Group};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// As COMMAND DOCS calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// One argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is repeated with each repetition.
    pub multiple_token: bool,
    /// Which of the command's key specifications a key belongs to.
    pub key_spec: Option<usize>,
    pub children: Vec<Argument>,
}

impl Argument {
    fn new(name: String, kind: Kind) -> Self {
        let (token, key_spec, children) = (None, None, Vec::new());
        Self {
            name,
            kind,
            token,
            optional: false,
            multiple: false,
            multiple_token: false,
            key_spec,
            children,
        }
    }

    fn group(kind: Kind, children: Vec<Self>) -> Self {
        let name = match kind {
            Kind::OneOf => one_of_name(&children),
            _ => children.iter().map(|child| child.name.as_str()).collect::<Vec<_>>().join("_"),
        };
        Self { children, ..Self::new(name, kind) }
    }

    fn is_bare_token(&self) -> bool {
        self.kind == Kind::PureToken && !self.optional && !self.multiple
    }
}

/// The arguments of a command.
pub fn arguments(command: &Command) -> Vec<Argument> {
    let words = words(command.syntax);
    let mut parser = Parser { words: &words, at: 0, command };
    let mut arguments = Vec::new();
    while parser.at < words.len() {
        let start = parser.at;
        // Only a stray closing bracket or bar stops it before the end; they are passed over.
        arguments.extend(parser.sequence(start, &mut false));
        parser.at += 1;
    }
    number_keys(&mut arguments, &mut 0, command.keys.len());
    arguments
}

fn words(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for chunk in syntax.split_ascii_whitespace() {
        let mut rest = chunk;
        while let Some(at) = rest.find(['[', ']', '<', '>', '|']) {
            if at > 0 {
                words.push(&rest[..at]);
            }
            words.push(&rest[at..at + 1]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
    command: &'a Command,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).copied()
    }

    /// Reads up to a bar, a closing bracket or the end. `group_start` is where the enclosing group began; `group_repeats` is
    /// set when the whole of it may be repeated.
    fn sequence(&mut self, group_start: usize, group_repeats: &mut bool) -> Vec<Argument> {
        // Each with the place of its first word.
        let mut items: Vec<(usize, Argument)> = Vec::new();
        while let Some(word) = self.peek() {
            let start = self.at;
            match word {
                "|" | "]" | ">" => break,
                "..." => self.at += 1,
                "[" => match self.repetition() {
                    Some(end) => {
                        let repeated = &self.words[start + 1..end - 2];
                        if repeated.is_empty() {
                            *group_repeats = true;
                        } else if !repeat(&mut items, self.words, start, repeated) {
                            *group_repeats |= self.words[group_start..start] == *repeated;
                        }
                        self.at = end;
                    }
                    None => items.extend(self.group("]").map(|group| (start, optional(group)))),
                },
                "<" => items.extend(self.group(">").map(|group| (start, group))),
                word => {
                    items.push((start, self.word(word)));
                    self.at += 1;
                }
            }
        }
        fold_tokens(items.into_iter().map(|(_, item)| item).collect())
    }

    /// Whether the bracket here is `[... ...]` without groups that end earlier: the place behind it.
    fn repetition(&self) -> Option<usize> {
        let mut depth = 0;
        for (at, word) in self.words.iter().enumerate().skip(self.at) {
            match *word {
                "[" | "<" => depth += 1,
                "]" | ">" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return (self.words[at - 1] == "..." && at - 1 > self.at).then_some(at + 1);
            }
        }
        None
    }

    /// Reads a group, from its opening bracket to behind its closing one.
    fn group(&mut self, close: &str) -> Option<Argument> {
        self.at += 1;
        let start = self.at;
        let mut repeats = false;
        let mut alternatives = vec![self.sequence(start, &mut repeats)];
        while self.peek() == Some("|") {
            self.at += 1;
            alternatives.push(self.sequence(start, &mut repeats));
        }
        if self.peek() == Some(close) {
            self.at += 1;
        }
        let mut choices: Vec<Argument> = alternatives.into_iter().filter_map(single).collect();
        let mut group =
            if choices.len() > 1 { Argument::group(Kind::OneOf, choices) } else { choices.pop()? };
        group.multiple |= repeats;
        Some(group)
    }

    fn word(&self, word: &str) -> Argument {
        if is_token(word) {
            let mut token = Argument::new(word.to_ascii_lowercase(), Kind::PureToken);
            token.token = Some(word.to_owned());
            return token;
        }
        Argument::new(word.to_owned(), kind_of(word, self.command))
    }
}

fn optional(mut argument: Argument) -> Argument {
    argument.optional = true;
    argument
}

/// One argument out of a sequence.
fn single(mut sequence: Vec<Argument>) -> Option<Argument> {
    if sequence.len() > 1 { Some(Argument::group(Kind::Block, sequence)) } else { sequence.pop() }
}

/// Marks the last items as repeatable if they are what `[... ...]` repeats.
fn repeat(items: &mut Vec<(usize, Argument)>, words: &[&str], end: usize, repeated: &[&str]) -> bool {
    let Some(first) = items.iter().rposition(|(start, _)| words[*start..end] == *repeated) else {
        return false;
    };
    let start = items[first].0;
    let run: Vec<Argument> = items.drain(first..).map(|(_, item)| item).collect();
    let with_token = run.len() > 1 && run[0].is_bare_token();
    let Some(mut argument) = single(fold_tokens(run)) else { return false };
    argument.multiple = true;
    argument.multiple_token = with_token;
    items.push((start, argument));
    true
}

/// Gives each token to what follows it.
fn fold_tokens(mut items: Vec<Argument>) -> Vec<Argument> {
    let Some(at) = items.iter().position(Argument::is_bare_token) else { return items };
    if at + 1 == items.len() {
        return items;
    }
    let mut rest = items.split_off(at + 1);
    let token = items.pop().expect("a token was found at the end of what is left");
    let mut owner = if rest.len() == 1 && rest[0].token.is_none() {
        rest.remove(0)
    } else {
        Argument { name: token.name, ..Argument::group(Kind::Block, fold_tokens(rest)) }
    };
    owner.token = token.token;
    items.push(owner);
    items
}

fn is_token(word: &str) -> bool {
    let has = |test: fn(&char) -> bool| word.chars().any(|char| test(&char));
    !has(char::is_ascii_lowercase) && (has(char::is_ascii_uppercase) || matches!(word, "*" | "~" | "=" | "$"))
}

fn one_of_name(choices: &[Argument]) -> String {
    let has = |token: &str| choices.iter().any(|choice| choice.token.as_deref() == Some(token));
    match () {
        () if has("NX") && has("XX") => "condition".to_owned(),
        () if has("EX") && has("PX") => "expiration".to_owned(),
        () if has("BEFORE") => "where".to_owned(),
        () => choices.iter().map(|choice| choice.name.as_str()).collect::<Vec<_>>().join("-"),
    }
}

fn kind_of(name: &str, command: &Command) -> Kind {
    let is_float = command.name.ends_with("float");
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" | "sourcekey" => Kind::Key,
        "pattern" => Kind::Pattern,
        "unix-time-seconds" | "unix-time-milliseconds" => Kind::UnixTime,
        "timeout" if matches!(command.group, Group::List | Group::SortedSet) => Kind::Double,
        "increment" if is_float => Kind::Double,
        "value" if command.group == Group::Bitmap => Kind::Integer,
        "score" | "min" | "max" | "longitude" | "latitude" | "radius" | "width" | "height" => Kind::Double,
        "seconds" | "milliseconds" | "count" | "offset" | "start" | "stop" | "end" | "index" | "index1"
        | "index2" | "cursor" | "db" | "destination-db" | "increment" | "decrement" | "len"
        | "min-match-len" | "rank" | "num-matches" | "maxlen" | "timeout" | "numkeys" | "numfields"
        | "numlocal" | "numreplicas" | "bit" | "client-id" | "protover" | "version" | "maxage"
        | "samples" => Kind::Integer,
        _ => Kind::String,
    }
}

/// Keys take the specifications in turn; the last one serves all that are left.
fn number_keys(arguments: &mut [Argument], next: &mut usize, specs: usize) {
    for argument in arguments {
        if argument.kind == Kind::Key && specs > 0 {
            argument.key_spec = Some((*next).min(specs - 1));
            *next += 1;
        }
        number_keys(&mut argument.children, next, specs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::KeySpec;

    /// A tree in one line: `name:type`, token before `=`, `?` optional, `*` multiple, `^` multiple token.
    fn show(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let token = argument.token.as_ref().map(|token| format!("{token}=")).unwrap_or_default();
            let flags: String =
                [('?', argument.optional), ('*', argument.multiple), ('^', argument.multiple_token)]
                    .into_iter()
                    .filter_map(|(flag, set)| set.then_some(flag))
                    .collect();
            let children = match argument.children.is_empty() {
                true => String::new(),
                false => format!("({})", show(&argument.children)),
            };
            let key = argument.key_spec.map(|spec| format!("#{spec}")).unwrap_or_default();
            format!("{token}{}{key}:{}{flags}{children}", argument.name, argument.kind.name())
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn parse(command: &Command) -> String {
        show(&arguments(command))
    }

    const ONE_KEY: &[KeySpec] = &[KeySpec::at(1, &["RW"])];
    const TWO_KEYS: &[KeySpec] = &[KeySpec::at(1, &["RO"]), KeySpec::at(2, &["OW"])];

    /// The trees are those that redis-server 7.0.15 shows, but for names of groups.
    #[test]
    fn trees_of_common_commands_are_those_of_redis() {
        let command = |name, group, keys, syntax| Command { name, group, keys, syntax, ..Command::DEFAULT };
        let rows = [
            (command("ping", Group::Connection, &[], "[message]"), "message:string?"),
            (command("get", Group::String, ONE_KEY, "key"), "key#0:key"),
            (
                command(
                    "set",
                    Group::String,
                    ONE_KEY,
                    "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
                ),
                "key#0:key value:string condition:oneof?(NX=nx:pure-token XX=xx:pure-token) GET=get:pure-token? \
                 expiration:oneof?(EX=seconds:integer PX=milliseconds:integer EXAT=unix-time-seconds:unix-time \
                 PXAT=unix-time-milliseconds:unix-time KEEPTTL=keepttl:pure-token)",
            ),
            (
                command("mset", Group::String, ONE_KEY, "key value [key value ...]"),
                "key_value:block*(key#0:key value:string)",
            ),
            (command("del", Group::Generic, ONE_KEY, "key [key ...]"), "key#0:key*"),
            (
                command(
                    "lpos",
                    Group::List,
                    ONE_KEY,
                    "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
                ),
                "key#0:key element:string RANK=rank:integer? COUNT=num-matches:integer? MAXLEN=len:integer?",
            ),
            (
                command("copy", Group::Generic, TWO_KEYS, "source destination [DB destination-db] [REPLACE]"),
                "source#0:key destination#1:key DB=destination-db:integer? REPLACE=replace:pure-token?",
            ),
            (
                command("linsert", Group::List, ONE_KEY, "key <BEFORE | AFTER> pivot element"),
                "key#0:key where:oneof(BEFORE=before:pure-token AFTER=after:pure-token) pivot:string element:string",
            ),
            (
                command("lmpop", Group::List, ONE_KEY, "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]"),
                "numkeys:integer key#0:key* left-right:oneof(LEFT=left:pure-token RIGHT=right:pure-token) \
                 COUNT=count:integer?",
            ),
            (
                command(
                    "sort",
                    Group::Generic,
                    ONE_KEY,
                    "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]]",
                ),
                "key#0:key BY=pattern:pattern? LIMIT=limit:block?(offset:integer count:integer) \
                 GET=pattern:pattern?*^",
            ),
            (
                command(
                    "bitfield",
                    Group::Bitmap,
                    ONE_KEY,
                    "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> ...]]",
                ),
                "key#0:key get-wrap-sat-fail_set-incrby:oneof?*(GET=get:block(encoding:string offset:integer) \
                 wrap-sat-fail_set-incrby:block(OVERFLOW=wrap-sat-fail:oneof?(WRAP=wrap:pure-token SAT=sat:pure-token \
                 FAIL=fail:pure-token) set-incrby:oneof(SET=set:block(encoding:string offset:integer value:integer) \
                 INCRBY=incrby:block(encoding:string offset:integer increment:integer))))",
            ),
            (
                command(
                    "hexpire",
                    Group::Hash,
                    ONE_KEY,
                    "key seconds [NX | XX] FIELDS numfields field [field ...]",
                ),
                "key#0:key seconds:integer condition:oneof?(NX=nx:pure-token XX=xx:pure-token) \
                 FIELDS=fields:block(numfields:integer field:string*)",
            ),
            (command("incrbyfloat", Group::String, ONE_KEY, "key increment"), "key#0:key increment:double"),
            (command("blpop", Group::List, ONE_KEY, "key [key ...] timeout"), "key#0:key* timeout:double"),
            (
                command("bzpopmin", Group::SortedSet, ONE_KEY, "key [key ...] timeout"),
                "key#0:key* timeout:double",
            ),
        ];
        for (command, expected) in rows {
            assert_eq!(parse(&command), expected, "{}", command.syntax);
        }
    }

    #[test]
    fn odd_syntax_gives_some_tree() {
        for syntax in
            ["[", "]", "<a", "a | b", "[ ... ]", "[[[", "A", "[a [b ...]]", "...", "<>", "[x ...]", "[...]"]
        {
            arguments(&Command { syntax, ..Command::DEFAULT });
        }
    }
}
