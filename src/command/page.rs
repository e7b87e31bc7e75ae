//! `docs/commands.md`, written from the declarations: which commands of Redis 7.2 there are, and which of newer versions or our own.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::registry::Registry;
use super::{Command, Group};

const INTRODUCTION: &str = "\
# Commands

Written from the declarations of the commands (`COMMANDS` beside the handlers) and the list of all commands of Redis 7.2
(`src/command/page.rs`); a test fails when this page is out of date, and rewrites it when run with `UPDATE_DOCS=1`. What is not
built is an unknown command. Where something that is built differs from Redis, [compatibility.md](compatibility.md) says how and why.
";

/// The whole page.
pub fn markdown(registry: &Registry) -> String {
    let mut out = String::from(INTRODUCTION);
    let built = |name: &str| registry.all().iter().copied().find(|command| command.full_name() == name);
    let mut total = (0, 0);
    let mut sections = String::new();
    for (group, names) in REDIS_7_2 {
        let rows: Vec<_> = names.iter().map(|name| (*name, built(name))).collect();
        let done = rows.iter().filter(|(_, command)| command.is_some_and(is_built)).count();
        total = (total.0 + done, total.1 + rows.len());
        write!(sections, "\n## {group}: {done} of {}\n\n{HEAD}", rows.len()).expect(INFALLIBLE);
        for (name, command) in rows {
            write_row(&mut sections, name, command);
        }
    }
    writeln!(out, "\n{} of the {} commands and subcommands of Redis 7.2 are built.", total.0, total.1)
        .expect(INFALLIBLE);
    out.push_str(&sections);
    let known: BTreeSet<&str> = REDIS_7_2.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    write!(out, "\n## Newer than Redis 7.2, or Duramen's own\n\n{HEAD}").expect(INFALLIBLE);
    for command in registry.all() {
        let name = command.full_name();
        if !known.contains(name.as_str()) {
            write_row(&mut out, &name, Some(command));
        }
    }
    out
}

const HEAD: &str = "| command | | |\n|---|---|---|\n";
const INFALLIBLE: &str = "writing to a string succeeds";

/// Those about clusters are there to say that there is none.
fn is_built(command: &Command) -> bool {
    command.group != Group::Cluster
}

fn write_row(out: &mut String, name: &str, command: Option<&Command>) {
    let name = name.replace('|', " ").to_ascii_uppercase();
    match command {
        None => writeln!(out, "| {name} | not built | |"),
        Some(command) if !is_built(command) => writeln!(out, "| {name} | refused: no cluster mode | |"),
        // A bar would end the cell.
        Some(command) => writeln!(out, "| {name} | done | {} |", command.summary.replace('|', "\\|")),
    }
    .expect(INFALLIBLE);
}

/// All commands of Redis 7.2 by their groups; subcommands behind a bar.
#[rustfmt::skip]
const REDIS_7_2: &[(&str, &[&str])] = &[
    ("generic", &[
        "copy", "del", "dump", "exists", "expire", "expireat", "expiretime", "keys", "migrate", "move", "object",
        "object|encoding", "object|freq", "object|help", "object|idletime", "object|refcount", "persist", "pexpire",
        "pexpireat", "pexpiretime", "pttl", "randomkey", "rename", "renamenx", "restore", "scan", "sort", "sort_ro", "touch",
        "ttl", "type", "unlink", "wait", "waitaof",
    ]),
    ("string", &[
        "append", "decr", "decrby", "get", "getdel", "getex", "getrange", "getset", "incr", "incrby", "incrbyfloat", "lcs",
        "mget", "mset", "msetnx", "psetex", "set", "setex", "setnx", "setrange", "strlen", "substr",
    ]),
    ("bitmap", &[
        "bitcount", "bitfield", "bitfield_ro", "bitop", "bitpos", "getbit", "setbit",
    ]),
    ("hash", &[
        "hdel", "hexists", "hget", "hgetall", "hincrby", "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset", "hrandfield",
        "hscan", "hset", "hsetnx", "hstrlen", "hvals",
    ]),
    ("list", &[
        "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "lindex", "linsert", "llen", "lmove", "lmpop", "lpop", "lpos",
        "lpush", "lpushx", "lrange", "lrem", "lset", "ltrim", "rpop", "rpoplpush", "rpush", "rpushx",
    ]),
    ("set", &[
        "sadd", "scard", "sdiff", "sdiffstore", "sinter", "sintercard", "sinterstore", "sismember", "smembers", "smismember",
        "smove", "spop", "srandmember", "srem", "sscan", "sunion", "sunionstore",
    ]),
    ("sorted-set", &[
        "bzmpop", "bzpopmax", "bzpopmin", "zadd", "zcard", "zcount", "zdiff", "zdiffstore", "zincrby", "zinter",
        "zintercard", "zinterstore", "zlexcount", "zmpop", "zmscore", "zpopmax", "zpopmin", "zrandmember", "zrange",
        "zrangebylex", "zrangebyscore", "zrangestore", "zrank", "zrem", "zremrangebylex", "zremrangebyrank",
        "zremrangebyscore", "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore", "zunion",
        "zunionstore",
    ]),
    ("hyperloglog", &[
        "pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest",
    ]),
    ("geo", &[
        "geoadd", "geodist", "geohash", "geopos", "georadius", "georadius_ro", "georadiusbymember", "georadiusbymember_ro",
        "geosearch", "geosearchstore",
    ]),
    ("stream", &[
        "xack", "xadd", "xautoclaim", "xclaim", "xdel", "xgroup", "xgroup|create", "xgroup|createconsumer",
        "xgroup|delconsumer", "xgroup|destroy", "xgroup|help", "xgroup|setid", "xinfo", "xinfo|consumers", "xinfo|groups",
        "xinfo|help", "xinfo|stream", "xlen", "xpending", "xrange", "xread", "xreadgroup", "xrevrange", "xsetid", "xtrim",
    ]),
    ("transactions", &[
        "discard", "exec", "multi", "unwatch", "watch",
    ]),
    ("connection", &[
        "auth", "client", "client|caching", "client|getname", "client|getredir", "client|help", "client|id", "client|info",
        "client|kill", "client|list", "client|no-evict", "client|no-touch", "client|pause", "client|reply", "client|setinfo",
        "client|setname", "client|tracking", "client|trackinginfo", "client|unblock", "client|unpause", "echo", "hello",
        "ping", "quit", "reset", "select",
    ]),
    ("server", &[
        "acl", "acl|cat", "acl|deluser", "acl|dryrun", "acl|genpass", "acl|getuser", "acl|help", "acl|list", "acl|load",
        "acl|log", "acl|save", "acl|setuser", "acl|users", "acl|whoami", "bgrewriteaof", "bgsave", "command",
        "command|count", "command|docs", "command|getkeys", "command|getkeysandflags", "command|help", "command|info",
        "command|list", "config", "config|get", "config|help", "config|resetstat", "config|rewrite", "config|set", "dbsize",
        "debug", "failover", "flushall", "flushdb", "info", "lastsave", "latency", "latency|doctor", "latency|graph",
        "latency|help", "latency|histogram", "latency|history", "latency|latest", "latency|reset", "lolwut", "memory",
        "memory|doctor", "memory|help", "memory|malloc-stats", "memory|purge", "memory|stats", "memory|usage", "module",
        "module|help", "module|list", "module|load", "module|loadex", "module|unload", "monitor", "psync", "replconf",
        "replicaof", "restore-asking", "role", "save", "shutdown", "slaveof", "slowlog", "slowlog|get", "slowlog|help",
        "slowlog|len", "slowlog|reset", "swapdb", "sync", "time",
    ]),
    ("pubsub", &[
        "psubscribe", "publish", "pubsub", "pubsub|channels", "pubsub|help", "pubsub|numpat", "pubsub|numsub",
        "pubsub|shardchannels", "pubsub|shardnumsub", "punsubscribe", "spublish", "ssubscribe", "subscribe", "sunsubscribe",
        "unsubscribe",
    ]),
    ("scripting", &[
        "eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "function|delete", "function|dump",
        "function|flush", "function|help", "function|kill", "function|list", "function|load", "function|restore",
        "function|stats", "script", "script|debug", "script|exists", "script|flush", "script|help", "script|kill",
        "script|load",
    ]),
    ("cluster", &[
        "asking", "cluster", "cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch",
        "cluster|count-failure-reports", "cluster|countkeysinslot", "cluster|delslots", "cluster|delslotsrange",
        "cluster|failover", "cluster|flushslots", "cluster|forget", "cluster|getkeysinslot", "cluster|help", "cluster|info",
        "cluster|keyslot", "cluster|links", "cluster|meet", "cluster|myid", "cluster|myshardid", "cluster|nodes",
        "cluster|replicas", "cluster|replicate", "cluster|reset", "cluster|saveconfig", "cluster|set-config-epoch",
        "cluster|setslot", "cluster|shards", "cluster|slaves", "cluster|slots", "readonly", "readwrite",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let page = markdown(&crate::registry());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == page, "docs/commands.md is out of date: run this test with UPDATE_DOCS=1");
    }

    #[test]
    fn a_command_is_listed_once() {
        let names: Vec<&str> = REDIS_7_2.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.len() > 350);
    }
}
