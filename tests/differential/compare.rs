//! When two replies count as the same.

use super::known;
use super::make::Words;

use super::support::client::Value;

/// Lifetimes set one after the other on two servers differ a little.
const SLACK_S: i64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Exact,
    /// The order is the server's own.
    Unordered,
    UnorderedPairs,
    /// Compared as a whole iteration: cursors are the server's own.
    Scan,
    /// A random choice: only kind and length must agree.
    Shape,
    /// Members taken by chance: only kind and length must agree, and what is left is made the same again.
    Pop,
    /// A time that depends on the clock.
    Seconds,
    Milliseconds,
    /// Times of delivery, and of consumers, are each server's own.
    Timeless,
    /// Libraries, the functions of each and the fields of both stand in each server's own order.
    Libraries,
}

pub fn class_of(command: &Words) -> Class {
    let name = command.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match name.as_slice() {
        b"KEYS" | b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" => Class::Unordered,
        b"SPOP" => Class::Pop,
        b"HGETALL" => Class::UnorderedPairs,
        // Elsewhere than at the beginning a cursor means something to one server only.
        b"SCAN" if command.get(1).is_some_and(|cursor| cursor == b"0") => Class::Scan,
        b"HSCAN" | b"SSCAN" | b"ZSCAN" if command.get(2).is_some_and(|cursor| cursor == b"0") => Class::Scan,
        b"SCAN" | b"HSCAN" | b"SSCAN" | b"ZSCAN" => Class::Shape,
        // A key whose time is past counts until somebody meets it: when, is each server's own affair.
        b"DBSIZE" => Class::Shape,
        b"RANDOMKEY" | b"HRANDFIELD" | b"SRANDMEMBER" | b"ZRANDMEMBER" | b"MEMORY" => Class::Shape,
        b"XPENDING" | b"XINFO" => Class::Timeless,
        b"FUNCTION" => match command.get(1).map(|sub| sub.to_ascii_uppercase()).as_deref() {
            Some(b"LIST") => Class::Libraries,
            // Its version, and the order of libraries; what it says is compared where it is restored.
            Some(b"DUMP") => Class::Shape,
            _ => Class::Exact,
        },
        b"TTL" | b"EXPIRETIME" => Class::Seconds,
        b"PTTL" | b"PEXPIRETIME" => Class::Milliseconds,
        b"OBJECT" if command.get(1).is_some_and(|sub| of_the_moment(sub)) => Class::Shape,
        _ => Class::Exact,
    }
}

/// What OBJECT tells about the server's own bookkeeping: idle seconds, references held by shared or queued values.
fn of_the_moment(subcommand: &[u8]) -> bool {
    subcommand.eq_ignore_ascii_case(b"IDLETIME") || subcommand.eq_ignore_ascii_case(b"REFCOUNT")
}

pub fn same(command: &Words, class: Class, oracle: &Value, ours: &Value) -> bool {
    let alike = match class {
        Class::Exact => oracle == ours,
        Class::Unordered => sorted(oracle) == sorted(ours),
        Class::UnorderedPairs => sorted_pairs(oracle) == sorted_pairs(ours),
        Class::Scan => same_scan(command, oracle, ours),
        Class::Shape | Class::Pop => same_shape(oracle, ours),
        Class::Seconds => close(oracle, ours, SLACK_S),
        Class::Milliseconds => close(oracle, ours, SLACK_S * 1000),
        Class::Timeless => timeless(oracle) == timeless(ours),
        Class::Libraries => sorted_through(oracle) == sorted_through(ours),
    };
    alike || known::reason(command, oracle, ours).is_some()
}

fn sorted_items(items: &[Value]) -> Vec<Value> {
    let mut items = items.to_vec();
    items.sort();
    items
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(sorted_items(items)),
        Value::Set(items) => Value::Set(sorted_items(items)),
        other => other.clone(),
    }
}

/// Pairs in order; a map stays distinguishable from a flat array.
fn sorted_pairs(value: &Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort();
            Value::Map(pairs)
        }
        Value::Array(items) => {
            let mut pairs: Vec<_> = items.chunks(2).map(<[Value]>::to_vec).collect();
            pairs.sort();
            Value::Array(pairs.concat())
        }
        other => other.clone(),
    }
}

/// Everything in order, from the inside out; pairs stay together.
fn sorted_through(value: &Value) -> Value {
    match value {
        Value::Array(items) if matches!(items.first(), Some(Value::Bulk(name)) if name == b"library_name" || name == b"name") =>
        {
            let through = items.iter().map(sorted_through).collect();
            sorted_pairs(&Value::Array(through))
        }
        Value::Map(pairs) => {
            let through = pairs.iter().map(|(name, value)| (name.clone(), sorted_through(value))).collect();
            sorted_pairs(&Value::Map(through))
        }
        Value::Array(items) => {
            Value::Array(sorted_items(&items.iter().map(sorted_through).collect::<Vec<_>>()))
        }
        Value::Set(items) => sorted(&Value::Set(items.clone())),
        other => other.clone(),
    }
}

/// An element may be returned more than once in one iteration.
fn same_scan(command: &Words, oracle: &Value, ours: &Value) -> bool {
    let (left, right) = (oracle.items(), ours.items());
    let ([left_cursor, left], [right_cursor, right]) = (&left[..], &right[..]) else {
        return oracle == ours;
    };
    let pairs = [&b"HSCAN"[..], b"ZSCAN"].iter().any(|name| command[0].eq_ignore_ascii_case(name));
    let distinct = |found: &Value| {
        let found = if command[0].eq_ignore_ascii_case(b"ZSCAN") {
            known::plain_scores(found)
        } else {
            found.clone()
        };
        let mut groups: Vec<_> =
            found.items().chunks(if pairs { 2 } else { 1 }).map(<[Value]>::to_vec).collect();
        groups.sort();
        groups.dedup();
        groups
    };
    left_cursor == right_cursor && distinct(left) == distinct(right)
}

fn same_shape(oracle: &Value, ours: &Value) -> bool {
    if oracle.is_error() {
        return oracle == ours;
    }
    std::mem::discriminant(oracle) == std::mem::discriminant(ours)
        && oracle.items().len() == ours.items().len()
}

/// Fields of XINFO that are not compared: times, of which Redis 7.0 has only some, the shape of Redis' own tree, what groups have read,
/// which later versions reckon with more care, and how many consumers there are, where 7.0 makes none for a poll that finds nothing.
const LEFT_OUT: &[&[u8]] = &[
    b"seen-time",
    b"active-time",
    b"idle",
    b"inactive",
    b"radix-tree-keys",
    b"radix-tree-nodes",
    b"entries-read",
    b"lag",
];

/// What XPENDING and XINFO reply, without times, and without consumers for whom nothing is pending.
fn timeless(value: &Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let pairs = pairs.iter().filter(|(name, value)| stays(name, value));
            Value::Map(pairs.map(|(name, value)| (name.clone(), timeless(value))).collect())
        }
        Value::Array(items) => match &items[..] {
            [Value::Bulk(name), ..] if [&b"name"[..], b"length"].contains(&&name[..]) => {
                let pairs = items.chunks_exact(2).filter(|pair| stays(&pair[0], &pair[1]));
                Value::Array(pairs.flatten().map(timeless).collect())
            }
            [
                id @ Value::Bulk(_),
                consumer @ Value::Bulk(_),
                Value::Integer(_),
                count @ Value::Integer(_),
            ] => Value::Array(vec![id.clone(), consumer.clone(), count.clone()]),
            [id @ Value::Bulk(_), Value::Integer(_), count @ Value::Integer(_)] => {
                Value::Array(vec![id.clone(), count.clone()])
            }
            items => {
                let items = items.iter().filter(|item| !is_idle_consumer(item));
                Value::Array(items.map(timeless).collect())
            }
        },
        other => other.clone(),
    }
}

fn stays(name: &Value, value: &Value) -> bool {
    match name.bytes().unwrap_or_default() {
        b"consumers" => !matches!(value, Value::Integer(_)),
        name => !LEFT_OUT.contains(&name),
    }
}

/// A consumer, alone of all that XINFO tells of, has one of these times.
fn is_idle_consumer(value: &Value) -> bool {
    let fields = value.items();
    let has = |name: &[u8]| fields.chunks(2).any(|pair| pair[0].bytes() == Some(name));
    let none = |name: &[u8]| {
        fields.chunks(2).any(|pair| pair[0].bytes() == Some(name) && pair.get(1) == Some(&Value::Integer(0)))
    };
    has(b"idle") && none(b"pending") || has(b"seen-time") && none(b"pel-count")
}

fn close(oracle: &Value, ours: &Value, slack: i64) -> bool {
    match (oracle, ours) {
        // -1 and -2 say something else than a time.
        (Value::Integer(left), Value::Integer(right)) if *left >= 0 && *right >= 0 => {
            left.abs_diff(*right) <= slack as u64
        }
        _ => oracle == ours,
    }
}

#[test]
fn replies_that_differ_are_told_apart() {
    let command = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Words>();
    let exact = |left: &Value, right: &Value| same(&command("GET k"), Class::Exact, left, right);
    assert!(!exact(&Value::NilBulk, &Value::NilArray));
    assert!(!exact(&Value::bulk("a"), &Value::Simple(b"a".to_vec())));
    let list = |items: &[&str]| Value::Array(items.iter().map(Value::bulk).collect());
    assert!(same(
        &command("HGETALL h"),
        Class::UnorderedPairs,
        &list(&["a", "1", "b", "2"]),
        &list(&["b", "2", "a", "1"])
    ));
    assert!(!same(
        &command("HGETALL h"),
        Class::UnorderedPairs,
        &list(&["a", "1", "b", "2"]),
        &list(&["a", "2", "b", "1"])
    ));
    assert!(!same(&command("TTL k"), Class::Seconds, &Value::Integer(-1), &Value::Integer(-2)));
    assert!(!same(&command("TTL k"), Class::Seconds, &Value::Integer(-1), &Value::Integer(5)));
    let row = |idle: i64, count: i64| {
        let id = Value::bulk("1-1");
        Value::Array(vec![id.clone(), id, Value::Integer(idle), Value::Integer(count)])
    };
    assert!(same(&command("XPENDING s g - + 1"), Class::Timeless, &row(1, 2), &row(3, 2)));
    assert!(!same(&command("XPENDING s g - + 1"), Class::Timeless, &row(1, 2), &row(1, 3)));
}
