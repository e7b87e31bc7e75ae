//! HSCAN and HRANDFIELD.

use std::collections::BTreeSet;

use crate::command::options::{self, REPETITIONS_BYTES_MAX, ScanExtra, ScanOptions, integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::resp::{Protocol, Reply};

use super::value::{Field, Hash};

/// The cursor is the position in the order of traversal with its bits reversed, as in Redis: a small number.
pub(super) fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut from = Some(options::cursor(args.get(2))?.reverse_bits());
    let now_ms = ctx.now_ms;
    let Some(hash) = ctx.hash(args.get(1))? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let scan = ScanOptions::parse(args.tail(3), ScanExtra::NoValues)?;
    let (mut found, mut visited) = (Vec::new(), 0);
    while let Some(at) = from.filter(|_| visited < scan.count) {
        from = hash.scan(at, now_ms, &mut |field| {
            visited += 1;
            if scan.takes(field.name) {
                found.push(field);
            }
        });
    }
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(from.map_or(0, u64::reverse_bits)).as_bytes());
    reply.array(if scan.values { 2 * found.len() } else { found.len() });
    for field in found {
        reply.bulk(field.name);
        if scan.values {
            reply.bulk(field.value);
        }
    }
    Ok(())
}

/// What a call of HRANDFIELD with a count asks for.
struct Draw {
    count: usize,
    repeat: bool,
    values: bool,
}

impl Draw {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let count = integer(args.get(2))?;
        if count == i64::MIN {
            let text =
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(CommandError::new(text));
        }
        let values = args.len() > 3;
        if args.len() > 4 || (values && !is(args.get(3), "withvalues")) {
            return Err(CommandError::SYNTAX);
        }
        if values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(CommandError::OUT_OF_RANGE);
        }
        Ok(Self { count: count.unsigned_abs() as usize, repeat: count < 0, values })
    }

    fn announce(&self, count: usize, reply: &mut Reply<'_>) {
        let flat = self.values && reply.proto() == Protocol::Resp2;
        reply.array(if flat { count * 2 } else { count });
    }

    fn write(&self, field: Field<'_>, reply: &mut Reply<'_>) {
        if self.values && reply.proto() == Protocol::Resp3 {
            reply.array(2);
        }
        reply.bulk(field.name);
        if self.values {
            reply.bulk(field.value);
        }
    }
}

pub(super) fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let draw = if args.len() > 2 { Some(Draw::parse(args)?) } else { None };
    let mut prng = ctx.random()?;
    let now_ms = ctx.now_ms;
    let hash = ctx.hash(args.get(1))?.filter(|hash| hash.len(now_ms) > 0);
    match (hash, draw) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(hash), None) => {
            let source = Source::new(hash, now_ms);
            reply.bulk(source.draw(&mut prng).name);
        }
        (Some(hash), Some(draw)) if draw.repeat => {
            draw.announce(draw.count, reply);
            let (source, start) = (Source::new(hash, now_ms), reply.len());
            for _ in 0..draw.count {
                draw.write(source.draw(&mut prng), reply);
                if reply.len() - start > REPETITIONS_BYTES_MAX {
                    return Err(CommandError::OUT_OF_RANGE);
                }
            }
        }
        (Some(hash), Some(draw)) => draw_distinct(hash, now_ms, &draw, &mut prng, reply),
    }
    Ok(())
}

/// Where single fields are drawn from, evenly.
enum Source<'a> {
    Hash(&'a Hash),
    /// The fields one by one, where the hash cannot draw among them by itself.
    Fields(Vec<Field<'a>>),
}

impl<'a> Source<'a> {
    /// `hash` has a live field.
    fn new(hash: &'a Hash, now_ms: u64) -> Self {
        if hash.has_expired(now_ms) { Self::Fields(hash.fields(now_ms).collect()) } else { Self::Hash(hash) }
    }

    fn draw(&self, prng: &mut Prng) -> Field<'a> {
        match self {
            Self::Hash(hash) => {
                hash.sample(&mut |bound| prng.below(bound)).expect("a hash in a keyspace is not empty")
            }
            Self::Fields(fields) => fields[prng.below(fields.len() as u64) as usize],
        }
    }
}

/// Different fields: few of many are drawn one by one, else each is taken with the chance that makes all choices alike.
fn draw_distinct(hash: &Hash, now_ms: u64, draw: &Draw, prng: &mut Prng, reply: &mut Reply<'_>) {
    let len = hash.len(now_ms);
    let count = draw.count.min(len);
    draw.announce(count, reply);
    if hash.is_spread() && !hash.has_expired(now_ms) && count < len / 4 {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            let field = hash.sample(&mut |bound| prng.below(bound)).expect("it has fields");
            if drawn.insert(field.name) {
                draw.write(field, reply);
            }
        }
        return;
    }
    let mut wanted = count as u64;
    for (left, field) in (1..=len as u64).rev().zip(hash.fields(now_ms)) {
        if prng.chance(wanted, left) {
            wanted -= 1;
            draw.write(field, reply);
        }
    }
}
