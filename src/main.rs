//! The one binary: the server, and under the names of subcommands the tools.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Settings of the allocator, read by it at start. Huge pages: a store is one big heap read at random, where small pages cost a
/// page walk on nearly every lookup. What makes others advise against them, copying a huge page for every byte changed after a
/// fork, does not happen here: nothing forks. Small allocations may take from free memory of any size, since `headroom` makes large
/// pieces of it. What is free is kept for half a minute, not ten seconds: to find it again costs the thread that grows milliseconds.
#[cfg(feature = "jemalloc")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 80] =
    b"thp:always,metadata_thp:always,lg_extent_max_active_fit:16,dirty_decay_ms:30000\0";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = duramen::tools::run(&args).unwrap_or_else(|| duramen::server::run(&args));
    std::process::exit(code);
}
