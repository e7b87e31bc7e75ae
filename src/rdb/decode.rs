//! From the bytes of a value to its content.

use super::content::Content;
use super::input::Input;
use super::pieces::Pieces;
use super::{intset, listpack, node, stream, types, ziplist, zipmap};
use crate::codec::Malformed;
use crate::keyspace::entry::STRING_MAX;
use crate::resp::number::{parse_f64, parse_u64};

/// Calls its last argument with each element of a packed string.
type Each = fn(&[u8], &mut dyn FnMut(&[u8]) -> Result<(), Malformed>) -> Result<(), Malformed>;

/// Reads a value whose type byte was read before, and nothing behind it.
pub fn decode<'a>(kind: u8, input: &mut Input<'a>) -> Result<Content<'a>, Malformed> {
    let content = match kind {
        types::STRING => {
            let string = input.string()?;
            if string.len() > STRING_MAX {
                return Err(Malformed("a string over the longest length"));
            }
            return Ok(Content::String(string));
        }
        types::LIST => Content::List(strings(input, 1)?),
        types::LIST_ZIPLIST => Content::List(packed(input, ziplist::each)?),
        types::LIST_QUICKLIST => Content::List(nodes(input, false)?),
        types::LIST_QUICKLIST_2 => Content::List(nodes(input, true)?),
        types::SET => Content::Set(strings(input, 1)?),
        types::SET_INTSET => Content::Set(packed(input, intset::each)?),
        types::SET_LISTPACK => Content::Set(packed(input, listpack::each)?),
        types::SORTED_SET => scores(input, text_score)?,
        types::SORTED_SET_2 => scores(input, |input| input.f64())?,
        types::SORTED_SET_ZIPLIST => packed_scores(input, ziplist::each)?,
        types::SORTED_SET_LISTPACK => packed_scores(input, listpack::each)?,
        types::HASH => hash(strings(input, 2)?)?,
        types::HASH_ZIPMAP => hash(packed(input, zipmap::each)?)?,
        types::HASH_ZIPLIST => hash(packed(input, ziplist::each)?)?,
        types::HASH_LISTPACK => hash(packed(input, listpack::each)?)?,
        types::HASH_METADATA => expiring(input)?,
        types::HASH_LISTPACK_EX => packed_expiring(input)?,
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            Content::Stream(Box::new(stream::read(kind, input)?))
        }
        _ => return Err(Malformed("a type that is not known here")),
    };
    check(&content)?;
    Ok(content)
}

fn check(content: &Content<'_>) -> Result<(), Malformed> {
    if content.is_empty() {
        return Err(Malformed("a collection without elements"));
    }
    match content {
        Content::String(_) | Content::List(_) | Content::Stream(_) => Ok(()),
        Content::Set(members) => members.expect_distinct(1),
        Content::Hash { pairs, .. } => pairs.expect_distinct(2),
        Content::SortedSet { members, scores } => {
            if scores.iter().any(|score| score.is_nan()) {
                return Err(Malformed("a score is not a number"));
            }
            members.expect_distinct(1)
        }
    }
}

/// A count, then that many times `each` strings.
fn strings(input: &mut Input<'_>, each: usize) -> Result<Pieces, Malformed> {
    let mut pieces = Pieces::default();
    for _ in 0..input.count(each)? {
        for _ in 0..each {
            pieces.push(&input.string()?);
        }
    }
    Ok(pieces)
}

/// One string with elements packed in it.
fn packed(input: &mut Input<'_>, each: Each) -> Result<Pieces, Malformed> {
    let mut pieces = Pieces::default();
    unpack(&input.string()?, each, &mut pieces)?;
    Ok(pieces)
}

fn unpack(string: &[u8], each: Each, into: &mut Pieces) -> Result<(), Malformed> {
    each(string, &mut |element| {
        into.push(element);
        Ok(())
    })
}

/// The nodes of a list; before the second version all were ziplists. Empty ones are passed over, as Redis does.
fn nodes(input: &mut Input<'_>, are_marked: bool) -> Result<Pieces, Malformed> {
    let mut pieces = Pieces::default();
    for _ in 0..input.count(1 + usize::from(are_marked))? {
        let container = if are_marked { Some(input.number()?) } else { None };
        let string = input.string()?;
        match container {
            None => unpack(&string, ziplist::each, &mut pieces)?,
            Some(node::PACKED) => unpack(&string, listpack::each, &mut pieces)?,
            Some(node::PLAIN) => pieces.push(&string),
            Some(_) => return Err(Malformed("unknown node of a list")),
        }
    }
    Ok(pieces)
}

fn scores(
    input: &mut Input<'_>,
    score: fn(&mut Input<'_>) -> Result<f64, Malformed>,
) -> Result<Content<'static>, Malformed> {
    let (mut members, mut scores) = (Pieces::default(), Vec::new());
    for _ in 0..input.count(2)? {
        members.push(&input.string()?);
        scores.push(score(input)?);
    }
    Ok(Content::SortedSet { members, scores })
}

/// A score with its length before it, three of which stand for what has no digits.
fn text_score(input: &mut Input<'_>) -> Result<f64, Malformed> {
    Ok(match input.u8()? {
        253 => f64::NAN,
        254 => f64::INFINITY,
        255 => f64::NEG_INFINITY,
        len => score_of(input.take(usize::from(len))?)?,
    })
}

fn score_of(text: &[u8]) -> Result<f64, Malformed> {
    parse_f64(text).ok_or(Malformed("a score is not a number"))
}

fn packed_scores(input: &mut Input<'_>, each: Each) -> Result<Content<'static>, Malformed> {
    let (mut members, mut scores) = (Pieces::default(), Vec::new());
    each(&input.string()?, &mut |element| {
        if members.len() == scores.len() {
            members.push(element);
        } else {
            scores.push(score_of(element)?);
        }
        Ok(())
    })?;
    if members.len() != scores.len() {
        return Err(Malformed("a member without a score"));
    }
    Ok(Content::SortedSet { members, scores })
}

fn hash(pairs: Pieces) -> Result<Content<'static>, Malformed> {
    if pairs.len() % 2 == 1 {
        return Err(Malformed("a field without a value"));
    }
    Ok(Content::Hash { pairs, expiries: Vec::new() })
}

/// The earliest time, then rows of a time relative to it (0: none, 1: the earliest itself), name and value.
fn expiring(input: &mut Input<'_>) -> Result<Content<'static>, Malformed> {
    let (mut pairs, mut expiries) = (Pieces::default(), Vec::new());
    let earliest = input.u64()?;
    for number in 0..input.count(3)? {
        if let Some(after) = input.number()?.checked_sub(1) {
            let at = earliest.checked_add(after).filter(|at| i64::try_from(*at).is_ok());
            expiries.push((number, at.ok_or(Malformed("a time out of range"))?));
        }
        pairs.push(&input.string()?);
        pairs.push(&input.string()?);
    }
    Ok(Content::Hash { pairs, expiries })
}

/// The earliest time, then a listpack of names, values and times (0: none) in turns.
fn packed_expiring(input: &mut Input<'_>) -> Result<Content<'static>, Malformed> {
    let (mut pairs, mut expiries) = (Pieces::default(), Vec::new());
    let mut place = 0;
    input.u64()?;
    listpack::each(&input.string()?, &mut |element| {
        if place < 2 {
            pairs.push(element);
        } else {
            let at = parse_u64(element).filter(|at| i64::try_from(*at).is_ok());
            let at = at.ok_or(Malformed("a time out of range"))?;
            if at > 0 {
                expiries.push((pairs.len() / 2 - 1, at));
            }
        }
        place = (place + 1) % 3;
        Ok(())
    })?;
    if place != 0 {
        return Err(Malformed("a field without a value or a time"));
    }
    Ok(Content::Hash { pairs, expiries })
}
