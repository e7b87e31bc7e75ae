//! A look at the requests behind the one that is being executed: which keys will they need?
//!
//! Only a guess for prefetching: it takes the first argument for the key, and stops at the first thing that is not a whole,
//! plainly written multibulk request. The parser finds out later what is really there.

/// Calls `found` with the first argument, or of commands that run scripts the first key, of up to `max` whole requests at the start of `bytes`. Returns how many there were.
#[inline]
pub fn first_arguments<'a>(mut bytes: &'a [u8], max: usize, mut found: impl FnMut(&'a [u8])) -> usize {
    let mut requests = 0;
    while requests < max
        && let Some((first, rest)) = request(bytes)
    {
        requests += 1;
        bytes = rest;
        if let Some(first) = first {
            found(first);
        }
    }
    requests
}

/// The first argument of the request at the start of `bytes`, and what comes behind the request.
#[inline]
fn request(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (count, mut bytes) = length(bytes, b'*')?;
    let (mut first, mut wanted) = (None, 1);
    for index in 0..count {
        let (len, rest) = length(bytes, b'$')?;
        let argument = rest.get(..len)?;
        bytes = rest.get(len + 2..)?;
        if index == 0 && runs_scripts(argument) {
            wanted = 3;
        }
        if index == wanted {
            first = Some(argument);
        }
    }
    Some((first, bytes))
}

/// EVAL, FCALL and their relatives: what they are to run and the number of keys come before the keys.
#[inline]
fn runs_scripts(name: &[u8]) -> bool {
    name.first().is_some_and(|first| matches!(first | 0x20, b'e' | b'f'))
        && name
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"eval") || start.eq_ignore_ascii_case(b"fcal"))
}

/// The number, of at most six digits, in a line that begins with `kind`; and what comes behind the line.
#[inline]
fn length(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    if *bytes.first()? != kind {
        return None;
    }
    let mut number = 0;
    for at in 1..8 {
        let digit = bytes.get(at)?.wrapping_sub(b'0');
        if digit > 9 {
            return Some((number, bytes.get(at + 2..)?)).filter(|_| at > 1);
        }
        number = number * 10 + usize::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, Parser};
    use proptest::prelude::*;

    fn keys(bytes: &[u8], max: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        first_arguments(bytes, max, |key| keys.push(key.to_vec()));
        keys
    }

    #[test]
    fn first_arguments_of_whole_requests_are_found() {
        let pipeline = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$3\r\nab";
        assert_eq!(keys(pipeline, 10), [b"a".to_vec(), b"bb".to_vec()]);
        assert_eq!(keys(pipeline, 1), [b"a".to_vec()]);
        assert_eq!(first_arguments(pipeline, 10, |_| {}), 3);
        let script = b"*4\r\n$7\r\nevalsha\r\n$1\r\nx\r\n$1\r\n1\r\n$3\r\nkey\r\n";
        assert_eq!(keys(script, 1), [b"key".to_vec()]);
        assert!(keys(b"PING\r\n", 10).is_empty());
        assert!(keys(b"*2\r\n$99999999\r\n", 10).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in any::<Vec<u8>>()) {
            keys(&bytes, 16);
        }

        #[test]
        fn it_sees_what_the_parser_sees(requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 0..8)) {
            let mut bytes = Vec::new();
            for request in &requests {
                bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
                for argument in request {
                    bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                    bytes.extend_from_slice(argument);
                    bytes.extend_from_slice(b"\r\n");
                }
            }
            let (mut parser, mut expected) = (Parser::new(), Vec::new());
            while parser.parse(&bytes, &Limits::DEFAULT) == Ok(Parsed::Request) {
                expected.extend(parser.args(&bytes).try_get(1).map(<[u8]>::to_vec));
            }
            prop_assert_eq!(keys(&bytes, usize::MAX), expected);
        }
    }
}
