//! INFO's section Memory. Bytes as the allocator and the operating system tell them, not estimates of ours.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::memory::EXPIRY_SHARE;
use crate::command::{Ctx, memory as command_memory};
use crate::config::MaxmemoryPolicy;
use crate::keyspace::entry::Entry;
use crate::{allocator, memory_gauge, process};

use super::info::Lines;

/// Memory of the process in bytes.
struct Memory {
    allocated: u64,
    active: u64,
    resident: u64,
    rss: u64,
}

impl Memory {
    /// An allocator that keeps no statistics is taken to use all that the process has.
    fn now() -> Self {
        let rss = process::resident_bytes();
        match allocator::usage() {
            usage if usage.allocated == 0 => Self { allocated: rss, active: rss, resident: rss, rss },
            allocator::Usage { allocated, active, resident } => Self { allocated, active, resident, rss },
        }
    }
}

/// A number of bytes for people, as Redis writes it: `1.50K`.
pub fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() as usize / 10).min(UNITS.len());
    let unit = UNITS[power - 1];
    format!("{:.2}{unit}", bytes as f64 / (1u64 << (10 * power)) as f64)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", if whole > 0 { part as f64 * 100.0 / whole as f64 } else { 0.0 })
}

fn ratio(a: u64, b: u64) -> String {
    format!("{:.2}", if b > 0 { a as f64 / b as f64 } else { 0.0 })
}

/// Bytes that the tables of keys and of expiry times take at least. MEMORY STATS looks at every page of them, and so counts their unused
/// room, too: too long for what is asked for every second.
fn tables(ctx: &Ctx<'_>) -> u64 {
    let spaces = (0..ctx.keyspace().databases()).map(|db| ctx.keyspace().space(db));
    let parts =
        spaces.flat_map(|space| ctx.held().shelves().filter_map(move |shelf| shelf.stripe.part(space)));
    parts.map(|part| part.len() * size_of::<Entry>() + part.expiring_len() * EXPIRY_SHARE).sum::<usize>()
        as u64
}

pub fn section(ctx: &Ctx<'_>, lines: &mut Lines) {
    let server = ctx.server;
    let memory = Memory::now();
    let used = memory.allocated;
    server.stats.used_memory_peak.max(used);
    let peak = server.stats.used_memory_peak.get();
    let clients: usize = server
        .clients
        .all()
        .iter()
        .map(|client| {
            client.query_bytes.load(Relaxed)
                + client.query_free.load(Relaxed)
                + client.multi_bytes.load(Relaxed)
                + client.output_bytes.load(Relaxed)
        })
        .sum();
    let log_buffer =
        server.store.get().map_or(0, |store| store.log.append_lsn().saturating_sub(store.log.written_lsn()));
    let startup = server.stats.used_memory_startup.get();
    let overhead = startup + clients as u64 + log_buffer + tables(ctx);
    let dataset = used.saturating_sub(overhead);
    let machine = process::machine_memory();
    let limit = server.config.maxmemory();
    let mut sizes = |name: &str, bytes: u64| {
        lines.add(name, bytes);
        lines.add(&format!("{name}_human"), human(bytes));
    };
    sizes("used_memory", used);
    sizes("used_memory_rss", memory.rss);
    sizes("used_memory_peak", peak);
    lines.add("used_memory_peak_perc", percent(used, peak));
    lines.add("used_memory_overhead", overhead);
    lines.add("used_memory_startup", startup);
    lines.add("used_memory_dataset", dataset);
    lines.add("used_memory_dataset_perc", percent(dataset, used.saturating_sub(startup)));
    allocator_lines(&memory, lines);
    let mut sizes = |name: &str, bytes: u64| {
        lines.add(name, bytes);
        lines.add(&format!("{name}_human"), human(bytes));
    };
    sizes("total_system_memory", machine);
    let scripts = memory_gauge::scripts();
    sizes("used_memory_vm_eval", scripts);
    sizes("used_memory_lua", scripts);
    sizes("used_memory_scripts", 0);
    sizes("maxmemory", limit);
    lines.add("maxmemory_policy", MaxmemoryPolicy::name(server.config.maxmemory_policy()));
    let (scripts, _) = server.scripts.figures();
    let libraries = server.libraries.get();
    lines.add_all([
        ("number_of_cached_scripts", scripts),
        ("number_of_functions", libraries.as_ref().map_or(0, |known| known.functions())),
        ("number_of_libraries", libraries.as_ref().map_or(0, |known| known.len())),
    ]);
    lines.add("mem_fragmentation_ratio", ratio(memory.rss, used));
    lines.add("mem_fragmentation_bytes", memory.rss as i64 - used as i64);
    lines.add("mem_not_counted_for_evict", command_memory::not_counted(server));
    lines.add("mem_replication_backlog", 0);
    lines.add("mem_total_replication_buffers", 0);
    lines.add("mem_clients_slaves", 0);
    lines.add("mem_clients_normal", clients);
    lines.add("mem_cluster_links", 0);
    lines.add("mem_aof_buffer", log_buffer);
    lines.add("mem_allocator", allocator::name());
    lines.add_all(
        ["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"].map(|name| (name, 0)),
    );
}

fn allocator_lines(memory: &Memory, lines: &mut Lines) {
    lines.add("allocator_allocated", memory.allocated);
    lines.add("allocator_active", memory.active);
    lines.add("allocator_resident", memory.resident);
    lines.add("allocator_frag_ratio", ratio(memory.active, memory.allocated));
    lines.add("allocator_frag_bytes", memory.active as i64 - memory.allocated as i64);
    lines.add("allocator_rss_ratio", ratio(memory.resident, memory.active));
    lines.add("allocator_rss_bytes", memory.resident as i64 - memory.active as i64);
    lines.add("rss_overhead_ratio", ratio(memory.rss, memory.resident));
    lines.add("rss_overhead_bytes", memory.rss as i64 - memory.resident as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people_are_written_as_redis_does() {
        let rows = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (916336, "894.86K"), (1682192, "1.60M")];
        for (bytes, expected) in rows {
            assert_eq!(human(bytes), expected);
        }
        assert_eq!(human(25_276_502_016), "23.54G");
    }
}
