//! The declarations of the commands on the entries of a stream.

use crate::command::{Command, Flags, Group, KeySpec};

use super::{add, commands, delete, info, range, trim};

const READ: &[&str] = &["RO", "access"];
const UPDATE: &[&str] = &["RW", "update"];
const REMOVE: &[&str] = &["RW", "delete"];

const GROW_FAST: Flags = WRITE_FAST.union(Flags::DENYOOM);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);

pub static COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: GROW_FAST,
        keys: &[KeySpec::at(1, UPDATE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Appends an entry to a stream; makes the stream if there is none.",
        complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
        syntax: "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        handler: add::xadd,
        ..Command::DEFAULT
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Removes entries from a stream. Returns how many there were.",
        complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
        syntax: "key id [id ...]",
        handler: delete::xdel,
        ..Command::DEFAULT
    },
    Command {
        name: "xdelex",
        arity: -5,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::Stream,
        since: "8.2.0",
        summary: "Removes entries from a stream, with a choice of what becomes of them where they are pending.",
        complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
        syntax: "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        handler: delete::xdelex,
        ..Command::DEFAULT
    },
    Command {
        name: "xinfo",
        arity: -2,
        group: Group::Stream,
        since: "5.0.0",
        summary: "A container for commands that tell about streams.",
        complexity: "Depends on subcommand.",
        subcommands: XINFO,
        ..Command::DEFAULT
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::at(1, &["RO"])],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the number of entries of a stream.",
        complexity: "O(1)",
        syntax: "key",
        handler: commands::xlen,
        ..Command::DEFAULT
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the entries of a stream within a range of ids.",
        complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
        syntax: "key start end [COUNT count]",
        handler: range::xrange,
        ..Command::DEFAULT
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the entries of a stream within a range of ids, the last one first.",
        complexity: "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
        syntax: "key end start [COUNT count]",
        handler: range::xrevrange,
        ..Command::DEFAULT
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: GROW_FAST,
        keys: &[KeySpec::at(1, UPDATE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Sets the numbers that a stream goes on from.",
        complexity: "O(1)",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        handler: add::xsetid,
        ..Command::DEFAULT
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Removes entries from the beginning of a stream.",
        complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]",
        handler: trim::xtrim,
        ..Command::DEFAULT
    },
];

const XINFO: &[Command] = &[
    Command {
        name: "consumers",
        parent: "xinfo",
        arity: 4,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(2, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the consumers of a group.",
        syntax: "key group",
        handler: info::consumers,
        ..Command::DEFAULT
    },
    Command {
        name: "groups",
        parent: "xinfo",
        arity: 3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(2, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the consumer groups of a stream.",
        syntax: "key",
        handler: info::groups,
        ..Command::DEFAULT
    },
    Command {
        name: "help",
        parent: "xinfo",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        handler: info::help,
        ..Command::DEFAULT
    },
    Command {
        name: "stream",
        parent: "xinfo",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(2, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the numbers of a stream; with FULL also entries, groups and what is pending.",
        syntax: "key [FULL [COUNT count]]",
        handler: info::stream,
        ..Command::DEFAULT
    },
];
