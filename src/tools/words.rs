//! Ops in words: the command that does what an op does, quoted as `redis-cli` reads it; and times.
//!
//! Some ops have no command of Redis, most of a stream's groups among them: their names are listed in docs/tools.md. What a server is to take
//! is made by `key_commands`.

use std::fmt::Write;

use crate::keyspace::DATABASES_MAX;
use crate::keyspace::op::{LIBRARIES, Op, SpaceId, SpaceOp};
use crate::snapshot::catalog::Catalog;
use crate::types::hash::value::HashOp;
use crate::types::list::value::{ListOp, Side};
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::StreamOp;
use crate::types::string::value::StringOp;

/// A command: its name and arguments.
pub type Words = Vec<Vec<u8>>;

/// Printable bytes as they are, others as `\n`, `\xff`; quotes and backslashes with a backslash before them.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..0x7f => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out
}

/// One line, words that need it in double quotes.
pub fn line(words: &[Vec<u8>]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty()
            && word.iter().all(|&b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\'));
        if plain { escaped(word) } else { format!("\"{}\"", escaped(word)) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The words of a line that [`line()`] made.
pub fn split(line: &str) -> Option<Words> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        let Some((&first, tail)) = rest.split_first() else { return Some(words) };
        if first != b'"' {
            let len = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
            words.push(rest[..len].to_vec());
            rest = &rest[len..];
            continue;
        }
        let (word, behind) = unquote(tail)?;
        words.push(word);
        rest = behind;
    }
}

fn unquote(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        match byte {
            b'"' => return Some((word, rest)),
            b'\\' => {
                let (&escape, tail) = rest.split_first()?;
                rest = tail;
                word.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let (digits, tail) = rest.split_at_checked(2)?;
                        rest = tail;
                        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
                    }
                    other => other,
                });
            }
            byte => word.push(byte),
        }
    }
}

fn number(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// The command that does to `key` what the op does.
pub fn of_op(key: &[u8], op: &Op<'_>) -> Words {
    let mut words = vec![name(op).as_bytes().to_vec(), key.to_vec()];
    match op {
        Op::Delete | Op::Persist => {}
        Op::ExpireAt(at) => words.push(number(at)),
        Op::Rename { to } => words.push(to.to_vec()),
        Op::String(op) => string_arguments(op, &mut words),
        Op::List(op) => list_arguments(op, &mut words),
        Op::Hash(op) => hash_arguments(op, &mut words),
        Op::Set(op) => set_arguments(op, &mut words),
        Op::SortedSet(op) => sorted_set_arguments(op, &mut words),
        Op::Stream(op) => stream_arguments(op, &mut words),
    }
    words
}

/// The command's name.
pub const fn name(op: &Op<'_>) -> &'static str {
    match op {
        Op::Delete => "DEL",
        Op::ExpireAt(_) => "PEXPIREAT",
        Op::Persist => "PERSIST",
        Op::Rename { .. } => "RENAME",
        Op::String(StringOp::Set { .. } | StringOp::Replace { .. }) => "SET",
        Op::String(StringOp::Append { .. }) => "APPEND",
        Op::String(StringOp::SetRange { .. }) => "SETRANGE",
        Op::String(StringOp::SetBit { .. }) => "SETBIT",
        Op::String(StringOp::Splice { .. }) => "SPLICE",
        Op::List(ListOp::Push { side: Side::Left, .. }) => "LPUSH",
        Op::List(ListOp::Push { side: Side::Right, .. }) => "RPUSH",
        Op::List(ListOp::Pop { side: Side::Left, .. }) => "LPOP",
        Op::List(ListOp::Pop { side: Side::Right, .. }) => "RPOP",
        Op::List(ListOp::Set { .. }) => "LSET",
        Op::List(ListOp::Insert { .. }) => "LINSERTAT",
        Op::List(ListOp::Remove { .. }) => "LREM",
        Op::List(ListOp::Trim { .. }) => "LTRIM",
        Op::Hash(HashOp::Set { .. }) => "HSET",
        Op::Hash(HashOp::SetKeepTtl { .. }) => "HSETEX",
        Op::Hash(HashOp::Remove { .. }) => "HDEL",
        Op::Hash(HashOp::ExpireFields { .. }) => "HPEXPIREAT",
        Op::Hash(HashOp::PersistFields { .. }) => "HPERSIST",
        Op::Set(SetOp::Add { .. }) => "SADD",
        Op::Set(SetOp::Remove { .. }) => "SREM",
        Op::SortedSet(SortedSetOp::Set { .. } | SortedSetOp::SetMany { .. }) => "ZADD",
        Op::SortedSet(SortedSetOp::Remove { .. }) => "ZREM",
        Op::SortedSet(SortedSetOp::RemoveRange { .. }) => "ZREMRANGEBYRANK",
        Op::Stream(StreamOp::Add { .. }) => "XADD",
        Op::Stream(StreamOp::Trim { .. }) => "XTRIMHEAD",
        Op::Stream(StreamOp::Delete { .. }) => "XDEL",
        Op::Stream(StreamOp::Reset { .. }) => "XSETID",
        Op::Stream(StreamOp::SetGroup { .. }) => "XGROUPSET",
        Op::Stream(StreamOp::RemoveGroup { .. }) => "XGROUPDESTROY",
        Op::Stream(StreamOp::SetConsumer { .. }) => "XCONSUMERSET",
        Op::Stream(StreamOp::RemoveConsumer { .. }) => "XCONSUMERDEL",
        Op::Stream(StreamOp::Deliver { .. }) => "XDELIVER",
        Op::Stream(StreamOp::Assign { .. }) => "XASSIGN",
        Op::Stream(StreamOp::Acknowledge { .. }) => "XACK",
    }
}

fn string_arguments(op: &StringOp<'_>, words: &mut Words) {
    match *op {
        StringOp::Set { value, expire_at: None } => words.push(value.to_vec()),
        StringOp::Set { value, expire_at: Some(at) } => {
            words.extend([value.to_vec(), b"PXAT".to_vec(), number(at)]);
        }
        StringOp::Replace { value } => words.extend([value.to_vec(), b"KEEPTTL".to_vec()]),
        StringOp::Append { bytes } => words.push(bytes.to_vec()),
        StringOp::SetRange { offset, bytes } => words.extend([number(offset), bytes.to_vec()]),
        StringOp::Splice { offset, removed, bytes } => {
            words.extend([number(offset), number(removed), bytes.to_vec()]);
        }
        StringOp::SetBit { offset, bit } => words.extend([number(offset), number(u8::from(bit))]),
    }
}

fn list_arguments(op: &ListOp<'_>, words: &mut Words) {
    match *op {
        ListOp::Push { elements, .. } => elements.each(|element| words.push(element.to_vec())),
        ListOp::Pop { count, .. } => words.push(number(count)),
        ListOp::Set { index, element } | ListOp::Insert { index, element } => {
            words.extend([number(index), element.to_vec()]);
        }
        ListOp::Remove { count, element } => words.extend([number(count), element.to_vec()]),
        // To LTRIM an end before the start says "nothing".
        ListOp::Trim { len: 0, .. } => words.extend([number(1), number(0)]),
        ListOp::Trim { start, len } => words.extend([number(start), number(start.saturating_add(len - 1))]),
    }
}

fn hash_arguments(op: &HashOp<'_>, words: &mut Words) {
    let counted = |words: &mut Words, count: usize| words.extend([b"FIELDS".to_vec(), number(count)]);
    let strings = match op {
        HashOp::Set { pairs: strings } | HashOp::Remove { fields: strings } => strings,
        HashOp::SetKeepTtl { pairs } => {
            words.push(b"KEEPTTL".to_vec());
            counted(words, pairs.len() / 2);
            pairs
        }
        HashOp::ExpireFields { at_ms, fields } => {
            words.push(number(at_ms));
            counted(words, fields.len());
            fields
        }
        HashOp::PersistFields { fields } => {
            counted(words, fields.len());
            fields
        }
    };
    words.extend(strings.iter().map(<[u8]>::to_vec));
}

fn set_arguments(op: &SetOp<'_>, words: &mut Words) {
    let (SetOp::Add { members } | SetOp::Remove { members }) = op;
    words.extend(members.iter().map(<[u8]>::to_vec));
}

fn sorted_set_arguments(op: &SortedSetOp<'_>, words: &mut Words) {
    match op {
        SortedSetOp::Set { score, member } => words.extend([number(score), member.to_vec()]),
        SortedSetOp::SetMany { rows } => {
            words.extend(rows.iter().flat_map(|(score, member)| [number(score), member.to_vec()]));
        }
        SortedSetOp::Remove { members } => words.extend(members.iter().map(<[u8]>::to_vec)),
        // To ZREMRANGEBYRANK an end before the start says "nothing".
        SortedSetOp::RemoveRange { len: 0, .. } => words.extend([number(1), number(0)]),
        SortedSetOp::RemoveRange { start, len } => {
            words.extend([number(start), number(start.saturating_add(len - 1))]);
        }
    }
}

fn stream_arguments(op: &StreamOp<'_>, words: &mut Words) {
    let optional =
        |number: Option<u64>| number.map_or_else(|| b"-".to_vec(), |number| number.to_string().into_bytes());
    let forget = |forget: bool| forget.then(|| b"DELREF".to_vec());
    match *op {
        StreamOp::Add { id, fields } => {
            words.push(number(id));
            words.extend(fields.iter().map(<[u8]>::to_vec));
        }
        StreamOp::Trim { count, forget: all } => {
            words.push(number(count));
            words.extend(forget(all));
        }
        StreamOp::Delete { ids, forget: all } => {
            words.extend(ids.iter().map(number));
            words.extend(forget(all));
        }
        StreamOp::Reset { last_id, max_deleted_id, entries_added } => words.extend([
            number(last_id),
            b"ENTRIESADDED".to_vec(),
            number(entries_added),
            b"MAXDELETEDID".to_vec(),
            number(max_deleted_id),
        ]),
        StreamOp::SetGroup { group, last_id, entries_read } => {
            words.extend([group.to_vec(), number(last_id), b"ENTRIESREAD".to_vec(), optional(entries_read)]);
        }
        StreamOp::RemoveGroup { group } => words.push(group.to_vec()),
        StreamOp::SetConsumer { group, consumer, seen_ms, active_ms } => {
            words.extend([group.to_vec(), consumer.to_vec(), number(seen_ms), optional(active_ms)]);
        }
        StreamOp::RemoveConsumer { group, consumer } => words.extend([group.to_vec(), consumer.to_vec()]),
        StreamOp::Deliver { group, consumer, at_ms, count, pend } => {
            words.extend([group.to_vec(), consumer.to_vec(), number(at_ms), number(count)]);
            words.extend((!pend).then(|| b"NOACK".to_vec()));
        }
        StreamOp::Assign { group, consumer, at_ms, rows } => {
            words.extend([group.to_vec(), consumer.to_vec(), optional(at_ms)]);
            for row in rows.iter() {
                words.extend([number(row.id), number(row.delivered_ms), number(row.deliveries)]);
            }
        }
        StreamOp::Acknowledge { group, ids } => {
            words.push(group.to_vec());
            words.extend(ids.iter().map(number));
        }
    }
}

/// The command for an op on databases. FLUSHDB means the database that its line is for.
pub fn of_space_op(op: &SpaceOp) -> Words {
    match *op {
        SpaceOp::Flush { .. } => vec![b"FLUSHDB".to_vec()],
        SpaceOp::Swap { a, b } => vec![b"SWAPDB".to_vec(), number(a), number(b)],
    }
}

/// What became of a library of functions.
pub fn of_library_op(name: &[u8], op: &Op<'_>) -> Words {
    let words: [&[u8]; 4] = match op {
        Op::Delete => return [b"FUNCTION", &b"DELETE"[..], name].map(<[u8]>::to_vec).into(),
        Op::String(StringOp::Set { value, .. }) => [b"FUNCTION", b"LOAD", b"REPLACE", value],
        _ => return of_op(name, op),
    };
    words.map(<[u8]>::to_vec).into()
}

/// Which keyspace each database has, followed along the log.
#[derive(Debug)]
pub struct Databases(Vec<SpaceId>);

impl Default for Databases {
    fn default() -> Self {
        Self((0..DATABASES_MAX).collect())
    }
}

impl Databases {
    /// As of the end of a snapshot.
    pub fn of_snapshot(catalog: &Catalog) -> Self {
        Self(catalog.spaces.clone())
    }

    /// The database that has a keyspace now; `None` if it has retired.
    pub fn of(&self, space: SpaceId) -> Option<u32> {
        let own = self.0.get(space as usize).is_some_and(|&now| now == space);
        if own {
            return Some(space);
        }
        self.0.iter().position(|&now| now == space).map(|db| db as u32)
    }

    pub fn apply(&mut self, op: &SpaceOp) {
        match *op {
            SpaceOp::Flush { db, space } => {
                if let Some(now) = self.0.get_mut(db as usize) {
                    *now = space;
                }
            }
            SpaceOp::Swap { a, b } => {
                if (a as usize) < self.0.len() && (b as usize) < self.0.len() {
                    self.0.swap(a as usize, b as usize);
                }
            }
        }
    }
}

/// A database, or the keyspace that none has any more.
pub fn place(db: Option<u32>, space: Option<SpaceId>) -> String {
    match (db, space) {
        (Some(db), _) => format!("db{db}"),
        (None, Some(LIBRARIES)) => "libraries".to_owned(),
        (None, Some(space)) => format!("retired:{space}"),
        (None, None) => "-".to_owned(),
    }
}

const DAY_S: u64 = 86_400;

/// `2026-11-21T06:05:00.123456Z`
pub fn time(us: u64) -> String {
    let (s, us) = (us / 1_000_000, us % 1_000_000);
    let (year, month, day) = civil(s / DAY_S);
    let (h, m, s) = (s % DAY_S / 3600, s % 3600 / 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{us:06}Z")
}

/// Days since 1970 as year, month, day: eras of 400 years that begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if !(1970..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let month = (month + 9) % 12;
    let (era, year) = (year / 400, year % 400);
    let day = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468)
}

/// Microseconds since 1970 of `2026-11-21`, `2026-11-21T06:05:00`, `...:00.25Z` (all UTC), or seconds since 1970 (`1700000000.5`).
pub fn parse_time(text: &str) -> Option<u64> {
    let seconds = |text: &str| -> Option<u64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
        whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)
    };
    let Some((date, clock)) = text.split_once(['T', ' ']).or(text.contains('-').then_some((text, "0:0:0")))
    else {
        return seconds(text);
    };
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let day = days(date.next()??, date.next()??, date.next()??)?;
    let mut clock = clock.trim_end_matches('Z').splitn(3, ':');
    let (h, m) = (clock.next()?.parse::<u64>().ok()?, clock.next()?.parse::<u64>().ok()?);
    let us = seconds(clock.next().unwrap_or("0"))?;
    (date.next().is_none() && h < 24 && m < 60 && us <= 60_000_000)
        .then_some((day * DAY_S + h * 3600 + m * 60) * 1_000_000 + us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(1_709_164_800_000_001), "2024-02-29T00:00:00.000001Z");
        assert_eq!(parse_time("2024-02-29"), Some(1_709_164_800_000_000));
        assert_eq!(parse_time("2024-02-29T01:02:03.5Z"), Some(1_709_168_523_500_000));
        assert_eq!(parse_time("1709164800.25"), Some(1_709_164_800_250_000));
        for bad in ["", "x", "2024-13-01", "2024-02-29T25:00", "-5", "1.x", "2024-1"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn times_read_back(us in 0..250_000_000_000_000_000u64) {
            prop_assert_eq!(parse_time(&time(us)), Some(us));
        }

        #[test]
        fn lines_read_back(words in prop::collection::vec(any::<Vec<u8>>(), 1..5)) {
            let line = line(&words);
            prop_assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(split(&line), Some(words));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in ".{0,30}") {
            let _ = (parse_time(&text), split(&text));
        }
    }
}
