//! CLIENT LIST and CLIENT KILL: which clients are meant.

use std::sync::Arc;

use crate::command::clients::Client;
use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::client_line;
use super::connection::DEFAULT_USER;

/// The kinds of clients that Redis tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl ClientType {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        Ok(match word {
            _ if is(word, "normal") => Self::Normal,
            _ if is(word, "master") => Self::Master,
            _ if is(word, "replica") || is(word, "slave") => Self::Replica,
            _ if is(word, "pubsub") => Self::PubSub,
            _ => {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::owned(format!("ERR Unknown client type '{word}'")));
            }
        })
    }

    /// There are no replicas here.
    fn of(client: &Client) -> Self {
        if client.is_subscribed() { Self::PubSub } else { Self::Normal }
    }
}

pub(super) fn list(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let clients = &ctx.server.clients;
    let listed = match (args.try_get(2), args.len()) {
        (None, _) => clients.all(),
        (Some(option), 4) if is(option, "type") => {
            let wanted = ClientType::parse(args.get(3))?;
            clients.all().into_iter().filter(|client| ClientType::of(client) == wanted).collect()
        }
        (Some(option), 4..) if is(option, "id") => {
            let mut found = Vec::new();
            for id in args.tail(3).iter() {
                let id = parse_i64(id).ok_or(CommandError::new("ERR Invalid client ID"))?;
                found.extend(u64::try_from(id).ok().and_then(|id| clients.get(id)));
            }
            found
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let now_ms = ctx.server.clock.wall_ms();
    let lines: String =
        listed.iter().map(|client| client_line::describe(client, &ctx.server.registry, now_ms)).collect();
    reply.verbatim(b"txt", lines.as_bytes());
    Ok(())
}

/// What CLIENT KILL asks for; everything given must fit.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<ClientType>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    /// At least so many seconds old.
    age_s_min: Option<u64>,
    spare_myself: bool,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut filter = Self { spare_myself: true, ..Self::default() };
        let mut at = 2;
        while let Some(option) = args.try_get(at) {
            let value = args.try_get(at + 1).ok_or(CommandError::SYNTAX)?;
            at += 2;
            match option {
                _ if is(option, "id") => filter.id = Some(client_id(value)?),
                _ if is(option, "type") => filter.kind = Some(ClientType::parse(value)?),
                _ if is(option, "addr") => filter.addr = Some(value),
                _ if is(option, "laddr") => filter.laddr = Some(value),
                _ if is(option, "user") => check_user(value)?,
                _ if is(option, "skipme") && is(value, "yes") => filter.spare_myself = true,
                _ if is(option, "skipme") && is(value, "no") => filter.spare_myself = false,
                _ if is(option, "maxage") => {
                    let seconds = integer(value)?;
                    filter.age_s_min = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0);
                    if filter.age_s_min.is_none() {
                        return Err(CommandError::new("ERR maxage should be greater than 0"));
                    }
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &Client, now_ms: u64) -> bool {
        let age_s = now_ms.saturating_sub(client.created_ms) / 1000;
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == ClientType::of(client))
            && self.addr.is_none_or(|addr| addr == client.addr.as_bytes())
            && self.laddr.is_none_or(|laddr| laddr == client.laddr.as_bytes())
            && self.age_s_min.is_none_or(|min| age_s >= min)
    }
}

fn client_id(arg: &[u8]) -> Result<u64, CommandError> {
    let id = parse_i64(arg).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
    id.ok_or(CommandError::new("ERR client-id should be greater than 0"))
}

/// Everybody is the default user.
fn check_user(name: &[u8]) -> Result<(), CommandError> {
    if name == DEFAULT_USER.as_bytes() {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name);
    Err(CommandError::owned(format!("ERR No such user '{name}'")))
}

pub(super) fn kill(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // The old form: an address alone, which may be one's own.
    let by_address = args.len() == 3;
    let filter = if by_address {
        Filter { addr: Some(args.get(2)), ..Filter::default() }
    } else {
        Filter::parse(args)?
    };
    let now_ms = ctx.server.clock.wall_ms();
    let mut killed = 0;
    for client in ctx.server.clients.all() {
        let is_me = Arc::ptr_eq(&client, &ctx.session.client);
        if (is_me && filter.spare_myself) || !filter.fits(&client, now_ms) {
            continue;
        }
        killed += 1;
        if is_me {
            // The reply to this very command still has to leave.
            ctx.session.close_after_reply = true;
        } else {
            client.kill();
        }
    }
    match (by_address, killed) {
        (true, 0) => return Err(CommandError::new("ERR No such client")),
        (true, _) => reply.ok(),
        (false, _) => reply.integer(killed),
    }
    Ok(())
}
