//! The bitmap commands, but for BITFIELD: that is in [`super::field`].

use std::ops::Range;

use super::bits::{Combine, combine, count_ones_in, find, invert};
pub use super::table::COMMANDS;
use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;
use crate::types::string::commands::{clamped, is_backwards, len_max, string_to_change};
use crate::types::string::value::StringOp;

/// Reads the place of a bit. With a `width` a place `#n` is the n-th integer of that width.
pub(super) fn bit_offset(ctx: &Ctx<'_>, arg: &[u8], width: Option<u32>) -> Result<u64, CommandError> {
    let (text, unit) = match (arg, width) {
        ([b'#', text @ ..], Some(width)) => (text, u64::from(width)),
        _ => (arg, 1),
    };
    let number = parse_i64(text).and_then(|number| u64::try_from(number).ok());
    let offset = number.and_then(|number| number.checked_mul(unit));
    offset
        .filter(|offset| offset / 8 < len_max(ctx))
        .ok_or(CommandError::new("ERR bit offset is not an integer or out of range"))
}

fn bit_at(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & 0x80 >> (offset % 8) != 0)
}

pub(super) fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let offset = bit_offset(ctx, args.get(2), None)?;
    let bit = match args.get(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::new("ERR bit is not an integer or out of range")),
    };
    let bytes = string_to_change(ctx, args.get(1))?.unwrap_or_default();
    let (old, grows) = (bit_at(bytes, offset), offset / 8 >= bytes.len() as u64);
    if grows || old != bit {
        ctx.apply(args.get(1), Op::String(StringOp::SetBit { offset, bit }))?;
    }
    reply.integer(old.into());
    Ok(())
}

pub(super) fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let offset = bit_offset(ctx, args.get(2), None)?;
    let bytes = ctx.string(args.get(1))?.unwrap_or_default();
    reply.integer(bit_at(bytes, offset).into());
    Ok(())
}

/// Things that BITCOUNT and BITPOS count ranges in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(arg: Option<&[u8]>) -> Result<Self, CommandError> {
        match arg {
            None => Ok(Self::Byte),
            Some(word) if is(word, "BYTE") => Ok(Self::Byte),
            Some(word) if is(word, "BIT") => Ok(Self::Bit),
            Some(_) => Err(CommandError::SYNTAX),
        }
    }

    /// The bits from `start` to `end` of a string of `len` bytes.
    fn bits(self, start: i64, end: i64, len: usize) -> Option<Range<u64>> {
        match self {
            Self::Byte => clamped(start, end, len as u64).map(|range| range.start * 8..range.end * 8),
            Self::Bit => clamped(start, end, len as u64 * 8),
        }
    }
}

pub(super) fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (start, end, unit) = match args.len() {
        2 => (0, -1, Unit::Byte),
        4 | 5 => (integer(args.get(2))?, integer(args.get(3))?, Unit::parse(args.try_get(4))?),
        _ => return Err(CommandError::SYNTAX),
    };
    let bytes = ctx.string(args.get(1))?.unwrap_or_default();
    let range = unit.bits(start, end, bytes.len()).filter(|_| !is_backwards(start, end));
    reply.integer(range.map_or(0, |range| count_ones_in(bytes, range)) as i64);
    Ok(())
}

pub(super) fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let bit = match integer(args.get(2))? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::new("ERR The bit argument must be 1 or 0.")),
    };
    if args.len() > 6 {
        return Err(CommandError::SYNTAX);
    }
    let start = args.try_get(3).map_or(Ok(0), integer)?;
    let end = args.try_get(4).map(integer).transpose()?;
    let unit = Unit::parse(args.try_get(5))?;
    let Some(bytes) = ctx.string(args.get(1))? else {
        reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let place = unit.bits(start, end.unwrap_or(-1), bytes.len()).and_then(|range| {
        // Without an end the string goes on with zeros.
        let beyond = (!bit && end.is_none()).then_some(bytes.len() as u64 * 8);
        find(bytes, bit, range).or(beyond)
    });
    reply.integer(place.map_or(-1, |place| place as i64));
    Ok(())
}

pub(super) fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let how = match args.get(1) {
        word if is(word, "AND") => Some(Combine::And),
        word if is(word, "OR") => Some(Combine::Or),
        word if is(word, "XOR") => Some(Combine::Xor),
        word if is(word, "NOT") => None,
        _ => return Err(CommandError::SYNTAX),
    };
    if how.is_none() && args.len() != 4 {
        return Err(CommandError::new("ERR BITOP NOT must be called with a single source key."));
    }
    let mut result = ctx.string(args.get(3))?.unwrap_or_default().to_vec();
    match how {
        None => invert(&mut result),
        Some(how) => {
            for source in args.tail(4).iter() {
                combine(how, &mut result, ctx.string(source)?.unwrap_or_default());
            }
        }
    }
    let target = args.get(2);
    if result.is_empty() {
        ctx.delete(target)?;
    } else {
        ctx.apply(target, Op::String(StringOp::Set { value: &result, expire_at: None }))?;
    }
    reply.integer(result.len() as i64);
    Ok(())
}
