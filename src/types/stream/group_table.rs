//! The declarations of the commands that read streams, alone or in groups.

use crate::admin::help;
use crate::command::keys::{Begin, Find};
use crate::command::{Command, Flags, Group, KeySpec};

use super::{acknowledge, claim, group_commands, group_read, read, xpending};

const READ: &[&str] = &["RO", "access"];
const UPDATE: &[&str] = &["RW", "update"];
const INSERT: &[&str] = &["RW", "insert"];
const REMOVE: &[&str] = &["RW", "delete"];

const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const GROW: Flags = Flags::WRITE.union(Flags::DENYOOM);
const BLOCKING: Flags = Flags::BLOCKING.union(Flags::MOVABLEKEYS);

/// The first half of what stands behind STREAMS.
const fn streams(from: i32) -> KeySpec {
    let find = Find::Range { last: -1, step: 1, limit: 2 };
    KeySpec { begin: Begin::Keyword { word: "STREAMS", from }, find, flags: READ }
}

const SUBCOMMAND: Command = Command { parent: "xgroup", group: Group::Stream, ..Command::DEFAULT };

static XGROUP: &[Command] = &[
    Command {
        name: "create",
        arity: -5,
        flags: GROW,
        keys: &[KeySpec::at(2, INSERT)],
        since: "5.0.0",
        summary: "Creates a consumer group.",
        syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
        handler: group_commands::create,
        ..SUBCOMMAND
    },
    Command {
        name: "createconsumer",
        arity: 5,
        flags: GROW,
        keys: &[KeySpec::at(2, INSERT)],
        since: "6.2.0",
        summary: "Creates a consumer in a consumer group.",
        syntax: "key group consumer",
        handler: group_commands::create_consumer,
        ..SUBCOMMAND
    },
    Command {
        name: "delconsumer",
        arity: 5,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(2, REMOVE)],
        since: "5.0.0",
        summary: "Removes a consumer from a consumer group with all that is pending for it.",
        syntax: "key group consumer",
        handler: group_commands::remove_consumer,
        ..SUBCOMMAND
    },
    Command {
        name: "destroy",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(2, REMOVE)],
        since: "5.0.0",
        summary: "Removes a consumer group.",
        complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        syntax: "key group",
        handler: group_commands::destroy,
        ..SUBCOMMAND
    },
    help::declare("xgroup", Group::Stream, "5.0.0"),
    Command {
        name: "setid",
        arity: -5,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(2, UPDATE)],
        since: "5.0.0",
        summary: "Sets the id that a consumer group reads on behind.",
        syntax: "key group <id | $> [ENTRIESREAD entries-read]",
        handler: group_commands::set_id,
        ..SUBCOMMAND
    },
];

pub static COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        arity: -4,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, UPDATE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Takes entries off a consumer group's list of pending ones. Returns how many were there.",
        complexity: "O(1) for each message ID processed.",
        syntax: "key group id [id ...]",
        handler: acknowledge::xack,
        ..Command::DEFAULT
    },
    Command {
        name: "xackdel",
        arity: -6,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, &["RW", "update", "delete"])],
        group: Group::Stream,
        since: "8.2.0",
        summary: "Acknowledges entries for a consumer group and removes them from the stream.",
        complexity: "O(1) for each entry ID processed.",
        syntax: "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        handler: acknowledge::xackdel,
        ..Command::DEFAULT
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::Stream,
        since: "6.2.0",
        summary: "Makes a consumer the owner of pending entries that were idle for some time, whosever they were.",
        complexity: "O(1) if COUNT is small.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        handler: claim::xautoclaim,
        ..Command::DEFAULT
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: WRITE_FAST,
        keys: &[KeySpec::at(1, UPDATE)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Makes a consumer the owner of pending entries, as if they had been delivered to it.",
        complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        handler: claim::xclaim,
        ..Command::DEFAULT
    },
    Command {
        name: "xgroup",
        arity: -2,
        group: Group::Stream,
        since: "5.0.0",
        summary: "A container for consumer groups commands.",
        complexity: "Depends on subcommand.",
        subcommands: XGROUP,
        ..Command::DEFAULT
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns what is pending in a consumer group: a summary, or the entries in a range.",
        complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        handler: xpending::xpending,
        ..Command::DEFAULT
    },
    Command {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.union(BLOCKING),
        keys: &[streams(1)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Returns the entries of several streams behind an id each; waits if there are none.",
        complexity: "For each stream mentioned: O(N) with N being the number of elements returned, so with a fixed COUNT it is O(1).",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        handler: read::xread,
        ..Command::DEFAULT
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.union(BLOCKING),
        keys: &[streams(4)],
        group: Group::Stream,
        since: "5.0.0",
        summary: "Delivers new entries of streams to a consumer of a group, or returns what is pending for it; waits if there are no new ones.",
        complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [CLAIM min-idle-time] [NOACK] STREAMS key [key ...] id [id ...]",
        handler: group_read::xreadgroup,
        ..Command::DEFAULT
    },
];
