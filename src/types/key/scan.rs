//! Looking through all keys: KEYS, SCAN, RANDOMKEY. Keys whose time has come are never shown.
//!
//! ```text
//! SCAN's cursor = slot (14 bits) | highest 39 bits of the position in the slot's order of traversal
//! ```
//!
//! It stays below 2^53, so that clients which keep numbers as doubles carry it whole. Slots come in ascending order; within a
//! slot [`SlotTable::scan_page`] keeps SCAN's promise: a key that was there from the first call to the last is shown, one that
//! never was there is not. Pages of a slot begin at multiples of 2^25 as long as the slot has fewer than 2^39 of them.
//!
//! [`SlotTable::scan_page`]: crate::keyspace::table::SlotTable::scan_page

use crate::command::options::{self, ScanExtra, ScanOptions, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::glob;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::SLOTS;
use crate::keyspace::stripe::{Part, STRIPES};
use crate::resp::Reply;

const POSITION_BITS: u32 = 39;
const SLOTS_PER_STRIPE: u64 = (SLOTS / STRIPES) as u64;
/// Random keys that RANDOMKEY tries before it counts those that are not expired.
const RANDOM_TRIES: usize = 32;

fn is_live(entry: &Entry, now_ms: u64) -> bool {
    entry.expire_at().is_none_or(|at| at > now_ms)
}

pub(super) fn keys(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.depend_on_everything();
    let (pattern, space, now_ms) = (args.get(1), ctx.space(), ctx.now_ms);
    let everything = pattern == b"*";
    let mark = reply.array_later();
    let mut len = 0;
    for part in ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space)) {
        for entry in part.iter() {
            if (everything || glob::matches(pattern, entry.key())) && is_live(entry, now_ms) {
                reply.bulk(entry.key());
                len += 1;
            }
        }
    }
    reply.finish_array(mark, len);
    Ok(())
}

fn shows(scan: &ScanOptions<'_>, entry: &Entry, now_ms: u64) -> bool {
    scan.type_name.is_none_or(|name| is(name, entry.kind().name()))
        && scan.takes(entry.key())
        && is_live(entry, now_ms)
}

/// How far SCAN is: the slot, and where in that slot's order of traversal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: u64,
    position: u64,
}

impl Place {
    const fn from_cursor(cursor: u64) -> Self {
        Self { slot: cursor >> POSITION_BITS, position: cursor << (64 - POSITION_BITS) }
    }

    const fn cursor(self) -> u64 {
        self.slot << POSITION_BITS | self.position >> (64 - POSITION_BITS)
    }

    const fn start_of(slot: u64) -> Self {
        Self { slot, position: 0 }
    }
}

pub(super) fn scan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let cursor = options::cursor(args.get(1))?;
    let scan = ScanOptions::parse(args.tail(2), ScanExtra::Type)?;
    ctx.depend_on_everything();
    // The cursor goes out before the keys but is known after them.
    let mut keys = Vec::new();
    let mut found = Reply::new(&mut keys, reply.proto());
    let mark = found.array_later();
    let mut len = 0;
    let now_ms = ctx.now_ms;
    let next = walk(ctx, Place::from_cursor(cursor), scan.count, &mut |entry| {
        if shows(&scan, entry, now_ms) {
            found.bulk(entry.key());
            len += 1;
        }
    });
    found.finish_array(mark, len);
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.raw(&keys);
    Ok(())
}

/// Visits pages from a place on until `count` keys were seen and others are left. Returns the cursor to go on with, 0 at the
/// end. Beyond the pages, the work is at most one look at each slot.
fn walk(ctx: &Ctx<'_>, mut place: Place, count: u64, visit: &mut dyn FnMut(&Entry)) -> u64 {
    let (space, seed) = (ctx.space(), ctx.keyspace().seed());
    let mut seen = 0;
    while place.slot < SLOTS as u64 {
        let slot = place.slot as u16;
        let Some(part) = ctx.held().shelf(slot).stripe.part(space).filter(|part| !part.is_empty()) else {
            place = Place::start_of((place.slot / SLOTS_PER_STRIPE + 1) * SLOTS_PER_STRIPE);
            continue;
        };
        let Some(table) = part.slot(slot) else {
            place = Place::start_of(place.slot + 1);
            continue;
        };
        if seen >= count {
            return place.cursor();
        }
        let next = table.scan_page(place.position, seed, &mut |entry| {
            seen += 1;
            visit(entry);
        });
        place = match next {
            Some(position) => Place { slot: place.slot, position },
            None => Place::start_of(place.slot + 1),
        };
    }
    0
}

pub(super) fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.depend_on_everything();
    let (space, now_ms) = (ctx.space(), ctx.now_ms);
    let id = ctx.server.clock.random_id().map_err(|e| CommandError::owned(format!("ERR {e}")))?;
    let mut random = Random(u64::from_le_bytes(id[..8].try_into().expect("eight of sixteen bytes")));
    let parts: Vec<&Part> = ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space)).collect();
    reply.bulk_or_null(random_live(&parts, now_ms, &mut random).map(Entry::key));
    Ok(())
}

/// A key with the same chance for each. Expired ones are thrown back; if almost all are, the others are counted.
fn random_live<'a>(parts: &[&'a Part], now_ms: u64, random: &mut Random) -> Option<&'a Entry> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if total == 0 {
        return None;
    }
    for _ in 0..RANDOM_TRIES {
        let entry = nth(parts, random.below(total))?;
        if is_live(entry, now_ms) {
            return Some(entry);
        }
    }
    let live = || parts.iter().flat_map(|part| part.iter()).filter(|entry| is_live(entry, now_ms));
    let count = live().count();
    if count == 0 { None } else { live().nth(random.below(count)) }
}

fn nth<'a>(parts: &[&'a Part], mut n: usize) -> Option<&'a Entry> {
    for part in parts {
        if n < part.len() {
            return part.nth(n);
        }
        n -= part.len();
    }
    None
}

/// SplitMix64: numbers drawn from one seed that nobody can guess.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0. The bias is below `bound` / 2^64.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Keyspace;
    use crate::keyspace::op::Op;
    use crate::keyspace::waiters::StripeSet;
    use crate::types::string::value::StringOp;
    use proptest::prelude::*;

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        let rows: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("", Some(0)),
            ("+1", Some(1)),
            ("007", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("abc", None),
            ("-", None),
            ("+-1", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
        ];
        for (text, expected) in rows {
            assert_eq!(options::cursor(text.as_bytes()).ok(), *expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_is_a_place_and_exact_in_a_double(slot in 0..SLOTS as u64, position in 0u64..1 << POSITION_BITS) {
            let place = Place { slot, position: position << (64 - POSITION_BITS) };
            prop_assert!(place.cursor() < 1 << 53);
            prop_assert_eq!(Place::from_cursor(place.cursor()), place);
        }
    }

    #[test]
    fn every_live_key_is_drawn_and_no_expired_one() {
        let keyspace = Keyspace::new(1, 5);
        let mut held = keyspace.lock(StripeSet::ALL);
        for n in 0..400 {
            let key = format!("key:{n}");
            let expire_at = (n >= 8).then_some(50);
            let op = Op::String(StringOp::Set { value: b"v", expire_at });
            held.apply(0, &keyspace.key(key.as_bytes()), &op).expect("a string fits an absent key");
        }
        let parts: Vec<&Part> = held.shelves().filter_map(|shelf| shelf.stripe.part(0)).collect();
        let mut random = Random(1);
        let mut drawn = std::collections::BTreeMap::new();
        for _ in 0..4000 {
            let entry = random_live(&parts, 50, &mut random).expect("eight keys are live");
            *drawn.entry(entry.key().to_vec()).or_insert(0) += 1;
        }
        assert_eq!(drawn.len(), 8);
        assert!(drawn.values().all(|count| (350..650).contains(count)), "{drawn:?}");
        assert!(random_live(&parts, 49, &mut random).is_some());
        assert!(random_live(&[], 0, &mut random).is_none());
    }
}
