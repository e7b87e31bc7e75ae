//! HSCAN and HRANDFIELD: what they share with other types is in `command::walk`.

use std::collections::BTreeSet;

use crate::command::options::{REPETITIONS_BYTES_MAX, ScanExtra, ScanOptions};
use crate::command::walk::{self, Cursor, Draw};
use crate::command::{Args, CommandResult, Ctx};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::resp::{Protocol, Reply};

use super::value::{Field, Hash};

pub(super) fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut cursor = Cursor::parse(args.get(2))?;
    let now_ms = ctx.now_ms;
    let Some(hash) = ctx.hash(args.get(1))? else {
        walk::announce_nothing(reply);
        return Ok(());
    };
    let scan = ScanOptions::parse(args.tail(3), ScanExtra::NoValues)?;
    let found = cursor.go_on(&scan, |at, visit| hash.scan(at, now_ms, visit), |field| field.name);
    cursor.announce(if scan.values { 2 * found.len() } else { found.len() }, reply);
    for field in found {
        reply.bulk(field.name);
        if scan.values {
            reply.bulk(field.value);
        }
    }
    Ok(())
}

/// Begins a reply of fields: with values a flat array in RESP2, an array of pairs in RESP3.
fn announce(draw: &Draw, count: usize, reply: &mut Reply<'_>) {
    let flat = draw.pairs && reply.proto() == Protocol::Resp2;
    reply.array(if flat { count * 2 } else { count });
}

/// One of the fields that were announced.
fn write(draw: &Draw, field: Field<'_>, reply: &mut Reply<'_>) {
    if draw.pairs && reply.proto() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(field.name);
    if draw.pairs {
        reply.bulk(field.value);
    }
}

pub(super) fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let draw = if args.len() > 2 { Some(Draw::parse(args, "withvalues")?) } else { None };
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
            announce(&draw, draw.count, reply);
            let (source, start) = (Source::new(hash, now_ms), reply.len());
            for _ in 0..draw.count {
                write(&draw, source.draw(&mut prng), reply);
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
    announce(draw, count, reply);
    if hash.is_spread() && !hash.has_expired(now_ms) && count < len / 4 {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            let field = hash.sample(&mut |bound| prng.below(bound)).expect("it has fields");
            if drawn.insert(field.name) {
                write(draw, field, reply);
            }
        }
        return;
    }
    let mut wanted = count as u64;
    for (left, field) in (1..=len as u64).rev().zip(hash.fields(now_ms)) {
        if prng.chance(wanted, left) {
            wanted -= 1;
            write(draw, field, reply);
        }
    }
}
