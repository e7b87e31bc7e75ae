//! BITFIELD and BITFIELD_RO: integers of 1 to 64 bits anywhere in a string.
//!
//! Each write is logged as the few bytes it touched.

use smallvec::SmallVec;

use super::bits::{WINDOW, read_bits, window, write_bits};
use super::commands::bit_offset;
use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;
use crate::types::string::commands::string_to_change;
use crate::types::string::value::StringOp;

/// `i1` to `i64` and `u1` to `u63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Encoding {
    signed: bool,
    width: u32,
}

impl Encoding {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (signed, width) = match arg {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => (false, &[][..]),
        };
        let width_max = if signed { 64 } else { 63 };
        match parse_i64(width) {
            Some(width) if (1..=width_max).contains(&width) => Ok(Self { signed, width: width as u32 }),
            _ => Err(CommandError::new(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )),
        }
    }

    /// The number that a field's bits stand for.
    const fn decode(self, bits: u64) -> i128 {
        let unused = u64::BITS - self.width;
        if self.signed { ((bits << unused) as i64 >> unused) as i128 } else { bits as i128 }
    }

    const fn min(self) -> i128 {
        if self.signed { -(1 << (self.width - 1)) } else { 0 }
    }

    const fn max(self) -> i128 {
        (1 << if self.signed { self.width - 1 } else { self.width }) - 1
    }

    /// As `fit`, for SET: Redis takes a number so far below zero that its distance from the largest doesn't fit 64 bits for too
    /// large.
    fn fit_set(self, number: i128, overflow: Overflow) -> Option<i128> {
        let seems_large = self.signed && self.width < u64::BITS && self.max() - number > i128::from(i64::MAX);
        if seems_large && overflow == Overflow::Saturate {
            Some(self.max())
        } else {
            self.fit(number, overflow)
        }
    }

    /// Brings a number into the field's range. None if it isn't in it and `overflow` is to fail.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        if (self.min()..=self.max()).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.decode(number as u64 & u64::MAX >> (u64::BITS - self.width))),
            Overflow::Saturate => Some(number.clamp(self.min(), self.max())),
            Overflow::Fail => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    IncrBy(i64),
}

/// One subcommand.
#[derive(Debug, Clone, Copy)]
struct Step {
    encoding: Encoding,
    offset: u64,
    action: Action,
    overflow: Overflow,
}

impl Step {
    /// The field's number after the step, and the one to reply. None: overflow, nothing is written.
    fn run(&self, old: i128) -> Option<(i128, i128)> {
        match self.action {
            Action::Get => Some((old, old)),
            Action::Set(number) => {
                // For an unsigned field a negative number is a large one.
                let number = if self.encoding.signed { number.into() } else { (number as u64).into() };
                Some((self.encoding.fit_set(number, self.overflow)?, old))
            }
            Action::IncrBy(increment) => {
                let new = self.encoding.fit(old + i128::from(increment), self.overflow)?;
                Some((new, new))
            }
        }
    }
}

type Steps = SmallVec<[Step; 4]>;

fn parse(ctx: &Ctx<'_>, args: Args<'_>, read_only: bool) -> Result<Steps, CommandError> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let (word, rest) = (args.get(at), args.len() - at - 1);
        if is(word, "OVERFLOW") && rest >= 1 {
            overflow = match args.get(at + 1) {
                word if is(word, "WRAP") => Overflow::Wrap,
                word if is(word, "SAT") => Overflow::Saturate,
                word if is(word, "FAIL") => Overflow::Fail,
                _ => return Err(CommandError::new("ERR Invalid OVERFLOW type specified")),
            };
            at += 2;
            continue;
        }
        let action: fn(i64) -> Action = match word {
            _ if is(word, "GET") && rest >= 2 => |_| Action::Get,
            _ if is(word, "SET") && rest >= 3 => Action::Set,
            _ if is(word, "INCRBY") && rest >= 3 => Action::IncrBy,
            _ => return Err(CommandError::SYNTAX),
        };
        let encoding = Encoding::parse(args.get(at + 1))?;
        let offset = bit_offset(ctx, args.get(at + 2), Some(encoding.width))?;
        let writes = action(0) != Action::Get;
        let number = if writes { integer(args.get(at + 3))? } else { 0 };
        steps.push(Step { encoding, offset, action: action(number), overflow });
        at += if writes { 4 } else { 3 };
    }
    if read_only && steps.iter().any(|step| step.action != Action::Get) {
        return Err(CommandError::new("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(steps)
}

pub(super) fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let steps = parse(ctx, args, false)?;
    if steps.iter().all(|step| step.action == Action::Get) {
        return read(ctx, args.get(1), &steps, reply);
    }
    let key = args.get(1);
    let len = string_to_change(ctx, key)?.map_or(0, <[u8]>::len) as u64;
    reply.array(steps.len());
    let mut holds = false;
    for step in &steps {
        holds |= run(ctx, key, step, reply)? && step.action != Action::Get;
    }
    grow(ctx, key, len, &steps, holds)
}

pub(super) fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let steps = parse(ctx, args, true)?;
    read(ctx, args.get(1), &steps, reply)
}

fn read(ctx: &mut Ctx<'_>, key: &[u8], steps: &[Step], reply: &mut Reply<'_>) -> CommandResult {
    let bytes = ctx.string(key)?.unwrap_or_default();
    reply.array(steps.len());
    for step in steps {
        let bits = read_bits(bytes, step.offset, step.encoding.width);
        reply.integer(step.encoding.decode(bits) as i64);
    }
    Ok(())
}

/// Carries out one subcommand. The key holds a string, or nothing. False if the number does not fit.
fn run(ctx: &mut Ctx<'_>, key: &[u8], step: &Step, reply: &mut Reply<'_>) -> Result<bool, CommandError> {
    let Step { encoding, offset, .. } = *step;
    let range = window(offset, encoding.width);
    let mut touched = [0; WINDOW];
    let touched = &mut touched[..(range.end - range.start) as usize];
    let bytes = ctx.entry_quietly(key).and_then(Entry::as_string).unwrap_or_default();
    let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len());
    let there = (bytes.len() - start).min(touched.len());
    touched[..there].copy_from_slice(&bytes[start..start + there]);
    let bits = read_bits(touched, offset % 8, encoding.width);
    let Some((new, answer)) = step.run(encoding.decode(bits)) else {
        reply.null();
        return Ok(false);
    };
    reply.integer(answer as i64);
    if encoding.decode(bits) == new {
        return Ok(true);
    }
    write_bits(touched, offset % 8, encoding.width, new as u64);
    ctx.apply(key, Op::String(StringOp::SetRange { offset: range.start, bytes: touched }))?;
    Ok(true)
}

/// A field that was to be written is in the string afterwards, even if the write failed or changed nothing. Who listens is told of the
/// write only if some did not fail: `holds`.
fn grow(ctx: &mut Ctx<'_>, key: &[u8], old_len: u64, steps: &[Step], holds: bool) -> CommandResult {
    let writes = steps.iter().filter(|step| step.action != Action::Get);
    let wanted = writes.map(|step| window(step.offset, step.encoding.width).end).max().unwrap_or(0);
    if wanted <= old_len {
        return Ok(());
    }
    let len = ctx.entry_quietly(key).and_then(Entry::as_string).map_or(0, <[u8]>::len) as u64;
    if wanted > len {
        let op = Op::String(StringOp::SetRange { offset: wanted - 1, bytes: &[0] });
        return if holds { ctx.apply(key, op) } else { ctx.apply_untold(key, op) };
    }
    Ok(())
}
