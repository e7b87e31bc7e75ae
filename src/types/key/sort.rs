//! SORT and SORT_RO: elements in the order of themselves or of other keys, and what to show in their place.
//!
//! The names of other keys are made of elements, so nobody knows them before: with such patterns all stripes are held
//! ([`keys_made`]), without them only those of the keys named.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::command::keys::Found;
use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::value::Value;
use crate::rdb::{Content, Pieces};
use crate::resp::Reply;
use crate::resp::number::{is_space, parse_f64};

const NOT_NUMBERS: CommandError = CommandError::new("ERR One or more scores can't be converted into double");

/// A pattern of BY or GET that names keys: an element in the place of the asterisk.
#[derive(Debug, Clone, Copy)]
struct Pattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
    /// The key is a hash, and this field of it is meant.
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    /// `None` without an asterisk: it names nothing.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let at = text.iter().position(|byte| *byte == b'*')?;
        let (before, rest) = (&text[..at], &text[at + 1..]);
        let arrow = rest.windows(2).position(|two| two == b"->").filter(|arrow| arrow + 2 < rest.len());
        let (after, field) = match arrow {
            Some(arrow) => (&rest[..arrow], Some(&rest[arrow + 2..])),
            None => (rest, None),
        };
        Some(Self { before, after, field })
    }

    /// What stands at the key of an element.
    fn look_up(&self, ctx: &mut Ctx<'_>, element: &[u8]) -> Option<Vec<u8>> {
        let key = [self.before, element, self.after].concat();
        let now_ms = ctx.now_ms;
        let entry = ctx.entry(&key)?;
        match (self.field, entry.as_value()) {
            (None, None) => entry.as_string().map(<[u8]>::to_vec),
            (Some(field), Some(Value::Hash(hash))) => {
                hash.get(field, now_ms).map(|field| field.value.to_vec())
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Show<'a> {
    Element,
    At(Pattern<'a>),
    /// A pattern that names nothing.
    Nothing,
}

impl<'a> Show<'a> {
    fn parse(text: &'a [u8]) -> Self {
        if text == b"#" { Self::Element } else { Pattern::parse(text).map_or(Self::Nothing, Self::At) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Order<'a> {
    OfElements,
    Of(Pattern<'a>),
    /// As they lie.
    None,
}

#[derive(Debug)]
struct Request<'a> {
    order: Order<'a>,
    descending: bool,
    as_text: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    shown: SmallVec<[Show<'a>; 4]>,
    /// Number of the argument that names the destination.
    store_at: Option<usize>,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut found = Self {
            order: Order::OfElements,
            descending: false,
            as_text: false,
            offset: 0,
            count: -1,
            shown: SmallVec::new(),
            store_at: None,
        };
        let mut at = 2;
        while let Some(word) = args.try_get(at) {
            let next = args.try_get(at + 1);
            at += 1;
            match next {
                _ if is(word, "asc") => found.descending = false,
                _ if is(word, "desc") => found.descending = true,
                _ if is(word, "alpha") => found.as_text = true,
                Some(offset) if is(word, "limit") && args.len() > at + 1 => {
                    (found.offset, found.count) = (integer(offset)?, integer(args.get(at + 1))?);
                    at += 2;
                }
                Some(_) if may_store && is(word, "store") => {
                    found.store_at = Some(at);
                    at += 1;
                }
                Some(pattern) if is(word, "by") => {
                    // Where no order was asked for once, a later pattern gives none.
                    if !matches!(found.order, Order::None) {
                        found.order = Pattern::parse(pattern).map_or(Order::None, Order::Of);
                    }
                    at += 1;
                }
                Some(pattern) if is(word, "get") => {
                    found.shown.push(Show::parse(pattern));
                    at += 1;
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(found)
    }

    /// The part of `len` elements that LIMIT leaves.
    fn window(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }

    fn looks_at_other_keys(&self) -> bool {
        matches!(self.order, Order::Of(_)) || self.shown.iter().any(|show| matches!(show, Show::At(_)))
    }
}

/// For the key specification of BY and GET.
pub(super) fn keys_made(args: Args<'_>) -> Found {
    // What is wrong here the handler refuses, before it looks at keys.
    match Request::parse(args, true) {
        Ok(request) if request.looks_at_other_keys() => Found::NotNamed,
        _ => Found::None,
    }
}

/// For the key specification of STORE.
pub(super) fn destination(args: Args<'_>) -> Found {
    let store_at =
        Request::parse(args, true).map_or_else(|_| guess_destination(args), |request| request.store_at);
    store_at.map_or(Found::None, Found::At)
}

/// What COMMAND GETKEYS tells of arguments that SORT itself would refuse.
fn guess_destination(args: Args<'_>) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(word) = args.try_get(at) {
        at += match word {
            _ if is(word, "limit") => 3,
            _ if is(word, "by") || is(word, "get") => 2,
            _ => 1,
        };
        if is(word, "store") && at < args.len() {
            found = Some(at);
        }
    }
    found
}

pub(super) fn sort(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, &mut Request::parse(args, true)?, reply)
}

pub(super) fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run(ctx, args, &mut Request::parse(args, false)?, reply)
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, request: &mut Request<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut elements = read(ctx, args.get(1), request)?;
    if !matches!(request.order, Order::None) {
        elements = sorted(ctx, elements, request)?;
        elements.drain(request.window(elements.len()).end..);
        elements.drain(..request.window(elements.len()).start);
    }
    match request.store_at {
        None => show(ctx, &elements, request, reply),
        Some(at) => store(ctx, args.get(at), &elements, request, reply)?,
    }
    Ok(())
}

/// The elements of the value; those that LIMIT leaves if their order is the one in which they lie.
fn read(ctx: &mut Ctx<'_>, key: &[u8], request: &mut Request<'_>) -> Result<Vec<Vec<u8>>, CommandError> {
    // A script holds every stripe: one that runs while this command holds its key is the one that called it.
    let in_script = ctx.server.scripts.is_running();
    let Some(entry) = ctx.entry(key) else { return Ok(Vec::new()) };
    let value = entry.as_value().ok_or(CommandError::WRONG_TYPE)?;
    let is_fixed = request.store_at.is_some() || in_script;
    if matches!((value, request.order, is_fixed), (Value::Set(_), Order::None, true)) {
        // A set has no order, but neither what is stored nor what a script sees should depend on chance.
        (request.order, request.as_text) = (Order::OfElements, true);
    }
    let is_ordered = !matches!(request.order, Order::None);
    let window = |len: usize| if is_ordered { 0..len } else { request.window(len) };
    // The same places, counted from the other end.
    let turned = |len: usize| len - window(len).end..len - window(len).start;
    let backwards = request.descending && !is_ordered;
    Ok(match value {
        Value::List(list) if backwards => list.range(turned(list.len())).rev().map(<[u8]>::to_vec).collect(),
        Value::List(list) => list.range(window(list.len())).map(<[u8]>::to_vec).collect(),
        Value::SortedSet(set) if backwards => {
            set.range(turned(set.len())).rev().map(|(_, member)| member.to_vec()).collect()
        }
        Value::SortedSet(set) => set.range(window(set.len())).map(|(_, member)| member.to_vec()).collect(),
        Value::Set(set) => {
            let window = window(set.len());
            set.members().skip(window.start).take(window.len()).map(|member| member.to_vec()).collect()
        }
        Value::Hash(_) | Value::Stream(_) => return Err(CommandError::WRONG_TYPE),
    })
}

/// An element and what decides on its place.
struct Weighed {
    element: Vec<u8>,
    number: f64,
    /// What BY found, for ALPHA.
    text: Option<Vec<u8>>,
}

fn sorted(
    ctx: &mut Ctx<'_>,
    elements: Vec<Vec<u8>>,
    request: &Request<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut rows = Vec::with_capacity(elements.len());
    let mut all_are_numbers = true;
    for element in elements {
        let found = match request.order {
            Order::Of(pattern) => pattern.look_up(ctx, &element),
            _ => None,
        };
        let weight = match request.order {
            _ if request.as_text => Some(0.0),
            Order::Of(_) => found.as_deref().map_or(Some(0.0), weight),
            _ => weight(&element),
        };
        all_are_numbers &= weight.is_some();
        rows.push(Weighed { element, number: weight.unwrap_or(0.0), text: found });
    }
    if !all_are_numbers {
        return Err(NOT_NUMBERS);
    }
    let by_pattern = matches!(request.order, Order::Of(_));
    let ascending = |a: &Weighed, b: &Weighed| match request.as_text {
        true if by_pattern => a.text.cmp(&b.text),
        true => a.element.cmp(&b.element),
        false => {
            a.number.partial_cmp(&b.number).unwrap_or(Ordering::Equal).then_with(|| a.element.cmp(&b.element))
        }
    };
    if request.descending {
        rows.sort_by(|a, b| ascending(b, a));
    } else {
        rows.sort_by(ascending);
    }
    Ok(rows.into_iter().map(|row| row.element).collect())
}

/// A number as C reads it: spaces before it and anything behind a zero byte don't count, no text at all is zero.
fn weight(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !is_space(*byte))?;
    parse_f64(&text[start..])
}

/// Calls `visit` with what is shown of each element: itself, or as many things as there are GETs.
fn each_shown(
    ctx: &mut Ctx<'_>,
    elements: &[Vec<u8>],
    request: &Request<'_>,
    visit: &mut dyn FnMut(Option<&[u8]>),
) {
    for element in elements {
        if request.shown.is_empty() {
            visit(Some(element));
        }
        for show in &request.shown {
            match show {
                Show::Element => visit(Some(element)),
                Show::Nothing => visit(None),
                Show::At(pattern) => visit(pattern.look_up(ctx, element).as_deref()),
            }
        }
    }
}

fn show(ctx: &mut Ctx<'_>, elements: &[Vec<u8>], request: &Request<'_>, reply: &mut Reply<'_>) {
    reply.array(elements.len() * request.shown.len().max(1));
    each_shown(ctx, elements, request, &mut |found| reply.bulk_or_null(found));
}

/// Makes the destination a list of what is shown; what was not found is empty in it.
fn store(
    ctx: &mut Ctx<'_>,
    to: &[u8],
    elements: &[Vec<u8>],
    request: &Request<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut stored = Pieces::default();
    each_shown(ctx, elements, request, &mut |found| stored.push(found.unwrap_or_default()));
    let len = stored.len();
    ctx.delete(to)?;
    if len > 0 {
        Content::List(stored).each_op(&mut |op| ctx.apply(to, op))?;
    }
    reply.integer(len as i64);
    Ok(())
}
