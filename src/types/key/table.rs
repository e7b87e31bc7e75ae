//! The declarations of the commands on keys and databases.

use super::{commands, copy, dump, expire, memory, object, scan, sort};
use crate::command::keys::KeySpec;
use crate::command::{Command, Flags, Group};

const SEEN: &[KeySpec] = &[KeySpec::at(1, &["RO"])];
const SEEN_AT_2: &[KeySpec] = &[KeySpec::at(2, &["RO"])];
const ALL_SEEN: &[KeySpec] = &[KeySpec::range(1, -1, 1, &["RO"])];
const READ: &[KeySpec] = &[KeySpec::at(1, &["RO", "access"])];
const UPDATED: &[KeySpec] = &[KeySpec::at(1, &["RW", "update"])];
const SORTED: KeySpec = KeySpec::at(1, &["RO", "access"]);
const SORT_PATTERNS: KeySpec = KeySpec::unknown(sort::keys_made, &["RO", "access"]);
const SORT_CATEGORIES: &[&str] = &["set", "sortedset", "list", "dangerous"];
const SORT_COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the \
                               number of returned elements. When the elements are not sorted, complexity is O(N).";
const DELETED: &[KeySpec] = &[KeySpec::range(1, -1, 1, &["RM", "delete"])];

pub static COMMANDS: &[Command] = &[
    Command {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::ALL_KEYS),
        keys: &[KeySpec::at(1, &["RO", "access"]), KeySpec::at(2, &["OW", "update"])],
        since: "6.2.0",
        summary: "Copy a key",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for \
                     string values.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        handler: copy::copy,
        ..Command::DEFAULT
    },
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::ALL_KEYS),
        group: Group::Server,
        summary: "Return the number of keys in the selected database",
        acl: &["keyspace"],
        handler: commands::dbsize,
        ..Command::DEFAULT
    },
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: DELETED,
        summary: "Delete a key",
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove \
                     holds a value other than a string, the individual complexity for this key is \
                     O(M) where M is the number of elements in the list, set, sorted set or hash. \
                     Removing a single key that holds a string value is O(1).",
        syntax: "key [key ...]",
        handler: commands::del,
        ..Command::DEFAULT
    },
    Command {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: READ,
        since: "2.6.0",
        summary: "Return a serialized version of the value stored at the specified key.",
        complexity: "O(1) to access the key and additional O(N*M) to serialize it, where N is the \
                     number of Redis objects composing the value and M their average size. For \
                     small string values the time complexity is thus O(1)+O(1*M) where M is small, \
                     so simply O(1).",
        syntax: "key",
        handler: dump::dump,
        ..Command::DEFAULT
    },
    Command {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: ALL_SEEN,
        summary: "Determine if a key exists",
        complexity: "O(N) where N is the number of keys to check.",
        syntax: "key [key ...]",
        handler: commands::exists,
        ..Command::DEFAULT
    },
    Command {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: UPDATED,
        summary: "Set a key's time to live in seconds",
        syntax: "key seconds [NX | XX | GT | LT]",
        handler: expire::expire,
        ..Command::DEFAULT
    },
    Command {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: UPDATED,
        since: "1.2.0",
        summary: "Set the expiration for a key as a UNIX timestamp",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        handler: expire::expireat,
        ..Command::DEFAULT
    },
    Command {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: READ,
        since: "7.0.0",
        summary: "Get the expiration Unix timestamp for a key",
        syntax: "key",
        handler: expire::expiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE.union(Flags::ALL_KEYS),
        group: Group::Server,
        summary: "Remove all keys from all databases",
        complexity: "O(N) where N is the total number of keys in all databases",
        syntax: "[ASYNC | SYNC]",
        acl: &["keyspace", "dangerous"],
        handler: commands::flushall,
        ..Command::DEFAULT
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE.union(Flags::ALL_KEYS),
        group: Group::Server,
        summary: "Remove all keys from the current database",
        complexity: "O(N) where N is the number of keys in the selected database",
        syntax: "[ASYNC | SYNC]",
        acl: &["keyspace", "dangerous"],
        handler: commands::flushdb,
        ..Command::DEFAULT
    },
    Command {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY.union(Flags::ALL_KEYS),
        summary: "Find all keys matching the given pattern",
        complexity: "O(N) with N being the number of keys in the database, under the assumption that \
                     the key names in the database and the given pattern have limited length.",
        syntax: "pattern",
        acl: &["dangerous"],
        handler: scan::keys,
        ..Command::DEFAULT
    },
    Command {
        name: "memory",
        arity: -2,
        group: Group::Server,
        since: "4.0.0",
        summary: "A container for memory diagnostics commands",
        complexity: "Depends on subcommand.",
        subcommands: MEMORY,
        ..Command::DEFAULT
    },
    Command {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::ALL_KEYS),
        keys: &[KeySpec::at(1, &["RW", "access", "update"])],
        summary: "Move a key to another database",
        syntax: "key db",
        handler: copy::r#move,
        ..Command::DEFAULT
    },
    Command {
        name: "object",
        arity: -2,
        since: "2.2.3",
        summary: "A container for object introspection commands",
        complexity: "Depends on subcommand.",
        subcommands: OBJECT,
        ..Command::DEFAULT
    },
    Command {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: UPDATED,
        since: "2.2.0",
        summary: "Remove the expiration from a key",
        syntax: "key",
        handler: expire::persist,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: UPDATED,
        since: "2.6.0",
        summary: "Set a key's time to live in milliseconds",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        handler: expire::pexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: UPDATED,
        since: "2.6.0",
        summary: "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        handler: expire::pexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: READ,
        since: "7.0.0",
        summary: "Get the expiration Unix timestamp for a key in milliseconds",
        syntax: "key",
        handler: expire::pexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: READ,
        since: "2.6.0",
        summary: "Get the time to live for a key in milliseconds",
        syntax: "key",
        handler: expire::pttl,
        ..Command::DEFAULT
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY.union(Flags::ALL_KEYS),
        summary: "Return a random key from the keyspace",
        handler: scan::randomkey,
        ..Command::DEFAULT
    },
    Command {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["OW", "update"])],
        summary: "Rename a key",
        syntax: "key newkey",
        handler: copy::rename,
        ..Command::DEFAULT
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["OW", "insert"])],
        summary: "Rename a key, only if the new key does not exist",
        syntax: "key newkey",
        handler: copy::renamenx,
        ..Command::DEFAULT
    },
    Command {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[KeySpec::at(1, &["OW", "update"])],
        since: "2.6.0",
        summary: "Create a key using the provided serialized value, previously obtained using DUMP.",
        complexity: "O(1) to create the new key and additional O(N*M) to reconstruct the serialized \
                     value, where N is the number of Redis objects composing the value and M their \
                     average size. For small string values the time complexity is thus O(1)+O(1*M) \
                     where M is small, so simply O(1). However for sorted set values the complexity \
                     is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        acl: &["dangerous"],
        handler: dump::restore,
        ..Command::DEFAULT
    },
    Command {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY.union(Flags::ALL_KEYS),
        since: "2.8.0",
        summary: "Incrementally iterate the keys space",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command \
                     calls for the cursor to return back to 0. N is the number of elements inside the \
                     collection.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        handler: scan::scan,
        ..Command::DEFAULT
    },
    Command {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS),
        keys: &[SORTED, SORT_PATTERNS, KeySpec::unknown(sort::destination, &["OW", "update"])],
        summary: "Sort the elements in a list, set or sorted set",
        complexity: SORT_COMPLEXITY,
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] \
                 [STORE destination]",
        acl: SORT_CATEGORIES,
        handler: sort::sort,
        ..Command::DEFAULT
    },
    Command {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
        keys: &[SORTED, SORT_PATTERNS],
        since: "7.0.0",
        summary: "Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
        complexity: SORT_COMPLEXITY,
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        acl: SORT_CATEGORIES,
        handler: sort::sort_ro,
        ..Command::DEFAULT
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::ALL_KEYS),
        group: Group::Server,
        since: "4.0.0",
        summary: "Swaps two Redis databases",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both \
                     databases.",
        syntax: "index1 index2",
        acl: &["keyspace", "dangerous"],
        handler: commands::swapdb,
        ..Command::DEFAULT
    },
    Command {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: ALL_SEEN,
        since: "3.2.1",
        summary: "Alters the last access time of a key(s). Returns the number of existing keys specified.",
        complexity: "O(N) where N is the number of keys that will be touched.",
        syntax: "key [key ...]",
        handler: commands::touch,
        ..Command::DEFAULT
    },
    Command {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: READ,
        summary: "Get the time to live for a key in seconds",
        syntax: "key",
        handler: expire::ttl,
        ..Command::DEFAULT
    },
    Command {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: SEEN,
        summary: "Determine the type stored at key",
        syntax: "key",
        handler: commands::type_of,
        ..Command::DEFAULT
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: DELETED,
        since: "4.0.0",
        summary: "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
        complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) \
                     work in a different thread in order to reclaim memory, where N is the number of \
                     allocations the deleted objects where composed of.",
        syntax: "key [key ...]",
        handler: commands::del,
        ..Command::DEFAULT
    },
];

const MEMORY: &[Command] = &[
    Command {
        name: "doctor",
        parent: "memory",
        arity: 2,
        group: Group::Server,
        since: "4.0.0",
        summary: "Outputs memory problems report",
        handler: memory::doctor,
        ..Command::DEFAULT
    },
    Command {
        name: "help",
        parent: "memory",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        group: Group::Server,
        since: "4.0.0",
        summary: "Show helpful text about the different subcommands",
        handler: memory::help,
        ..Command::DEFAULT
    },
    Command {
        name: "malloc-stats",
        parent: "memory",
        arity: 2,
        group: Group::Server,
        since: "4.0.0",
        summary: "Show allocator internal stats",
        complexity: "Depends on how much memory is allocated, could be slow",
        handler: memory::malloc_stats,
        ..Command::DEFAULT
    },
    Command {
        name: "purge",
        parent: "memory",
        arity: 2,
        group: Group::Server,
        since: "4.0.0",
        summary: "Ask the allocator to release memory",
        complexity: "Depends on how much memory is allocated, could be slow",
        handler: memory::purge,
        ..Command::DEFAULT
    },
    Command {
        name: "stats",
        parent: "memory",
        arity: 2,
        flags: Flags::ALL_KEYS,
        group: Group::Server,
        since: "4.0.0",
        summary: "Show memory usage details",
        handler: memory::stats,
        ..Command::DEFAULT
    },
    Command {
        name: "usage",
        parent: "memory",
        arity: -3,
        flags: Flags::READONLY,
        keys: SEEN_AT_2,
        group: Group::Server,
        since: "4.0.0",
        summary: "Estimate the memory usage of a key",
        complexity: "O(N) where N is the number of samples.",
        syntax: "key [SAMPLES count]",
        handler: memory::usage,
        ..Command::DEFAULT
    },
];

const OBJECT: &[Command] = &[
    Command {
        name: "encoding",
        parent: "object",
        arity: 3,
        flags: Flags::READONLY,
        keys: SEEN_AT_2,
        since: "2.2.3",
        summary: "Inspect the internal encoding of a Redis object",
        syntax: "key",
        handler: object::object_encoding,
        ..Command::DEFAULT
    },
    Command {
        name: "freq",
        parent: "object",
        arity: 3,
        flags: Flags::READONLY,
        keys: SEEN_AT_2,
        since: "4.0.0",
        summary: "Get the logarithmic access frequency counter of a Redis object",
        syntax: "key",
        handler: object::freq,
        ..Command::DEFAULT
    },
    Command {
        name: "help",
        parent: "object",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        since: "6.2.0",
        summary: "Show helpful text about the different subcommands",
        handler: object::help,
        ..Command::DEFAULT
    },
    Command {
        name: "idletime",
        parent: "object",
        arity: 3,
        flags: Flags::READONLY,
        keys: SEEN_AT_2,
        since: "2.2.3",
        summary: "Get the time since a Redis object was last accessed",
        syntax: "key",
        handler: object::idletime,
        ..Command::DEFAULT
    },
    Command {
        name: "refcount",
        parent: "object",
        arity: 3,
        flags: Flags::READONLY,
        keys: SEEN_AT_2,
        since: "2.2.3",
        summary: "Get the number of references to the value of the key",
        syntax: "key",
        handler: object::refcount,
        ..Command::DEFAULT
    },
];
