//! DUMP and RESTORE: a value as bytes that Redis reads too, and back.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::access::{Accesses, Recency};
use crate::keyspace::op::Op;
use crate::rdb::{self, Content, Input};
use crate::resp::Reply;

const BUSY_KEY: CommandError = CommandError::new("BUSYKEY Target key name already exists.");
const BAD_PAYLOAD: CommandError = CommandError::new("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: CommandError = CommandError::new("ERR Bad data format");
const BAD_TTL: CommandError = CommandError::new("ERR Invalid TTL value, must be >= 0");
const BAD_IDLE_TIME: CommandError = CommandError::new("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: CommandError = CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255");

pub(super) fn dump(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    let mut payload = Vec::new();
    if let Some(entry) = ctx.entry(args.get(1))
        && let Some(kind) = rdb::type_of(entry, now_ms)
    {
        payload.push(kind);
        rdb::put_value(&mut payload, kind, entry, now_ms);
        rdb::seal(&mut payload, rdb::version_of(kind));
    }
    reply.bulk_or_null((!payload.is_empty()).then_some(&payload));
    Ok(())
}

#[derive(Debug, Default)]
struct Options {
    replace: bool,
    /// The lifetime is a time.
    absolute: bool,
    /// Seconds since the last access.
    idle_s: Option<u64>,
    /// How often it was accessed, on a logarithmic scale.
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut found = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if is(word, "replace") {
                found.replace = true;
            } else if is(word, "absttl") {
                found.absolute = true;
            } else if is(word, "idletime")
                && found.frequency.is_none()
                && let Some(seconds) = words.next()
            {
                found.idle_s = Some(u64::try_from(integer(seconds)?).map_err(|_| BAD_IDLE_TIME)?);
            } else if is(word, "freq")
                && found.idle_s.is_none()
                && let Some(count) = words.next()
            {
                found.frequency = Some(u8::try_from(integer(count)?).map_err(|_| BAD_FREQUENCY)?);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(found)
    }

    /// What the key remembers of accesses: what the policy goes by, if that was given.
    fn access(&self, accesses: &Accesses) -> u32 {
        match (accesses, self.idle_s, self.frequency) {
            (Accesses::Recency(recency), Some(idle_s), _) => {
                Recency::stamp_at(recency.now_s.saturating_sub(idle_s))
            }
            (Accesses::Frequency(frequency), _, Some(count)) => frequency.stamp(count),
            _ => accesses.first(),
        }
    }
}

/// What a payload holds.
fn read(payload: &[u8]) -> Result<Content<'_>, CommandError> {
    let value = rdb::open(payload).ok_or(BAD_PAYLOAD)?;
    let (&kind, rest) = value.split_first().ok_or(BAD_FORMAT)?;
    let mut input = Input::new(rest);
    let content = rdb::decode(kind, &mut input).map_err(|_| BAD_FORMAT)?;
    if input.is_empty() { Ok(content) } else { Err(BAD_FORMAT) }
}

/// The key is made by ops of its type, as if by its own commands; all of them are one record.
pub(super) fn restore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let options = Options::parse(args.tail(4))?;
    let exists = ctx.exists(key);
    if exists && !options.replace {
        return Err(BUSY_KEY);
    }
    let ttl = integer(args.get(2))?;
    if ttl < 0 {
        return Err(BAD_TTL);
    }
    let mut content = read(args.get(3))?;
    content.drop_expired(ctx.now_ms);
    // A lifetime that reaches over the end of time is over, as in Redis.
    let expire_at = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        _ => Some(ttl.wrapping_add(ctx.now_ms as i64)),
    };
    if exists {
        ctx.delete(key)?;
    }
    let is_over = expire_at.is_some_and(|at| at <= ctx.now_ms as i64);
    if !is_over && !content.is_empty() {
        content.each_op(&mut |op| ctx.apply(key, op))?;
        if let Some(at) = expire_at {
            ctx.apply(key, Op::ExpireAt(at as u64))?;
        }
        ctx.set_access(ctx.session.db, key, |accesses| options.access(accesses));
    }
    reply.ok();
    Ok(())
}
