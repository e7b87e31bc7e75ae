//! The declarations of the bitmap commands.

use super::{commands, field};
use crate::command::{Command, Flags, Group, KeySpec};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, &["RO", "access"])],
        group: Group::Bitmap,
        since: "2.6.0",
        summary: "Counts the number of set bits (population counting) in a string.",
        complexity: "O(N)",
        syntax: "key [start end [BYTE | BIT]]",
        handler: commands::bitcount,
        ..Command::DEFAULT
    },
    Command {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[KeySpec::at(1, &["RW", "access", "update", "variable_flags"])],
        group: Group::Bitmap,
        since: "3.2.0",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        complexity: "O(1) for each subcommand specified",
        syntax: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> ...]]",
        handler: field::bitfield,
        ..Command::DEFAULT
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::at(1, &["RO", "access"])],
        group: Group::Bitmap,
        since: "6.0.0",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        complexity: "O(1) for each subcommand specified",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        handler: field::bitfield_ro,
        ..Command::DEFAULT
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[KeySpec::at(2, &["OW", "update"]), KeySpec::range(3, -1, 1, &["RO", "access"])],
        group: Group::Bitmap,
        since: "2.6.0",
        summary: "Performs bitwise operations on multiple strings, and stores the result.",
        complexity: "O(N)",
        syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
        handler: commands::bitop,
        ..Command::DEFAULT
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, &["RO", "access"])],
        group: Group::Bitmap,
        since: "2.8.7",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        complexity: "O(N)",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        handler: commands::bitpos,
        ..Command::DEFAULT
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::at(1, &["RO", "access"])],
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Returns a bit value by offset.",
        syntax: "key offset",
        handler: commands::getbit,
        ..Command::DEFAULT
    },
    Command {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: &[KeySpec::at(1, &["RW", "access", "update"])],
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        handler: commands::setbit,
        ..Command::DEFAULT
    },
];
