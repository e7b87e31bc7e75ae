//! Sorting of only the first few, in the order that Redis gives to equals: that of the quicksort by Bentley and McIlroy
//! ("Engineering a sort function", 1993), which leaves parts aside that are not asked for.

use std::cmp::Ordering;

/// Brings the first `wanted` items to where they would be if all were sorted. The order of equals is not their order before.
pub(super) fn sort_first<T>(items: &mut [T], wanted: usize, compare: &impl Fn(&T, &T) -> Ordering) {
    // Parts are sorted by themselves. They wait here and not on the stack: hostile items may make very many.
    let mut parts: Vec<_> = std::iter::once(0..items.len()).collect();
    while let Some(part) = parts.pop() {
        if part.len() < 2 || part.start >= wanted {
            continue;
        }
        if let Some(Parts { less, greater }) = partition(&mut items[part.clone()], compare) {
            parts.extend([part.start..part.start + less, part.end - greater..part.end]);
        }
    }
}

/// How many items at the beginning and at the end of a partitioned slice still are to be sorted.
struct Parts {
    less: usize,
    greater: usize,
}

/// Brings items less than one of them to the beginning and greater ones to the end. None if they are sorted instead.
fn partition<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> Option<Parts> {
    let len = items.len();
    if len < 7 {
        insertion_sort(items, compare);
        return None;
    }
    items.swap(0, pivot(items, compare));
    // The pivot's equals gather at both ends: before `equal_left` and behind `equal_right`.
    let (mut equal_left, mut left) = (1, 1);
    let (mut equal_right, mut right) = (len - 1, len - 1);
    loop {
        while left <= right {
            match compare(&items[left], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_left, left);
                    equal_left += 1;
                }
                Ordering::Less => {}
            }
            left += 1;
        }
        while left <= right {
            match compare(&items[right], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(right, equal_right);
                    equal_right -= 1;
                }
                Ordering::Greater => {}
            }
            right -= 1;
        }
        if left > right {
            break;
        }
        items.swap(left, right);
        left += 1;
        right -= 1;
    }
    let (less, greater) = (left - equal_left, equal_right - right);
    swap_ranges(items, 0, left, equal_left.min(less));
    swap_ranges(items, left, len, greater.min(len - equal_right - 1));
    Some(Parts { less, greater })
}

/// Exchanges `count` items from `start` on with those before `end`.
fn swap_ranges<T>(items: &mut [T], start: usize, end: usize, count: usize) {
    (0..count).for_each(|at| items.swap(start + at, end - count + at));
}

fn insertion_sort<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            if compare(&items[at - 1], &items[at]) != Ordering::Greater {
                break;
            }
            items.swap(at - 1, at);
        }
    }
}

/// A good item to part the others by: the median of three, of many items that of nine.
fn pivot<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let len = items.len();
    let (mut first, mut middle, mut last) = (0, len / 2, len - 1);
    if len == 7 {
        return middle;
    }
    if len > 40 {
        let step = len / 8;
        first = median(items, [first, first + step, first + 2 * step], compare);
        middle = median(items, [middle - step, middle, middle + step], compare);
        last = median(items, [last - 2 * step, last - step, last], compare);
    }
    median(items, [first, middle, last], compare)
}

fn median<T>(items: &[T], [a, b, c]: [usize; 3], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let less = |a: usize, b: usize| compare(&items[a], &items[b]) == Ordering::Less;
    let greater = |a: usize, b: usize| compare(&items[a], &items[b]) == Ordering::Greater;
    if less(a, b) {
        if less(b, c) {
            b
        } else if less(a, c) {
            c
        } else {
            a
        }
    } else if greater(b, c) {
        b
    } else if less(a, c) {
        a
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_are_those_of_the_sorted(
            items in prop_oneof![prop::collection::vec(0u8..8, 0..200), prop::collection::vec(any::<u8>(), 0..200)],
            wanted in 0usize..220,
        ) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            let mut some = items;
            sort_first(&mut some, wanted, &u8::cmp);
            let wanted = wanted.min(sorted.len());
            prop_assert_eq!(&some[..wanted], &sorted[..wanted]);
            some.sort_unstable();
            prop_assert_eq!(some, sorted);
        }
    }
}
