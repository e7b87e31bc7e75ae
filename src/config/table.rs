//! The table of directives. A new directive is a new entry here, and nothing else: the accessor, CONFIG GET/SET/REWRITE,
//! the command line option and the documentation follow from it.

use super::Config;
use super::directive::{Access, Directive, Effect, accessor, choice, directives, kind};
use super::value::{Kind, LogRetain, MemoryLimit, Notify, ShutdownFlags, TextRule, WordsRule, choice_name};

/// Most databases a store can have: its format leaves room for so many ids.
pub const DATABASES_MAX: u32 = 1024;

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const SIZE_MAX: u64 = i64::MAX as u64;
const MIB: u64 = 1 << 20;

choice! {
    /// When the log is synced.
    AppendFsync { EverySec = "everysec", Always = "always", No = "no" }
}
choice! {
    /// How much is logged.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing" }
}
choice! {
    /// What goes when memory is full.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", NoEviction = "noeviction",
    }
}
choice! {
    /// Who started the server.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
}
choice! {
    /// For whom something dangerous is allowed.
    Allow { No = "no", Yes = "yes", Local = "local" }
}
choice! {
    /// How log segments are written.
    LogIo { Auto = "auto", Direct = "direct", Buffered = "buffered", IoUring = "io_uring" }
}

directives! {
    "Network" {
        port "port" [] int(0, 65535) = "6379" Mutable Live
            "TCP port to listen on; 0 for none.";
        bind "bind" [] words(WordsRule::Addresses) = "127.0.0.1 -::1" Mutable Live
            "Addresses to listen on; one that begins with `-` may be missing.";
        bind_source_addr "bind-source-addr" [] text(TextRule::Any) = "" Mutable Inert
            "Address from which outgoing connections come.";
        unixsocket "unixsocket" [] text(TextRule::Any) = "" Immutable Live
            "Path of a unix socket to listen on; empty for none.";
        unixsocketperm "unixsocketperm" [] octal = "0" Immutable Live
            "File mode of the unix socket, in octal; 0 leaves it as created.";
        tcp_backlog "tcp-backlog" [] int(0, INT_MAX) = "511" Immutable Live
            "Connections that the kernel may hold before they are accepted.";
        timeout "timeout" [] int(0, INT_MAX) = "0" Mutable Live
            "Seconds after which an idle client is closed; 0 for never.";
        tcp_keepalive "tcp-keepalive" [] int(0, INT_MAX) = "300" Mutable Live
            "Seconds between TCP keepalive probes; 0 for none.";
        maxclients "maxclients" [] int(1, 4294967295) = "10000" Mutable Live
            "Clients connected at the same time.";
        protected_mode "protected-mode" [] bool = "yes" Mutable Live
            "Without a password, and without `bind`, serve only clients of this machine.";
        io_threads "io-threads" [] int(1, 128) = "1" Immutable Live
            "Worker threads; each serves its own connections and executes their commands.";
        io_threads_do_reads "io-threads-do-reads" [] bool = "no" Immutable Inert
            "Workers always read.";
        socket_mark_id "socket-mark-id" [] int(0, 4294967295) = "0" Immutable Inert
            "Mark of listening sockets.";
        max_new_connections_per_cycle "max-new-connections-per-cycle" [] int(1, 1000) = "10" Mutable Inert
            "Connections accepted at once.";
    }
    "Security" {
        requirepass "requirepass" [] text(TextRule::Any) = "" Mutable Live
            "Password of the default user; empty for none.";
        aclfile "aclfile" [] text(TextRule::Any) = "" Immutable Live
            "Refused unless it is empty: this server has no ACL users.";
        acl_pubsub_default "acl-pubsub-default" [] one_of("allchannels", "resetchannels") = "resetchannels" Mutable Inert
            "Channels that a new ACL user may use.";
        acllog_max_len "acllog-max-len" [] int(0, LONG_MAX) = "128" Mutable Inert
            "Entries of ACL LOG.";
        enable_debug_command "enable-debug-command" [] choice(Allow) = "no" Immutable Live
            "Who may use DEBUG.";
        enable_backup_command "enable-backup-command" [] choice(Allow) = "local" Immutable Live
            "Who may use BACKUP and DEBUG DIGEST-SLOTS.";
        enable_protected_configs "enable-protected-configs" [] choice(Allow) = "no" Immutable Live
            "Who may change protected directives.";
        enable_module_command "enable-module-command" [] choice(Allow) = "no" Immutable Inert
            "Who may use MODULE.";
    }
    "General" {
        databases "databases" [] int(1, DATABASES_MAX as i64) = "16" Immutable Live
            "Number of databases.";
        dir "dir" [] text(TextRule::Any) = "." Immutable Live
            "The data directory.";
        logfile "logfile" [] text(TextRule::Any) = "" Immutable Live
            "File to which the server logs; empty for standard output. When it was renamed or removed, a new one of that name is made.";
        loglevel "loglevel" [] choice(LogLevel) = "notice" Mutable Live
            "How much is logged.";
        daemonize "daemonize" [] bool = "no" Immutable Inert
            "`yes` is answered with a warning: the server stays in the foreground, run it under a supervisor.";
        pidfile "pidfile" [] text(TextRule::Any) = "" Immutable Live
            "File that holds the process id while the server runs; empty for none.";
        supervised "supervised" [] choice(Supervised) = "no" Immutable Live
            "`systemd`: systemd is told when the server is ready, by the socket that `NOTIFY_SOCKET` names; `auto`: if there is one; `no`: nobody. `upstart` has no effect.";
        always_show_logo "always-show-logo" [] bool = "no" Immutable Inert
            "There is no logo.";
        set_proc_title "set-proc-title" [] bool = "yes" Immutable Inert
            "Change the title of the process.";
        proc_title_template "proc-title-template" [] text(TextRule::TitleTemplate)
            = "{title} {listen-addr} {server-mode}" Mutable Inert
            "Form of the title of the process.";
        shutdown_timeout "shutdown-timeout" [] int(0, INT_MAX) = "10" Mutable Inert
            "Seconds that a shutdown may wait for replicas.";
        shutdown_on_sigint "shutdown-on-sigint" [] shutdown = "default" Mutable Live
            "How to shut down at SIGINT: words of SHUTDOWN.";
        shutdown_on_sigterm "shutdown-on-sigterm" [] shutdown = "default" Mutable Live
            "How to shut down at SIGTERM: words of SHUTDOWN.";
        hz "hz" [] int(0, INT_MAX) = "10" Mutable Live
            "Runs of background work in a second, 1 to 500.";
        dynamic_hz "dynamic-hz" [] bool = "yes" Mutable Inert
            "Raise `hz` with the number of clients.";
        syslog_enabled "syslog-enabled" [] bool = "no" Immutable Inert
            "Log to syslog.";
        syslog_ident "syslog-ident" [] text(TextRule::Any) = "redis" Immutable Inert
            "Name in syslog.";
        syslog_facility "syslog-facility" [] one_of("user", "local0", "local1", "local2", "local3", "local4", "local5",
            "local6", "local7") = "local0" Immutable Inert
            "Facility in syslog.";
        crash_log_enabled "crash-log-enabled" [] bool = "yes" Mutable Inert
            "Log a report after a crash.";
        crash_memcheck_enabled "crash-memcheck-enabled" [] bool = "yes" Mutable Inert
            "Check memory after a crash.";
        ignore_warnings "ignore-warnings" [] text(TextRule::Any) = "" Mutable Inert
            "Warnings at start that are not fatal.";
        locale_collate "locale-collate" [] text(TextRule::Any) = "" Mutable Inert
            "Locale for comparing strings.";
        disable_thp "disable-thp" [] bool = "yes" Immutable Inert
            "Turn transparent huge pages off.";
        oom_score_adj "oom-score-adj" [] one_of("no", "yes", "relative", "absolute") = "no" Mutable Inert
            "Adjust the kernel's out-of-memory score.";
        oom_score_adj_values "oom-score-adj-values" [] words(WordsRule::OomScores) = "0 200 800" Mutable Inert
            "Scores of a primary, a replica and a child process.";
        server_cpulist "server_cpulist" [] text(TextRule::Any) = "" Immutable Inert
            "Processors for the server.";
        bio_cpulist "bio_cpulist" [] text(TextRule::Any) = "" Immutable Inert
            "Processors for background threads.";
        aof_rewrite_cpulist "aof_rewrite_cpulist" [] text(TextRule::Any) = "" Immutable Inert
            "Processors for rewrites.";
        bgsave_cpulist "bgsave_cpulist" [] text(TextRule::Any) = "" Immutable Inert
            "Processors for snapshots.";
    }
    "Log" {
        appendonly "appendonly" [] bool = "yes" Mutable Inert
            "The log is always on: `no` is answered with a warning in a file and refused by CONFIG SET.";
        appendfsync "appendfsync" [] choice(AppendFsync) = "everysec" Mutable Live
            "When the log is synced, and so when a write is acknowledged: see durability.md.";
        log_segment_size "log-segment-size" [] size(MIB, 1 << 40) = "64mb" Mutable Live
            "Bytes of one file of the log; a new store takes three of them at once.";
        log_buffer_size "log-buffer-size" [] size(MIB, 1 << 40) = "64mb" Mutable Live
            "Bytes of the log not yet written at which writers wait.";
        held_replies_size "held-replies-size" [] size(MIB, 1 << 40) = "256mb" Mutable Live
            "Bytes of replies waiting for the log, of all clients, at which writers wait.";
        log_io "log-io" [] choice(LogIo) = "auto" Immutable Live
            "How the log is written; `auto`: past the page cache under `appendfsync always`, else through it.";
        recovery_threads "recovery-threads" [] int(0, 1024) = "0" Immutable Live
            "Threads that apply the log at start, beside the one that reads it; 0 for one per processor, at most 8.";
        no_appendfsync_on_rewrite "no-appendfsync-on-rewrite" [] bool = "no" Mutable Inert
            "Don't sync during a rewrite; here compaction never stops a sync.";
        auto_aof_rewrite_percentage "auto-aof-rewrite-percentage" [] int(0, INT_MAX) = "100" Mutable Live
            "Compaction begins when the sealed log has grown to this percentage of the snapshot; 0: only when asked.";
        auto_aof_rewrite_min_size "auto-aof-rewrite-min-size" [] size(0, SIZE_MAX) = "64mb" Mutable Live
            "Size of the sealed log from which compaction begins by itself.";
        compaction_budget "compaction-budget" [] size(MIB, 1 << 40) = "64mb" Mutable Live
            "Memory of a compaction for the part of the log that it sorts; the largest changed value comes on top, or all values that RENAMEs link within a slot.";
        compaction_disk_reserve "compaction-disk-reserve" [] size(0, 1 << 50) = "0" Mutable Live
            "Bytes of the disk that compaction leaves free for the log; 0 for four files of the log (`log-segment-size`).";
        snapshot_compression_level "snapshot-compression-level" [] int(0, 19) = "1" Mutable Live
            "Level of zstd for snapshot files; 0 for none.";
        snapshot_retain "snapshot-retain" [] int(0, 100) = "0" Mutable Live
            "Older snapshots that are kept beside the newest; without `log-retain` nothing is promised about the log between.";
        log_retain "log-retain" [] log_retain = "0" Mutable Live
            "How far back any moment can be restored: a time or a size of the log, with its unit; 0 for not at all.";
        aof_load_truncated "aof-load-truncated" [] bool = "yes" Mutable Inert
            "A torn tail is always cut and reported; damage to synced data always refuses to start.";
        aof_use_rdb_preamble "aof-use-rdb-preamble" [] bool = "yes" Mutable Inert
            "Form of a rewritten AOF.";
        aof_timestamp_enabled "aof-timestamp-enabled" [] bool = "no" Mutable Inert
            "Times in the AOF; the log always has them.";
        aof_rewrite_incremental_fsync "aof-rewrite-incremental-fsync" [] bool = "yes" Mutable Inert
            "Sync a rewritten AOF in steps.";
        aof_disable_auto_gc "aof-disable-auto-gc" [] bool = "no" Mutable Inert
            "Keep AOF files that are not needed any more.";
        appendfilename "appendfilename" [] text(TextRule::FileName("appendfilename", true)) = "appendonly.aof"
            Immutable Live
            "Name of an AOF of redis-server: it is not read, and a new store beside it says so at start.";
        appenddirname "appenddirname" [] text(TextRule::DirName("appenddirname")) = "appendonlydir" Immutable Live
            "The same for the folder of an AOF.";
    }
    "Snapshots" {
        save "save" [] save = "" Mutable Live
            "A snapshot is made when more than so many seconds have passed since the last and so many changes were made. None is needed: the log keeps every change, and its growth makes snapshots (`auto-aof-rewrite-*`).";
        dbfilename "dbfilename" [] text(TextRule::FileName("dbfilename", false)) = "dump.rdb" Protected Live
            "Name of an RDB file of redis-server: it is not read, and a new store beside it says so at start.";
        stop_writes_on_bgsave_error "stop-writes-on-bgsave-error" [] bool = "yes" Mutable Inert
            "Refuse writes after a failed save; a failed log always refuses them.";
        rdbcompression "rdbcompression" [] bool = "yes" Mutable Inert
            "Compress strings in RDB files.";
        rdbchecksum "rdbchecksum" [] bool = "yes" Immutable Inert
            "Checksum of RDB files.";
        rdb_save_incremental_fsync "rdb-save-incremental-fsync" [] bool = "yes" Mutable Inert
            "Sync RDB files in steps.";
        rdb_del_sync_files "rdb-del-sync-files" [] bool = "no" Mutable Inert
            "Remove RDB files that were made for replicas.";
        sanitize_dump_payload "sanitize-dump-payload" [] one_of("no", "yes", "clients") = "no" Mutable Inert
            "How thoroughly RESTORE checks its input; here always.";
    }
    "Memory" {
        maxmemory "maxmemory" [] size(0, u64::MAX) = "0" Mutable Live
            "Memory for data in bytes; 0 for no limit.";
        maxmemory_policy "maxmemory-policy" [] choice(MaxmemoryPolicy) = "noeviction" Mutable Live
            "What goes when memory is full.";
        maxmemory_samples "maxmemory-samples" [] int(1, INT_MAX) = "5" Mutable Live
            "Keys looked at to find one to evict.";
        maxmemory_eviction_tenacity "maxmemory-eviction-tenacity" [] int(0, 100) = "10" Mutable Live
            "How much time eviction may take, 0 to 100.";
        maxmemory_clients "maxmemory-clients" [] size_or_percent = "0" Mutable Live
            "Memory for all clients' buffers, in bytes or percent of `maxmemory`; 0 for no limit.";
        lfu_log_factor "lfu-log-factor" [] int(0, INT_MAX) = "10" Mutable Live
            "How slowly the LFU counter grows.";
        lfu_decay_time "lfu-decay-time" [] int(0, INT_MAX) = "1" Mutable Live
            "Minutes after which the LFU counter falls by one.";
        client_output_buffer_limit "client-output-buffer-limit" [] buffer_limits
            = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60" Mutable Live
            "Output that may wait for a client: class, hard limit, soft limit, seconds over the soft limit.";
        client_query_buffer_limit "client-query-buffer-limit" [] size(MIB, SIZE_MAX) = "1gb" Mutable Live
            "Bytes of one client's input not yet executed.";
        proto_max_bulk_len "proto-max-bulk-len" [] size(MIB, SIZE_MAX) = "512mb" Mutable Live
            "Bytes of one argument of a command.";
        active_expire_effort "active-expire-effort" [] int(1, 10) = "1" Mutable Live
            "How hard expired keys are looked for, 1 to 10.";
        activerehashing "activerehashing" [] bool = "yes" Mutable Inert
            "Rehash in idle time.";
        lazyfree_lazy_eviction "lazyfree-lazy-eviction" [] bool = "no" Mutable Inert
            "Free evicted values in the background.";
        lazyfree_lazy_expire "lazyfree-lazy-expire" [] bool = "no" Mutable Inert
            "Free expired values in the background.";
        lazyfree_lazy_server_del "lazyfree-lazy-server-del" [] bool = "no" Mutable Inert
            "Free overwritten values in the background.";
        lazyfree_lazy_user_del "lazyfree-lazy-user-del" [] bool = "no" Mutable Inert
            "Free values that DEL removes in the background.";
        lazyfree_lazy_user_flush "lazyfree-lazy-user-flush" [] bool = "no" Mutable Inert
            "Free what FLUSHALL and FLUSHDB remove in the background.";
        jemalloc_bg_thread "jemalloc-bg-thread" [] bool = "yes" Mutable Inert
            "Let the allocator clean up in a thread of its own.";
        activedefrag "activedefrag" [] bool = "no" Mutable Inert
            "Defragment memory.";
        active_defrag_ignore_bytes "active-defrag-ignore-bytes" [] size(1, SIZE_MAX) = "100mb" Mutable Inert
            "Waste from which to defragment.";
        active_defrag_threshold_lower "active-defrag-threshold-lower" [] int(0, 1000) = "10" Mutable Inert
            "Percentage from which to defragment.";
        active_defrag_threshold_upper "active-defrag-threshold-upper" [] int(0, 1000) = "100" Mutable Inert
            "Percentage from which to defragment with all effort.";
        active_defrag_cycle_min "active-defrag-cycle-min" [] int(1, 99) = "1" Mutable Inert
            "Least effort of defragmentation.";
        active_defrag_cycle_max "active-defrag-cycle-max" [] int(1, 99) = "25" Mutable Inert
            "Most effort of defragmentation.";
        active_defrag_max_scan_fields "active-defrag-max-scan-fields" [] int(1, LONG_MAX) = "1000" Mutable Inert
            "Fields of one value that defragmentation visits at once.";
    }
    "Data types" {
        hash_max_listpack_entries "hash-max-listpack-entries" ["hash-max-ziplist-entries"] int(0, LONG_MAX) = "512"
            Mutable Live
            "Fields up to which a hash is compact.";
        hash_max_listpack_value "hash-max-listpack-value" ["hash-max-ziplist-value"] size(0, SIZE_MAX) = "64" Mutable Live
            "Bytes of a field or value up to which a hash is compact.";
        list_max_listpack_size "list-max-listpack-size" ["list-max-ziplist-size"] int(-2147483648, INT_MAX) = "-2"
            Mutable Live
            "Elements of one node of a list; -1 to -5 are 4 to 64 KiB.";
        list_compress_depth "list-compress-depth" [] int(0, INT_MAX) = "0" Mutable Inert
            "Nodes at both ends of a list that are not compressed.";
        set_max_intset_entries "set-max-intset-entries" [] int(0, LONG_MAX) = "512" Mutable Live
            "Members up to which a set of integers is compact.";
        set_max_listpack_entries "set-max-listpack-entries" [] int(0, LONG_MAX) = "128" Mutable Live
            "Members up to which a set is compact.";
        set_max_listpack_value "set-max-listpack-value" [] size(0, SIZE_MAX) = "64" Mutable Live
            "Bytes of a member up to which a set is compact.";
        zset_max_listpack_entries "zset-max-listpack-entries" ["zset-max-ziplist-entries"] int(0, LONG_MAX) = "128"
            Mutable Live
            "Members up to which a sorted set is compact.";
        zset_max_listpack_value "zset-max-listpack-value" ["zset-max-ziplist-value"] size(0, SIZE_MAX) = "64" Mutable Live
            "Bytes of a member up to which a sorted set is compact.";
        hll_sparse_max_bytes "hll-sparse-max-bytes" [] size(0, SIZE_MAX) = "3000" Mutable Live
            "Bytes up to which a HyperLogLog is sparse.";
        stream_node_max_bytes "stream-node-max-bytes" [] size(0, SIZE_MAX) = "4096" Mutable Live
            "Bytes of one block of a stream; sixteen times as many if its entries are so long that fewer than 32 would fill it; 0: up to 64 KiB, as in any case.";
        stream_node_max_entries "stream-node-max-entries" [] int(0, LONG_MAX) = "100" Mutable Live
            "Entries of one block of a stream; 0 for no limit.";
    }
    "Observation" {
        slowlog_log_slower_than "slowlog-log-slower-than" [] int(-1, LONG_MAX) = "10000" Mutable Live
            "Microseconds from which a command is put into SLOWLOG; -1 for none.";
        slowlog_max_len "slowlog-max-len" [] int(0, LONG_MAX) = "128" Mutable Live
            "Entries of SLOWLOG.";
        latency_monitor_threshold "latency-monitor-threshold" [] int(0, LONG_MAX) = "0" Mutable Inert
            "Milliseconds from which LATENCY notes an event; 0 for none.";
        latency_tracking "latency-tracking" [] bool = "yes" Mutable Inert
            "Keep a latency histogram per command.";
        latency_tracking_info_percentiles "latency-tracking-info-percentiles" [] words(WordsRule::Percentiles)
            = "50 99 99.9" Mutable Inert
            "Percentiles that INFO shows.";
        notify_keyspace_events "notify-keyspace-events" [] notify = "" Mutable Live
            "Classes of events that are published, and where.";
        tracking_table_max_keys "tracking-table-max-keys" [] int(0, LONG_MAX) = "1000000" Mutable Live
            "Keys remembered for client-side caching; 0 for no limit.";
    }
    "Scripts" {
        busy_reply_threshold "busy-reply-threshold" ["lua-time-limit"] int(0, LONG_MAX) = "5000" Mutable Live
            "Milliseconds of a script after which others are told BUSY; 0 for never.";
    }
    "Replication" {
        replicaof "replicaof" ["slaveof"] words(WordsRule::ReplicaOf) = "" Immutable Live
            "Refused unless it is `no one`: this server cannot be a replica.";
        masterauth "masterauth" [] text(TextRule::Any) = "" Mutable Inert
            "Password for the primary.";
        masteruser "masteruser" [] text(TextRule::Any) = "" Mutable Inert
            "User for the primary.";
        repl_ping_replica_period "repl-ping-replica-period" ["repl-ping-slave-period"] int(1, INT_MAX) = "10" Mutable Inert
            "Seconds between pings to replicas.";
        repl_timeout "repl-timeout" [] int(1, INT_MAX) = "60" Mutable Inert
            "Seconds after which a silent peer is given up.";
        repl_backlog_size "repl-backlog-size" [] size(1, SIZE_MAX) = "1mb" Mutable Inert
            "Bytes kept for replicas that come back.";
        repl_backlog_ttl "repl-backlog-ttl" [] int(0, LONG_MAX) = "3600" Mutable Inert
            "Seconds for which they are kept.";
        repl_disable_tcp_nodelay "repl-disable-tcp-nodelay" [] bool = "no" Mutable Inert
            "Gather small packets to replicas.";
        repl_diskless_sync "repl-diskless-sync" [] bool = "yes" Mutable Inert
            "Send the data set without a file.";
        repl_diskless_sync_delay "repl-diskless-sync-delay" [] int(0, INT_MAX) = "5" Mutable Inert
            "Seconds to wait for more replicas.";
        repl_diskless_sync_max_replicas "repl-diskless-sync-max-replicas" [] int(0, INT_MAX) = "0" Mutable Inert
            "Replicas at which not to wait longer.";
        repl_diskless_load "repl-diskless-load" [] one_of("disabled", "on-empty-db", "swapdb") = "disabled" Mutable Inert
            "Load the data set without a file.";
        replica_serve_stale_data "replica-serve-stale-data" ["slave-serve-stale-data"] bool = "yes" Mutable Inert
            "Serve reads without a primary.";
        replica_read_only "replica-read-only" ["slave-read-only"] bool = "yes" Mutable Inert
            "Refuse writes on a replica.";
        replica_ignore_maxmemory "replica-ignore-maxmemory" ["slave-ignore-maxmemory"] bool = "yes" Mutable Inert
            "Leave eviction to the primary.";
        replica_ignore_disk_write_errors "replica-ignore-disk-write-errors" [] bool = "no" Mutable Inert
            "Go on after a failed write.";
        replica_lazy_flush "replica-lazy-flush" ["slave-lazy-flush"] bool = "no" Mutable Inert
            "Free the old data set in the background.";
        replica_priority "replica-priority" ["slave-priority"] int(0, INT_MAX) = "100" Mutable Inert
            "Order in which replicas are promoted.";
        replica_announced "replica-announced" [] bool = "yes" Mutable Inert
            "Be listed by Sentinel.";
        replica_announce_ip "replica-announce-ip" ["slave-announce-ip"] text(TextRule::Any) = "" Mutable Inert
            "Address told to the primary.";
        replica_announce_port "replica-announce-port" ["slave-announce-port"] int(0, 65535) = "0" Mutable Inert
            "Port told to the primary.";
        min_replicas_to_write "min-replicas-to-write" ["min-slaves-to-write"] int(0, INT_MAX) = "0" Mutable Live
            "Refused unless it is 0: without replicas every write would be refused.";
        min_replicas_max_lag "min-replicas-max-lag" ["min-slaves-max-lag"] int(0, INT_MAX) = "10" Mutable Inert
            "Seconds a replica may be behind to be counted.";
        propagation_error_behavior "propagation-error-behavior" [] one_of("ignore", "panic", "panic-on-replicas")
            = "ignore" Mutable Inert
            "What to do when a replicated command fails.";
    }
    "Cluster" {
        cluster_enabled "cluster-enabled" [] bool = "no" Immutable Live
            "Refused if `yes`: this server has no cluster mode.";
        cluster_config_file "cluster-config-file" [] text(TextRule::Any) = "nodes.conf" Immutable Inert
            "File of the cluster's nodes.";
        cluster_node_timeout "cluster-node-timeout" [] int(0, LONG_MAX) = "15000" Mutable Inert
            "Milliseconds after which a node is held to be down.";
        cluster_port "cluster-port" [] int(0, 65535) = "0" Immutable Inert
            "Port of the cluster bus.";
        cluster_replica_validity_factor "cluster-replica-validity-factor" ["cluster-slave-validity-factor"]
            int(0, INT_MAX) = "10" Mutable Inert
            "How old a replica's data may be for a failover.";
        cluster_replica_no_failover "cluster-replica-no-failover" ["cluster-slave-no-failover"] bool = "no" Mutable Inert
            "Never fail over.";
        cluster_migration_barrier "cluster-migration-barrier" [] int(0, INT_MAX) = "1" Mutable Inert
            "Replicas that a primary keeps.";
        cluster_allow_replica_migration "cluster-allow-replica-migration" [] bool = "yes" Mutable Inert
            "Let replicas move to primaries without one.";
        cluster_require_full_coverage "cluster-require-full-coverage" [] bool = "yes" Mutable Inert
            "Serve only while all slots are served.";
        cluster_allow_reads_when_down "cluster-allow-reads-when-down" [] bool = "no" Mutable Inert
            "Serve reads while the cluster is down.";
        cluster_allow_pubsubshard_when_down "cluster-allow-pubsubshard-when-down" [] bool = "yes" Mutable Inert
            "Serve sharded channels while the cluster is down.";
        cluster_link_sendbuf_limit "cluster-link-sendbuf-limit" [] size(0, SIZE_MAX) = "0" Mutable Inert
            "Bytes that may wait for a node.";
        cluster_announce_ip "cluster-announce-ip" [] text(TextRule::Any) = "" Mutable Inert
            "Address told to nodes.";
        cluster_announce_port "cluster-announce-port" [] int(0, 65535) = "0" Mutable Inert
            "Port told to nodes.";
        cluster_announce_bus_port "cluster-announce-bus-port" [] int(0, 65535) = "0" Mutable Inert
            "Bus port told to nodes.";
        cluster_announce_tls_port "cluster-announce-tls-port" [] int(0, 65535) = "0" Mutable Inert
            "TLS port told to nodes.";
        cluster_announce_hostname "cluster-announce-hostname" [] text(TextRule::Any) = "" Mutable Inert
            "Host name told to nodes.";
        cluster_announce_human_nodename "cluster-announce-human-nodename" [] text(TextRule::Any) = "" Mutable Inert
            "Name of this node in logs.";
        cluster_preferred_endpoint_type "cluster-preferred-endpoint-type" [] one_of("ip", "hostname", "unknown-endpoint")
            = "ip" Mutable Inert
            "What redirections name.";
    }
    "TLS" {
        tls_port "tls-port" [] int(0, 65535) = "0" Mutable Live
            "Refused unless it is 0: this server has no TLS yet.";
        tls_cert_file "tls-cert-file" [] text(TextRule::Any) = "" Mutable Inert
            "Certificate of the server.";
        tls_key_file "tls-key-file" [] text(TextRule::Any) = "" Mutable Inert
            "Key of the server.";
        tls_key_file_pass "tls-key-file-pass" [] text(TextRule::Any) = "" Mutable Inert
            "Password of the key.";
        tls_client_cert_file "tls-client-cert-file" [] text(TextRule::Any) = "" Mutable Inert
            "Certificate for outgoing connections.";
        tls_client_key_file "tls-client-key-file" [] text(TextRule::Any) = "" Mutable Inert
            "Key for outgoing connections.";
        tls_client_key_file_pass "tls-client-key-file-pass" [] text(TextRule::Any) = "" Mutable Inert
            "Password of that key.";
        tls_dh_params_file "tls-dh-params-file" [] text(TextRule::Any) = "" Mutable Inert
            "Diffie-Hellman parameters.";
        tls_ca_cert_file "tls-ca-cert-file" [] text(TextRule::Any) = "" Mutable Inert
            "Authorities of clients.";
        tls_ca_cert_dir "tls-ca-cert-dir" [] text(TextRule::Any) = "" Mutable Inert
            "Folder of authorities of clients.";
        tls_auth_clients "tls-auth-clients" [] one_of("no", "yes", "optional") = "yes" Mutable Inert
            "Whether clients need a certificate.";
        tls_replication "tls-replication" [] bool = "no" Mutable Inert
            "TLS between primary and replica.";
        tls_cluster "tls-cluster" [] bool = "no" Mutable Inert
            "TLS between nodes.";
        tls_protocols "tls-protocols" [] text(TextRule::Any) = "" Mutable Inert
            "Versions of TLS.";
        tls_ciphers "tls-ciphers" [] text(TextRule::Any) = "" Mutable Inert
            "Ciphers up to TLS 1.2.";
        tls_ciphersuites "tls-ciphersuites" [] text(TextRule::Any) = "" Mutable Inert
            "Ciphers of TLS 1.3.";
        tls_prefer_server_ciphers "tls-prefer-server-ciphers" [] bool = "no" Mutable Inert
            "Whose order of ciphers counts.";
        tls_session_caching "tls-session-caching" [] bool = "yes" Mutable Inert
            "Keep sessions.";
        tls_session_cache_size "tls-session-cache-size" [] int(0, INT_MAX) = "20480" Mutable Inert
            "Sessions kept.";
        tls_session_cache_timeout "tls-session-cache-timeout" [] int(0, INT_MAX) = "300" Mutable Inert
            "Seconds for which they are kept.";
        max_new_tls_connections_per_cycle "max-new-tls-connections-per-cycle" [] int(1, 1000) = "1" Mutable Inert
            "TLS connections accepted at once.";
    }
}
