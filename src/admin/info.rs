//! INFO: the server in figures, in sections, under Redis' names where the meaning is Redis'. What this server doesn't have
//! (replicas, for one) reads as none. Section `Duramen` is our own.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::backups::Backups;
use crate::command::channels::Topic;
use crate::command::snapshots::{Runs, Snapshots};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::config::AppendFsync;
use crate::keyspace::stream_totals::StreamTotals;
use crate::log::{LogInfo, LogState};
use crate::process;
use crate::resp::Reply;

use super::{ANYTIME, REDIS_VERSION, info_memory};

pub const INFO: Command = Command {
    name: "info",
    arity: -1,
    // All keys: only under their locks do the counts of a database fit together.
    flags: ANYTIME.union(Flags::ALL_KEYS),
    group: Group::Server,
    summary: "Returns information and statistics about the server.",
    syntax: "[section [section ...]]",
    acl: &["dangerous"],
    handler: info,
    ..Command::DEFAULT
};

/// Text in the making: `name:value` lines.
#[derive(Default)]
pub struct Lines(String);

impl Lines {
    pub fn add(&mut self, name: &str, value: impl Display) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    pub fn add_all<V: Display>(&mut self, lines: impl IntoIterator<Item = (&'static str, V)>) {
        lines.into_iter().for_each(|(name, value)| self.add(name, value));
    }

    fn section(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        let _ = write!(self.0, "# {title}\r\n");
    }
}

/// When a section is shown without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Default,
    All,
    Everything,
}

type Section = (&'static str, Shown, fn(&Ctx<'_>, &mut Lines));

/// In the order of the reply.
const SECTIONS: [Section; 13] = [
    ("Server", Shown::Default, server),
    ("Clients", Shown::Default, clients),
    ("Memory", Shown::Default, info_memory::section),
    ("Persistence", Shown::Default, persistence),
    ("Stats", Shown::Default, stats),
    ("Replication", Shown::Default, replication),
    ("CPU", Shown::Default, cpu),
    ("Modules", Shown::Everything, |_, _| {}),
    ("Commandstats", Shown::All, commandstats),
    ("Errorstats", Shown::Default, errorstats),
    ("Cluster", Shown::Default, |_, lines| lines.add("cluster_enabled", 0)),
    ("Keyspace", Shown::Default, keyspace),
    ("Duramen", Shown::Default, duramen),
];

fn is_wanted(section: &Section, args: Args<'_>) -> bool {
    let (title, shown, _) = section;
    let default = *shown == Shown::Default || *title == "Modules";
    let wants = |arg: &[u8]| {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        is(title)
            || is("everything")
            || (is("all") && *shown != Shown::Everything)
            || (is("default") && default)
    };
    if args.len() == 1 { default } else { args.iter().skip(1).any(wants) }
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut lines = Lines::default();
    for section in SECTIONS.iter().filter(|section| is_wanted(section, args)) {
        lines.section(section.0);
        (section.2)(ctx, &mut lines);
    }
    reply.verbatim(b"txt", lines.0.as_bytes());
    Ok(())
}

fn server(ctx: &Ctx<'_>, lines: &mut Lines) {
    let server = ctx.server;
    let config = &server.config;
    let uptime_s = server.uptime().as_secs();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("duramen_version", env!("CARGO_PKG_VERSION"));
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", "0");
    lines.add("redis_mode", "standalone");
    lines.add("os", process::system_name());
    lines.add("arch_bits", usize::BITS);
    lines.add("monotonic_clock", "POSIX clock_gettime");
    lines.add("multiplexing_api", "epoll");
    lines.add("process_id", std::process::id());
    lines.add("process_supervised", config.supervised().name());
    lines.add("run_id", &server.run_id);
    lines.add("tcp_port", config.port());
    lines.add("server_time_usec", server.clock.wall_us());
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86400);
    lines.add("hz", config.hz());
    lines.add("configured_hz", config.hz());
    lines.add("lru_clock", (ctx.now_ms / 1000) & 0xff_ffff);
    lines.add("executable", std::env::current_exe().unwrap_or_default().display());
    lines.add("config_file", server.config_file.as_deref().unwrap_or_default());
    lines.add("io_threads_active", i32::from(config.io_threads() > 1));
}

fn clients(ctx: &Ctx<'_>, lines: &mut Lines) {
    let clients = ctx.server.clients.all();
    let largest = |of: fn(&crate::command::clients::Client) -> usize| {
        clients.iter().map(|client| of(client)).max().unwrap_or(0)
    };
    let watching = clients.iter().filter(|client| client.watched.load(Relaxed) > 0);
    let keys_watched: u64 = watching.clone().map(|client| client.watched.load(Relaxed)).sum();
    let blocked = clients.iter().filter(|client| client.is_blocked()).count();
    lines.add("connected_clients", clients.len());
    lines.add("cluster_connections", 0);
    lines.add("maxclients", ctx.server.config.maxclients());
    lines.add(
        "client_recent_max_input_buffer",
        largest(|client| client.query_bytes.load(Relaxed) + client.query_free.load(Relaxed)),
    );
    lines.add("client_recent_max_output_buffer", largest(|client| client.output_bytes.load(Relaxed)));
    lines.add("blocked_clients", blocked);
    lines.add("tracking_clients", ctx.server.tracking.figures().clients);
    lines.add("pubsub_clients", clients.iter().filter(|client| client.is_subscribed()).count());
    lines.add("watching_clients", watching.count());
    lines.add("clients_in_timeout_table", 0);
    lines.add("total_watched_keys", keys_watched);
    let waiters = || ctx.held().shelves().map(|shelf| &shelf.waiters);
    lines.add("total_blocking_keys", waiters().map(|waiters| waiters.keys_waited_for()).sum::<usize>());
    let on_no_key = waiters().map(|waiters| waiters.keys_whose_end_is_waited_for()).sum::<usize>();
    lines.add("total_blocking_keys_on_nokey", on_no_key);
}

/// How far loading is, as long as it lasts.
fn loading(ctx: &Ctx<'_>, lines: &mut Lines) {
    let loading = &ctx.server.loading;
    let is_loading = ctx.server.store.get().is_none();
    lines.add("loading", i32::from(is_loading));
    if !is_loading {
        return;
    }
    let (total, done) = (loading.bytes_total.load(Relaxed), loading.bytes_done.load(Relaxed));
    let started_ms = loading.started_ms.load(Relaxed);
    let elapsed_s = ctx.server.clock.wall_ms().saturating_sub(started_ms) as f64 / 1000.0;
    let part = if total > 0 { done as f64 / total as f64 } else { 0.0 };
    let eta_s = loading_eta_s(total, done, elapsed_s);
    lines.add("loading_start_time", started_ms / 1000);
    lines.add("loading_total_bytes", total);
    lines.add("loading_loaded_bytes", done);
    lines.add("loading_loaded_perc", format_args!("{:.2}", part * 100.0));
    lines.add("loading_eta_seconds", eta_s);
}

/// As long again for each byte to come as for those that have. The first moments tell nothing of that, and clients sleep for as long as
/// they are told: until a second is over a rate that most disks reach is taken for granted.
fn loading_eta_s(total: u64, done: u64, elapsed_s: f64) -> f64 {
    const LIKELY_BYTES_PER_S: f64 = 100e6;
    let left = total.saturating_sub(done) as f64;
    let rate = if elapsed_s < 1.0 || done == 0 { LIKELY_BYTES_PER_S } else { done as f64 / elapsed_s };
    if total == 0 { 1.0 } else { (left / rate).ceil() }
}

fn persistence(ctx: &Ctx<'_>, lines: &mut Lines) {
    let server = ctx.server;
    loading(ctx, lines);
    lines.add("async_loading", 0);
    lines.add("rdb_changes_since_last_save", server.stats.dirty.get());
    let snapshots = &server.snapshots;
    let (saving, rewriting) = snapshots.in_progress();
    let (began_ms, saved_ms) = (snapshots.began_ms.load(Relaxed), snapshots.saved_ms.load(Relaxed));
    let since_began_s =
        |runs| if runs { server.clock.wall_ms().saturating_sub(began_ms) as i64 / 1000 } else { -1 };
    let took_s = |runs: &Runs| match runs.took_ms.load(Relaxed) {
        took_ms @ 0.. => took_ms / 1000,
        _ => -1,
    };
    let status = |runs: &Runs| if runs.failures_in_a_row.load(Relaxed) == 0 { "ok" } else { "err" };
    let (saves, rewrites) = (&snapshots.saves, &snapshots.rewrites);
    lines.add("rdb_bgsave_in_progress", i32::from(saving));
    lines.add("rdb_last_save_time", if saved_ms == 0 { server.started_ms } else { saved_ms } / 1000);
    lines.add("rdb_last_bgsave_status", status(saves));
    lines.add("rdb_last_bgsave_time_sec", took_s(saves));
    lines.add("rdb_current_bgsave_time_sec", since_began_s(saving));
    lines.add("rdb_saves", saves.successes.load(Relaxed));
    lines.add("rdb_last_cow_size", 0);
    lines.add("rdb_last_load_keys_expired", 0);
    lines.add("rdb_last_load_keys_loaded", server.loading.snapshot_keys.load(Relaxed));
    lines.add("aof_enabled", 1);
    lines.add("aof_rewrite_in_progress", i32::from(rewriting));
    lines.add("aof_rewrite_scheduled", i32::from(snapshots.is_rewrite_scheduled()));
    lines.add("aof_last_rewrite_time_sec", took_s(rewrites));
    lines.add("aof_current_rewrite_time_sec", since_began_s(rewriting));
    lines.add("aof_last_bgrewrite_status", status(rewrites));
    lines.add("aof_rewrites", rewrites.successes.load(Relaxed));
    lines.add("aof_rewrites_consecutive_failures", rewrites.failures_in_a_row.load(Relaxed));
    lines.add("snapshots_retained", snapshots.retained.load(Relaxed));
    lines.add("snapshots_retained_bytes", snapshots.retained_bytes.load(Relaxed));
    lines.add("oldest_restorable_lsn", snapshots.restorable_lsn.load(Relaxed));
    lines.add("oldest_restorable_time", snapshots.restorable_us.load(Relaxed) / 1_000_000);
    let fallback = snapshots.fallback.lock().clone().unwrap_or_default();
    lines.add("snapshot_fallback", fallback.replace(['\r', '\n'], " "));
    let Some(store) = server.store.get() else { return };
    let log = &store.log;
    let healthy = log.state() == LogState::Healthy;
    let unsynced = log.written_lsn() > log.durable_lsn();
    lines.add("aof_last_write_status", if healthy { "ok" } else { "err" });
    lines.add("aof_last_cow_size", 0);
    // As in Redis what a start would read: the snapshot, and the records of the log behind it. A compaction makes it less.
    let snapshot_bytes = snapshots.bytes.load(Relaxed);
    let replayed_bytes = log.written_lsn().saturating_sub(snapshots.through.load(Relaxed));
    lines.add("aof_current_size", snapshot_bytes + replayed_bytes);
    lines.add("aof_base_size", snapshot_bytes);
    lines.add("aof_pending_rewrite", 0);
    lines.add("aof_buffer_length", log.append_lsn().saturating_sub(log.written_lsn()));
    lines.add("aof_pending_bio_fsync", i32::from(unsynced));
    lines.add("aof_delayed_fsync", i32::from(log.everysec_late()));
}

fn stats(ctx: &Ctx<'_>, lines: &mut Lines) {
    let stats = &ctx.server.stats;
    let [commands, input, output] = stats.rates.lock().per_second();
    lines.add("total_connections_received", stats.connections_received.get());
    lines.add("total_commands_processed", stats.commands_processed.get());
    lines.add("instantaneous_ops_per_sec", commands.round());
    lines.add("total_net_input_bytes", stats.net_input_bytes.get());
    lines.add("total_net_output_bytes", stats.net_output_bytes.get());
    lines.add("total_net_repl_input_bytes", 0);
    lines.add("total_net_repl_output_bytes", 0);
    lines.add("instantaneous_input_kbps", format_args!("{:.2}", input / 1024.0));
    lines.add("instantaneous_output_kbps", format_args!("{:.2}", output / 1024.0));
    lines.add("instantaneous_input_repl_kbps", "0.00");
    lines.add("instantaneous_output_repl_kbps", "0.00");
    lines.add("rejected_connections", stats.connections_rejected.get());
    lines.add_all(["sync_full", "sync_partial_ok", "sync_partial_err"].map(|name| (name, 0)));
    lines.add("expired_keys", stats.expired_keys.get());
    lines.add("expired_fields", stats.expired_fields.get());
    lines.add("expired_stale_perc", format_args!("{:.2}", stats.expired_stale.get() as f64 / 100.0));
    lines.add("expired_time_cap_reached_count", stats.expire_cycles_cut.get());
    lines.add("expire_cycle_cpu_milliseconds", 0);
    lines.add("evicted_keys", stats.evicted_keys.get());
    lines.add("evicted_clients", ctx.server.stats.evicted_clients.get());
    let (exceeded, of_late) = ctx.server.memory.exceeded(ctx.server.clock.monotonic());
    lines.add("total_eviction_exceeded_time", exceeded.as_millis());
    lines.add("current_eviction_exceeded_time", of_late.as_millis());
    lines.add("keyspace_hits", stats.keyspace_hits.get());
    lines.add("keyspace_misses", stats.keyspace_misses.get());
    for (name, topic) in
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].into_iter().zip(Topic::ALL)
    {
        lines.add(name, ctx.server.channels.len(topic));
    }
    lines.add_all(["latest_fork_usec", "total_forks", "migrate_cached_sockets"].map(|name| (name, 0)));
    lines.add_all(["slave_expires_tracked_keys", "active_defrag_hits"].map(|name| (name, 0)));
    lines.add_all(["active_defrag_misses", "active_defrag_key_hits"].map(|name| (name, 0)));
    lines.add_all(["active_defrag_key_misses", "total_active_defrag_time"].map(|name| (name, 0)));
    lines.add("current_active_defrag_time", 0);
    let tracking = ctx.server.tracking.figures();
    lines.add("tracking_total_keys", tracking.keys);
    lines.add("tracking_total_items", tracking.items);
    lines.add("tracking_total_prefixes", tracking.prefixes);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", stats.error_replies.get());
    lines.add("dump_payload_sanitizations", 0);
    lines.add("total_transactions", stats.transactions.get());
    lines.add("client_query_buffer_limit_disconnections", stats.query_buffer_limit_disconnections.get());
    lines.add("client_output_buffer_limit_disconnections", stats.output_buffer_limit_disconnections.get());
    lines.add("acl_access_denied_auth", stats.refused_logins.get());
    lines.add("acl_access_denied_cmd", 0);
}

fn replication(ctx: &Ctx<'_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &ctx.server.run_id);
    lines.add("master_replid2", "0".repeat(40));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
    lines.add("repl_backlog_size", ctx.server.config.repl_backlog_size());
    lines.add("repl_backlog_first_byte_offset", 0);
    lines.add("repl_backlog_histlen", 0);
}

fn cpu(_: &Ctx<'_>, lines: &mut Lines) {
    let (whole, thread) = (process::cpu(), process::cpu_of_thread());
    let mut add = |name, time: Duration| lines.add(name, format_args!("{:.6}", time.as_secs_f64()));
    add("used_cpu_sys", whole.system);
    add("used_cpu_user", whole.user);
    add("used_cpu_sys_children", Duration::ZERO);
    add("used_cpu_user_children", Duration::ZERO);
    add("used_cpu_sys_main_thread", thread.system);
    add("used_cpu_user_main_thread", thread.user);
}

fn commandstats(ctx: &Ctx<'_>, lines: &mut Lines) {
    let all = ctx.server.registry.all().iter().zip(&ctx.server.stats.commands);
    for (command, stats) in all {
        let (calls, micros) = (stats.calls.get(), stats.nanos.get() / 1000);
        let (rejected, failed) = (stats.rejected.get(), stats.failed.get());
        if calls == 0 && rejected == 0 && failed == 0 {
            continue;
        }
        let per_call = if calls == 0 { 0.0 } else { micros as f64 / calls as f64 };
        lines.add(
            &format!("cmdstat_{}", command.full_name()),
            format_args!(
                "calls={calls},usec={micros},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn errorstats(ctx: &Ctx<'_>, lines: &mut Lines) {
    for (code, count) in &*ctx.server.stats.errors_by_code.lock() {
        lines.add(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// Counted over all stripes, which the command holds.
fn keyspace(ctx: &Ctx<'_>, lines: &mut Lines) {
    let keyspace = ctx.keyspace();
    for db in 0..keyspace.databases() {
        let space = keyspace.space(db);
        let (mut keys, mut expires, mut ttl_sum_ms) = (0, 0, 0.0);
        for part in ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space)) {
            keys += part.len();
            expires += part.expiring_len();
            // Close enough for an average that Redis estimates, too: the middle of the span stands for all of the stripe.
            let (first, last) = part.expiring_span_ms().unwrap_or_default();
            let middle =
                (first.saturating_sub(ctx.now_ms) as f64 + last.saturating_sub(ctx.now_ms) as f64) / 2.0;
            ttl_sum_ms += middle * part.expiring_len() as f64;
        }
        if keys > 0 {
            let average_ms = if expires > 0 { (ttl_sum_ms / expires as f64) as u64 } else { 0 };
            lines.add(&format!("db{db}"), format_args!("keys={keys},expires={expires},avg_ttl={average_ms}"));
        }
    }
}

/// The log and what it promises.
fn duramen(ctx: &Ctx<'_>, lines: &mut Lines) {
    let config = &ctx.server.config;
    lines.add("durability", AppendFsync::name(config.appendfsync()));
    lines.add("expiry_suspended", i32::from(ctx.server.time.expiry_is_suspended()));
    let Some(store) = ctx.server.store.get() else { return };
    let log = &store.log;
    let state = match log.state() {
        LogState::Healthy => "ok".to_owned(),
        LogState::NoSpace => "no-space".to_owned(),
        LogState::Failed { reason } => format!("failed ({})", reason.replace(['\r', '\n'], " ")),
    };
    lines.add("log_state", state);
    // Read from the last to the first, so that the order of the three holds in the reply.
    let (durable, written, append) = (log.durable_lsn(), log.written_lsn(), log.append_lsn());
    lines.add("append_lsn", append);
    lines.add("written_lsn", written);
    lines.add("durable_lsn", durable);
    lines.add("parked_retries", ctx.server.stats.parked_retries.get());
    lines.add("held_reply_bytes", ctx.server.stats.held_reply_bytes.get());
    lines.add("client_memory_bytes", ctx.server.stats.client_memory_bytes.get());
    stream_figures(ctx, lines);
    snapshot_figures(&ctx.server.snapshots, lines);
    backup_figures(&ctx.server.backups, lines);
    log_figures(&log.info(), lines);
    recovery(store, lines);
}

fn snapshot_figures(snapshots: &Snapshots, lines: &mut Lines) {
    lines.add("snapshot_through_lsn", snapshots.through.load(Relaxed));
    lines.add("snapshot_files", snapshots.files.load(Relaxed));
    lines.add("snapshot_bytes", snapshots.bytes.load(Relaxed));
    lines.add("snapshot_made_time", snapshots.made_ms.load(Relaxed) / 1000);
    let progress = &snapshots.progress;
    lines.add("compaction_log_bytes_total", progress.log_bytes_total.load(Relaxed));
    lines.add("compaction_log_bytes_done", progress.log_bytes_done.load(Relaxed));
    lines.add("compaction_range", progress.range.load(Relaxed));
    lines.add("compaction_bytes_written", snapshots.bytes_written.load(Relaxed));
    lines.add("compaction_segments_retired", snapshots.segments_retired.load(Relaxed));
    let error = snapshots.last_error.lock().clone().unwrap_or_default();
    lines.add("compaction_last_error", error.replace(['\r', '\n'], " "));
}

/// Of all databases.
fn stream_figures(ctx: &Ctx<'_>, lines: &mut Lines) {
    let spaces = (0..ctx.keyspace().databases()).map(|db| ctx.keyspace().space(db));
    let parts =
        spaces.flat_map(|space| ctx.held().shelves().filter_map(move |shelf| shelf.stripe.part(space)));
    let totals = parts.fold(StreamTotals::default(), |totals, part| totals.with(part.streams()));
    let clients = ctx.server.clients.all();
    let reads = |client: &crate::command::clients::Client| {
        client.blocked.lock().as_ref().is_some_and(|blocked| blocked.waiter.reads_streams())
    };
    lines.add("duramen_streams", totals.streams);
    lines.add("duramen_stream_groups", totals.groups);
    lines.add("duramen_stream_pending", totals.pending);
    lines.add("duramen_blocked_readers", clients.iter().filter(|client| reads(client)).count());
}

fn backup_figures(backups: &Backups, lines: &mut Lines) {
    lines.add("backups_in_progress", backups.in_progress());
    lines.add("backups_made", backups.successes.load(Relaxed));
    lines.add("backups_failed", backups.failures.load(Relaxed));
    lines.add("backup_last_time", backups.made_ms.load(Relaxed) / 1000);
    lines.add("backup_last_lsn", backups.lsn.load(Relaxed));
    lines.add("backup_last_error", backups.last_error.lock().replace(['\r', '\n'], " "));
}

fn log_figures(info: &LogInfo, lines: &mut Lines) {
    let hex: String = info.store_id.iter().map(|byte| format!("{byte:02x}")).collect();
    lines.add("duramen_log_io", info.io);
    lines.add("store_id", hex);
    lines.add("term", info.term);
    lines.add("log_segments", info.segments);
    lines.add("log_segments_prepared", info.segments_prepared);
    lines.add("log_segment_sequence", info.sequence);
    lines.add("log_buffered_bytes", info.buffered_bytes);
    lines.add("log_witnessed_lsn", info.witnessed_lsn);
    lines.add("log_bytes", info.bytes);
    lines.add("log_frames", info.frames);
    lines.add("log_records", info.records);
    lines.add("log_groups", info.groups);
    lines.add("log_group_bytes_max", info.group_bytes_max);
    let per_group = if info.groups > 0 { info.records as f64 / info.groups as f64 } else { 0.0 };
    lines.add("log_records_per_group", format_args!("{per_group:.2}"));
    // `n=c`: c groups of n to 2n-1 records.
    let sizes = info.group_sizes.iter().enumerate().filter(|(_, count)| **count > 0);
    let sizes: Vec<String> = sizes.map(|(power, count)| format!("{}={count}", 1u64 << power)).collect();
    lines.add("log_group_sizes", sizes.join(","));
    lines.add("log_syncs", info.syncs);
    lines.add("log_sync_usec_last", info.sync_us_last);
    lines.add("log_sync_usec_max", info.sync_us_max);
    let average = info.sync_us_total.checked_div(info.syncs).unwrap_or(0);
    lines.add("log_sync_usec_average", average);
}

fn recovery(store: &crate::command::server::Store, lines: &mut Lines) {
    let found = &store.recovery;
    lines.add("recovery_new_store", i32::from(found.created));
    lines.add("recovery_records", found.records);
    lines.add("recovery_bytes", found.bytes);
    lines.add("recovery_segments", found.segments);
    lines.add("recovery_seconds", format_args!("{:.3}", found.elapsed.as_secs_f64()));
    lines.add("recovery_rewritten_bytes", found.rewritten_bytes);
    let torn = found.torn.as_ref();
    lines.add("recovery_torn_bytes", torn.map_or(0, |torn| torn.bytes));
    let possibly_acknowledged = torn.is_some_and(|torn| torn.possibly_acknowledged);
    lines.add("recovery_torn_possibly_acknowledged", i32::from(possibly_acknowledged));
}

#[test]
fn a_start_that_has_just_begun_is_not_said_to_take_long() {
    assert_eq!(loading_eta_s(0, 0, 0.0), 1.0);
    assert_eq!(loading_eta_s(1_000_000, 10, 0.005), 1.0);
    assert_eq!(loading_eta_s(1_000_000_000, 0, 0.5), 10.0);
    assert_eq!(loading_eta_s(1_000_000_000, 250_000_000, 5.0), 15.0);
    assert_eq!(loading_eta_s(1_000_000, 1_000_000, 0.1), 0.0);
}
