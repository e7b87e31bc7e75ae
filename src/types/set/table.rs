//! The declarations of the set commands.

use crate::command::{Command, Flags, Group, KeySpec};

use super::{algebra, commands, random};

const LOOK: &[KeySpec] = &[KeySpec::at(1, &["RO"])];
const READ: &[KeySpec] = &[KeySpec::at(1, &["RO", "access"])];
const READ_ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, &["RO", "access"])];
const INSERT: &[KeySpec] = &[KeySpec::at(1, &["RW", "insert"])];
const DELETE: &[KeySpec] = &[KeySpec::at(1, &["RW", "delete"])];
const TAKE: &[KeySpec] = &[KeySpec::at(1, &["RW", "access", "delete"])];
const MOVE: &[KeySpec] = &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])];
const OVERWRITE: &[KeySpec] =
    &[KeySpec::at(1, &["OW", "update"]), KeySpec::range(2, -1, 1, &["RO", "access"])];
const REWRITE: &[KeySpec] = &[KeySpec::at(1, &["RW", "update"]), KeySpec::range(2, -1, 1, &["RO", "access"])];

const READ_SLOW: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const READ_COUNTED: Flags = Flags::READONLY.union(Flags::MOVABLEKEYS);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const STORE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const GROW: Flags = WRITE_FAST.union(Flags::DENYOOM);

const INTER: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";

pub static COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: GROW,
        keys: INSERT,
        group: Group::Set,
        since: "1.0.0",
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        syntax: "key member [member ...]",
        handler: commands::sadd,
        ..Command::DEFAULT
    },
    Command {
        name: "scard",
        arity: 2,
        flags: READ_FAST,
        keys: LOOK,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns the number of members in a set.",
        syntax: "key",
        handler: commands::scard,
        ..Command::DEFAULT
    },
    Command {
        name: "sdiff",
        arity: -2,
        flags: READ_SLOW,
        keys: READ_ALL,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns the difference of multiple sets.",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        syntax: "key [key ...]",
        handler: algebra::sdiff,
        ..Command::DEFAULT
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: STORE,
        keys: OVERWRITE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Stores the difference of multiple sets in a key.",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        syntax: "destination key [key ...]",
        handler: algebra::sdiffstore,
        ..Command::DEFAULT
    },
    Command {
        name: "sinter",
        arity: -2,
        flags: READ_SLOW,
        keys: READ_ALL,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns the intersect of multiple sets.",
        complexity: INTER,
        syntax: "key [key ...]",
        handler: algebra::sinter,
        ..Command::DEFAULT
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: READ_COUNTED,
        keys: &[KeySpec::counted(1, &["RO", "access"])],
        group: Group::Set,
        since: "7.0.0",
        summary: "Returns the number of members of the intersect of multiple sets.",
        complexity: INTER,
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: algebra::sintercard,
        ..Command::DEFAULT
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: STORE,
        keys: REWRITE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Stores the intersect of multiple sets in a key.",
        complexity: INTER,
        syntax: "destination key [key ...]",
        handler: algebra::sinterstore,
        ..Command::DEFAULT
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: READ_FAST,
        keys: LOOK,
        group: Group::Set,
        since: "1.0.0",
        summary: "Determines whether a member belongs to a set.",
        syntax: "key member",
        handler: commands::sismember,
        ..Command::DEFAULT
    },
    Command {
        name: "smembers",
        arity: 2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns all members of a set.",
        complexity: "O(N) where N is the set cardinality.",
        syntax: "key",
        handler: commands::smembers,
        ..Command::DEFAULT
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: READ_FAST,
        keys: READ,
        group: Group::Set,
        since: "6.2.0",
        summary: "Determines whether multiple members belong to a set.",
        complexity: "O(N) where N is the number of elements being checked for membership",
        syntax: "key member [member ...]",
        handler: commands::smismember,
        ..Command::DEFAULT
    },
    Command {
        name: "smove",
        arity: 4,
        flags: WRITE_FAST,
        keys: MOVE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        handler: commands::smove,
        ..Command::DEFAULT
    },
    Command {
        name: "spop",
        arity: -2,
        flags: WRITE_FAST,
        keys: TAKE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped.",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        syntax: "key [count]",
        handler: random::spop,
        ..Command::DEFAULT
    },
    Command {
        name: "srandmember",
        arity: -2,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Set,
        since: "1.0.0",
        summary: "Get one or multiple random members from a set",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
        syntax: "key [count]",
        handler: random::srandmember,
        ..Command::DEFAULT
    },
    Command {
        name: "srem",
        arity: -3,
        flags: WRITE_FAST,
        keys: DELETE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Removes one or more members from a set. Deletes the set if the last member was removed.",
        complexity: "O(N) where N is the number of members to be removed.",
        syntax: "key member [member ...]",
        handler: commands::srem,
        ..Command::DEFAULT
    },
    Command {
        name: "sscan",
        arity: -3,
        flags: READ_SLOW,
        keys: READ,
        group: Group::Set,
        since: "2.8.0",
        summary: "Iterates over members of a set.",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        handler: commands::sscan,
        ..Command::DEFAULT
    },
    Command {
        name: "sunion",
        arity: -2,
        flags: READ_SLOW,
        keys: READ_ALL,
        group: Group::Set,
        since: "1.0.0",
        summary: "Returns the union of multiple sets.",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        syntax: "key [key ...]",
        handler: algebra::sunion,
        ..Command::DEFAULT
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: STORE,
        keys: OVERWRITE,
        group: Group::Set,
        since: "1.0.0",
        summary: "Stores the union of multiple sets in a key.",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        syntax: "destination key [key ...]",
        handler: algebra::sunionstore,
        ..Command::DEFAULT
    },
];
