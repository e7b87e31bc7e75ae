//! The declarations of the hash commands.

use crate::command::{Command, Flags, Group, KeySpec};

use super::{commands, expiry, walk};

const LOOK: &[KeySpec] = &[KeySpec::at(1, &["RO"])];
const READ: &[KeySpec] = &[KeySpec::at(1, &["RO", "access"])];
const UPDATE: &[KeySpec] = &[KeySpec::at(1, &["RW", "update"])];
const CHANGE: &[KeySpec] = &[KeySpec::at(1, &["RW", "access", "update"])];
const INSERT: &[KeySpec] = &[KeySpec::at(1, &["RW", "insert"])];
const DELETE: &[KeySpec] = &[KeySpec::at(1, &["RW", "delete"])];
const TAKE: &[KeySpec] = &[KeySpec::at(1, &["RW", "access", "delete"])];

const READ_SLOW: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const GROW_FAST: Flags = WRITE_FAST.union(Flags::DENYOOM);

const FIELDS_N: &str = "O(N) where N is the number of specified fields";

pub static COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        arity: -3,
        flags: WRITE_FAST,
        keys: DELETE,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
        complexity: "O(N) where N is the number of fields to be removed.",
        syntax: "key field [field ...]",
        handler: commands::hdel,
        ..Command::DEFAULT
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: READ_FAST,
        keys: LOOK,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Determines whether a field exists in a hash.",
        syntax: "key field",
        handler: commands::hexists,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpire",
        arity: -6,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Set expiry for hash field using relative time to expire (seconds)",
        complexity: FIELDS_N,
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: expiry::hexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpireat",
        arity: -6,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Set expiry for hash field using an absolute Unix timestamp (seconds)",
        complexity: FIELDS_N,
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: expiry::hexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "hexpiretime",
        arity: -5,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::hexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "hget",
        arity: 3,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns the value of a field in a hash.",
        syntax: "key field",
        handler: commands::hget,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns all fields and values in a hash.",
        complexity: "O(N) where N is the size of the hash.",
        syntax: "key",
        handler: commands::hgetall,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetdel",
        arity: -5,
        flags: WRITE_FAST,
        keys: TAKE,
        group: Group::Hash,
        since: "8.0.0",
        summary: "Returns the value of a field and deletes it from the hash.",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::hgetdel,
        ..Command::DEFAULT
    },
    Command {
        name: "hgetex",
        arity: -5,
        flags: WRITE_FAST,
        keys: CHANGE,
        group: Group::Hash,
        since: "8.0.0",
        summary: "Get the value of one or more fields of a given hash key, and optionally set their expiration.",
        complexity: FIELDS_N,
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        handler: expiry::hgetex,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrby",
        arity: 4,
        flags: GROW_FAST,
        keys: CHANGE,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.",
        syntax: "key field increment",
        handler: commands::hincrby,
        ..Command::DEFAULT
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: GROW_FAST,
        keys: CHANGE,
        group: Group::Hash,
        since: "2.6.0",
        summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.",
        syntax: "key field increment",
        handler: commands::hincrbyfloat,
        ..Command::DEFAULT
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns all fields in a hash.",
        complexity: "O(N) where N is the size of the hash.",
        syntax: "key",
        handler: commands::hkeys,
        ..Command::DEFAULT
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: READ_FAST,
        keys: LOOK,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns the number of fields in a hash.",
        syntax: "key",
        handler: commands::hlen,
        ..Command::DEFAULT
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns the values of all fields in a hash.",
        complexity: "O(N) where N is the number of fields being requested.",
        syntax: "key field [field ...]",
        handler: commands::hmget,
        ..Command::DEFAULT
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Sets the values of multiple fields.",
        complexity: "O(N) where N is the number of fields being set.",
        syntax: "key field value [field value ...]",
        handler: commands::hmset,
        ..Command::DEFAULT
    },
    Command {
        name: "hpersist",
        arity: -5,
        flags: WRITE_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Removes the expiration time for each specified field",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::hpersist,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpire",
        arity: -6,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Set expiry for hash field using relative time to expire (milliseconds)",
        complexity: FIELDS_N,
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: expiry::hpexpire,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpireat",
        arity: -6,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
        complexity: FIELDS_N,
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: expiry::hpexpireat,
        ..Command::DEFAULT
    },
    Command {
        name: "hpexpiretime",
        arity: -5,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Returns the expiration time of a hash field as a Unix timestamp, in msec.",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::hpexpiretime,
        ..Command::DEFAULT
    },
    Command {
        name: "hpttl",
        arity: -5,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Returns the TTL in milliseconds of a hash field.",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::hpttl,
        ..Command::DEFAULT
    },
    Command {
        name: "hrandfield",
        arity: -2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Hash,
        since: "6.2.0",
        summary: "Returns one or more random fields from a hash.",
        complexity: "O(N) where N is the number of fields returned",
        syntax: "key [count [WITHVALUES]]",
        handler: walk::hrandfield,
        ..Command::DEFAULT
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Hash,
        since: "2.8.0",
        summary: "Iterates over fields and values of a hash.",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        handler: walk::hscan,
        ..Command::DEFAULT
    },
    Command {
        name: "hset",
        arity: -4,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Creates or modifies the value of a field in a hash.",
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
        syntax: "key field value [field value ...]",
        handler: commands::hset,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetex",
        arity: -6,
        flags: GROW_FAST,
        keys: UPDATE,
        group: Group::Hash,
        since: "8.0.0",
        summary: "Set the value of one or more fields of a given hash key, and optionally set their expiration.",
        complexity: "O(N) where N is the number of fields being set.",
        syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        handler: expiry::hsetex,
        ..Command::DEFAULT
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: GROW_FAST,
        keys: INSERT,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Sets the value of a field in a hash only when the field doesn't exist.",
        syntax: "key field value",
        handler: commands::hsetnx,
        ..Command::DEFAULT
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: READ_FAST,
        keys: LOOK,
        group: Group::Hash,
        since: "3.2.0",
        summary: "Returns the length of the value of a field.",
        syntax: "key field",
        handler: commands::hstrlen,
        ..Command::DEFAULT
    },
    Command {
        name: "httl",
        arity: -5,
        flags: READ_FAST,
        keys: READ,
        group: Group::Hash,
        since: "7.4.0",
        summary: "Returns the TTL in seconds of a hash field.",
        complexity: FIELDS_N,
        syntax: "key FIELDS numfields field [field ...]",
        handler: expiry::httl,
        ..Command::DEFAULT
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Hash,
        since: "2.0.0",
        summary: "Returns all values in a hash.",
        complexity: "O(N) where N is the size of the hash.",
        syntax: "key",
        handler: commands::hvals,
        ..Command::DEFAULT
    },
];
