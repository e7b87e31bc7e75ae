//! ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD. Plain sets take part as sorted sets whose scores are all 1.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::value::{Kind, Value};
use crate::resp::Reply;
use crate::resp::number::{parse_f64, parse_i64};
use crate::types::set::value::{Member, Set};

use super::commands::{announce, write_row};
use super::store::{CopiedRows, replace};
use super::value::SortedSet;

type Row<'a> = (f64, Member<'a>);

#[derive(Debug, Clone, Copy)]
enum Members<'a> {
    Sorted(&'a SortedSet),
    Plain(&'a Set),
}

/// What one key contributes.
#[derive(Debug, Clone, Copy)]
struct Input<'a> {
    members: Members<'a>,
    weight: f64,
}

const fn zero_for_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

impl<'a> Input<'a> {
    fn len(&self) -> usize {
        match self.members {
            Members::Sorted(set) => set.len(),
            Members::Plain(set) => set.len(),
        }
    }

    /// Without the weight.
    fn score(&self, member: &Member<'_>) -> Option<f64> {
        match self.members {
            Members::Sorted(set) => set.score(member),
            Members::Plain(set) => set.has(member).then_some(1.0),
        }
    }

    /// All members with their scores, without the weight, until `visit` says no.
    fn each(&self, visit: &mut dyn FnMut(Row<'a>) -> bool) {
        match self.members {
            Members::Sorted(set) => {
                set.members().all(|(score, member)| visit((score, Member::Bytes(member))))
            }
            Members::Plain(set) => set.members().all(|member| visit((1.0, member))),
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        [("sum", Self::Sum), ("min", Self::Min), ("max", Self::Max)]
            .into_iter()
            .find_map(|(word, aggregate)| is(arg, word).then_some(aggregate))
            .ok_or(CommandError::SYNTAX)
    }

    /// Opposite infinities add up to zero, as in Redis.
    fn add(self, total: f64, score: f64) -> f64 {
        match self {
            Self::Sum => zero_for_nan(total + score),
            Self::Min if score < total => score,
            Self::Max if score > total => score,
            Self::Min | Self::Max => total,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What a command asks for.
struct Request<'a> {
    /// The keys come first.
    args: Args<'a>,
    numkeys: usize,
    /// As many as keys, or none: all are 1.
    weights: SmallVec<[f64; 4]>,
    aggregate: Aggregate,
    scores: bool,
    /// Of ZINTERCARD; 0 for none.
    limit: u64,
}

/// Which options a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Options {
    /// WEIGHTS and AGGREGATE, but for differences.
    Store(Operation),
    /// WITHSCORES beside those.
    Reply(Operation),
    /// LIMIT.
    Count,
}

impl<'a> Request<'a> {
    /// `args` begins with the number of keys. Redis looks at the keys before it looks at the options.
    fn parse(ctx: &mut Ctx<'_>, args: Args<'a>, options: Options) -> Result<Self, CommandError> {
        let numkeys = integer(args.get(0))?;
        if numkeys < 1 {
            let name = ctx.command.name;
            return Err(CommandError::owned(format!(
                "ERR at least 1 input key is needed for '{name}' command"
            )));
        }
        let args = args.tail(1);
        let numkeys =
            usize::try_from(numkeys).ok().filter(|&n| n <= args.len()).ok_or(CommandError::SYNTAX)?;
        let mut request = Self {
            args,
            numkeys,
            weights: SmallVec::new(),
            aggregate: Aggregate::Sum,
            scores: false,
            limit: 0,
        };
        for key in request.keys() {
            if !matches!(ctx.entry(key).map(Entry::kind), None | Some(Kind::Set | Kind::SortedSet)) {
                return Err(CommandError::WRONG_TYPE);
            }
        }
        request.parse_options(options)?;
        Ok(request)
    }

    fn parse_options(&mut self, options: Options) -> CommandResult {
        let weighs = !matches!(
            options,
            Options::Count | Options::Store(Operation::Difference) | Options::Reply(Operation::Difference)
        );
        let mut rest = self.args.tail(self.numkeys);
        while let Some(word) = rest.try_get(0) {
            let read = if weighs && is(word, "weights") && rest.len() > self.numkeys {
                let weight = |arg| parse_f64(arg).ok_or(CommandError::new("ERR weight value is not a float"));
                self.weights =
                    rest.iter().skip(1).take(self.numkeys).map(weight).collect::<Result<_, _>>()?;
                1 + self.numkeys
            } else if weighs && is(word, "aggregate") && rest.len() > 1 {
                self.aggregate = Aggregate::parse(rest.get(1))?;
                2
            } else if matches!(options, Options::Reply(_)) && is(word, "withscores") {
                self.scores = true;
                1
            } else if options == Options::Count && is(word, "limit") && rest.len() > 1 {
                let limit = parse_i64(rest.get(1)).and_then(|limit| u64::try_from(limit).ok());
                self.limit = limit.ok_or(CommandError::new("ERR LIMIT can't be negative"))?;
                2
            } else {
                return Err(CommandError::SYNTAX);
            };
            rest = rest.tail(read);
        }
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.args.iter().take(self.numkeys)
    }

    /// One input for each key; `None` for one that does not exist.
    fn inputs<'c>(&self, ctx: &'c Ctx<'_>) -> Vec<Option<Input<'c>>> {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        let input = |(key, weight)| {
            let members = match ctx.looked_up(key)?.as_value()? {
                Value::SortedSet(set) => Members::Sorted(set),
                Value::Set(set) => Members::Plain(set),
                _ => return None,
            };
            Some(Input { members, weight })
        };
        self.keys().zip(weights).map(input).collect()
    }

    /// The result, in ascending order.
    fn run<'c>(&self, ctx: &'c Ctx<'_>, operation: Operation) -> Vec<Row<'c>> {
        let inputs = self.inputs(ctx);
        let mut rows = match operation {
            Operation::Union => union(&inputs, self.aggregate),
            Operation::Intersection => {
                let mut rows = Vec::new();
                intersect(&inputs, self.aggregate, &mut |row| {
                    rows.push(row);
                    true
                });
                rows
            }
            Operation::Difference => difference(&inputs),
        };
        rows.sort_unstable_by(|a, b| {
            a.0.partial_cmp(&b.0).expect("no score is NaN").then_with(|| a.1.cmp(&b.1))
        });
        rows
    }
}

/// Scores are added in the order of the inputs' lengths: floating point sums depend on it, and this is Redis' order.
fn shortest_first<'a>(inputs: &[Option<Input<'a>>]) -> Vec<Input<'a>> {
    let mut inputs: Vec<Input<'a>> = inputs.iter().flatten().copied().collect();
    inputs.sort_by_key(Input::len);
    inputs
}

/// All rows side by side, sorted by member: no table of members has to be built.
fn union<'a>(inputs: &[Option<Input<'a>>], aggregate: Aggregate) -> Vec<Row<'a>> {
    let inputs = shortest_first(inputs);
    let mut all: Vec<(Member<'a>, usize, f64)> = Vec::with_capacity(inputs.iter().map(Input::len).sum());
    for (number, input) in inputs.iter().enumerate() {
        input.each(&mut |(score, member)| {
            all.push((member, number, zero_for_nan(score * input.weight)));
            true
        });
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
    let total = |same: &[(Member<'a>, usize, f64)]| {
        let total = same[1..].iter().fold(same[0].2, |total, row| aggregate.add(total, row.2));
        (total, same[0].0)
    };
    all.chunk_by(|a, b| a.0 == b.0).map(total).collect()
}

/// Calls `visit` with the members that are in all inputs, until it says no.
fn intersect<'a>(inputs: &[Option<Input<'a>>], aggregate: Aggregate, visit: &mut dyn FnMut(Row<'a>) -> bool) {
    if inputs.iter().any(Option::is_none) {
        return;
    }
    let inputs = shortest_first(inputs);
    let (shortest, others) = inputs.split_first().expect("there is at least one key");
    shortest.each(&mut |(score, member)| {
        let mut total = zero_for_nan(score * shortest.weight);
        for other in others {
            let Some(score) = other.score(&member) else { return true };
            total = aggregate.add(total, score * other.weight);
        }
        visit((total, member))
    });
}

/// The members of the first input that no other has.
fn difference<'a>(inputs: &[Option<Input<'a>>]) -> Vec<Row<'a>> {
    let Some(first) = &inputs[0] else { return Vec::new() };
    let mut others: Vec<&Input<'a>> = inputs[1..].iter().flatten().collect();
    let mut rows = Vec::new();
    if others.iter().map(|other| other.len()).sum::<usize>() < first.len() {
        let mut gone = BTreeSet::new();
        for other in others {
            other.each(&mut |(_, member)| {
                if first.score(&member).is_some() {
                    gone.insert(member);
                }
                true
            });
        }
        first.each(&mut |row| {
            if !gone.contains(&row.1) {
                rows.push(row);
            }
            true
        });
        return rows;
    }
    // The longest is the likeliest to have a member.
    others.sort_by_key(|other| std::cmp::Reverse(other.len()));
    first.each(&mut |row| {
        if others.iter().all(|other| other.score(&row.1).is_none()) {
            rows.push(row);
        }
        true
    });
    rows
}

fn reply_with(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    operation: Operation,
) -> CommandResult {
    let request = Request::parse(ctx, args.tail(1), Options::Reply(operation))?;
    let rows = request.run(ctx, operation);
    announce(rows.len(), request.scores, reply);
    rows.iter().for_each(|(score, member)| write_row((*score, member), request.scores, reply));
    Ok(())
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, operation: Operation) -> CommandResult {
    let request = Request::parse(ctx, args.tail(2), Options::Store(operation))?;
    let mut rows = CopiedRows::default();
    request.run(ctx, operation).iter().for_each(|(score, member)| rows.push(*score, member));
    replace(ctx, args.get(1), &rows)?;
    reply.integer(rows.len() as i64);
    Ok(())
}

pub(super) fn zunion(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply_with(ctx, args, reply, Operation::Union)
}

pub(super) fn zinter(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply_with(ctx, args, reply, Operation::Intersection)
}

pub(super) fn zdiff(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply_with(ctx, args, reply, Operation::Difference)
}

pub(super) fn zunionstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, args, reply, Operation::Union)
}

pub(super) fn zinterstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, args, reply, Operation::Intersection)
}

pub(super) fn zdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, args, reply, Operation::Difference)
}

pub(super) fn zintercard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let request = Request::parse(ctx, args.tail(1), Options::Count)?;
    let mut count = 0;
    intersect(&request.inputs(ctx), Aggregate::Sum, &mut |_| {
        count += 1;
        count != request.limit
    });
    reply.integer(count as i64);
    Ok(())
}
