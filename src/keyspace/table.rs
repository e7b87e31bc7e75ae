//! The keys of one slot: linear hashing over small pages of tagged entry pointers.
//!
//! It grows one page at a time, so no insert ever pauses for more than a page. A key's page is given by the low bits of its
//! hash; the order of traversal is that of the bit-reversed hash, which splitting and merging of pages refine but never
//! change: a cursor in that order misses nothing that was there all along, however often the table grew or shrank meanwhile.

use smallvec::SmallVec;

use super::entry::Entry;
use crate::allocator::real_size;
use crate::hash::hash_bytes;
use crate::prefetch::{LINE, prefetch};

/// Entries a page holds on average when the table grows.
const LOAD: usize = 14;

/// Keys that come are many if each of them moves at most so many others.
const MANY: usize = 8;

/// Page, and place in it.
pub type Position = (usize, usize);

#[derive(Default)]
pub struct SlotTable {
    pages: Vec<Vec<Entry>>,
    len: usize,
}

/// Position of a hash in the order of traversal.
const fn order(hash: u64) -> u64 {
    hash.reverse_bits()
}

const fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16
}

impl SlotTable {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The page of a hash among `pages` (not 0) pages.
    #[inline]
    fn page_of(hash: u64, pages: usize) -> usize {
        let mask = pages.next_power_of_two() - 1;
        let index = hash as usize & mask;
        if index < pages { index } else { index & (mask >> 1) }
    }

    /// Where a key's entry is, until the table changes.
    #[inline]
    pub fn position(&self, key: &[u8], hash: u64) -> Option<Position> {
        if self.pages.is_empty() {
            return None;
        }
        let page = Self::page_of(hash, self.pages.len());
        let tag = tag(hash);
        self.pages[page].iter().position(|e| e.tag() == tag && e.key() == key).map(|at| (page, at))
    }

    /// The page of a hash, if there are pages.
    #[inline]
    fn page(&self, hash: u64) -> Option<&Vec<Entry>> {
        if self.pages.is_empty() { None } else { Some(&self.pages[Self::page_of(hash, self.pages.len())]) }
    }

    /// First step towards an entry, taken early: asks for the page's place. Each step reads what the one before asked for.
    #[inline]
    pub fn prefetch_page(&self, hash: u64) {
        if let Some(page) = self.page(hash) {
            prefetch(&raw const *page);
        }
    }

    /// Second step: asks for the page's tags.
    #[inline]
    pub fn prefetch_tags(&self, hash: u64) {
        if let Some(page) = self.page(hash) {
            prefetch(page.as_ptr());
            prefetch(page.as_ptr().wrapping_add(LINE / size_of::<Entry>()));
        }
    }

    /// Third step: asks for the entries that have the hash's tag.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        for entry in self.page(hash).into_iter().flatten().filter(|entry| entry.tag() == tag(hash)) {
            entry.prefetch();
        }
    }

    /// The entry at a position; panics if there is none.
    #[inline]
    pub fn at(&self, (page, at): Position) -> &Entry {
        &self.pages[page][at]
    }

    /// The entry at a position; panics if there is none.
    #[inline]
    pub fn at_mut(&mut self, (page, at): Position) -> &mut Entry {
        &mut self.pages[page][at]
    }

    #[inline]
    pub fn get(&self, key: &[u8], hash: u64) -> Option<&Entry> {
        self.position(key, hash).map(|(page, at)| &self.pages[page][at])
    }

    #[inline]
    pub fn get_mut(&mut self, key: &[u8], hash: u64) -> Option<&mut Entry> {
        self.position(key, hash).map(|(page, at)| &mut self.pages[page][at])
    }

    /// Adds an entry whose key is not there yet. `seed` is that of the hash.
    pub fn insert(&mut self, entry: Entry, hash: u64, seed: u64) {
        debug_assert!(self.get(entry.key(), hash).is_none(), "callers look first");
        if self.pages.is_empty() {
            // Many slots never need a second page, and a vector's first growth would be to four.
            self.pages.reserve_exact(1);
            self.pages.push(Vec::new());
        }
        let page = Self::page_of(hash, self.pages.len());
        push_tight(&mut self.pages[page], entry);
        self.len += 1;
        if self.len > self.pages.len() * LOAD {
            self.split(seed);
        }
    }

    /// Makes room for keys with these hashes that are about to be added: as many pages as they will need, and where they are many,
    /// each as large as it will get. Entries end up where one insert after the other would have put them.
    pub fn make_room(&mut self, hashes: impl Iterator<Item = u64> + Clone, seed: u64) {
        let coming = hashes.clone().count();
        if coming <= self.len / MANY {
            return;
        }
        let pages = (self.len + coming).div_ceil(LOAD).max(self.pages.len());
        let entries: Vec<Entry> = std::mem::take(&mut self.pages).into_iter().flatten().collect();
        let homes: Vec<usize> =
            entries.iter().map(|entry| Self::page_of(hash_bytes(entry.key(), seed), pages)).collect();
        let mut lens: SmallVec<[usize; 32]> = SmallVec::from_elem(0, pages);
        let new_homes = hashes.map(|hash| Self::page_of(hash, pages));
        homes.iter().copied().chain(new_homes).for_each(|home| lens[home] += 1);
        self.pages = lens.into_iter().map(Vec::with_capacity).collect();
        for (entry, home) in entries.into_iter().zip(homes) {
            self.pages[home].push(entry);
        }
    }

    pub fn remove(&mut self, key: &[u8], hash: u64, seed: u64) -> Option<Entry> {
        let (page, at) = self.position(key, hash)?;
        let page = &mut self.pages[page];
        let entry = page.swap_remove(at);
        if page.len() + 8 < page.capacity() {
            page.shrink_to(page.len() + 2);
        }
        self.len -= 1;
        if self.pages.len() > 1 && self.len < self.pages.len() * (LOAD / 3) {
            self.merge(seed);
        }
        Some(entry)
    }

    /// One page more: the page whose turn it is gives away the keys that belong to the new one.
    fn split(&mut self, seed: u64) {
        let pages = self.pages.len() + 1;
        let parent = (pages - 1) ^ (1 << (pages - 1).ilog2());
        // All keys are read again; asked for together, their reads overlap.
        self.pages[parent].iter().for_each(Entry::prefetch);
        let (mut stay, mut go) = (Vec::new(), Vec::new());
        for entry in std::mem::take(&mut self.pages[parent]) {
            let home = Self::page_of(hash_bytes(entry.key(), seed), pages);
            push_tight(if home == parent { &mut stay } else { &mut go }, entry);
        }
        self.pages[parent] = stay;
        self.pages.push(go);
    }

    /// One page less: the last page's keys go back to where they were split from.
    fn merge(&mut self, _seed: u64) {
        let Some(last) = self.pages.pop() else { return };
        let parent = self.pages.len() ^ (1 << self.pages.len().ilog2());
        for entry in last {
            push_tight(&mut self.pages[parent], entry);
        }
        if self.pages.capacity() > self.pages.len() * 4 {
            self.pages.shrink_to(self.pages.len() * 2);
        }
    }

    /// Visits the keys of one page: the one that `from` (a position in the order of traversal) lies in, leaving out what
    /// comes before `from`. Returns where the next page begins, `None` at the end.
    pub fn scan_page(&self, from: u64, seed: u64, visit: &mut dyn FnMut(&Entry)) -> Option<u64> {
        if self.pages.is_empty() {
            return None;
        }
        let pages = self.pages.len();
        let page = Self::page_of(order(from), pages);
        for entry in &self.pages[page] {
            if from == 0 || order(hash_bytes(entry.key(), seed)) >= from {
                visit(entry);
            }
        }
        // A page is named by as many low bits as its own last split looked at.
        let mask = pages.next_power_of_two() - 1;
        let half = mask >> 1;
        let bits = if page > half || (page | (half + 1)) < pages { mask } else { half }.count_ones();
        if bits == 0 {
            return None;
        }
        let step = 1u64 << (64 - bits);
        (from & !(step - 1)).checked_add(step)
    }

    /// An entry by its hash alone; of two keys with one hash either may be returned.
    pub fn with_hash(&self, hash: u64, seed: u64) -> Option<&Entry> {
        if self.pages.is_empty() {
            return None;
        }
        let page = &self.pages[Self::page_of(hash, self.pages.len())];
        page.iter().find(|e| e.tag() == tag(hash) && hash_bytes(e.key(), seed) == hash)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pages.iter().flatten()
    }

    /// All entries from the n-th on, in the order of `iter`.
    pub fn iter_from(&self, mut n: usize) -> impl Iterator<Item = &Entry> {
        let mut first = 0;
        while let Some(page) = self.pages.get(first)
            && n >= page.len()
        {
            n -= page.len();
            first += 1;
        }
        self.pages[first..].iter().flatten().skip(n)
    }

    /// The n-th entry in the order of `iter`.
    pub fn nth(&self, mut n: usize) -> Option<&Entry> {
        for page in &self.pages {
            match page.get(n) {
                Some(entry) => return Some(entry),
                None => n -= page.len(),
            }
        }
        None
    }

    /// Bytes of heap memory of the table itself, without the entries.
    pub fn heap_bytes(&self) -> usize {
        let slots = self.pages.iter().map(|page| real_size(page.capacity() * size_of::<Entry>()));
        slots.sum::<usize>() + real_size(self.pages.capacity() * size_of::<Vec<Entry>>())
    }
}

/// Pushes without the doubling of `Vec`: pages stay nearly full, and memory per key low.
fn push_tight(page: &mut Vec<Entry>, entry: Entry) {
    if page.len() == page.capacity() {
        page.reserve_exact(if page.is_empty() { 1 } else { 2 });
    }
    page.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const SEED: u64 = 42;

    fn insert(table: &mut SlotTable, key: &[u8]) {
        let hash = hash_bytes(key, SEED);
        if table.get(key, hash).is_none() {
            table.insert(Entry::string((hash >> 48) as u16, key, key, None), hash, SEED);
        }
    }

    proptest! {
        #[test]
        fn a_table_behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u16..600), 0..3000)) {
            let mut table = SlotTable::default();
            let mut model = HashMap::new();
            for (add, number) in steps {
                let key = number.to_string().into_bytes();
                if add {
                    insert(&mut table, &key);
                    model.insert(key, ());
                } else {
                    let removed = table.remove(&key, hash_bytes(&key, SEED), SEED);
                    prop_assert_eq!(removed.is_some(), model.remove(&key).is_some());
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for key in model.keys() {
                prop_assert!(table.get(key, hash_bytes(key, SEED)).is_some());
            }
            prop_assert_eq!(table.iter().count(), model.len());
        }

        #[test]
        fn room_made_ahead_changes_nothing_that_can_be_seen(
            batches in proptest::collection::vec((0usize..300, 0usize..20), 0..12)
        ) {
            let (mut one_by_one, mut ahead) = (SlotTable::default(), SlotTable::default());
            let (mut next, mut gone) = (0, 0);
            for (coming, going) in batches {
                let keys: Vec<_> = (next..next + coming).map(|n| n.to_string().into_bytes()).collect();
                next += coming;
                ahead.make_room(keys.iter().map(|key| hash_bytes(key, SEED)), SEED);
                for key in &keys {
                    insert(&mut one_by_one, key);
                    insert(&mut ahead, key);
                }
                for _ in 0..going.min(next - gone) {
                    let key = gone.to_string().into_bytes();
                    for table in [&mut one_by_one, &mut ahead] {
                        prop_assert!(table.remove(&key, hash_bytes(&key, SEED), SEED).is_some());
                    }
                    gone += 1;
                }
                let pages = |table: &SlotTable| -> Vec<Vec<Vec<u8>>> {
                    table.pages.iter().map(|page| page.iter().map(|e| e.key().to_vec()).collect()).collect()
                };
                prop_assert_eq!(pages(&one_by_one), pages(&ahead));
                prop_assert_eq!(ahead.len(), next - gone);
            }
        }

        #[test]
        fn a_scan_misses_nothing_while_the_table_grows_and_shrinks(
            stable in 1u32..400, sizes in proptest::collection::vec(0u32..2000, 1..60)
        ) {
            let mut table = SlotTable::default();
            for n in 0..stable {
                insert(&mut table, format!("stable:{n}").as_bytes());
            }
            let mut seen = HashSet::new();
            let (mut from, mut size, mut turns) = (Some(0), 0u32, 0);
            while let Some(at) = from {
                from = table.scan_page(at, SEED, &mut |e| { seen.insert(e.key().to_vec()); });
                prop_assert!(from.is_none_or(|next| next > at), "a scan always gets on");
                let goal = sizes[turns % sizes.len()];
                turns += 1;
                while size < goal {
                    insert(&mut table, format!("filler:{size}").as_bytes());
                    size += 1;
                }
                while size > goal {
                    size -= 1;
                    let key = format!("filler:{size}").into_bytes();
                    table.remove(&key, hash_bytes(&key, SEED), SEED);
                }
            }
            for n in 0..stable {
                prop_assert!(seen.contains(format!("stable:{n}").as_bytes()), "stable:{n} was missed");
            }
        }
    }
}
