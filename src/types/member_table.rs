//! Rows of byte strings found by their first one, the member: the body of hashes, and of any other type of unique members.
//!
//! Few short rows stand in one [`Packed`] sequence, in the order in which they came. Many, or long ones, are spread by linear
//! hashing over small pages: it grows by one page at a time, and the traversal order is that of the bit-reversed hash, which
//! splitting and merging refine but never change (as in the tables of keys), so that a scan misses nothing that was there all along.
//! A row costs its bytes, one or two bytes of header a string, and its share of a page.
//!
//! When to spread is the owner's decision; there is no way back, as in Redis.

use std::ops::Range;
use std::sync::OnceLock;

use smallvec::SmallVec;

use super::packed::{COUNT_MAX, Item, Packed};
use super::small_or::{SmallOr, Which};
use crate::allocator::real_size;
use crate::hash::hash_bytes;

/// Rows a page holds on average when the table grows.
const LOAD: usize = 8;
/// A row of more bytes stands alone, so that a change to its neighbours does not move it.
const LARGE: usize = 512;
/// What [`MemberTable::sample`] takes for the longest page. Pages hold 6 to 12 rows on average, so longer ones don't happen.
const PAGE_ROWS_MAX: u64 = 64;

static SEED: OnceLock<u64> = OnceLock::new();

/// Keys the hash of all members, so that nobody can make them collide on purpose. To be called once at start, with the same
/// secret whenever the same store is opened; later calls change nothing. What a value means does not depend on it.
pub fn set_seed(seed: u64) {
    let _ = SEED.set(seed);
}

#[inline]
fn hash(member: &[u8]) -> u64 {
    hash_bytes(member, *SEED.get_or_init(|| 0x6475_7261_6d65_6e31))
}

/// The hash that [`MemberTable::with_hash`] finds a member by.
pub fn hash_of(member: &[u8]) -> u64 {
    hash(member)
}

/// Position of a hash in the order of traversal.
const fn order(hash: u64) -> u64 {
    hash.reverse_bits()
}

/// A row: the member, then `WIDTH - 1` strings of the owner's.
pub type Row<'a, const WIDTH: usize> = [Item<'a>; WIDTH];

/// Where a row stands until the next change.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    page: usize,
    /// Number among the page's large rows, if it is one.
    large: Option<usize>,
    at: usize,
}

/// A table is one pointer: of the sequence of a small one, or of [`Boxed`]. `Companion` is something of the owner's that few tables
/// have; those are boxed.
#[derive(Debug)]
pub struct MemberTable<const WIDTH: usize, Companion = ()>(SmallOr<Packed, Boxed<Companion>>);

#[derive(Debug)]
struct Boxed<Companion> {
    rows: Rows,
    companion: Companion,
}

#[derive(Debug)]
enum Rows {
    /// Counts its rows.
    Ordered(Packed),
    Spread(Spread),
}

#[derive(Debug, Default)]
struct Spread {
    pages: Vec<Page>,
    len: usize,
}

/// The rows of a table, wherever they are.
enum View<'a> {
    Ordered(&'a Packed),
    Spread(&'a Spread),
}

enum ViewMut<'a> {
    Ordered(&'a mut Packed),
    Spread(&'a mut Spread),
}

#[derive(Debug, Default)]
struct Page {
    rows: Packed,
    /// One row each; rare, hence the box.
    #[expect(clippy::box_collection, reason = "most pages have none: eight bytes instead of 24")]
    large: Option<Box<Vec<Packed>>>,
}

impl<const WIDTH: usize, Companion> Default for MemberTable<WIDTH, Companion> {
    fn default() -> Self {
        Self(SmallOr::default())
    }
}

/// The row that begins at an offset.
#[inline]
fn row_at<const WIDTH: usize>(packed: &Packed, at: usize) -> Option<Row<'_, WIDTH>> {
    let first = packed.item(at)?;
    let mut row = [first; WIDTH];
    for column in 1..WIDTH {
        row[column] = packed.item(row[column - 1].end).expect("rows are written whole");
    }
    Some(row)
}

fn row_end<const WIDTH: usize>(row: &Row<'_, WIDTH>) -> usize {
    row[WIDTH - 1].end
}

fn rows_of<const WIDTH: usize>(packed: &Packed) -> impl Iterator<Item = Row<'_, WIDTH>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let row = row_at(packed, at)?;
        at = row_end(&row);
        Some(row)
    })
}

#[inline]
fn find_in<const WIDTH: usize>(packed: &Packed, member: &[u8]) -> Option<usize> {
    let mut at = 0;
    let last = member.last();
    while let Some(item) = packed.item(at) {
        // Most members differ in length or in the last byte.
        if item.bytes.len() == member.len() && item.bytes.last() == last && item.bytes == member {
            return Some(at);
        }
        at = item.end;
        for _ in 1..WIDTH {
            at = packed.item(at).expect("rows are written whole").end;
        }
    }
    None
}

impl Page {
    fn large(&self) -> &[Packed] {
        self.large.as_deref().map_or(&[], |large| large)
    }

    /// A row whose member is not there yet.
    fn push(&mut self, member: &[u8], rest: &[(&[&[u8]], bool)]) {
        let parts = rest.iter().flat_map(|(parts, _)| parts.iter());
        let bytes = member.len() + parts.map(|part| part.len()).sum::<usize>();
        let target = if bytes > LARGE {
            let large = self.large.get_or_insert_default();
            large.push(Packed::default());
            large.last_mut().expect("just pushed")
        } else {
            &mut self.rows
        };
        target.push(&[member], false);
        rest.iter().for_each(|(parts, marked)| target.push(parts, *marked));
    }

    fn push_large(&mut self, row: Packed) {
        self.large.get_or_insert_default().push(row);
    }

    /// Copies a row of another sequence.
    fn copy<const WIDTH: usize>(&mut self, from: &Packed, row: &Row<'_, WIDTH>) {
        let range = row[0].at..row_end(row);
        if range.len() > LARGE + 2 * WIDTH {
            let mut alone = Packed::default();
            alone.push_range(from, range);
            self.push_large(alone);
        } else {
            self.rows.push_range(from, range);
        }
    }

    /// Takes in all rows of another page.
    fn absorb(&mut self, other: Self) {
        self.rows.push_range(&other.rows, 0..other.rows.end());
        if let Some(large) = other.large {
            self.large.get_or_insert_default().extend(*large);
        }
    }

    fn rows<const WIDTH: usize>(&self) -> impl Iterator<Item = Row<'_, WIDTH>> {
        let large = self.large().iter().map(|packed| row_at(packed, 0).expect("a large row is whole"));
        rows_of(&self.rows).chain(large)
    }
}

/// The page of a hash among `pages` (not 0) pages.
#[inline]
fn page_of(hash: u64, pages: usize) -> usize {
    let mask = pages.next_power_of_two() - 1;
    let index = hash as usize & mask;
    if index < pages { index } else { index & (mask >> 1) }
}

impl<const WIDTH: usize, Companion: Default> MemberTable<WIDTH, Companion> {
    /// What the owner keeps with the table, if it ever asked for it.
    #[inline]
    pub fn companion(&self) -> Option<&Companion> {
        match self.0.get() {
            Which::Small(_) => None,
            Which::Large(boxed) => Some(&boxed.companion),
        }
    }

    pub fn companion_mut(&mut self) -> &mut Companion {
        if let Which::Small(packed) = self.0.get_mut() {
            let rows = Rows::Ordered(std::mem::take(packed));
            self.0 = SmallOr::large(Boxed { rows, companion: Companion::default() });
        }
        match self.0.get_mut() {
            Which::Large(boxed) => &mut boxed.companion,
            Which::Small(_) => unreachable!("made large just now"),
        }
    }

    /// Forgets the companion.
    pub fn drop_companion(&mut self) {
        if let Which::Large(boxed) = self.0.get_mut() {
            boxed.companion = Companion::default();
            if let Rows::Ordered(packed) = &mut boxed.rows {
                let packed = std::mem::take(packed);
                self.0 = SmallOr::small(packed);
            }
        }
    }
}

impl<const WIDTH: usize, Companion: Default> MemberTable<WIDTH, Companion> {
    #[inline]
    fn view(&self) -> View<'_> {
        match self.0.get() {
            Which::Small(packed) | Which::Large(Boxed { rows: Rows::Ordered(packed), .. }) => {
                View::Ordered(packed)
            }
            Which::Large(Boxed { rows: Rows::Spread(spread), .. }) => View::Spread(spread),
        }
    }

    #[inline]
    fn view_mut(&mut self) -> ViewMut<'_> {
        match self.0.get_mut() {
            Which::Small(packed) | Which::Large(Boxed { rows: Rows::Ordered(packed), .. }) => {
                ViewMut::Ordered(packed)
            }
            Which::Large(Boxed { rows: Rows::Spread(spread), .. }) => ViewMut::Spread(spread),
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self.view() {
            View::Ordered(packed) => packed.count(),
            View::Spread(spread) => spread.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True after [`Self::spread`]: rows are in no order.
    #[inline]
    pub fn is_spread(&self) -> bool {
        matches!(self.view(), View::Spread(_))
    }

    #[inline]
    pub fn find(&self, member: &[u8]) -> Option<Place> {
        let pages = match self.view() {
            View::Ordered(packed) => {
                return find_in::<WIDTH>(packed, member).map(|at| Place { page: 0, large: None, at });
            }
            View::Spread(spread) => &spread.pages,
        };
        let page = page_of(hash(member), pages.len());
        if let Some(at) = find_in::<WIDTH>(&pages[page].rows, member) {
            return Some(Place { page, large: None, at });
        }
        let is_it = |packed: &Packed| packed.item(0).is_some_and(|item| item.bytes == member);
        let large = pages[page].large().iter().position(is_it)?;
        Some(Place { page, large: Some(large), at: 0 })
    }

    fn sequence(&self, place: Place) -> &Packed {
        match (self.view(), place.large) {
            (View::Ordered(packed), _) => packed,
            (View::Spread(spread), None) => &spread.pages[place.page].rows,
            (View::Spread(spread), Some(large)) => &spread.pages[place.page].large()[large],
        }
    }

    /// The row at a place found since the last change.
    #[inline]
    pub fn row(&self, place: Place) -> Row<'_, WIDTH> {
        row_at(self.sequence(place), place.at).expect("a place found since the last change has a row")
    }

    #[inline]
    pub fn get(&self, member: &[u8]) -> Option<Row<'_, WIDTH>> {
        self.find(member).map(|place| self.row(place))
    }

    /// Adds a row whose member is not there yet. The other strings are given as parts with their marks.
    pub fn insert(&mut self, member: &[u8], rest: &[(&[&[u8]], bool)]) {
        debug_assert!(rest.len() == WIDTH - 1, "a row has its width");
        self.spread_if_full();
        match self.view_mut() {
            ViewMut::Ordered(packed) => {
                packed.push(&[member], false);
                rest.iter().for_each(|(parts, marked)| packed.push(parts, *marked));
                packed.set_count(packed.count() + 1);
            }
            ViewMut::Spread(spread) => {
                let page = page_of(hash(member), spread.pages.len());
                spread.pages[page].push(member, rest);
                spread.len += 1;
                if spread.len > spread.pages.len() * LOAD {
                    Self::split(&mut spread.pages);
                }
            }
        }
    }

    /// Another string in a column (not the member's) of a row.
    pub fn set(&mut self, place: Place, column: usize, parts: &[&[u8]], marked: bool) {
        let row = self.row(place);
        let old = row[column].at..row[column].end;
        let new_len = parts.iter().map(|part| part.len()).sum::<usize>();
        let row_len = row_end(&row) - row[0].at - old.len() + new_len;
        let moves = self.is_spread() && place.large.is_some() != (row_len > LARGE);
        let pages = match self.view_mut() {
            ViewMut::Ordered(packed) => return packed.replace(old, parts, marked),
            ViewMut::Spread(spread) => &mut spread.pages,
        };
        match place.large {
            None => pages[place.page].rows.replace(old, parts, marked),
            Some(large) => {
                let large = &mut pages[place.page].large.as_mut().expect("the place is in there")[large];
                large.replace(old, parts, marked);
            }
        }
        if moves {
            self.move_row(place);
        }
    }

    /// A row of a page has become large or has ceased to be.
    fn move_row(&mut self, place: Place) {
        let ViewMut::Spread(spread) = self.view_mut() else { return };
        let page = &mut spread.pages[place.page];
        if let Some(large) = place.large {
            let alone = Self::take_large(page, large);
            page.rows.push_range(&alone, 0..alone.end());
        } else {
            let row = row_at::<WIDTH>(&page.rows, place.at).expect("the place was just changed");
            let range = row[0].at..row_end(&row);
            let mut alone = Packed::default();
            alone.push_range(&page.rows, range.clone());
            page.rows.remove(range);
            page.push_large(alone);
        }
    }

    fn take_large(page: &mut Page, number: usize) -> Packed {
        let large = page.large.as_mut().expect("the place is in there");
        let alone = large.swap_remove(number);
        if large.is_empty() {
            page.large = None;
        }
        alone
    }

    pub fn remove(&mut self, place: Place) {
        let row = self.row(place);
        let range = row[0].at..row_end(&row);
        match self.view_mut() {
            ViewMut::Ordered(packed) => {
                packed.remove(range);
                packed.set_count(packed.count() - 1);
            }
            ViewMut::Spread(spread) => {
                let pages = &mut spread.pages;
                match place.large {
                    None => pages[place.page].rows.remove(range),
                    Some(number) => drop(Self::take_large(&mut pages[place.page], number)),
                }
                spread.len -= 1;
                if pages.len() > 1 && spread.len < pages.len() * (LOAD / 3) {
                    Self::merge(pages);
                }
            }
        }
    }

    /// Gives up the order for speed.
    pub fn spread(&mut self) {
        let View::Ordered(packed) = self.view() else { return };
        let count = packed.count().div_ceil(LOAD).max(1);
        let mut pages: Vec<Page> = std::iter::repeat_with(Page::default).take(count).collect();
        for row in rows_of::<WIDTH>(packed) {
            pages[page_of(hash(row[0].bytes), count)].copy(packed, &row);
        }
        let rows = Rows::Spread(Spread { pages, len: packed.count() });
        match self.0.get_mut() {
            Which::Large(boxed) => boxed.rows = rows,
            Which::Small(_) => self.0 = SmallOr::large(Boxed { rows, companion: Companion::default() }),
        }
    }

    /// A sequence cannot count further than that.
    #[inline]
    fn spread_if_full(&mut self) {
        if matches!(self.view(), View::Ordered(packed) if packed.count() == COUNT_MAX) {
            self.spread();
        }
    }

    /// One page more: the page whose turn it is gives away the rows that belong to the new one.
    fn split(pages: &mut Vec<Page>) {
        let count = pages.len() + 1;
        let parent = (count - 1) ^ (1 << (count - 1).ilog2());
        let old = std::mem::take(&mut pages[parent]);
        let half = |member: &[u8]| usize::from(page_of(hash(member), count) != parent);
        // Where everything goes is found out first: each half is allocated once.
        let mut places = SmallVec::<[(Range<usize>, usize); 2 * LOAD]>::new();
        let mut sizes = [0; 2];
        for row in rows_of::<WIDTH>(&old.rows) {
            let (range, half) = (row[0].at..row_end(&row), half(row[0].bytes));
            sizes[half] += range.len();
            places.push((range, half));
        }
        let mut halves = sizes.map(|size| Page { rows: Packed::with_capacity(size), large: None });
        for (range, half) in places {
            halves[half].rows.push_range(&old.rows, range);
        }
        for alone in old.large.into_iter().flat_map(|large| *large) {
            let at = half(alone.item(0).expect("a large row is whole").bytes);
            halves[at].push_large(alone);
        }
        let [stay, go] = halves;
        pages[parent] = stay;
        pages.push(go);
    }

    /// One page less: the last page's rows go back to where they were split from.
    fn merge(pages: &mut Vec<Page>) {
        let Some(last) = pages.pop() else { return };
        let parent = pages.len() ^ (1 << pages.len().ilog2());
        pages[parent].absorb(last);
        if pages.capacity() > pages.len() * 4 {
            pages.shrink_to(pages.len() * 2);
        }
    }

    /// All rows: in the order of insertion until the table is spread, then in no particular one.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_, WIDTH>> {
        let (ordered, pages) = match self.view() {
            View::Ordered(packed) => (Some(packed), &[][..]),
            View::Spread(spread) => (None, &spread.pages[..]),
        };
        ordered.into_iter().flat_map(rows_of).chain(pages.iter().flat_map(Page::rows))
    }

    /// Visits the rows of one page: the one that `from` (a position in the order of traversal) lies in, leaving out what
    /// comes before `from`. Returns where the next page begins, `None` at the end. A table in order is one page, always
    /// visited as a whole.
    pub fn scan_page<'a>(&'a self, from: u64, visit: &mut dyn FnMut(Row<'a, WIDTH>)) -> Option<u64> {
        let pages = match self.view() {
            View::Ordered(packed) => {
                rows_of(packed).for_each(visit);
                return None;
            }
            View::Spread(spread) => &spread.pages,
        };
        let page = page_of(order(from), pages.len());
        for row in pages[page].rows() {
            if from == 0 || order(hash(row[0].bytes)) >= from {
                visit(row);
            }
        }
        // A page is named by as many low bits as its own last split looked at.
        let mask = pages.len().next_power_of_two() - 1;
        let half = mask >> 1;
        let bits = if page > half || (page | (half + 1)) < pages.len() { mask } else { half }.count_ones();
        if bits == 0 {
            return None;
        }
        let step = 1u64 << (64 - bits);
        (from & !(step - 1)).checked_add(step)
    }

    /// A row chosen evenly; `below` draws a number in `0..bound`. `None` if the table is empty.
    pub fn sample(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<Row<'_, WIDTH>> {
        if self.is_empty() {
            return None;
        }
        match self.view() {
            View::Ordered(packed) => rows_of(packed).nth(below(packed.count() as u64) as usize),
            View::Spread(Spread { pages, .. }) => loop {
                // A page first, then one of as many places in it as the longest page has: those without a row are drawn again.
                let page = &pages[below(pages.len() as u64) as usize];
                if let Some(row) = page.rows().nth(below(PAGE_ROWS_MAX) as usize) {
                    return Some(row);
                }
            },
        }
    }

    /// Rows whose member has a hash.
    pub fn with_hash(&self, wanted: u64) -> impl Iterator<Item = Row<'_, WIDTH>> {
        let (ordered, page) = match self.view() {
            View::Ordered(packed) => (Some(packed), None),
            View::Spread(Spread { pages, .. }) => (None, Some(&pages[page_of(wanted, pages.len())])),
        };
        let rows = ordered.into_iter().flat_map(rows_of).chain(page.into_iter().flat_map(Page::rows));
        rows.filter(move |row| hash(row[0].bytes) == wanted)
    }

    /// Bytes of heap memory, without those behind the companion. Takes time in the number of pages.
    pub fn heap_bytes(&self) -> usize {
        let own = if self.0.is_large() { real_size(size_of::<Boxed<Companion>>()) } else { 0 };
        own + match self.view() {
            View::Ordered(packed) => packed.heap_bytes(),
            View::Spread(Spread { pages, .. }) => {
                let list = real_size(pages.capacity() * size_of::<Page>());
                list + pages.iter().map(Page::heap_bytes).sum::<usize>()
            }
        }
    }
}

impl Page {
    fn heap_bytes(&self) -> usize {
        let alone = |packed: &Packed| packed.heap_bytes() + real_size(size_of::<Packed>());
        self.rows.heap_bytes()
            + self.large().iter().map(alone).sum::<usize>()
            + self.large.as_ref().map_or(0, |_| real_size(size_of::<Vec<Packed>>()))
    }
}

/// What only a set needs.
impl MemberTable<1> {
    /// Adds a member; false if it is there already. Cheaper than [`Self::find`] and [`Self::insert`].
    #[inline]
    pub fn add(&mut self, member: &[u8]) -> bool {
        self.spread_if_full();
        match self.view_mut() {
            ViewMut::Ordered(packed) => {
                if find_in::<1>(packed, member).is_some() {
                    return false;
                }
                packed.push(&[member], false);
                packed.set_count(packed.count() + 1);
            }
            ViewMut::Spread(spread) => {
                let pages = &mut spread.pages;
                let at = page_of(hash(member), pages.len());
                let page = &mut pages[at];
                let is_it = |packed: &Packed| packed.item(0).is_some_and(|item| item.bytes == member);
                if find_in::<1>(&page.rows, member).is_some() || page.large().iter().any(is_it) {
                    return false;
                }
                page.push(member, &[]);
                if spread.len >= pages.len() * LOAD {
                    Self::split(pages);
                }
                spread.len += 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn put(table: &mut MemberTable<2>, member: &[u8], value: &[u8]) {
        match table.find(member) {
            Some(place) => table.set(place, 1, &[value], false),
            None => table.insert(member, &[(&[value], false)]),
        }
    }

    fn contents(table: &MemberTable<2>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        table.iter().map(|[member, value]| (member.bytes.to_vec(), value.bytes.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn a_table_behaves_like_a_map(
            steps in proptest::collection::vec((0u8..3, 0u16..300, 0usize..900), 0..1500), spread_at in 0usize..400
        ) {
            let mut table = MemberTable::<2>::default();
            let mut model = BTreeMap::new();
            for (turn, (what, number, len)) in steps.into_iter().enumerate() {
                if turn == spread_at {
                    table.spread();
                }
                let member = number.to_string().into_bytes();
                if what < 2 {
                    let value = vec![turn as u8; if what == 0 { len } else { len % 40 }];
                    put(&mut table, &member, &value);
                    model.insert(member, value);
                } else {
                    let place = table.find(&member);
                    prop_assert_eq!(place.is_some(), model.remove(&member).is_some());
                    place.into_iter().for_each(|place| table.remove(place));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for (member, value) in &model {
                let [_, found] = table.get(member).expect("in the model");
                prop_assert_eq!(found.bytes, &value[..]);
                prop_assert_eq!(table.with_hash(hash_of(member)).count(), 1);
            }
            prop_assert_eq!(contents(&table), model);
        }

        #[test]
        fn a_scan_misses_nothing_while_the_table_grows_and_shrinks(
            stable in 1u32..200, sizes in proptest::collection::vec(0u32..1000, 1..40)
        ) {
            let mut table = MemberTable::<2>::default();
            for n in 0..stable {
                put(&mut table, format!("stable:{n}").as_bytes(), b"");
            }
            table.spread();
            let mut seen = BTreeSet::new();
            let (mut from, mut size, mut turns) = (Some(0), 0u32, 0);
            while let Some(at) = from {
                from = table.scan_page(at, &mut |row| { seen.insert(row[0].bytes.to_vec()); });
                prop_assert!(from.is_none_or(|next| next > at), "a scan always gets on");
                let goal = sizes[turns % sizes.len()];
                turns += 1;
                while size < goal {
                    put(&mut table, format!("filler:{size}").as_bytes(), b"x");
                    size += 1;
                }
                while size > goal {
                    size -= 1;
                    let place = table.find(format!("filler:{size}").as_bytes()).expect("put before");
                    table.remove(place);
                }
            }
            for n in 0..stable {
                prop_assert!(seen.contains(format!("stable:{n}").as_bytes()), "stable:{n} was missed");
            }
        }
    }

    #[test]
    fn samples_are_even() {
        for spread in [false, true] {
            let mut table = MemberTable::<2>::default();
            (0..100u32).for_each(|n| put(&mut table, &n.to_le_bytes(), b"v"));
            if spread {
                table.spread();
            }
            let mut prng = crate::disk::prng::Prng::new(5);
            let mut counts = [0u32; 100];
            for _ in 0..50_000 {
                let [member, _] = table.sample(&mut |bound| prng.below(bound)).expect("not empty");
                counts[member.bytes[0] as usize] += 1;
            }
            assert!(counts.iter().all(|count| (380..630).contains(count)), "{counts:?}");
        }
    }
}
