//! Bytes behind a pointer of eight bytes: length and capacity stand in front of the bytes, in the same allocation.
//!
//! ```text
//! pointer -> len u64 | capacity 40 bits | note 24 bits | bytes
//! ```
//!
//! What a `Vec<u8>` needs beside its allocation is most of what a small collection would cost. The note is a number of the owner's.
//! Allocations have the sizes of the allocator's classes, so that none of them has a byte that cannot be used.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use super::packed::good_size;
use crate::allocator::real_size;

#[repr(C)]
struct Head {
    len: usize,
    capacity_and_note: usize,
}

const HEAD: usize = size_of::<Head>();
const NOTE_SHIFT: u32 = 40;
const CAPACITY_MAX: usize = (1 << NOTE_SHIFT) - 1;

/// The largest note.
pub const NOTE_MAX: usize = (1 << (usize::BITS - NOTE_SHIFT)) - 1;

/// Invariant: nothing, or an allocation of `layout(capacity)` that nothing else owns, whose head and first `len` bytes are
/// initialised, `len <= capacity`. Without an allocation there are no bytes and the note is 0.
#[repr(transparent)]
#[derive(Default)]
pub struct ThinBytes(Option<NonNull<Head>>);

// It owns what it points to, which is plain bytes.
unsafe impl Send for ThinBytes {}
unsafe impl Sync for ThinBytes {}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(HEAD + capacity, align_of::<Head>()).expect("capacities are below 2^40")
}

impl ThinBytes {
    /// Nothing yet, with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut new = Self::default();
        if bytes > 0 {
            new.grow_to(bytes);
        }
        new
    }

    #[inline]
    fn head(&self) -> Option<&Head> {
        // Sound by the type's invariant.
        self.0.map(|head| unsafe { head.as_ref() })
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.head().map_or(0, |head| head.len)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        self.head().map_or(0, |head| head.capacity_and_note & CAPACITY_MAX)
    }

    /// Bytes of heap memory, as the allocator rounds them.
    pub fn heap_bytes(&self) -> usize {
        if self.0.is_some() { real_size(HEAD + self.capacity()) } else { 0 }
    }

    #[inline]
    pub fn note(&self) -> usize {
        self.head().map_or(0, |head| head.capacity_and_note >> NOTE_SHIFT)
    }

    /// A note up to [`NOTE_MAX`].
    #[inline]
    pub fn set_note(&mut self, note: usize) {
        assert!(note <= NOTE_MAX, "owners keep their notes below the largest");
        if self.0.is_none() && note != 0 {
            self.reallocate(0);
        }
        if let Some(head) = &mut self.0 {
            // Sound by the type's invariant; `&mut self` makes it the only reference.
            let head = unsafe { head.as_mut() };
            head.capacity_and_note = head.capacity_and_note & CAPACITY_MAX | note << NOTE_SHIFT;
        }
    }

    /// Makes room for `bytes` in all, and for what the allocation then has anyway.
    pub fn grow_to(&mut self, bytes: usize) {
        if bytes > self.capacity() || self.0.is_none() {
            self.reallocate(bytes);
        }
    }

    /// Gives back what is not needed for `bytes`, nor for those that are there.
    pub fn shrink_to(&mut self, bytes: usize) {
        let bytes = bytes.max(self.len());
        if self.0.is_some() && good_size(HEAD + bytes) - HEAD < self.capacity() {
            self.reallocate(bytes);
        }
    }

    /// Moves to an allocation with room for `bytes`, not less than those that are there.
    fn reallocate(&mut self, bytes: usize) {
        assert!(bytes >= self.len() && bytes < CAPACITY_MAX / 2, "no collection is that long");
        let capacity = good_size(HEAD + bytes) - HEAD;
        let (len, note) = (self.len(), self.note());
        // Sound: the layouts are those of this type's allocations and never empty; `realloc` keeps what fits both.
        let raw = unsafe {
            match self.0 {
                Some(old) => {
                    let old_layout = layout(self.capacity());
                    realloc(old.as_ptr().cast(), old_layout, layout(capacity).size())
                }
                None => alloc(layout(capacity)),
            }
        };
        let Some(raw) = NonNull::new(raw.cast::<Head>()) else { handle_alloc_error(layout(capacity)) };
        // Sound: the allocation has room for the head.
        unsafe { raw.write(Head { len, capacity_and_note: capacity | note << NOTE_SHIFT }) };
        self.0 = Some(raw);
    }

    /// Where the bytes begin, if there is an allocation.
    #[inline]
    fn start(&self) -> Option<*mut u8> {
        // Sound: the head is inside the allocation.
        self.0.map(|head| unsafe { head.as_ptr().cast::<u8>().add(HEAD) })
    }

    #[inline]
    fn set_len(&mut self, len: usize) {
        if let Some(head) = &mut self.0 {
            // Sound by the type's invariant.
            unsafe { head.as_mut() }.len = len;
        }
    }

    /// Makes it `len` bytes long: zeros behind what was there, or less of it.
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        self.grow_to(len);
        if let Some(start) = self.start()
            && len > old
        {
            // Sound: the capacity is at least `len`.
            unsafe { ptr::write_bytes(start.add(old), 0, len - old) };
        }
        self.set_len(len);
    }

    pub fn truncate(&mut self, len: usize) {
        self.set_len(len.min(self.len()));
    }

    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let len = self.len();
        self.grow_to(len + bytes.len());
        if let Some(start) = self.start() {
            // Sound: the capacity is enough, and what is borrowed elsewhere cannot lie in what this owns.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(len), bytes.len()) };
        }
        self.set_len(len + bytes.len());
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // Sound by the type's invariant.
        self.start().map_or(&[], |start| unsafe { std::slice::from_raw_parts(start, self.len()) })
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // Sound by the type's invariant.
        self.start().map_or(&mut [], |start| unsafe { std::slice::from_raw_parts_mut(start, self.len()) })
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        if let Some(head) = self.0 {
            // Sound: allocated with this layout.
            unsafe { dealloc(head.as_ptr().cast(), layout(self.capacity())) };
        }
    }
}

impl fmt::Debug for ThinBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.note(), &**self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn thin_bytes_behave_like_a_vector(steps in proptest::collection::vec((0u8..6, 0usize..300), 0..40)) {
            let (mut thin, mut model, mut note) = (ThinBytes::default(), Vec::<u8>::new(), 0);
            for (what, number) in steps {
                match what {
                    0 => {
                        thin.extend_from_slice(&vec![number as u8; number]);
                        model.extend(vec![number as u8; number]);
                    }
                    1 => {
                        thin.resize(number);
                        model.resize(number, 0);
                    }
                    2 => {
                        thin.truncate(number);
                        model.truncate(number);
                    }
                    3 => thin.shrink_to(number),
                    4 => {
                        note = number * 1000;
                        thin.set_note(note);
                    }
                    _ => {
                        thin.iter_mut().for_each(|byte| *byte ^= number as u8);
                        model.iter_mut().for_each(|byte| *byte ^= number as u8);
                    }
                }
                prop_assert_eq!(&*thin, &model[..]);
                prop_assert_eq!(thin.note(), note);
                prop_assert!(thin.capacity() >= thin.len());
                prop_assert!(thin.heap_bytes() >= thin.capacity());
            }
        }
    }

    #[test]
    fn a_shrunk_sequence_takes_the_least() {
        let mut thin = ThinBytes::with_capacity(1000);
        thin.extend_from_slice(&[7; 200]);
        thin.shrink_to(0);
        assert_eq!((thin.capacity(), thin.heap_bytes()), (208, 224));
    }
}
