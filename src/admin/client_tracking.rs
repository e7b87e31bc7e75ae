//! CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO: what a connection says about the cache it keeps. Who is told what is in
//! [`crate::command::tracking`].

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::options::{integer, is};
use crate::command::tracking::{self, BROKEN, Mode};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;

use super::client::switch;

const SWITCHED_BROADCAST: CommandError = CommandError::new(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const SWITCHED_OPTING: CommandError = CommandError::new(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
);
const NOT_TRACKING: CommandError = CommandError::new(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);

/// The options, and the prefixes in the order in which they were given.
fn parse<'a>(ctx: &Ctx<'_>, args: Args<'a>) -> Result<(Mode, Vec<&'a [u8]>), CommandError> {
    let (mut mode, mut prefixes) = (Mode::default(), Vec::new());
    let mut at = 3;
    while let Some(word) = args.try_get(at) {
        match args.try_get(at + 1) {
            Some(id) if is(word, "redirect") => {
                if mode.redirect.is_some() {
                    return Err(CommandError::new("ERR A client can only redirect to a single other client"));
                }
                let id = u64::try_from(integer(id)?).ok();
                let known = id.filter(|id| ctx.server.clients.get(*id).is_some());
                let unknown = CommandError::new("ERR The client ID you want redirect to does not exist");
                mode.redirect = Some(known.ok_or(unknown)?);
                at += 1;
            }
            Some(prefix) if is(word, "prefix") => {
                prefixes.push(prefix);
                at += 1;
            }
            _ if is(word, "bcast") => mode.broadcast = true,
            _ if is(word, "optin") => mode.opt_in = true,
            _ if is(word, "optout") => mode.opt_out = true,
            _ if is(word, "noloop") => mode.no_loop = true,
            _ => return Err(CommandError::SYNTAX),
        }
        at += 1;
    }
    Ok((mode, prefixes))
}

pub fn tracking(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (mut mode, prefixes) = parse(ctx, args)?;
    if !switch(args.get(2))? {
        tracking::end(ctx.server, ctx.session);
        reply.ok();
        return Ok(());
    }
    if !mode.broadcast && !prefixes.is_empty() {
        return Err(CommandError::new("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    let old = ctx.session.tracking.as_deref();
    if old.is_some_and(|old| old.broadcast != mode.broadcast) {
        return Err(SWITCHED_BROADCAST);
    }
    if mode.broadcast && (mode.opt_in || mode.opt_out) {
        return Err(CommandError::new("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if mode.opt_in && mode.opt_out {
        return Err(CommandError::new("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if old.is_some_and(|old| (old.opt_in && mode.opt_out) || (old.opt_out && mode.opt_in)) {
        return Err(SWITCHED_OPTING);
    }
    if let Some(old) = old {
        mode.caching = old.caching;
        mode.prefixes = old.prefixes.clone();
    }
    if mode.broadcast {
        add_prefixes(&mut mode.prefixes, &prefixes)?;
    }
    let kept = ctx.session.kept_bytes() + mode.heap_len();
    if kept as u64 > ctx.server.config.client_query_buffer_limit() {
        return Err(CommandError::new("ERR more prefixes than client-query-buffer-limit has room for"));
    }
    tracking::begin(ctx.server, ctx.session, mode);
    reply.ok();
    Ok(())
}

/// No two prefixes of one connection may fit the same key. None given is the empty one, which fits all.
fn add_prefixes(prefixes: &mut BTreeSet<Box<[u8]>>, new: &[&[u8]]) -> Result<(), CommandError> {
    let overlap = |one: &[u8], kind: &str, other: &[u8]| {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        CommandError::owned(format!(
            "ERR Prefix '{one}' overlaps with {kind} prefix '{other}'. Prefixes for a single client must not overlap."
        ))
    };
    // The empty one may have come to others.
    let whole = prefixes.get(&b""[..]);
    for prefix in new {
        let below = prefixes.range::<[u8], _>((Bound::Unbounded, Bound::Included(*prefix))).next_back();
        let above = prefixes.range::<[u8], _>((Bound::Included(*prefix), Bound::Unbounded)).next();
        let below = below.filter(|other| prefix.starts_with(other));
        if let Some(other) = whole.or(below).or_else(|| above.filter(|other| other.starts_with(prefix))) {
            return Err(overlap(prefix, "an existing", other));
        }
    }
    // Sorted, those that overlap are neighbours.
    let mut sorted: Vec<(&[u8], usize)> =
        new.iter().zip(0..).map(|(prefix, place)| (*prefix, place)).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[1].0.starts_with(pair[0].0)) {
        let (one, other) = (pair[0], pair[1]);
        let (first, second) = if one.1 < other.1 { (one, other) } else { (other, one) };
        return Err(overlap(first.0, "another provided", second.0));
    }
    if new.is_empty() {
        prefixes.insert(Box::default());
    }
    prefixes.extend(new.iter().map(|prefix| Box::from(*prefix)));
    Ok(())
}

pub fn caching(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mode = ctx.session.tracking.as_deref_mut().ok_or(NOT_TRACKING)?;
    match args.get(2) {
        word if is(word, "yes") && !mode.opt_in => {
            return Err(CommandError::new(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
        word if is(word, "no") && !mode.opt_out => {
            return Err(CommandError::new(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
        word if is(word, "yes") || is(word, "no") => mode.caching = true,
        _ => return Err(CommandError::SYNTAX),
    }
    reply.ok();
    Ok(())
}

pub fn getredir(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.session.client.redirect.load(Relaxed));
    Ok(())
}

pub fn trackinginfo(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mode = ctx.session.tracking.as_deref();
    let is = |of: fn(&Mode) -> bool| mode.is_some_and(of);
    let flags = [
        ("off", mode.is_none()),
        ("on", mode.is_some()),
        ("bcast", is(|mode| mode.broadcast)),
        ("optin", is(|mode| mode.opt_in)),
        ("caching-yes", is(|mode| mode.opt_in && mode.caching)),
        ("optout", is(|mode| mode.opt_out)),
        ("caching-no", is(|mode| mode.opt_out && mode.caching)),
        ("noloop", is(|mode| mode.no_loop)),
        ("broken_redirect", ctx.session.client.tracking.load(Relaxed) & BROKEN != 0),
    ];
    let set = || flags.iter().filter(|(_, is_set)| *is_set);
    reply.map(3);
    reply.bulk_str("flags");
    reply.set(set().count());
    set().for_each(|(name, _)| reply.bulk_str(name));
    reply.bulk_str("redirect");
    reply.integer(ctx.session.client.redirect.load(Relaxed));
    reply.bulk_str("prefixes");
    reply.array(mode.map_or(0, |mode| mode.prefixes.len()));
    mode.into_iter().flat_map(|mode| &mode.prefixes).for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
