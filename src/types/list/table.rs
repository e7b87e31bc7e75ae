//! The declarations of the list commands.

use crate::command::{Command, Flags, Group, KeySpec};

use super::{blocking, commands};

const READ: &[&str] = &["RO", "access"];
const INSERT: &[&str] = &["RW", "insert"];
const TAKE: &[&str] = &["RW", "access", "delete"];
const REMOVE: &[&str] = &["RW", "delete"];

const GROWS: Flags = Flags::WRITE.union(Flags::DENYOOM);
const PUSH: Flags = GROWS.union(Flags::FAST);
const BLOCKING_POP: Flags = Flags::WRITE.union(Flags::BLOCKING);
const BLOCKING_MOVE: Flags = BLOCKING_POP.union(Flags::DENYOOM);

pub static COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        arity: 6,
        flags: BLOCKING_MOVE,
        keys: &[KeySpec::at(1, TAKE), KeySpec::at(2, INSERT)],
        group: Group::List,
        since: "6.2.0",
        summary: "Moves an element from one end of a list to an end of another and returns it; waits for one if the source is empty.",
        complexity: "O(1)",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        handler: blocking::blmove,
        ..Command::DEFAULT
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::counted(2, TAKE)],
        group: Group::List,
        since: "7.0.0",
        summary: "Pops elements from the first of several lists that has any; waits if all are empty.",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: blocking::blmpop,
        ..Command::DEFAULT
    },
    Command {
        name: "blpop",
        arity: -3,
        flags: BLOCKING_POP,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        group: Group::List,
        since: "2.0.0",
        summary: "Removes and returns the first element of the first of several lists that has any; waits if all are empty.",
        complexity: "O(N) where N is the number of provided keys.",
        syntax: "key [key ...] timeout",
        handler: blocking::blpop,
        ..Command::DEFAULT
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: BLOCKING_POP,
        keys: &[KeySpec::range(1, -2, 1, TAKE)],
        group: Group::List,
        since: "2.0.0",
        summary: "Removes and returns the last element of the first of several lists that has any; waits if all are empty.",
        complexity: "O(N) where N is the number of provided keys.",
        syntax: "key [key ...] timeout",
        handler: blocking::brpop,
        ..Command::DEFAULT
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: BLOCKING_MOVE,
        keys: &[KeySpec::at(1, TAKE), KeySpec::at(2, INSERT)],
        group: Group::List,
        since: "2.2.0",
        summary: "Moves the last element of a list to the front of another and returns it; waits for one if the source is empty.",
        complexity: "O(1)",
        syntax: "source destination timeout",
        handler: blocking::brpoplpush,
        ..Command::DEFAULT
    },
    Command {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::List,
        since: "1.0.0",
        summary: "Returns the element at an index of a list.",
        complexity: "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).",
        syntax: "key index",
        handler: commands::lindex,
        ..Command::DEFAULT
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: GROWS,
        keys: &[KeySpec::at(1, INSERT)],
        group: Group::List,
        since: "2.2.0",
        summary: "Inserts an element before or after another element of a list.",
        complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).",
        syntax: "key <BEFORE | AFTER> pivot element",
        handler: commands::linsert,
        ..Command::DEFAULT
    },
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: &[KeySpec::at(1, &["RO"])],
        group: Group::List,
        since: "1.0.0",
        summary: "Returns the length of a list.",
        complexity: "O(1)",
        syntax: "key",
        handler: commands::llen,
        ..Command::DEFAULT
    },
    Command {
        name: "lmove",
        arity: 5,
        flags: GROWS,
        keys: &[KeySpec::at(1, TAKE), KeySpec::at(2, INSERT)],
        group: Group::List,
        since: "6.2.0",
        summary: "Moves an element from one end of a list to an end of another and returns it.",
        complexity: "O(1)",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        handler: commands::lmove,
        ..Command::DEFAULT
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::counted(1, TAKE)],
        group: Group::List,
        since: "7.0.0",
        summary: "Pops elements from the first of several lists that has any.",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: commands::lmpop,
        ..Command::DEFAULT
    },
    Command {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::at(1, TAKE)],
        group: Group::List,
        since: "1.0.0",
        summary: "Removes and returns the first elements of a list.",
        complexity: "O(N) where N is the number of elements returned",
        syntax: "key [count]",
        handler: commands::lpop,
        ..Command::DEFAULT
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::List,
        since: "6.0.6",
        summary: "Returns the index of matching elements of a list.",
        complexity: "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        handler: commands::lpos,
        ..Command::DEFAULT
    },
    Command {
        name: "lpush",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::at(1, INSERT)],
        group: Group::List,
        since: "1.0.0",
        summary: "Adds elements at the front of a list; makes the list if there is none.",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        syntax: "key element [element ...]",
        handler: commands::lpush,
        ..Command::DEFAULT
    },
    Command {
        name: "lpushx",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::at(1, INSERT)],
        group: Group::List,
        since: "2.2.0",
        summary: "Adds elements at the front of a list, only if it exists.",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        syntax: "key element [element ...]",
        handler: commands::lpushx,
        ..Command::DEFAULT
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(1, READ)],
        group: Group::List,
        since: "1.0.0",
        summary: "Returns a range of elements of a list.",
        complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
        syntax: "key start stop",
        handler: commands::lrange,
        ..Command::DEFAULT
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::List,
        since: "1.0.0",
        summary: "Removes elements equal to a given one from a list.",
        complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
        syntax: "key count element",
        handler: commands::lrem,
        ..Command::DEFAULT
    },
    Command {
        name: "lset",
        arity: 4,
        flags: GROWS,
        keys: &[KeySpec::at(1, &["RW", "update"])],
        group: Group::List,
        since: "1.0.0",
        summary: "Replaces the element at an index of a list.",
        complexity: "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).",
        syntax: "key index element",
        handler: commands::lset,
        ..Command::DEFAULT
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::at(1, REMOVE)],
        group: Group::List,
        since: "1.0.0",
        summary: "Removes all elements outside a range from a list.",
        complexity: "O(N) where N is the number of elements to be removed by the operation.",
        syntax: "key start stop",
        handler: commands::ltrim,
        ..Command::DEFAULT
    },
    Command {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::at(1, TAKE)],
        group: Group::List,
        since: "1.0.0",
        summary: "Removes and returns the last elements of a list.",
        complexity: "O(N) where N is the number of elements returned",
        syntax: "key [count]",
        handler: commands::rpop,
        ..Command::DEFAULT
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: GROWS,
        keys: &[KeySpec::at(1, TAKE), KeySpec::at(2, INSERT)],
        group: Group::List,
        since: "1.2.0",
        summary: "Moves the last element of a list to the front of another and returns it.",
        complexity: "O(1)",
        syntax: "source destination",
        handler: commands::rpoplpush,
        ..Command::DEFAULT
    },
    Command {
        name: "rpush",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::at(1, INSERT)],
        group: Group::List,
        since: "1.0.0",
        summary: "Adds elements at the end of a list; makes the list if there is none.",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        syntax: "key element [element ...]",
        handler: commands::rpush,
        ..Command::DEFAULT
    },
    Command {
        name: "rpushx",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::at(1, INSERT)],
        group: Group::List,
        since: "2.2.0",
        summary: "Adds elements at the end of a list, only if it exists.",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        syntax: "key element [element ...]",
        handler: commands::rpushx,
        ..Command::DEFAULT
    },
];
