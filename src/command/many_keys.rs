//! `numkeys key [key ...] <end> [COUNT count]`: what LMPOP, ZMPOP and their blocking forms have in common.

use super::Args;
use super::options::is;
use crate::error::CommandError;
use crate::resp::number::parse_i64;

/// The arguments; `E` is what the word behind the keys stands for.
pub struct ManyKeys<'a, E> {
    /// From the number of keys on.
    args: Args<'a>,
    numkeys: usize,
    pub end: E,
    pub count: i64,
}

impl<'a, E> ManyKeys<'a, E> {
    /// `args` begins with the number of keys.
    pub fn parse(
        args: Args<'a>,
        end: impl FnOnce(&[u8]) -> Result<E, CommandError>,
    ) -> Result<Self, CommandError> {
        let positive = |arg: &[u8], error: &'static str| {
            parse_i64(arg).filter(|&value| value > 0).ok_or(CommandError::new(error))
        };
        let numkeys = positive(args.get(0), "ERR numkeys should be greater than 0")?;
        let numkeys =
            usize::try_from(numkeys).ok().filter(|&n| n < args.len() - 1).ok_or(CommandError::SYNTAX)?;
        let end = end(args.get(numkeys + 1))?;
        let options = args.tail(numkeys + 2);
        let count = match options.len() {
            0 => 1,
            _ if !is(options.get(0), "count") || options.len() == 1 => return Err(CommandError::SYNTAX),
            given => {
                let count = positive(options.get(1), "ERR count should be greater than 0")?;
                if given > 2 {
                    return Err(CommandError::SYNTAX);
                }
                count
            }
        };
        Ok(Self { args, numkeys, end, count })
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a, E> {
        self.args.iter().skip(1).take(self.numkeys)
    }
}
