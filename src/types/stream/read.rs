//! XREAD, and what it shares with XREADGROUP: the options and the form of the reply.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx, Nil};
use crate::error::CommandError;
use crate::keyspace::waiters::Want;
use crate::resp::number::parse_i64;
use crate::resp::{Mark, Protocol};
use crate::resp::{OwnedArgs, Reply};

use super::commands::write_entry;
use super::id::StreamId;
use super::id_arg::id;
use super::value::Stream;

/// Whether and how long to wait, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    Forever,
    UpTo(u64),
}

/// The arguments of XREAD and XREADGROUP.
pub(super) struct Reading<'a> {
    args: Args<'a>,
    /// Entries of each stream at most.
    pub count: usize,
    pub wait: Wait,
    /// The group and the consumer.
    pub reader: Option<(&'a [u8], &'a [u8])>,
    pub no_ack: bool,
    /// Entries that have been pending for so many milliseconds are claimed first.
    pub claim_idle_ms: Option<u64>,
    /// The argument that is the first key.
    first_key: usize,
    pub streams: usize,
}

impl<'a> Reading<'a> {
    pub fn parse(args: Args<'a>, in_group: bool, now_ms: u64) -> Result<Self, CommandError> {
        let mut reading = Self {
            args,
            count: usize::MAX,
            wait: Wait::No,
            reader: None,
            no_ack: false,
            claim_idle_ms: None,
            first_key: 0,
            streams: 0,
        };
        let only_in_group = |option| {
            let text =
                format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.");
            if in_group { Ok(()) } else { Err(CommandError::owned(text)) }
        };
        let mut at = 1;
        while reading.streams == 0 {
            let word = args.try_get(at).ok_or(CommandError::SYNTAX)?;
            let rest = args.len() - at - 1;
            at += 2;
            if is(word, "block") && rest >= 1 {
                reading.wait = wait(args.get(at - 1), now_ms)?;
            } else if is(word, "count") && rest >= 1 {
                let count = usize::try_from(integer(args.get(at - 1))?);
                reading.count = count.ok().filter(|&count| count > 0).unwrap_or(usize::MAX);
            } else if is(word, "streams") && rest >= 1 {
                if !rest.is_multiple_of(2) {
                    return Err(CommandError::new(
                        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                    ));
                }
                (reading.first_key, reading.streams) = (at - 1, rest / 2);
            } else if is(word, "group") && rest >= 2 {
                only_in_group("GROUP")?;
                reading.reader = Some((args.get(at - 1), args.get(at)));
                at += 1;
            } else if is(word, "noack") {
                only_in_group("NOACK")?;
                reading.no_ack = true;
                at -= 1;
            } else if is(word, "claim") && rest >= 1 {
                only_in_group("CLAIM")?;
                reading.claim_idle_ms = Some(claim_idle_ms(args.get(at - 1))?);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if in_group && reading.reader.is_none() {
            return Err(CommandError::new("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(reading)
    }

    pub fn key(&self, at: usize) -> &'a [u8] {
        self.args.get(self.first_key + at)
    }

    pub fn id(&self, at: usize) -> &'a [u8] {
        self.args.get(self.first_key + self.streams + at)
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.args.tail(self.first_key).iter().take(self.streams)
    }

    /// The same request with other ids.
    fn with_ids(&self, ids: &[StreamId]) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        self.args.iter().take(self.first_key + self.streams).for_each(|arg| owned.push(arg));
        ids.iter().for_each(|id| owned.push(id.to_string().as_bytes()));
        owned
    }
}

fn wait(arg: &[u8], now_ms: u64) -> Result<Wait, CommandError> {
    match parse_i64(arg) {
        None => Err(CommandError::new("ERR timeout is not an integer or out of range")),
        Some(..0) => Err(CommandError::new("ERR timeout is negative")),
        Some(0) => Ok(Wait::Forever),
        Some(ms) if ms.checked_add_unsigned(now_ms).is_none() => {
            Err(CommandError::new("ERR timeout is out of range"))
        }
        Some(ms) => Ok(Wait::UpTo(ms as u64)),
    }
}

fn claim_idle_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let ms =
        parse_i64(arg).ok_or(CommandError::new("ERR min-idle-time is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| CommandError::new("ERR min-idle-time must be a positive integer"))
}

/// A reply of streams and their entries: a map, or pairs in RESP2. How many there are is known at the end.
pub(super) struct Streams {
    mark: Mark,
    written: usize,
}

impl Streams {
    pub fn begin(reply: &Reply<'_>) -> Self {
        Self { mark: reply.array_later(), written: 0 }
    }

    /// Names a stream; its entries come next. Returns where the name stands.
    pub fn name(&mut self, key: &[u8], reply: &mut Reply<'_>) -> Mark {
        let start = reply.mark();
        self.written += 1;
        if reply.proto() == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        start
    }

    /// Takes back a stream that turned out to have no entries.
    pub fn take_back(&mut self, start: Mark, reply: &mut Reply<'_>) {
        reply.truncate(start);
        self.written -= 1;
    }

    /// False, and nothing is written, if there was no stream.
    pub fn finish(self, reply: &mut Reply<'_>) -> bool {
        match (self.written, reply.proto()) {
            (0, _) => return false,
            (written, Protocol::Resp2) => reply.finish_array(self.mark, written),
            (written, Protocol::Resp3) => reply.finish_map(self.mark, written),
        }
        true
    }
}

/// The id behind which XREAD begins.
fn resolve(stream: Option<&Stream>, arg: &[u8]) -> Result<StreamId, CommandError> {
    let last_id = stream.map(Stream::last_id).unwrap_or_default();
    match arg {
        b"$" => Ok(last_id),
        // The last entry that is there, whatever was behind it.
        b"+" => {
            let all = StreamId::MIN..=StreamId::MAX;
            let last = stream.and_then(|stream| stream.range(all).next_back());
            Ok(last.and_then(|entry| entry.id.previous()).unwrap_or(last_id))
        }
        b">" => Err(CommandError::new(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        arg => id(arg, 0),
    }
}

pub(super) fn xread(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let reading = Reading::parse(args, false, ctx.now_ms)?;
    let mut ids = smallvec::SmallVec::<[StreamId; 4]>::new();
    for at in 0..reading.streams {
        ids.push(resolve(ctx.stream(reading.key(at))?, reading.id(at))?);
    }
    let mut streams = Streams::begin(reply);
    for (at, behind) in ids.iter().enumerate() {
        let key = reading.key(at);
        let found = ctx.looked_up(key).and_then(|entry| entry.as_value());
        let Some(crate::keyspace::value::Value::Stream(stream)) = found else { continue };
        let Some(from) = behind.next().filter(|from| *from <= stream.last_id()) else { continue };
        let mut entries = stream.range(from..=StreamId::MAX).take(reading.count).peekable();
        if entries.peek().is_none() {
            continue;
        }
        let _ = streams.name(key, reply);
        let (mark, mut written) = (reply.array_later(), 0);
        for entry in entries {
            write_entry(&entry, reply);
            written += 1;
        }
        reply.finish_array(mark, written);
    }
    if !streams.finish(reply) {
        // Run again, it begins behind the same entries as now.
        wait_or_nil(ctx, &reading, Some(&ids), reply);
    }
    Ok(())
}

/// Ends a command that found nothing.
pub(super) fn wait_or_nil(
    ctx: &mut Ctx<'_>,
    reading: &Reading<'_>,
    ids: Option<&[StreamId]>,
    reply: &mut Reply<'_>,
) {
    let timeout_ms = match reading.wait {
        Wait::No => return reply.null_array(),
        Wait::Forever => None,
        Wait::UpTo(ms) => Some(ms),
    };
    let wants = (0..reading.streams).map(|at| match (ids, reading.reader) {
        (Some(ids), _) => Want::Entry(ids[at]),
        (None, reader) => Want::NewTo(reader.map_or(&[][..], |(group, _)| group).into()),
    });
    ctx.wait_for_each(reading.keys().zip(wants), timeout_ms, Nil::Array, reply);
    if let Some(block) = &mut ctx.block {
        block.again = ids.map(|ids| reading.with_ids(ids));
        block.claim_idle_ms = reading.claim_idle_ms;
    }
}
