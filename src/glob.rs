//! Redis-style glob patterns: `*`, `?`, `[a-z]`, `[^x]` and `\` escapes, over bytes.
//!
//! Every item but `*` consumes exactly one byte, so going back to the last `*` is enough: the work is at most
//! pattern length times text length, whatever the pattern. What Redis does with odd patterns is kept: an unclosed class ends
//! with the pattern, `[]` matches nothing, `[^]` anything, a range may be written backwards, and the empty text matches the empty
//! pattern alone, not `*` (KEYS and SCAN take `*` for all keys without asking here).

/// Whether `text` as a whole matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, |byte| byte)
}

/// As [`matches`], ASCII letters compared without case.
pub fn matches_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, |byte| byte.to_ascii_lowercase())
}

/// Whether `text` holds anything that a pattern reads as more than itself.
pub fn has_wildcard(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[\\".contains(byte))
}

fn matches_folded(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, with one more byte given to that `*`.
    let mut retry = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, read));
            continue;
        }
        match one(pattern, at, text[read], fold) {
            Some(next) => {
                at = next;
                read += 1;
            }
            None => {
                let Some((star, from)) = retry else { return false };
                at = star;
                read = from + 1;
                retry = Some((star, read));
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches the item at `at`, which is not a `*`, against one byte: the place of the next item, or None.
fn one(pattern: &[u8], at: usize, byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte, fold),
        b'\\' if at + 1 < pattern.len() => (fold(pattern[at + 1]) == fold(byte)).then_some(at + 2),
        literal => (fold(literal) == fold(byte)).then_some(at + 1),
    }
}

/// The inside of `[...]` beginning at `at`.
fn class(pattern: &[u8], mut at: usize, byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let byte = fold(byte);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= fold(*escaped) == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (fold(*first.min(last)), fold(*first.max(last)));
                found |= (first..=last).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(*literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by recursion: exponential, hence for short inputs only.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        if text.is_empty() { pattern.is_empty() } else { rest_matches(pattern, text) }
    }

    fn rest_matches(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.first() {
            None => text.is_empty(),
            Some(b'*') => (0..=text.len()).any(|taken| rest_matches(&pattern[1..], &text[taken..])),
            Some(_) => text.first().is_some_and(|&byte| {
                one(pattern, 0, byte, |b| b).is_some_and(|next| rest_matches(&pattern[next..], &text[1..]))
            }),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursive_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", text in "[ab\\]^-]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), model(pattern, text));
        }

        #[test]
        fn any_bytes_are_a_pattern(pattern in any::<Vec<u8>>(), text in any::<Vec<u8>>()) {
            matches(&pattern, &text);
            matches_ignore_case(&pattern, &text);
        }

        #[test]
        fn an_escaped_text_matches_itself_alone(text in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&escaped, &text));
            prop_assert_eq!(matches(&escaped, &other), text == other);
        }
    }

    /// Each row was answered so by KEYS of redis-server 7.0.15, those of the empty text also by PUBLISH.
    #[test]
    fn odd_patterns_answer_as_redis_does() {
        let rows: &[(&str, &str, bool)] = &[
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("[z-a]", "m", true),
            ("[", "x", false),
            ("[^", "x", true),
            ("[]", "x", false),
            ("[^]", "x", true),
            ("[]a]", "a]", false),
            ("[a", "a", true),
            ("[a-]", "a", true),
            ("[a-]", "_", true),
            ("[a-]", "-", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("**a**", "bab", true),
            ("*a*b", "aab", true),
            ("*a*b", "aabc", false),
            ("a**", "a", true),
            ("", "", true),
            ("**", "", false),
            ("***", "", false),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), *expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = b"*a".repeat(2000);
        let mut pattern_without_end = pattern.clone();
        pattern_without_end.push(b'b');
        let text = vec![b'a'; 4000];
        assert!(matches(&pattern, &text));
        assert!(!matches(&pattern_without_end, &text));
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(matches_ignore_case(b"MaX[C-D]*", b"maxclients"));
        assert!(!matches(b"MAX*", b"maxclients"));
    }
}
