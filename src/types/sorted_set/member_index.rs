//! Which leaf a member stands in: a hash table that knows neither members nor scores.
//!
//! An entry is the low half of the member's hash and the number of a leaf. A lookup yields the few leaves of entries with the same
//! hash, nearly always one or none, and the caller looks there. The table grows by linear hashing, one small page at a time: which
//! page an entry belongs to follows from the hash in it, so growing needs no member, and never takes long.

use crate::types::packed;

/// Entries a page holds on average when the table grows.
const LOAD: usize = 16;
const ENTRY: usize = size_of::<u64>();

#[derive(Debug)]
pub struct MemberIndex {
    /// Entries: hash in the low half, leaf in the high one. At least one page.
    pages: Vec<Vec<u64>>,
    len: usize,
}

impl Default for MemberIndex {
    fn default() -> Self {
        Self { pages: vec![Vec::new()], len: 0 }
    }
}

const fn entry(hash: u32, leaf: u32) -> u64 {
    (leaf as u64) << 32 | hash as u64
}

/// Position of a hash in the order of traversal.
const fn order(hash: u32) -> u64 {
    (hash as u64).reverse_bits()
}

fn push(page: &mut Vec<u64>, entry: u64) {
    if page.len() == page.capacity() {
        page.reserve_exact(packed::good_size((page.len() + 1) * ENTRY) / ENTRY - page.len());
    }
    page.push(entry);
}

impl MemberIndex {
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn page_of(hash: u32, pages: usize) -> usize {
        let mask = pages.next_power_of_two() - 1;
        let index = hash as usize & mask;
        if index < pages { index } else { index & (mask >> 1) }
    }

    /// The leaves of entries with a hash.
    #[inline]
    pub fn leaves(&self, hash: u32) -> impl Iterator<Item = u32> {
        let page = &self.pages[Self::page_of(hash, self.pages.len())];
        page.iter().filter(move |entry| **entry as u32 == hash).map(|entry| (entry >> 32) as u32)
    }

    pub fn add(&mut self, hash: u32, leaf: u32) {
        self.len += 1;
        let pages = self.pages.len();
        push(&mut self.pages[Self::page_of(hash, pages)], entry(hash, leaf));
        if self.len > pages * LOAD {
            self.split();
        }
    }

    /// A page and an entry's place there. Equal entries mean two members of one leaf: either will do.
    fn find(&self, hash: u32, leaf: u32) -> Option<(usize, usize)> {
        let page = Self::page_of(hash, self.pages.len());
        let at = self.pages[page].iter().position(|other| *other == entry(hash, leaf))?;
        Some((page, at))
    }

    pub fn remove(&mut self, hash: u32, leaf: u32) {
        let Some((page, at)) = self.find(hash, leaf) else {
            debug_assert!(false, "an entry for every row");
            return;
        };
        self.len -= 1;
        let page = &mut self.pages[page];
        page.swap_remove(at);
        let size = packed::good_size(page.len() * ENTRY) / ENTRY;
        if size <= page.capacity() / 2 {
            page.shrink_to(size);
        }
        if self.pages.len() > 1 && self.len < self.pages.len() * (LOAD / 3) {
            self.merge();
        }
    }

    /// A member has moved from one leaf to another.
    pub fn relabel(&mut self, hash: u32, from: u32, to: u32) {
        match self.find(hash, from) {
            Some((page, at)) => self.pages[page][at] = entry(hash, to),
            None => debug_assert!(false, "an entry for every row"),
        }
    }

    /// One page more: the page whose turn it is gives away the entries that belong to the new one.
    fn split(&mut self) {
        let count = self.pages.len() + 1;
        let parent = (count - 1) ^ (1 << (count - 1).ilog2());
        let old = std::mem::take(&mut self.pages[parent]);
        let goes = |entry: &u64| Self::page_of(*entry as u32, count) != parent;
        let gone = old.iter().filter(|entry| goes(entry)).count();
        let sized = |len: usize| Vec::with_capacity(packed::good_size(len * ENTRY) / ENTRY);
        let (mut stay, mut go) = (sized(old.len() - gone), sized(gone));
        old.into_iter().for_each(|entry| if goes(&entry) { go.push(entry) } else { stay.push(entry) });
        self.pages[parent] = stay;
        self.pages.push(go);
    }

    /// One page less: the last page's entries go back to where they were split from.
    fn merge(&mut self) {
        let Some(last) = self.pages.pop() else { return };
        let parent = self.pages.len() ^ (1 << self.pages.len().ilog2());
        last.into_iter().for_each(|entry| push(&mut self.pages[parent], entry));
        if self.pages.capacity() > self.pages.len() * 4 {
            self.pages.shrink_to(self.pages.len() * 2);
        }
    }

    /// Visits the entries of one page as hash and leaf: the page that `from` (a position in the order of traversal) lies in, without
    /// what comes before `from`, equal ones once. Returns where the next page begins, `None` at the end.
    pub fn scan_page(&self, from: u64, visit: &mut dyn FnMut(u32, u32)) -> Option<u64> {
        let page = Self::page_of(from.reverse_bits() as u32, self.pages.len());
        let entries = &self.pages[page];
        for (at, &entry) in entries.iter().enumerate() {
            if order(entry as u32) >= from && !entries[..at].contains(&entry) {
                visit(entry as u32, (entry >> 32) as u32);
            }
        }
        // A page is named by as many low bits as its own last split looked at.
        let mask = self.pages.len().next_power_of_two() - 1;
        let half = mask >> 1;
        let is_split = page > half || (page | (half + 1)) < self.pages.len();
        let bits = if is_split { mask } else { half }.count_ones();
        if bits == 0 {
            return None;
        }
        let step = 1u64 << (64 - bits);
        (from & !(step - 1)).checked_add(step)
    }

    /// Bytes of heap memory. Takes time in the number of pages.
    pub fn heap_bytes(&self) -> usize {
        let page = |page: &Vec<u64>| packed::good_size(page.capacity() * ENTRY);
        packed::good_size(self.pages.capacity() * size_of::<Vec<u64>>())
            + self.pages.iter().map(page).sum::<usize>()
    }
}
