//! MEMORY: what a key weighs, where memory goes, what the allocator says.

use std::sync::atomic::Ordering::Relaxed;

use super::commands::keys_in;
use super::object::write_help;
use crate::allocator;
use crate::command::memory::EXPIRY_SHARE;
use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::stripe::Part;
use crate::resp::Reply;

/// Values know their size, so there is nothing to sample: SAMPLES is read and changes nothing.
pub(super) fn usage(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut options = args.iter().skip(3);
    while let Some(option) = options.next() {
        match options.next() {
            Some(samples) if is(option, "samples") => {
                if integer(samples)? < 0 {
                    return Err(CommandError::SYNTAX);
                }
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    let key = args.get(2);
    let Some(entry) = ctx.entry_quietly(key) else {
        reply.null();
        return Ok(());
    };
    let own = entry.heap_bytes() + if entry.expire_at().is_some() { EXPIRY_SHARE } else { 0 };
    let (slot, space) = (ctx.place(key).slot, ctx.space());
    let part = ctx.held().shelf(slot).stripe.part(space);
    reply.integer((own + part.map_or(0, |part| part.tables_share(slot))) as i64);
    Ok(())
}

/// What MEMORY STATS counts of one database.
struct DatabaseUsage {
    db: u32,
    keys: usize,
    expiring: usize,
    tables_bytes: usize,
}

fn database_usage(ctx: &Ctx<'_>) -> Vec<DatabaseUsage> {
    let of = |db| {
        let space = ctx.keyspace().space(db);
        let parts = || ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space));
        let expiring = parts().map(Part::expiring_len).sum();
        DatabaseUsage {
            db,
            keys: keys_in(ctx, db),
            expiring,
            tables_bytes: parts().map(Part::tables_bytes).sum(),
        }
    };
    (0..ctx.keyspace().databases()).map(of).filter(|usage| usage.keys > 0).collect()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Redis' fields. What does not exist here (replicas, scripts' caches, cluster links) is 0; physical memory is what the
/// allocator holds, so the rest of the process does not show in it.
pub(super) fn stats(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let usage = allocator::usage();
    ctx.server.stats.used_memory_peak.max(usage.allocated);
    let peak = ctx.server.stats.used_memory_peak.get();
    let databases = database_usage(ctx);
    let clients: usize = ctx
        .server
        .clients
        .all()
        .iter()
        .map(|client| {
            [&client.query_bytes, &client.query_free, &client.output_bytes, &client.multi_bytes]
                .map(|bytes| bytes.load(Relaxed))
                .iter()
                .sum::<usize>()
        })
        .sum();
    let tables: usize = databases.iter().map(|db| db.tables_bytes + db.expiring * EXPIRY_SHARE).sum();
    let startup = ctx.server.stats.used_memory_startup.get();
    let overhead = startup + (clients + tables) as u64;
    let dataset = usage.allocated.saturating_sub(overhead);
    let keys: usize = databases.iter().map(|db| db.keys).sum();

    let mark = reply.array_later();
    let mut fields = Fields { reply, len: 0 };
    fields.bytes("peak.allocated", peak);
    fields.bytes("total.allocated", usage.allocated);
    fields.bytes("startup.allocated", startup);
    for name in ["replication.backlog", "clients.slaves"] {
        fields.bytes(name, 0);
    }
    fields.bytes("clients.normal", clients as u64);
    for name in ["cluster.links", "aof.buffer", "lua.caches", "functions.caches"] {
        fields.bytes(name, 0);
    }
    databases.iter().for_each(|usage| fields.database(usage));
    fields.bytes("overhead.total", overhead);
    fields.bytes("keys.count", keys as u64);
    fields.bytes("keys.bytes-per-key", dataset.checked_div(keys as u64).unwrap_or(0));
    fields.bytes("dataset.bytes", dataset);
    let grown = usage.allocated.saturating_sub(startup);
    fields.number("dataset.percentage", ratio(dataset, grown) * 100.0);
    fields.number("peak.percentage", ratio(usage.allocated, peak) * 100.0);
    fields.bytes("allocator.allocated", usage.allocated);
    fields.bytes("allocator.active", usage.active);
    fields.bytes("allocator.resident", usage.resident);
    fields.number("allocator-fragmentation.ratio", ratio(usage.active, usage.allocated));
    fields.bytes("allocator-fragmentation.bytes", usage.active.saturating_sub(usage.allocated));
    fields.number("allocator-rss.ratio", ratio(usage.resident, usage.active));
    fields.bytes("allocator-rss.bytes", usage.resident.saturating_sub(usage.active));
    fields.number("rss-overhead.ratio", 1.0);
    fields.bytes("rss-overhead.bytes", 0);
    fields.number("fragmentation", ratio(usage.resident, usage.allocated));
    fields.bytes("fragmentation.bytes", usage.resident.saturating_sub(usage.allocated));
    let len = fields.len;
    reply.finish_map(mark, len);
    Ok(())
}

/// A map whose fields are counted while they are written.
struct Fields<'r, 'a> {
    reply: &'r mut Reply<'a>,
    len: usize,
}

impl Fields<'_, '_> {
    fn bytes(&mut self, name: &str, value: u64) {
        self.reply.bulk_str(name);
        self.reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
        self.len += 1;
    }

    fn number(&mut self, name: &str, value: f64) {
        self.reply.bulk_str(name);
        self.reply.double(value);
        self.len += 1;
    }

    fn database(&mut self, usage: &DatabaseUsage) {
        self.reply.bulk_str(&format!("db.{}", usage.db));
        self.reply.map(3);
        for (name, bytes) in [
            ("overhead.hashtable.main", usage.tables_bytes),
            ("overhead.hashtable.expires", usage.expiring * EXPIRY_SHARE),
            ("overhead.hashtable.slot-to-keys", 0),
        ] {
            self.reply.bulk_str(name);
            self.reply.integer(bytes as i64);
        }
        self.len += 1;
    }
}

/// Below this there is nothing to diagnose.
const SMALL_BYTES: u64 = 5 << 20;

pub(super) fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let usage = allocator::usage();
    ctx.server.stats.used_memory_peak.max(usage.allocated);
    let text = diagnose(usage, ctx.server.stats.used_memory_peak.get());
    reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn diagnose(usage: allocator::Usage, peak: u64) -> String {
    if usage.allocated < SMALL_BYTES {
        return format!("{} bytes are in use: too little to say anything about them.\n", usage.allocated);
    }
    let mut text = String::new();
    if peak / 3 > usage.allocated / 2 {
        text.push_str(&format!(
            "Peak: {peak} bytes were in use at the most, {} are now. The allocator may keep what was freed; MEMORY PURGE gives \
             it back.\n",
            usage.allocated
        ));
    }
    let lost = usage.active.saturating_sub(usage.allocated);
    if lost > 10 << 20 && ratio(usage.active, usage.allocated) > 1.4 {
        text.push_str(&format!(
            "Fragmentation: {lost} bytes lie free between allocations. A restart packs them anew.\n"
        ));
    }
    let kept = usage.resident.saturating_sub(usage.active);
    if kept > 10 << 20 && ratio(usage.resident, usage.active) > 1.1 {
        text.push_str(&format!(
            "Free pages: {kept} bytes are free and not given back; MEMORY PURGE does it.\n"
        ));
    }
    if text.is_empty() { "No memory problem was found.\n".into() } else { text }
}

pub(super) fn purge(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    allocator::purge();
    reply.ok();
    Ok(())
}

pub(super) fn malloc_stats(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.verbatim(b"txt", allocator::report().as_bytes());
    Ok(())
}

pub(super) fn help(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    write_help(
        reply,
        &[
            "MEMORY <subcommand> [<arg> ...]. Subcommands are:",
            "DOCTOR",
            "    Names memory problems, if there are any.",
            "MALLOC-STATS",
            "    The allocator's own report.",
            "PURGE",
            "    Gives free pages back to the operating system.",
            "STATS",
            "    Where memory goes.",
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes behind <key> and its value. SAMPLES is accepted and not needed.",
            "HELP",
            "    This text.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::Usage;

    #[test]
    fn the_doctor_names_each_problem() {
        const MIB: u64 = 1 << 20;
        let usage = |allocated: u64, active: u64, resident: u64| Usage {
            allocated: allocated * MIB,
            active: active * MIB,
            resident: resident * MIB,
        };
        let says = |usage, peak: u64, word: &str| diagnose(usage, peak * MIB).contains(word);
        assert!(says(usage(1, 1, 1), 1, "too little"));
        assert!(says(usage(100, 105, 110), 120, "No memory problem"));
        assert!(says(usage(100, 105, 110), 200, "Peak"));
        assert!(says(usage(100, 150, 152), 100, "Fragmentation"));
        assert!(says(usage(100, 105, 150), 100, "Free pages"));
    }
}
