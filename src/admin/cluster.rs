//! CLUSTER, READONLY, READWRITE and ASKING, answered as Redis does when cluster mode is off: clients ask so to find out. And REPLICAOF,
//! which is told apart from an unknown command because tools that set a server up send `REPLICAOF NO ONE` to what is a master already.

use crate::command::options::is;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::resp::Reply;

use super::ANYTIME;

const CLUSTER: Command =
    Command { group: Group::Cluster, since: "3.0.0", handler: disabled, ..Command::DEFAULT };

/// Of one connection: what it may be told by a node.
const CONNECTION: Command =
    Command { arity: 1, flags: ANYTIME.union(Flags::FAST), acl: &["connection"], ..CLUSTER };

const REPLICATION: Command = Command {
    arity: 3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE),
    group: Group::Server,
    syntax: "<host port | NO ONE>",
    handler: replicaof,
    ..Command::DEFAULT
};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "asking",
        flags: Flags::FAST,
        summary: "Signals that a cluster client is following an -ASK redirect.",
        ..CONNECTION
    },
    Command {
        name: "cluster",
        arity: -2,
        summary: "A container for Redis Cluster commands.",
        complexity: "Depends on subcommand.",
        subcommands: SUBCOMMANDS,
        ..CLUSTER
    },
    Command {
        name: "readonly",
        summary: "Enables read-only queries for a connection to a Redis Cluster replica node.",
        ..CONNECTION
    },
    Command {
        name: "readwrite",
        summary: "Enables read-write queries for a connection to a Redis Cluster replica node.",
        ..CONNECTION
    },
    Command {
        name: "replicaof",
        since: "5.0.0",
        summary: "Accepts NO ONE: this server is never a replica.",
        ..REPLICATION
    },
    Command { name: "slaveof", summary: "Accepts NO ONE, as REPLICAOF.", ..REPLICATION },
];

/// A subcommand that anybody may run.
const fn look(name: &'static str, arity: i32, syntax: &'static str, summary: &'static str) -> Command {
    Command { name, parent: "cluster", arity, flags: Flags::STALE, syntax, summary, ..CLUSTER }
}

/// One for administrators.
const fn change(name: &'static str, arity: i32, syntax: &'static str, summary: &'static str) -> Command {
    Command { flags: Flags::ADMIN.union(Flags::STALE), ..look(name, arity, syntax, summary) }
}

const SUBCOMMANDS: &[Command] = &[
    change("addslots", -3, "slot [slot ...]", "Assigns new hash slots to a node."),
    change(
        "addslotsrange",
        -4,
        "start-slot end-slot [start-slot end-slot ...]",
        "Assigns new hash slot ranges to a node.",
    ),
    change("bumpepoch", 2, "", "Advances the cluster config epoch."),
    change(
        "count-failure-reports",
        3,
        "node-id",
        "Returns the number of active failure reports active for a node.",
    ),
    look("countkeysinslot", 3, "slot", "Returns the number of keys in a hash slot."),
    change("delslots", -3, "slot [slot ...]", "Sets hash slots as unbound for a node."),
    change(
        "delslotsrange",
        -4,
        "start-slot end-slot [start-slot end-slot ...]",
        "Sets hash slot ranges as unbound for a node.",
    ),
    change(
        "failover",
        -2,
        "[FORCE | TAKEOVER]",
        "Forces a replica to perform a manual failover of its master.",
    ),
    change("flushslots", 2, "", "Deletes all slots information from a node."),
    change("forget", 3, "node-id", "Removes a node from the nodes table."),
    look("getkeysinslot", 4, "slot count", "Returns the key names in a hash slot."),
    Command {
        flags: ANYTIME,
        ..look("help", 2, "", "Returns helpful text about the different subcommands.")
    },
    look("info", 2, "", "Returns information about the state of a node."),
    look("keyslot", 3, "key", "Returns the hash slot for a key."),
    look("links", 2, "", "Returns a list of all TCP links to and from peer nodes."),
    change("meet", -4, "ip port [cluster-bus-port]", "Forces a node to handshake with another node."),
    look("myid", 2, "", "Returns the ID of a node."),
    look("myshardid", 2, "", "Returns the shard ID of a node."),
    look("nodes", 2, "", "Returns the cluster configuration for a node."),
    change("replicas", 3, "node-id", "Lists the replica nodes of a master node."),
    change("replicate", 3, "node-id", "Configure a node as replica of a master node."),
    change("reset", -2, "[HARD | SOFT]", "Resets a node."),
    change("saveconfig", 2, "", "Forces a node to save the cluster configuration to disk."),
    change("set-config-epoch", 3, "config-epoch", "Sets the configuration epoch for a new node."),
    change(
        "setslot",
        -4,
        "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        "Binds a hash slot to a node.",
    ),
    look("shards", 2, "", "Returns the mapping of cluster slots to shards."),
    change("slaves", 3, "node-id", "Lists the replica nodes of a master node."),
    look("slots", 2, "", "Returns the mapping of cluster slots to nodes."),
];

fn disabled(_: &mut Ctx<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::new("ERR This instance has cluster support disabled"))
}

fn replicaof(_: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !is(args.get(1), "no") || !is(args.get(2), "one") {
        return Err(CommandError::new(
            "ERR this server cannot be a replica; only NO ONE is accepted. To copy the data of another server use MIGRATE there",
        ));
    }
    reply.ok();
    Ok(())
}
