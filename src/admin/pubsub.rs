//! SUBSCRIBE and its relatives, PUBLISH, PUBSUB: who is sent what others publish. What a message goes through is in
//! [`crate::command::channels`].

use crate::command::channels::{self, Subscriptions, Topic};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec};
use crate::resp::Reply;

use super::{ANYTIME, DIRECT, help};

const SUBSCRIBING: Command = Command {
    arity: -2,
    flags: DIRECT.union(Flags::PUBSUB),
    group: Group::PubSub,
    since: "2.0.0",
    ..Command::DEFAULT
};
const PUBLISHING: Command = Command {
    arity: 3,
    flags: ANYTIME.union(Flags::PUBSUB).union(Flags::FAST).union(Flags::MAY_REPLICATE),
    group: Group::PubSub,
    since: "2.0.0",
    ..Command::DEFAULT
};
const SUBCOMMAND: Command = Command {
    parent: "pubsub",
    arity: -2,
    flags: ANYTIME.union(Flags::PUBSUB),
    group: Group::PubSub,
    since: "2.8.0",
    ..Command::DEFAULT
};
const NOT_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, &["not_key"])];

pub static COMMANDS: &[Command] = &[
    Command {
        name: "subscribe",
        summary: "Listens for messages published to channels.",
        complexity: "O(N) where N is the number of channels to subscribe to.",
        syntax: "channel [channel ...]",
        handler: subscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        summary: "Stops listening to messages posted to channels.",
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        syntax: "[channel [channel ...]]",
        handler: unsubscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "psubscribe",
        summary: "Listens for messages published to channels that match one or more patterns.",
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        syntax: "pattern [pattern ...]",
        handler: psubscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        summary: "Stops listening to messages published to channels that match one or more patterns.",
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        syntax: "[pattern [pattern ...]]",
        handler: punsubscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "ssubscribe",
        keys: NOT_KEYS,
        since: "7.0.0",
        summary: "Listens for messages published to shard channels.",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        syntax: "shardchannel [shardchannel ...]",
        handler: ssubscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "sunsubscribe",
        arity: -1,
        keys: NOT_KEYS,
        since: "7.0.0",
        summary: "Stops listening to messages posted to shard channels.",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: sunsubscribe,
        ..SUBSCRIBING
    },
    Command {
        name: "publish",
        summary: "Posts a message to a channel.",
        complexity: "O(N+M) where N is the number of workers with clients subscribed to the channel and M is the number of patterns that clients are subscribed to.",
        syntax: "channel message",
        handler: publish,
        ..PUBLISHING
    },
    Command {
        name: "spublish",
        keys: &[KeySpec::at(1, &["not_key"])],
        since: "7.0.0",
        summary: "Posts a message to a shard channel.",
        complexity: "O(N) where N is the number of workers with clients subscribed to the shard channel.",
        syntax: "shardchannel message",
        handler: spublish,
        ..PUBLISHING
    },
    Command {
        name: "pubsub",
        arity: -2,
        group: Group::PubSub,
        since: "2.8.0",
        summary: "A container for Pub/Sub commands.",
        complexity: "Depends on subcommand.",
        subcommands: SUBCOMMANDS,
        ..Command::DEFAULT
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "channels",
        summary: "Returns the active channels.",
        complexity: "O(N) where N is the number of active channels.",
        syntax: "[pattern]",
        handler: active_channels,
        ..SUBCOMMAND
    },
    help::declare("pubsub", Group::PubSub, "6.2.0"),
    Command {
        name: "numpat",
        arity: 2,
        summary: "Returns a count of unique pattern subscriptions.",
        handler: patterns,
        ..SUBCOMMAND
    },
    Command {
        name: "numsub",
        summary: "Returns a count of subscribers to channels.",
        complexity: "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        syntax: "[channel [channel ...]]",
        handler: listeners,
        ..SUBCOMMAND
    },
    Command {
        name: "shardchannels",
        since: "7.0.0",
        summary: "Returns the active shard channels.",
        complexity: "O(N) where N is the number of active shard channels.",
        syntax: "[pattern]",
        handler: active_shard_channels,
        ..SUBCOMMAND
    },
    Command {
        name: "shardnumsub",
        since: "7.0.0",
        summary: "Returns the count of subscribers of shard channels.",
        complexity: "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: shard_listeners,
        ..SUBCOMMAND
    },
];

/// The reply to one name of a command, out of band in RESP3.
fn confirm(ctx: &mut Ctx<'_>, topic: Topic, name: Option<&[u8]>, reply: &mut Reply<'_>) {
    // It leaves whatever CLIENT REPLY says, as messages do.
    ctx.session.out_of_band = ctx.may_block;
    reply.push(3);
    reply.bulk_str(ctx.command.name);
    reply.bulk_or_null(name);
    reply.integer(ctx.session.subscriptions.as_ref().map_or(0, |own| own.shown(topic)) as i64);
}

fn begin(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic, reply: &mut Reply<'_>) -> CommandResult {
    for name in args.tail(1).iter() {
        channels::change(ctx.server, ctx.session, topic, name, true);
        confirm(ctx, topic, Some(name), reply);
    }
    Ok(())
}

fn end(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 1 {
        for name in args.tail(1).iter() {
            channels::change(ctx.server, ctx.session, topic, name, false);
            confirm(ctx, topic, Some(name), reply);
        }
        return Ok(());
    }
    let all =
        ctx.session.subscriptions.as_deref().map_or_else(Vec::new, |own| Subscriptions::names(own, topic));
    for name in &all {
        channels::change(ctx.server, ctx.session, topic, name, false);
        confirm(ctx, topic, Some(name), reply);
    }
    if all.is_empty() {
        confirm(ctx, topic, None, reply);
    }
    Ok(())
}

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    begin(ctx, args, Topic::Channel, reply)
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    end(ctx, args, Topic::Channel, reply)
}

fn psubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    begin(ctx, args, Topic::Pattern, reply)
}

fn punsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    end(ctx, args, Topic::Pattern, reply)
}

fn ssubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    begin(ctx, args, Topic::Shard, reply)
}

fn sunsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    end(ctx, args, Topic::Shard, reply)
}

fn publish(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    send(ctx, args, Topic::Channel, reply)
}

fn spublish(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    send(ctx, args, Topic::Shard, reply)
}

fn send(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic, reply: &mut Reply<'_>) -> CommandResult {
    let receivers = channels::publish(ctx.server, ctx.transaction, topic, args.get(1), args.get(2));
    reply.integer(receivers as i64);
    Ok(())
}

fn patterns(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.server.channels.len(Topic::Pattern) as i64);
    Ok(())
}

fn active_channels(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    active(ctx, args, Topic::Channel, reply)
}

fn active_shard_channels(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    active(ctx, args, Topic::Shard, reply)
}

fn active(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(help::misused("pubsub", args.get(1)));
    }
    let names = ctx.server.channels.names(topic, args.try_get(2));
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    Ok(())
}

fn listeners(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    count(ctx, args, Topic::Channel, reply)
}

fn shard_listeners(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    count(ctx, args, Topic::Shard, reply)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, topic: Topic, reply: &mut Reply<'_>) -> CommandResult {
    let names = args.tail(2);
    reply.array(2 * names.len());
    for name in names.iter() {
        reply.bulk(name);
        reply.integer(ctx.server.channels.listeners(topic, name) as i64);
    }
    Ok(())
}
