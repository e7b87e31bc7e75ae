//! How the samples were made. A line is a command (`%300` is a value of so many letters), or:
//!
//! ```text
//! pass 400         milliseconds           compact 0        the log becomes a snapshot, compressed at that level
//! direct, buffered how the next segments  restart, end     an orderly end, with a start or without
//! ```
//!
//! Without `end` the sample is of a process that was killed.

use duramen::log::Policy;

pub struct Sample {
    pub version: &'static str,
    pub name: &'static str,
    pub policy: Policy,
    /// Whether the same lines give the same bytes: not where a library compresses, nor where the program went on.
    pub is_deterministic: bool,
    pub lines: &'static str,
}

pub const SAMPLES: &[Sample] = &[
    Sample { version: "v1", name: "log", policy: Policy::EverySec, is_deterministic: true, lines: LOG },
    Sample { version: "v1", name: "direct", policy: Policy::Always, is_deterministic: true, lines: DIRECT },
    Sample {
        version: "v1",
        name: "snapshot",
        policy: Policy::EverySec,
        is_deterministic: true,
        lines: SNAPSHOT,
    },
    // Of before indexes named the keyspaces of their rows and manifests listed older snapshots. Its lines give other bytes now.
    Sample {
        version: "v1",
        name: "snapshot-without-keyspaces",
        policy: Policy::EverySec,
        is_deterministic: false,
        lines: SNAPSHOT,
    },
    Sample {
        version: "v1",
        name: "compressed",
        policy: Policy::EverySec,
        is_deterministic: false,
        lines: COMPRESSED,
    },
    Sample {
        version: "v1",
        name: "collections",
        policy: Policy::EverySec,
        is_deterministic: true,
        lines: COLLECTIONS,
    },
    Sample {
        version: "v1",
        name: "streams",
        policy: Policy::EverySec,
        is_deterministic: true,
        lines: STREAMS,
    },
];

/// Every op of strings, lists, hashes, keys and databases, in buffered segments; a record over several of them; a restart; killed.
const LOG: &str = "
    SET {k}a 1
    SET s 10
    EXPIRE {k}a 1000
    PERSIST {k}a
    RENAME {k}a {k}b
    DEL {k}b
    SET s %40 PX 100000
    INCRBY n 5
    INCRBY n 5
    APPEND s abc
    SETRANGE s 2 xyz
    SETBIT n 0 1
    SETBIT n 0 0
    RPUSH l a b c d e f g h
    LPUSH l %50 z
    LPOP l
    RPOP l 2
    LSET l 1 B
    LINSERT l BEFORE c bc
    LREM l 1 bc
    LTRIM l 1 -2
    HSET h f 1 g 2 h %50
    HPEXPIRE h 100000 FIELDS 2 f g
    HINCRBY h f 3
    HPERSIST h FIELDS 1 f
    HDEL h h
    pass 20
    SELECT 3
    SET c %100
    SWAPDB 3 4
    SET d 2
    FLUSHDB
    SELECT 0
    restart
    SET large %12000
    MULTI
    SET t 1
    RPUSH u 2
    EXEC
";

/// Segments written past the page cache, by records smaller and larger than a block.
const DIRECT: &str = "
    SET a 1
    SET b %700
    SET large %9000
    HSET h f v
    pass 20
    RPUSH l a b c
    buffered
    SET c %5000
    DEL a
    end
";

/// A base, deltas on it, databases that changed places, and a log behind.
const SNAPSHOT: &str = "
    MSET {t}1 %200 {t}2 %200 {t}3 %200 {t}4 %200 {t}5 %200 {t}6 %200 {t}7 %200 {t}8 %200
    HSET {t}h f %300 g %300
    HPEXPIRE {t}h 100000 FIELDS 1 f
    RPUSH {t}l a b c %300
    SELECT 1
    SET {t}other %50
    SELECT 0
    compact 0
    SET {t}1 a PX 100000
    HSET {t}h g b
    LPOP {t}l
    DEL {t}2
    compact 0
    APPEND {t}3 tail
    RENAME {t}4 {t}9
    SWAPDB 1 2
    compact 0
    SET {t}5 log
    RPUSH {t}l log
    end
";

const COMPRESSED: &str = "
    MSET {t}1 %200 {t}2 %200 {t}3 %200 {t}4 %200 {t}5 %200 {t}6 %200 {t}7 %200 {t}8 %200
    MSET a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b %90
    RPUSH {t}l 1111111111111111111111111111111111111111111 2222222222222222222222222222222222222222222222222222222
    compact 3
    SET {t}1 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    compact 3
    SET {t}2 log
";

/// The ops of sets, sorted sets and HyperLogLogs, in a base, a delta and a log.
const COLLECTIONS: &str = "
    SADD {t}words one two %70 four
    SADD {t}numbers 1 2 -70000 9000000000
    ZADD {t}z 1.5 a -inf b inf c 0 %70
    PFADD {t}visitors a b c d
    compact 0
    SREM {t}words one %70
    SADD {t}numbers x
    ZADD {t}z 2 a 3 e
    ZINCRBY {t}z 0.1 d
    ZREM {t}z b
    ZREMRANGEBYRANK {t}z 0 1
    PFADD {t}visitors e f
    compact 0
    SADD {t}words five
    SREM {t}numbers 2
    ZADD {t}z 1 f
    ZADD {t}z 1 g 2 h
    ZREM {t}z c
    ZREMRANGEBYRANK {t}z 0 0
    PFADD {t}visitors g h i
    end
";

/// The ops of streams and their groups, in a base, a delta and a log.
const STREAMS: &str = "
    XADD {t}s 1-1 a 1 b %70
    XADD {t}s 1-2 a 2 b 3
    XADD {t}s * a 4
    XADD {t}s 9999999999999-1 c %300
    XGROUP CREATE {t}s g 0 ENTRIESREAD 0
    XGROUP CREATE {t}s h $
    XGROUP CREATECONSUMER {t}s h idle
    XREADGROUP GROUP g c COUNT 3 STREAMS {t}s >
    compact 0
    XADD {t}s 9999999999999-2 a 5
    XREADGROUP GROUP g d STREAMS {t}s >
    XACK {t}s g 1-1
    XDEL {t}s 1-2
    compact 0
    XADD {t}s 9999999999999-5 d 1 e 2
    XADD {t}s 9999999999999-6 d 3 e 4
    XREADGROUP GROUP g c NOACK COUNT 1 STREAMS {t}s >
    XREADGROUP GROUP g c STREAMS {t}s >
    XCLAIM {t}s g d 0 9999999999999-1 9999999999999-6 TIME 5 RETRYCOUNT 7
    XACK {t}s g 9999999999999-1
    XTRIM {t}s MAXLEN 4
    XDEL {t}s 9999999999999-1
    XSETID {t}s 9999999999999-9 ENTRIESADDED 20 MAXDELETEDID 9999999999999-1
    XGROUP CREATE {t}s i 1-2
    XGROUP CREATECONSUMER {t}s i x
    XGROUP DELCONSUMER {t}s i x
    XGROUP DESTROY {t}s h
    end
";
