//! One of two things behind one pointer of eight bytes: a small collection, or the box of a large one.
//!
//! ```text
//! word = pointer of the small one | address of the box, with the lowest bit set
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, transmute_copy};
use std::ptr;

use super::thin_bytes::ThinBytes;

/// What is, in memory, one pointer whose lowest bit is 0.
///
/// # Safety
/// The type is `repr(transparent)` around a [`ThinBytes`] (which has an even address, or none).
pub unsafe trait Word {}

// It is the thing itself.
unsafe impl Word for ThinBytes {}

const LARGE: usize = 1;

/// Invariant: `word` is an `S` by value if its lowest bit is 0, else the address of a box of `L` with that bit set.
pub struct SmallOr<S: Word, L> {
    word: *mut u8,
    owns: PhantomData<(S, Box<L>)>,
}

// It owns either of the two, and nothing else.
unsafe impl<S: Word + Send, L: Send> Send for SmallOr<S, L> {}
unsafe impl<S: Word + Sync, L: Sync> Sync for SmallOr<S, L> {}

pub enum Which<S, L> {
    Small(S),
    Large(L),
}

impl<S: Word, L> SmallOr<S, L> {
    pub fn small(small: S) -> Self {
        const { assert!(size_of::<S>() == size_of::<*mut u8>()) };
        let small = ManuallyDrop::new(small);
        // Sound: a `Word` is one pointer, and it is not used again as an `S` of its own.
        Self { word: unsafe { transmute_copy(&small) }, owns: PhantomData }
    }

    pub fn large(large: L) -> Self {
        const { assert!(align_of::<L>() > LARGE) };
        let word = Box::into_raw(Box::new(large)).cast::<u8>().map_addr(|address| address | LARGE);
        Self { word, owns: PhantomData }
    }

    #[inline]
    pub fn is_large(&self) -> bool {
        self.word.addr() & LARGE != 0
    }

    #[inline]
    fn boxed(&self) -> *mut L {
        self.word.map_addr(|address| address & !LARGE).cast()
    }

    #[inline]
    pub fn get(&self) -> Which<&S, &L> {
        // Sound by the type's invariant.
        unsafe {
            if self.is_large() {
                Which::Large(&*self.boxed())
            } else {
                Which::Small(&*(&raw const self.word).cast::<S>())
            }
        }
    }

    #[inline]
    pub fn get_mut(&mut self) -> Which<&mut S, &mut L> {
        // Sound by the type's invariant; `&mut self` makes it the only reference.
        unsafe {
            if self.is_large() {
                Which::Large(&mut *self.boxed())
            } else {
                Which::Small(&mut *(&raw mut self.word).cast::<S>())
            }
        }
    }
}

impl<S: Word + Default, L> Default for SmallOr<S, L> {
    fn default() -> Self {
        Self::small(S::default())
    }
}

impl<S: Word, L> Drop for SmallOr<S, L> {
    fn drop(&mut self) {
        // Sound by the type's invariant: what it owns is dropped once.
        unsafe {
            if self.is_large() {
                drop(Box::from_raw(self.boxed()));
            } else {
                ptr::drop_in_place((&raw mut self.word).cast::<S>());
            }
        }
    }
}

impl<S: Word + fmt::Debug, L: fmt::Debug> fmt::Debug for SmallOr<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Which::Small(small) => small.fmt(f),
            Which::Large(large) => large.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_is_owned_and_dropped_once() {
        let mut either = SmallOr::<ThinBytes, String>::default();
        let Which::Small(small) = either.get_mut() else { panic!("the default is small") };
        small.extend_from_slice(b"few");
        let Which::Small(small) = either.get() else { panic!("it still is") };
        assert_eq!(&**small, b"few");
        let text = String::from_utf8_lossy(small).repeat(100);
        either = SmallOr::large(text);
        let Which::Large(large) = either.get_mut() else { panic!("made large") };
        large.push('!');
        assert!(either.is_large());
        assert!(matches!(either.get(), Which::Large(large) if large.len() == 301));
        assert_eq!(size_of_val(&either), 8);
    }
}
