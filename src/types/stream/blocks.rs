//! All entries of a stream: blocks in the order of their ids, none empty, the last of which grows.

use std::collections::{BTreeMap, btree_map};
use std::ops::{Deref, RangeInclusive};

use crate::allocator::real_size;
use crate::types::limits::{self, STREAM_NODE_MAX_BYTES, STREAM_NODE_MAX_ENTRIES};
use crate::types::strings::Strings;

use super::block::{Backward, Block, Forward, Full, Limits, Open, View};
use super::entry::Entry;
use super::id::StreamId;
use super::value::Keep;

#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// By their bases.
    full: BTreeMap<StreamId, Full>,
    /// Behind them.
    open: Option<Open>,
    len: usize,
    /// Heap memory of the full blocks' bytes.
    full_bytes: usize,
}

#[cfg(test)]
thread_local! {
    /// Instead of what the directives say.
    pub(super) static LIMITS: std::cell::Cell<Option<Limits>> = const { std::cell::Cell::new(None) };
}

fn current_limits() -> Limits {
    #[cfg(test)]
    if let Some(limits) = LIMITS.get() {
        return limits;
    }
    Limits::of(limits::get(&STREAM_NODE_MAX_BYTES), limits::get(&STREAM_NODE_MAX_ENTRIES))
}

impl Blocks {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn count(&self) -> usize {
        self.full.len() + usize::from(self.open.is_some())
    }

    pub fn first_id(&self) -> Option<StreamId> {
        let first = self.full.first_key_value().map(|(_, block)| block.first_id());
        first.or_else(|| self.open.as_ref().map(Block::first_id))
    }

    pub fn last_id(&self) -> Option<StreamId> {
        let last = self.open.as_ref().map(Block::last_id);
        last.or_else(|| self.full.last_key_value().map(|(_, block)| block.last_id()))
    }

    /// The block in which an entry with this id is, if any is.
    fn block_with(&self, id: StreamId) -> Option<View<'_>> {
        if let Some(open) = &self.open
            && open.base() <= id
        {
            return (id <= open.last_id()).then(|| open.view());
        }
        let (_, block) = self.full.range(..=id).next_back()?;
        (id <= block.last_id()).then(|| block.view())
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.block_with(id)?.get(id)
    }

    pub fn range(&self, ids: RangeInclusive<StreamId>) -> Range<'_> {
        let (from, to) = ids.into_inner();
        if from > to || self.len == 0 {
            return Range::none();
        }
        // The block before the first base in the range may reach into it.
        let start = self.full.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let open = self.open.as_ref().filter(|open| open.base() <= to);
        Range {
            full: self.full.range(start..=to),
            open: open.map(Block::view),
            front: None,
            back: None,
            limits: Some((from, to)),
        }
    }

    /// Appends an entry with an id above all.
    pub fn push(&mut self, id: StreamId, fields: Strings<'_>) {
        let limits = current_limits();
        self.len += 1;
        if let Some(open) = &mut self.open
            && open.push(id, fields, limits)
        {
            return;
        }
        if let Some(full) = self.open.replace(Open::new(id, fields)) {
            let full = full.fill();
            self.full_bytes += real_size(full.allocated());
            self.full.insert(full.base(), full);
        }
    }

    /// Removes the first entries, at most as many as there are, and visits their ids before if it is asked to.
    pub fn trim(&mut self, mut count: usize, mut visit: Option<&mut dyn FnMut(StreamId)>) {
        if let Some(visit) = &mut visit {
            self.range(StreamId::MIN..=StreamId::MAX).take(count).for_each(|entry| visit(entry.id));
        }
        count = count.min(self.len);
        self.len -= count;
        while count > 0
            && let Some(mut block) = self.full.first_entry()
        {
            self.full_bytes -= real_size(block.get().allocated());
            if count < block.get().len() {
                block.get_mut().skip(count);
                self.full_bytes += real_size(block.get().allocated());
                return;
            }
            count -= block.get().len();
            block.remove();
        }
        match &mut self.open {
            Some(open) if count < open.len() => open.skip(count),
            open => *open = None,
        }
    }

    /// Removes entries, all of which are there, by ascending ids.
    pub fn remove(&mut self, ids: impl Iterator<Item = StreamId>) {
        let mut ids = ids.peekable();
        while let Some(&id) = ids.peek() {
            if let Some(open) = &mut self.open
                && open.base() <= id
            {
                let before = open.len();
                open.remove(&mut ids);
                self.len -= before - open.len();
                if open.len() == 0 {
                    self.open = None;
                }
                debug_assert!(ids.peek().is_none(), "all are there");
                return;
            }
            let Some((_, block)) = self.full.range_mut(..=id).next_back() else {
                debug_assert!(false, "all are there");
                return;
            };
            let before = (block.len(), real_size(block.allocated()));
            block.remove(&mut ids);
            let base = block.base();
            let after = (block.len(), if block.len() > 0 { real_size(block.allocated()) } else { 0 });
            self.len -= before.0 - after.0;
            self.full_bytes = self.full_bytes - before.1 + after.1;
            if after.0 == 0 {
                self.full.remove(&base);
            }
        }
    }

    /// See [`super::value::Stream::excess`].
    pub fn excess(&self, keep: Keep, limit: Option<u64>) -> u64 {
        match (keep, limit) {
            (Keep::Len(max), None) => (self.len as u64).saturating_sub(max),
            (Keep::From(id), None) => self.count_below(id) as u64,
            (_, Some(limit)) => self.whole_blocks(keep, limit),
        }
    }

    fn count_below(&self, id: StreamId) -> usize {
        let mut below = 0;
        for summary in self.summaries() {
            if summary.last >= id {
                return below + self.block_with_first_from(id).map_or(0, |view| view.count_below(id));
            }
            below += summary.len;
        }
        below
    }

    /// The first block with an entry from an id on.
    fn block_with_first_from(&self, id: StreamId) -> Option<View<'_>> {
        let before = self.full.range(..id).next_back().map(|(_, block)| block);
        let block = before.filter(|block| block.last_id() >= id);
        let block = block.or_else(|| self.full.range(id..).next().map(|(_, block)| block));
        block.map(Block::view).or_else(|| self.open.as_ref().map(Block::view))
    }

    /// How many entries the first blocks hold that can go as a whole.
    fn whole_blocks(&self, keep: Keep, limit: u64) -> u64 {
        let mut gone = 0;
        for summary in self.summaries() {
            let with_it = gone + summary.len as u64;
            let may_go = match keep {
                Keep::Len(max) => (self.len as u64) - with_it >= max,
                Keep::From(id) => summary.last < id,
            };
            if !may_go || (limit > 0 && with_it > limit) {
                break;
            }
            gone = with_it;
        }
        gone
    }

    fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.full.values().map(summary).chain(self.open.iter().map(summary))
    }

    pub fn heap_bytes(&self) -> usize {
        // What a balanced tree takes of which two thirds of the places are used.
        let index = self.full.len() * (size_of::<StreamId>() + size_of::<Full>()) * 3 / 2;
        index + self.full_bytes + self.open.as_ref().map_or(0, |open| real_size(open.allocated()))
    }
}

/// What a block is known for without a look into it.
struct Summary {
    last: StreamId,
    len: usize,
}

fn summary<B: Deref<Target = [u8]>>(block: &Block<B>) -> Summary {
    Summary { last: block.last_id(), len: block.len() }
}

/// Entries of a range of ids, from both ends. The two ends open blocks apart; at the last they share one.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    full: btree_map::Range<'a, StreamId, Full>,
    /// Behind `full`, if nobody has opened it yet.
    open: Option<View<'a>>,
    front: Option<Forward<'a>>,
    back: Option<Box<Backward<'a>>>,
    /// Ids between which nothing has been read yet; `None` if there are no more.
    limits: Option<(StreamId, StreamId)>,
}

impl Range<'_> {
    fn none() -> Self {
        Self { full: btree_map::Range::default(), open: None, front: None, back: None, limits: None }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (from, to) = self.limits?;
        let mut shared = false;
        loop {
            if let Some(entry) = self.front.as_mut().and_then(Iterator::next) {
                if entry.id > to {
                    break;
                }
                self.limits = entry.id.next().filter(|next| *next <= to).map(|next| (next, to));
                return Some(entry);
            }
            let next = self.full.next().map(|(_, block)| block.view()).or_else(|| self.open.take());
            self.front = match (next, &self.back) {
                (Some(view), _) => Some(view.from(from)),
                (None, Some(back)) if !shared => {
                    shared = true;
                    Some(back.turned(from))
                }
                _ => break,
            };
        }
        self.limits = None;
        None
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (from, to) = self.limits?;
        let mut shared = false;
        loop {
            if let Some(entry) = self.back.as_mut().and_then(Iterator::next) {
                if entry.id < from {
                    break;
                }
                let previous = entry.id.previous().filter(|previous| *previous >= from);
                self.limits = previous.map(|previous| (from, previous));
                return Some(entry);
            }
            let open = self.open.take();
            let next = open.or_else(|| self.full.next_back().map(|(_, block)| block.view()));
            let back = match (next, &self.front) {
                (Some(view), _) => view.back_from(to),
                (None, Some(front)) if !shared => {
                    shared = true;
                    front.turned(to)
                }
                _ => break,
            };
            self.back = Some(Box::new(back));
        }
        self.limits = None;
        None
    }
}

#[cfg(test)]
impl Blocks {
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.summaries().map(|summary| summary.len)
    }

    /// Every rule of this type.
    pub fn check(&self, limits: Option<Limits>) {
        self.full.values().for_each(|block| block.check(limits));
        self.open.iter().for_each(|block| block.check(limits));
        assert_eq!(self.len, self.summaries().map(|summary| summary.len).sum::<usize>());
        assert!(self.full.iter().all(|(base, block)| *base == block.base()));
        let firsts = self.full.values().map(Block::first_id).chain(self.open.iter().map(Block::first_id));
        assert!(self.summaries().zip(firsts.skip(1)).all(|(summary, next)| summary.last < next));
        let bytes: usize = self.full.values().map(|block| real_size(block.allocated())).sum();
        assert_eq!(bytes, self.full_bytes);
    }
}
