//! What HSCAN, SSCAN and ZSCAN have in common, and HRANDFIELD and ZRANDMEMBER with a count.

use super::Args;
use super::options::{self, ScanOptions, is, signed_count};
use crate::error::CommandError;
use crate::resp::Reply;

/// Where a scan goes on. The cursor that clients see has the bits of the position reversed, as in Redis: a small number.
#[derive(Debug, Clone, Copy)]
pub struct Cursor(Option<u64>);

impl Cursor {
    pub fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        Ok(Self(Some(options::cursor(arg)?.reverse_bits())))
    }

    /// Goes on until as many elements were visited as the options say, or all. `step` visits those at a position and returns the
    /// next one; `name` is what the pattern is for.
    pub fn go_on<T>(
        &mut self,
        scan: &ScanOptions<'_>,
        mut step: impl FnMut(u64, &mut dyn FnMut(T)) -> Option<u64>,
        name: impl Fn(&T) -> &[u8],
    ) -> Vec<T> {
        let (mut found, mut visited) = (Vec::new(), 0);
        while let Some(at) = self.0.filter(|_| visited < scan.count) {
            self.0 = step(at, &mut |element| {
                visited += 1;
                if scan.takes(name(&element)) {
                    found.push(element);
                }
            });
        }
        found
    }

    /// Begins the reply: the cursor, and an array of so many strings that the caller writes.
    pub fn announce(self, strings: usize, reply: &mut Reply<'_>) {
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(self.0.map_or(0, u64::reverse_bits)).as_bytes());
        reply.array(strings);
    }
}

/// The reply of a scan of what is not there.
pub fn announce_nothing(reply: &mut Reply<'_>) {
    Cursor(None).announce(0, reply);
}

/// What a call of HRANDFIELD or ZRANDMEMBER with a count asks for.
pub struct Draw {
    pub count: usize,
    /// The same element may come several times.
    pub repeat: bool,
    /// With values, or with scores.
    pub pairs: bool,
}

impl Draw {
    /// `word` asks for pairs.
    pub fn parse(args: Args<'_>, word: &str) -> Result<Self, CommandError> {
        let count = signed_count(args.get(2))?;
        let pairs = args.len() > 3;
        if args.len() > 4 || (pairs && !is(args.get(3), word)) {
            return Err(CommandError::SYNTAX);
        }
        if pairs && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(CommandError::OUT_OF_RANGE);
        }
        Ok(Self { count: count.unsigned_abs() as usize, repeat: count < 0, pairs })
    }
}
