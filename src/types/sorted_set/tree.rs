//! The inner nodes: a B+tree that counts the rows under each child.

use std::ops::Range;

use super::leaf::Bound;
use super::leaves::{Leaves, NewRow, Separator};

/// Most children of a node. Wide, so that the nodes of a large set are few enough to stay in the processor's cache.
const CHILDREN_MAX: usize = 128;
const SPARSE: usize = CHILDREN_MAX / 4;
const JOINED_MAX: usize = CHILDREN_MAX / 4 * 3;
/// Children that a search for a rank passes over at a time.
const STEP: usize = 8;

#[derive(Debug)]
enum Children {
    Leaves(Vec<u32>),
    Nodes(Vec<Node>),
}

#[derive(Debug)]
pub struct Node {
    /// Scores of the separators: the n-th stands between child n and child n + 1.
    scores: Vec<f64>,
    /// Their members.
    members: Vec<Box<[u8]>>,
    /// Rows under each child.
    counts: Vec<usize>,
    children: Children,
}

impl Node {
    pub fn of_leaf(id: u32, rows: usize) -> Self {
        let children = Children::Leaves(vec![id]);
        Self { scores: Vec::new(), members: Vec::new(), counts: vec![rows], children }
    }

    const fn width(&self) -> usize {
        self.counts.len()
    }

    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The child in which the rows behind a bound begin.
    #[inline]
    fn child_of(&self, bound: &Bound<'_>) -> usize {
        let low = self.scores.partition_point(|score| *score < bound.score);
        if self.scores.get(low).is_none_or(|score| *score != bound.score) {
            return low;
        }
        let same = self.scores[low..].partition_point(|score| *score == bound.score);
        let is_behind = |separator: &[u8]| bound.member.map_or(bound.or_equal, |member| separator <= member);
        low + self.members[low..low + same].partition_point(|separator| is_behind(separator))
    }

    /// Number of rows before a bound.
    pub fn count_before(&self, leaves: &Leaves, bound: &Bound<'_>) -> usize {
        let (mut node, mut before) = (self, 0);
        loop {
            let at = node.child_of(bound);
            before += node.counts[..at].iter().sum::<usize>();
            match &node.children {
                Children::Leaves(ids) => return before + leaves.get(ids[at]).count_before(bound),
                Children::Nodes(nodes) => node = &nodes[at],
            }
        }
    }

    /// Asks for the memory that the rows at a bound are read from, or written to.
    pub fn prefetch(&self, leaves: &Leaves, bound: &Bound<'_>) {
        let mut node = self;
        loop {
            let at = node.child_of(bound);
            match &node.children {
                Children::Leaves(ids) => return leaves.get(ids[at]).prefetch(),
                Children::Nodes(nodes) => node = &nodes[at],
            }
        }
    }

    /// The leaf of a rank below the length, and the row there.
    pub fn locate(&self, rank: usize) -> (u32, usize) {
        let (mut node, mut rest) = (self, rank);
        loop {
            let mut at = 0;
            // In steps of several children that are added up at once.
            for counts in node.counts.as_chunks::<STEP>().0 {
                let rows: usize = counts.iter().sum();
                if rest < rows {
                    break;
                }
                rest -= rows;
                at += STEP;
            }
            while rest >= node.counts[at] {
                rest -= node.counts[at];
                at += 1;
            }
            match &node.children {
                Children::Leaves(ids) => return (ids[at], rest),
                Children::Nodes(nodes) => node = &nodes[at],
            }
        }
    }

    /// Adds a row. What a node that was full has split off, if it was.
    #[must_use]
    fn insert_below(
        &mut self,
        leaves: &mut Leaves,
        row: &NewRow<'_>,
        ascending: bool,
    ) -> Option<(Separator, Self)> {
        let at = self.child_of(&Bound::at_row(row.score, row.member));
        let ascending = ascending && at + 1 == self.width();
        match &mut self.children {
            Children::Leaves(ids) => {
                let id = ids[at];
                let added = leaves.insert(id, row, ascending);
                self.counts[at] = leaves.get(id).len();
                for (place, (separator, id)) in (at..).zip(added) {
                    ids.insert(place + 1, id);
                    self.counts.insert(place + 1, leaves.get(id).len());
                    self.scores.insert(place, separator.score);
                    self.members.insert(place, separator.member);
                }
            }
            Children::Nodes(nodes) => match nodes[at].insert_below(leaves, row, ascending) {
                None => self.counts[at] += 1,
                Some((separator, node)) => {
                    self.counts[at] = nodes[at].total();
                    self.counts.insert(at + 1, node.total());
                    nodes.insert(at + 1, node);
                    self.scores.insert(at, separator.score);
                    self.members.insert(at, separator.member);
                }
            },
        }
        (self.width() > CHILDREN_MAX).then(|| self.split(ascending))
    }

    /// Takes half of the children, or only those that came last, into a node of their own.
    fn split(&mut self, ascending: bool) -> (Separator, Self) {
        let at = if ascending { CHILDREN_MAX } else { CHILDREN_MAX / 2 };
        let node = Self {
            scores: self.scores.split_off(at),
            members: self.members.split_off(at),
            counts: self.counts.split_off(at),
            children: match &mut self.children {
                Children::Leaves(ids) => Children::Leaves(ids.split_off(at)),
                Children::Nodes(nodes) => Children::Nodes(nodes.split_off(at)),
            },
        };
        let score = self.scores.pop().expect("a separator before each child but the first");
        let member = self.members.pop().expect("as many as scores");
        (Separator { score, member }, node)
    }

    /// Adds a row to the tree that this is the root of.
    pub fn insert(&mut self, leaves: &mut Leaves, row: &NewRow<'_>) {
        let Some((separator, right)) = self.insert_below(leaves, row, true) else { return };
        let empty = Self {
            scores: Vec::new(),
            members: Vec::new(),
            counts: Vec::new(),
            children: Children::Nodes(Vec::new()),
        };
        let left = std::mem::replace(self, empty);
        self.counts.extend([left.total(), right.total()]);
        self.scores.push(separator.score);
        self.members.push(separator.member);
        self.children = Children::Nodes(vec![left, right]);
    }

    /// Removes a row that is there.
    pub fn remove(&mut self, leaves: &mut Leaves, row: &NewRow<'_>) {
        self.remove_below(leaves, row);
        self.lower();
    }

    /// True if the node has become sparse.
    fn remove_below(&mut self, leaves: &mut Leaves, row: &NewRow<'_>) -> bool {
        let at = self.child_of(&Bound::at_row(row.score, row.member));
        self.counts[at] -= 1;
        let sparse = match &mut self.children {
            Children::Leaves(ids) => leaves.remove(ids[at], row),
            Children::Nodes(nodes) => nodes[at].remove_below(leaves, row),
        };
        if sparse {
            self.settle(at, leaves);
        }
        self.width() < SPARSE
    }

    /// Removes the rows of a range of ranks, but not all there are.
    pub fn remove_range(&mut self, leaves: &mut Leaves, ranks: Range<usize>) {
        self.remove_range_below(leaves, ranks);
        self.lower();
    }

    fn remove_range_below(&mut self, leaves: &mut Leaves, ranks: Range<usize>) {
        let mut first = self.total();
        for at in (0..self.width()).rev() {
            first -= self.counts[at];
            let (start, end) = (ranks.start.max(first), ranks.end.min(first + self.counts[at]));
            if start >= end {
                continue;
            }
            if end - start == self.counts[at] {
                self.drop_child(at, leaves);
                continue;
            }
            self.counts[at] -= end - start;
            let ranks = start - first..end - first;
            match &mut self.children {
                Children::Leaves(ids) => leaves.remove_rows(ids[at], ranks),
                Children::Nodes(nodes) => nodes[at].remove_range_below(leaves, ranks),
            }
        }
        for at in (0..self.width()).rev() {
            self.settle(at, leaves);
        }
    }

    /// Frees a child with all that is under it.
    fn drop_child(&mut self, at: usize, leaves: &mut Leaves) {
        match &self.children {
            Children::Leaves(ids) => leaves.remove_leaf(ids[at]),
            Children::Nodes(nodes) => nodes[at].free_leaves(leaves),
        }
        self.forget_child(at);
    }

    fn free_leaves(&self, leaves: &mut Leaves) {
        match &self.children {
            Children::Leaves(ids) => ids.iter().for_each(|id| leaves.remove_leaf(*id)),
            Children::Nodes(nodes) => nodes.iter().for_each(|node| node.free_leaves(leaves)),
        }
    }

    /// Takes a child out of the node, and the separator before it (that of the first: behind it).
    fn forget_child(&mut self, at: usize) {
        self.counts.remove(at);
        match &mut self.children {
            Children::Leaves(ids) => drop(ids.remove(at)),
            Children::Nodes(nodes) => drop(nodes.remove(at)),
        }
        if !self.scores.is_empty() {
            let separator = at.saturating_sub(1);
            self.scores.remove(separator);
            self.members.remove(separator);
        }
    }

    /// Frees a child that is empty, or joins it with a neighbour if one of the two is sparse and there is room.
    fn settle(&mut self, at: usize, leaves: &mut Leaves) {
        if at >= self.width() {
            return;
        }
        if self.counts[at] == 0 {
            self.drop_child(at, leaves);
            return;
        }
        if at + 1 < self.width() && self.join(at, leaves) {
            return;
        }
        if at > 0 {
            self.join(at - 1, leaves);
        }
    }

    /// Joins a child with the next one, if that should be.
    fn join(&mut self, at: usize, leaves: &mut Leaves) -> bool {
        match &mut self.children {
            Children::Leaves(ids) => {
                if !leaves.should_join(ids[at], ids[at + 1]) {
                    return false;
                }
                leaves.join(ids[at], ids[at + 1]);
            }
            Children::Nodes(nodes) => {
                let (left, right) = (nodes[at].width(), nodes[at + 1].width());
                if left.min(right) >= SPARSE || left + right > JOINED_MAX {
                    return false;
                }
                let mut right = Self::of_leaf(0, 0);
                std::mem::swap(&mut right, &mut nodes[at + 1]);
                let left = &mut nodes[at];
                left.scores.push(self.scores[at]);
                left.members.push(std::mem::take(&mut self.members[at]));
                left.append(right);
            }
        }
        self.counts[at] += self.counts[at + 1];
        self.forget_child(at + 1);
        true
    }

    fn append(&mut self, other: Self) {
        self.scores.extend(other.scores);
        self.members.extend(other.members);
        self.counts.extend(other.counts);
        match (&mut self.children, other.children) {
            (Children::Leaves(ids), Children::Leaves(other)) => ids.extend(other),
            (Children::Nodes(nodes), Children::Nodes(other)) => nodes.extend(other),
            _ => unreachable!("neighbours are of one level"),
        }
    }

    /// Gives up roots with a single child.
    fn lower(&mut self) {
        while let Children::Nodes(nodes) = &mut self.children
            && nodes.len() == 1
        {
            *self = nodes.pop().expect("there is one");
        }
    }

    pub fn heap_bytes(&self) -> usize {
        let members = |members: &[Box<[u8]>]| {
            members.iter().map(|member| member.len().next_multiple_of(8)).sum::<usize>()
        };
        let own = self.scores.capacity() * size_of::<f64>()
            + self.members.capacity() * size_of::<Box<[u8]>>()
            + self.counts.capacity() * size_of::<usize>()
            + members(&self.members);
        own + match &self.children {
            Children::Leaves(ids) => ids.capacity() * size_of::<u32>(),
            Children::Nodes(nodes) => {
                nodes.capacity() * size_of::<Self>() + nodes.iter().map(Self::heap_bytes).sum::<usize>()
            }
        }
    }
}

#[cfg(test)]
impl Node {
    /// Panics unless counts, separators and levels are right. The leaves from left to right.
    pub fn check(&self, leaves: &Leaves) -> Vec<u32> {
        let mut ids = Vec::new();
        self.check_below(leaves, None, None, &mut ids);
        ids
    }

    fn check_below(
        &self,
        leaves: &Leaves,
        low: Option<(f64, &[u8])>,
        high: Option<(f64, &[u8])>,
        ids: &mut Vec<u32>,
    ) -> usize {
        assert!(self.width() > 0 && self.width() <= CHILDREN_MAX);
        assert_eq!((self.scores.len(), self.members.len()), (self.width() - 1, self.width() - 1));
        let mut levels = 0;
        for at in 0..self.width() {
            let separator = |at: usize| (self.scores[at], &*self.members[at]);
            let low = if at == 0 { low } else { Some(separator(at - 1)) };
            let high = if at + 1 == self.width() { high } else { Some(separator(at)) };
            let level = match &self.children {
                Children::Leaves(own) => {
                    ids.push(own[at]);
                    let leaf = leaves.get(own[at]);
                    assert_eq!(leaf.len(), self.counts[at]);
                    assert!(leaf.rows().all(|row| low.is_none_or(|low| row >= low)), "a row before its leaf");
                    assert!(
                        leaf.rows().all(|row| high.is_none_or(|high| row < high)),
                        "a row behind its leaf"
                    );
                    1
                }
                Children::Nodes(nodes) => {
                    assert_eq!(nodes[at].total(), self.counts[at]);
                    1 + nodes[at].check_below(leaves, low, high, ids)
                }
            };
            assert!(at == 0 || level == levels, "all leaves are of one level");
            levels = level;
        }
        levels
    }
}
