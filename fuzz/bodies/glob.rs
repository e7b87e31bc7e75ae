//! Patterns against a model: a pattern is compiled to a list of byte sets and stars, and a table says which of its beginnings
//! match which of the text's.

use duramen::glob;

enum Item {
    Star,
    /// The bytes that match.
    One(Box<[bool; 256]>),
}

/// The first byte is the length of the pattern, the rest is pattern and text.
pub fn check(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else { return };
    let rest = &rest[..rest.len().min(300)];
    let (pattern, text) = rest.split_at(usize::from(len).min(rest.len()));
    for fold in [false, true] {
        let found =
            if fold { glob::matches_ignore_case(pattern, text) } else { glob::matches(pattern, text) };
        let (p, t) = (pattern.escape_ascii(), text.escape_ascii());
        assert_eq!(found, model(pattern, text, fold), "pattern {p} text {t}, ignoring case: {fold}");
    }
    if !glob::has_wildcard(pattern) {
        assert_eq!(glob::matches(pattern, text), pattern == text);
    }
}

fn model(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    if text.is_empty() {
        // As in Redis, where a star takes no part of no text.
        return pattern.is_empty();
    }
    let items = compile(pattern, fold);
    // row[i]: the first i items match the text so far.
    let mut row = vec![false; items.len() + 1];
    row[0] = true;
    close(&mut row, &items);
    for &byte in text {
        let mut next = vec![false; items.len() + 1];
        for (i, item) in items.iter().enumerate() {
            match item {
                Item::Star => next[i] |= row[i],
                Item::One(set) => next[i + 1] |= row[i] && set[usize::from(byte)],
            }
        }
        close(&mut next, &items);
        row = next;
    }
    row[items.len()]
}

/// A star may match nothing.
fn close(row: &mut [bool], items: &[Item]) {
    for (i, item) in items.iter().enumerate() {
        row[i + 1] |= matches!(item, Item::Star) && row[i];
    }
}

fn compile(pattern: &[u8], fold: bool) -> Vec<Item> {
    let same = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
    let set_of = |wanted: &dyn Fn(u8) -> bool| {
        Item::One(Box::new(std::array::from_fn(|byte| wanted(same(byte as u8)))))
    };
    let mut items = Vec::new();
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'*', _) => items.push(Item::Star),
            (b'?', _) => items.push(set_of(&|_| true)),
            (b'\\', [escaped, after @ ..]) => {
                rest = after;
                items.push(set_of(&|byte| byte == same(*escaped)));
            }
            (b'[', _) => {
                let negated = rest.first() == Some(&b'^');
                rest = &rest[usize::from(negated)..];
                let mut ranges: Vec<(u8, u8)> = Vec::new();
                loop {
                    (ranges, rest) = match rest {
                        [] => break,
                        [b']', after @ ..] => {
                            rest = after;
                            break;
                        }
                        [b'\\', escaped, after @ ..] => (push(ranges, *escaped, *escaped), after),
                        [a, b'-', b, after @ ..] => (push(ranges, *a, *b), after),
                        [one, after @ ..] => (push(ranges, *one, *one), after),
                    };
                }
                let within =
                    |byte: u8| ranges.iter().any(|&(a, b)| (same(a.min(b))..=same(a.max(b))).contains(&byte));
                items.push(set_of(&|byte| within(byte) != negated));
            }
            _ => items.push(set_of(&|byte| byte == same(first))),
        }
    }
    items
}

fn push(mut ranges: Vec<(u8, u8)>, a: u8, b: u8) -> Vec<(u8, u8)> {
    ranges.push((a, b));
    ranges
}

pub fn seeds() -> Vec<Vec<u8>> {
    let rows: &[(&str, &str)] = &[
        ("*", "abc"),
        ("h[a-e]l\\lo*", "hello world"),
        ("[^x-]?*z", "abz"),
        ("**a*b", "aaab"),
        ("[z-a][\\]]", "m]"),
        ("[", "x"),
        ("[^", "x"),
        ("[a-", "b"),
        ("a\\", "a\\"),
        ("[A-z]", "_"),
        ("", ""),
        ("**", ""),
    ];
    rows.iter().map(|(p, t)| [&[p.len() as u8], p.as_bytes(), t.as_bytes()].concat()).collect()
}
