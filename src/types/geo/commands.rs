//! The geo commands, but for GEOADD and the storing of results: those are in [`super::store`].

use super::cell::{Cell, Point, text, to_i64};
use super::earth::distance_m;
use super::options::{Grammar, Query, parse, unit};
use super::search::{Found, search};
use super::store::{rows, store};
pub use super::table::COMMANDS;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::{Protocol, Reply};

/// A coordinate as Redis prints a long double: 17 digits behind the point, without zeros at the end.
fn put_degrees(reply: &mut Reply<'_>, degrees: f64) {
    let text = format!("{degrees:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    match reply.proto() {
        Protocol::Resp2 => reply.bulk_str(text),
        Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
    }
}

fn put_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    put_degrees(reply, point.longitude);
    put_degrees(reply, point.latitude);
}

/// Four digits behind the point, rounded as Redis does it: to the nearest multiple of a ten-thousandth, of two the even one.
fn put_distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even();
    if scaled.is_nan() || scaled >= i64::MAX as f64 {
        return reply.bulk_str(&format!("{distance:.4}"));
    }
    let scaled = scaled as i64;
    reply.bulk_str(&format!("{}.{:04}", scaled / 10_000, scaled % 10_000));
}

pub(super) fn geopos(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.sorted_set(args.get(1))?;
    reply.array(args.len() - 2);
    for member in args.tail(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => put_point(reply, Cell::of_score(score).center()),
            None => reply.null_array(),
        }
    }
    Ok(())
}

pub(super) fn geohash(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.sorted_set(args.get(1))?;
    reply.array(args.len() - 2);
    for member in args.tail(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => reply.bulk(&text(score)),
            None => reply.null(),
        }
    }
    Ok(())
}

pub(super) fn geodist(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let unit_m = match args.len() {
        4 => 1.0,
        5 => unit(args.get(4))?,
        _ => return Err(CommandError::SYNTAX),
    };
    let set = ctx.sorted_set(args.get(1))?;
    let point = |member| Some(Cell::of_score(set?.score(member)?).center());
    match (point(args.get(2)), point(args.get(3))) {
        (Some(a), Some(b)) => put_distance(reply, distance_m(a, b) / unit_m),
        _ => reply.null(),
    }
    Ok(())
}

pub(super) fn geosearch(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(Grammar::Search, ctx, args, reply)
}

pub(super) fn geosearchstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(Grammar::SearchStore, ctx, args, reply)
}

pub(super) fn georadius(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(Grammar::Radius { may_store: true }, ctx, args, reply)
}

pub(super) fn georadius_ro(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(Grammar::Radius { may_store: false }, ctx, args, reply)
}

pub(super) fn georadiusbymember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(Grammar::RadiusByMember { may_store: true }, ctx, args, reply)
}

pub(super) fn georadiusbymember_ro(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    run(Grammar::RadiusByMember { may_store: false }, ctx, args, reply)
}

fn run(grammar: Grammar, ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.sorted_set(args.get(grammar.source()))?;
    let query = parse(grammar, args, set)?;
    let found = set.map(|set| search(set, &query)).unwrap_or_default();
    if let Some(key) = query.store {
        let rows = rows(&found, &query);
        return store(ctx, key, &rows, reply);
    }
    reply.array(found.len());
    found.iter().for_each(|one| put_found(reply, one, &query));
    Ok(())
}

fn put_found(reply: &mut Reply<'_>, found: &Found<'_>, query: &Query<'_>) {
    let more =
        [query.with_distance, query.with_hash, query.with_point].into_iter().filter(|with| *with).count();
    if more > 0 {
        reply.array(1 + more);
    }
    reply.bulk(found.member);
    if query.with_distance {
        put_distance(reply, found.distance_m / query.unit_m);
    }
    if query.with_hash {
        reply.integer(to_i64(found.score));
    }
    if query.with_point {
        put_point(reply, found.point);
    }
}
