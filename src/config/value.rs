//! The kinds of directives: how the words of a value are read, and how a value is written back.
//!
//! Error texts are Redis'. Limits of the operating system and whether a path exists are not checked here.

use std::borrow::Cow;

use bitflags::bitflags;

pub use super::log_retain::LogRetain;

/// A value as it is kept: one number, or one text in the form in which CONFIG GET shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Booleans are 0 and 1, choices the index of their name, sizes the bits of a u64, percentages negative.
    Number(i64),
    Text(String),
}

/// Why a value is refused, in Redis' words.
pub type Refusal = Cow<'static, str>;

/// How a value is read and written.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// A number of bytes, with `k` = 1000, `kb` = 1024 and so on up to `gb`.
    Size {
        min: u64,
        max: u64,
    },
    /// A number of bytes, or a percentage of `maxmemory`.
    SizeOrPercent,
    /// A time or a number of bytes, always with its unit; or 0.
    LogRetain,
    /// A file mode.
    Octal,
    Choice(&'static [&'static str]),
    Text(TextRule),
    /// Several words, shown with a blank between them.
    Words(WordsRule),
    /// Pairs of seconds and changes.
    Save,
    /// `class hard soft seconds`, once or more.
    BufferLimits,
    Notify,
    Shutdown,
}

/// What a text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextRule {
    Any,
    /// A name without `/`, with the directive's name and the noun Redis uses for it; empty or not.
    FileName(&'static str, bool),
    DirName(&'static str),
    TitleTemplate,
}

/// What a list of words must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordsRule {
    Addresses,
    Percentiles,
    OomScores,
    ReplicaOf,
}

/// Client classes that have an output buffer limit, in the order of the table in [`Kind::BufferLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    Normal,
    Replica,
    PubSub,
}

/// How much output may wait for a client before it is closed. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputBufferLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    /// How long the output may be over `soft_bytes`.
    pub soft_seconds: u64,
}

/// A limit of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    Bytes(u64),
    /// 1 to 100.
    PercentOfMaxmemory(u8),
}

bitflags! {
    /// Classes of keyspace notifications, the letters of `notify-keyspace-events`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Notify: u32 {
        const GENERIC = 1;
        const STRING = 1 << 1;
        const LIST = 1 << 2;
        const SET = 1 << 3;
        const HASH = 1 << 4;
        const SORTED_SET = 1 << 5;
        const EXPIRED = 1 << 6;
        const EVICTED = 1 << 7;
        const STREAM = 1 << 8;
        const MODULE = 1 << 9;
        const NEW_KEY = 1 << 10;
        const KEYSPACE = 1 << 11;
        const KEYEVENT = 1 << 12;
        const KEY_MISS = 1 << 13;
        /// The letter `A`: all but new keys, misses and where to send.
        const ALL = (1 << 10) - 1;
    }

    /// The words of `shutdown-on-sigint` and `shutdown-on-sigterm`; none is `default`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ShutdownFlags: u32 {
        const SAVE = 1;
        const NOSAVE = 2;
        const NOW = 4;
        const FORCE = 8;
    }
}

/// In the order in which Redis shows them.
const NOTIFY_LETTERS: [(char, Notify); 14] = [
    ('g', Notify::GENERIC),
    ('$', Notify::STRING),
    ('l', Notify::LIST),
    ('s', Notify::SET),
    ('h', Notify::HASH),
    ('z', Notify::SORTED_SET),
    ('x', Notify::EXPIRED),
    ('e', Notify::EVICTED),
    ('t', Notify::STREAM),
    ('d', Notify::MODULE),
    ('n', Notify::NEW_KEY),
    ('K', Notify::KEYSPACE),
    ('E', Notify::KEYEVENT),
    ('m', Notify::KEY_MISS),
];

const SHUTDOWN_WORDS: [(&str, ShutdownFlags); 4] = [
    ("save", ShutdownFlags::SAVE),
    ("nosave", ShutdownFlags::NOSAVE),
    ("now", ShutdownFlags::NOW),
    ("force", ShutdownFlags::FORCE),
];

pub(super) const CLASS_NAMES: [&str; 3] = ["normal", "replica", "pubsub"];
const BIND_ADDRESSES_MAX: usize = 16;

impl Kind {
    /// Whether the value may be several words; then one word with blanks inside is taken apart.
    pub fn takes_many_words(self) -> bool {
        matches!(self, Self::Words(_) | Self::Save | Self::BufferLimits | Self::Shutdown)
    }

    /// Whether a file may have several lines of it that add up.
    pub fn adds_up(self) -> bool {
        matches!(self, Self::Save | Self::BufferLimits)
    }

    /// Reads a value. `current` is what the value is now: buffer limits change only the classes that are named.
    pub fn parse(self, words: &[&str], current: &str) -> Result<Value, Refusal> {
        if self.takes_many_words() {
            let words: Vec<&str> = match words {
                // As Redis: each blank separates two words, of which one may be empty. Addresses are read more kindly.
                [one] if matches!(self, Self::Words(_)) => one.split_ascii_whitespace().collect(),
                [""] => Vec::new(),
                [one] => one.split(' ').collect(),
                many => many.to_vec(),
            };
            return self.parse_many(&words, current);
        }
        let [word] = words else { return Err("wrong number of arguments".into()) };
        self.parse_one(word)
    }

    fn parse_one(self, word: &str) -> Result<Value, Refusal> {
        Ok(match self {
            Self::Bool if word.eq_ignore_ascii_case("yes") => Value::Number(1),
            Self::Bool if word.eq_ignore_ascii_case("no") => Value::Number(0),
            Self::Bool => return Err("argument must be 'yes' or 'no'".into()),
            Self::Int { min, max } => {
                let number = integer(word).ok_or("argument couldn't be parsed into an integer")?;
                in_range(number, min, max)?;
                Value::Number(number)
            }
            Self::Size { min, max } => {
                let bytes = size(word).ok_or("argument must be a memory value")?;
                in_range(bytes, min, max)?;
                Value::Number(bytes as i64)
            }
            Self::SizeOrPercent => Value::Number(size_or_percent(word)?),
            Self::LogRetain => Value::Number(LogRetain::parse(word)?.to_number()),
            Self::Octal => match u32::from_str_radix(word, 8) {
                Ok(mode @ 0..=0o777) if !word.starts_with('+') => Value::Number(i64::from(mode)),
                _ => return Err("argument couldn't be parsed as an octal number".into()),
            },
            Self::Choice(names) => match names.iter().position(|name| name.eq_ignore_ascii_case(word)) {
                Some(index) => Value::Number(index as i64),
                None => return Err(one_of(names.iter().copied())),
            },
            Self::Text(rule) => rule.check(word).map(|()| Value::Text(word.to_string()))?,
            Self::Notify => match notify_flags(word) {
                Some(flags) => Value::Number(i64::from(flags.bits())),
                None => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            },
            Self::Words(_) | Self::Save | Self::BufferLimits | Self::Shutdown => {
                return self.parse_many(&[word], "");
            }
        })
    }

    fn parse_many(self, words: &[&str], current: &str) -> Result<Value, Refusal> {
        match self {
            Self::Words(rule) => rule.check(words),
            Self::Save => save_points(words),
            Self::BufferLimits => buffer_limits(words, current),
            Self::Shutdown => shutdown_flags(words),
            _ => Err("wrong number of arguments".into()),
        }
    }

    /// A value as CONFIG GET shows it.
    pub fn show(self, value: &Value) -> String {
        let number = match value {
            Value::Text(text) => return text.clone(),
            Value::Number(number) => *number,
        };
        match self {
            Self::Bool => if number != 0 { "yes" } else { "no" }.to_string(),
            Self::Size { .. } => (number as u64).to_string(),
            Self::LogRetain => LogRetain::from_number(number).to_string(),
            Self::SizeOrPercent if number < 0 => format!("{}%", number.unsigned_abs()),
            Self::Octal => format!("{number:o}"),
            Self::Choice(names) => choice_name(names, number).to_string(),
            Self::Notify => show_notify(Notify::from_bits_truncate(number as u32)),
            Self::Shutdown => show_shutdown(ShutdownFlags::from_bits_truncate(number as u32)),
            _ => number.to_string(),
        }
    }
}

/// The name of a choice that was kept as its index.
pub(super) fn choice_name(names: &'static [&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or(names[0])
}

fn in_range<N: PartialOrd + std::fmt::Display>(number: N, min: N, max: N) -> Result<(), Refusal> {
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(())
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> Refusal {
    let names: Vec<_> = names.collect();
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

/// Redis' strict integers: no blank, no plus sign, no leading zero.
pub(super) fn integer(word: &str) -> Option<i64> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let strict = word == "0" || (digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'));
    if strict { word.parse().ok() } else { None }
}

/// A number of bytes with its unit. Nothing at all is 0, as in Redis.
pub(super) fn size(word: &str) -> Option<u64> {
    let digits_len = word.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = word.split_at(digits_len);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() {
        return word.is_empty().then_some(0);
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A number of bytes with the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn size_or_percent(word: &str) -> Result<i64, Refusal> {
    const REFUSAL: &str = "argument must be a memory or percent value";
    match word.strip_suffix('%') {
        Some(percent) => match integer(percent) {
            Some(percent @ 0..=100) => Ok(-percent),
            Some(101..) => Err("percentage argument must be less or equal to 100".into()),
            _ => Err(REFUSAL.into()),
        },
        None => Ok(size(word).and_then(|bytes| i64::try_from(bytes).ok()).ok_or(REFUSAL)?),
    }
}

fn notify_flags(letters: &str) -> Option<Notify> {
    letters.chars().try_fold(Notify::empty(), |flags, letter| match letter {
        'A' => Some(flags | Notify::ALL),
        _ => NOTIFY_LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, flag)| flags | *flag),
    })
}

fn show_notify(flags: Notify) -> String {
    let all = flags.contains(Notify::ALL);
    let mut out = String::from(if all { "A" } else { "" });
    let shown = NOTIFY_LETTERS.iter().filter(|(_, flag)| flags.contains(*flag));
    out.extend(shown.filter(|(_, flag)| !(all && Notify::ALL.contains(*flag))).map(|(letter, _)| letter));
    out
}

fn shutdown_flags(words: &[&str]) -> Result<Value, Refusal> {
    let mut flags = ShutdownFlags::empty();
    for word in words {
        if word.eq_ignore_ascii_case("default") {
            continue;
        }
        match SHUTDOWN_WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            Some((_, flag)) => flags |= *flag,
            None => return Err(one_of(["default", "save", "nosave", "now", "force"].into_iter())),
        }
    }
    if flags.contains(ShutdownFlags::SAVE | ShutdownFlags::NOSAVE) {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    Ok(Value::Number(i64::from(flags.bits())))
}

fn show_shutdown(flags: ShutdownFlags) -> String {
    if flags.is_empty() {
        return "default".to_string();
    }
    let words = SHUTDOWN_WORDS.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(name, _)| *name);
    words.collect::<Vec<_>>().join(" ")
}

fn save_points(words: &[&str]) -> Result<Value, Refusal> {
    const REFUSAL: &str = "Invalid save parameters";
    if !words.len().is_multiple_of(2) {
        return Err(REFUSAL.into());
    }
    for pair in words.chunks_exact(2) {
        if !matches!((integer(pair[0]), integer(pair[1])), (Some(1..), Some(0..))) {
            return Err(REFUSAL.into());
        }
    }
    Ok(Value::Text(words.join(" ")))
}

/// Reads the canonical text of buffer limits, or any text of the same form.
pub(super) fn limits_of(text: &str) -> [OutputBufferLimit; 3] {
    let mut limits = [OutputBufferLimit::default(); 3];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    for group in words.chunks_exact(4) {
        if let (Some(class), Some(limit)) = (class_index(group[0]), buffer_limit(group)) {
            limits[class] = limit;
        }
    }
    limits
}

fn class_index(name: &str) -> Option<usize> {
    let name = if name.eq_ignore_ascii_case("slave") { "replica" } else { name };
    CLASS_NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))
}

fn buffer_limit(group: &[&str]) -> Option<OutputBufferLimit> {
    let soft_seconds = u64::try_from(integer(group[3])?).ok()?;
    Some(OutputBufferLimit { hard_bytes: size(group[1])?, soft_bytes: size(group[2])?, soft_seconds })
}

fn buffer_limits(words: &[&str], current: &str) -> Result<Value, Refusal> {
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = limits_of(current);
    for group in words.chunks_exact(4) {
        let class =
            class_index(group[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
        limits[class] = buffer_limit(group)
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
    }
    // CONFIG GET of Redis says `slave` to this day, and clients compare it.
    let shown = ["normal", "slave", "pubsub"].iter().zip(limits).map(|(name, limit)| {
        format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    });
    Ok(Value::Text(shown.collect::<Vec<_>>().join(" ")))
}

impl TextRule {
    fn check(self, text: &str) -> Result<(), Refusal> {
        match self {
            Self::Any => Ok(()),
            Self::FileName(name, true) | Self::DirName(name) if text.is_empty() => {
                Err(format!("{name} can't be empty").into())
            }
            Self::FileName(name, _) if text.contains('/') => {
                Err(format!("{name} can't be a path, just a filename").into())
            }
            Self::DirName(name) if text.contains('/') => {
                Err(format!("{name} can't be a path, just a dirname").into())
            }
            Self::FileName(..) | Self::DirName(_) => Ok(()),
            Self::TitleTemplate if is_title_template(text) => Ok(()),
            Self::TitleTemplate => Err("template format is invalid or contains unknown variables".into()),
        }
    }
}

fn is_title_template(mut text: &str) -> bool {
    const KNOWN: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    while let Some((_, after)) = text.split_once('{') {
        let Some((variable, rest)) = after.split_once('}') else { return false };
        if !KNOWN.contains(&variable) {
            return false;
        }
        text = rest;
    }
    true
}

impl WordsRule {
    fn check(self, words: &[&str]) -> Result<Value, Refusal> {
        match self {
            Self::Addresses => {
                // None has a space in it. An empty word names no address; alone, it means none at all.
                let words: Vec<&str> = words.iter().flat_map(|word| word.split_ascii_whitespace()).collect();
                if words.len() > BIND_ADDRESSES_MAX {
                    return Err("Too many bind addresses specified.".into());
                }
                return Ok(Value::Text(words.join(" ")));
            }
            Self::Percentiles => {
                for word in words {
                    let percentile: f64 =
                        word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
                    if !(0.0..=100.0).contains(&percentile) {
                        return Err(
                            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                                .into(),
                        );
                    }
                }
            }
            Self::OomScores if words.len() != 3 => return Err("wrong number of arguments".into()),
            Self::OomScores => {
                if !words.iter().all(|word| matches!(integer(word), Some(-2000..=2000))) {
                    return Err(
                        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into()
                    );
                }
            }
            Self::ReplicaOf => match words {
                [] => {}
                [host, port] if host.eq_ignore_ascii_case("no") && port.eq_ignore_ascii_case("one") => {
                    return Ok(Value::Text(String::new()));
                }
                [_, _] => return Err("this server cannot be a replica; only 'no one' is accepted".into()),
                _ => return Err("wrong number of arguments".into()),
            },
        }
        Ok(Value::Text(words.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(kind: Kind, word: &str) -> Result<String, String> {
        kind.parse(&[word], "").map(|value| kind.show(&value)).map_err(|refusal| refusal.into_owned())
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        let kind = Kind::Size { min: 0, max: u64::MAX };
        for (word, bytes) in [("1", "1"), ("1b", "1"), ("1k", "1000"), ("1KB", "1024"), ("2m", "2000000")] {
            assert_eq!(shown(kind, word).as_deref(), Ok(bytes));
        }
        for (word, bytes) in [("64mb", "67108864"), ("1g", "1000000000"), ("1gb", "1073741824"), ("", "0")] {
            assert_eq!(shown(kind, word).as_deref(), Ok(bytes));
        }
        for word in ["-1", "1x", "10%", "1.5gb", " 1", "kb", "99999999999gb"] {
            assert_eq!(shown(kind, word), Err("argument must be a memory value".into()), "{word}");
        }
    }

    #[test]
    fn integers_are_strict() {
        let kind = Kind::Int { min: 0, max: 65535 };
        assert_eq!(shown(kind, "6379").as_deref(), Ok("6379"));
        for word in ["", " 10", "+10", "010", "1k", "-0", "-", "99999999999999999999"] {
            assert_eq!(
                shown(kind, word),
                Err("argument couldn't be parsed into an integer".into()),
                "{word}"
            );
        }
        for word in ["-1", "65536"] {
            assert_eq!(shown(kind, word), Err("argument must be between 0 and 65535 inclusive".into()));
        }
    }

    #[test]
    fn percentages_are_told_from_sizes() {
        let kind = Kind::SizeOrPercent;
        for (word, expected) in [("5%", "5%"), ("0%", "0"), ("1kb", "1024"), ("100%", "100%")] {
            assert_eq!(shown(kind, word).as_deref(), Ok(expected));
        }
        assert_eq!(shown(kind, "101%"), Err("percentage argument must be less or equal to 100".into()));
        for word in ["-5%", "x%", "x"] {
            assert_eq!(shown(kind, word), Err("argument must be a memory or percent value".into()));
        }
    }

    #[test]
    fn notification_letters_are_shown_in_redis_order() {
        for (word, expected) in [
            ("KEA", "AKE"),
            ("Kz", "zK"),
            ("gKxE", "gxKE"),
            ("Klmn", "lnKm"),
            ("mndtexzhsl$EK", "$lshzxetdnKEm"),
            ("g$lshzxetd", "A"),
            ("", ""),
        ] {
            assert_eq!(shown(Kind::Notify, word).as_deref(), Ok(expected));
        }
        assert!(shown(Kind::Notify, "Q").is_err());
    }

    /// Redis 7.0 forgets the `n` of `An`; it means what it says here.
    #[test]
    fn new_key_notifications_survive_the_letter_for_all() {
        assert_eq!(shown(Kind::Notify, "AnmE").as_deref(), Ok("AnEm"));
    }

    #[test]
    fn buffer_limits_change_only_the_named_classes() {
        let kind = Kind::BufferLimits;
        let current = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let set = |word: &str| kind.parse(&[word], current).map(|value| kind.show(&value));
        let expected = "normal 1048576 2097152 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(set("normal 1mb 2mb 3").as_deref(), Ok(expected));
        assert_eq!(set("").as_deref(), Ok(current));
        let expected = "normal 0 0 0 slave 1 2 3 pubsub 0 0 0";
        assert_eq!(set("replica 1 2 3 pubsub 0 0 0").as_deref(), Ok(expected));
        for (word, refusal) in [
            ("normal 1 2", "Wrong number of arguments in buffer limit configuration."),
            ("master 1 2 3", "Invalid client class specified in buffer limit configuration."),
            ("normal 1 2 -3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ] {
            assert_eq!(set(word), Err(refusal.into()));
        }
    }

    #[test]
    fn save_and_shutdown_take_words_together_or_apart() {
        assert_eq!(shown(Kind::Save, "3600 1 300 100").as_deref(), Ok("3600 1 300 100"));
        assert_eq!(Kind::Save.parse(&["3600", "1"], ""), Ok(Value::Text("3600 1".into())));
        assert_eq!(shown(Kind::Save, "").as_deref(), Ok(""));
        for word in ["abc", "3600", "0 1", "1 -1", "\"\""] {
            assert_eq!(shown(Kind::Save, word), Err("Invalid save parameters".into()));
        }
        assert_eq!(shown(Kind::Shutdown, "force save").as_deref(), Ok("save force"));
        assert_eq!(shown(Kind::Shutdown, "default").as_deref(), Ok("default"));
        assert!(shown(Kind::Shutdown, "save nosave").is_err());
    }

    #[test]
    fn file_modes_are_octal() {
        assert_eq!(shown(Kind::Octal, "700").as_deref(), Ok("700"));
        for word in ["888", "-1", "7777", "+7", ""] {
            assert!(shown(Kind::Octal, word).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_written_size_is_read_back(bytes: u64, shift in 0u32..64) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn what_is_shown_is_read_back(word in ".{0,12}", numbers in "[0-9]{1,3}( [0-9]{1,3}){0,5}") {
            let kinds = [
                Kind::Bool, Kind::Int { min: -5, max: 500 }, Kind::Size { min: 0, max: u64::MAX }, Kind::Octal,
                Kind::SizeOrPercent, Kind::LogRetain, Kind::Notify, Kind::Shutdown, Kind::Save, Kind::BufferLimits,
                Kind::Words(WordsRule::Percentiles), Kind::Text(TextRule::TitleTemplate),
            ];
            for kind in kinds {
                for word in [&word, &numbers] {
                    if let Ok(value) = kind.parse(&[word], "") {
                        prop_assert_eq!(kind.parse(&[&kind.show(&value)], ""), Ok(value));
                    }
                }
            }
        }
    }
}
