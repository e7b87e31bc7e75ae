//! One key with its value: a single allocation behind a tagged pointer of eight bytes.
//!
//! ```text
//! pointer   16 bits of the key's hash | 48 bits of address
//! address-> meta u32 | key_len u32 | Lengths, or a Value | [expire_at u64] | key | [string]
//!           meta: kind 4 bits, has expiry, was changed in place, - | 24 bits of access clock
//! ```
//!
//! A string lives behind its key, and [`Lengths`] are its own. Of other types the entry has the [`Value`], which is little more than a
//! pointer.

use super::value::{Kind, Value};
use crate::allocator::real_size;
use crate::prefetch::{LINE, prefetch};
use crate::types::string::value::encoding as string_encoding;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::{self, NonNull};

#[repr(C)]
struct Header {
    meta: u32,
    key_len: u32,
}

/// Of a string.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lengths {
    len: u32,
    capacity: u32,
}

const HEADER: usize = size_of::<Header>();
const KIND_MASK: u32 = 0xf;
const HAS_EXPIRY: u32 = 1 << 4;
const CHANGED_IN_PLACE: u32 = 1 << 5;
const ACCESS_SHIFT: u32 = 8;
const TAG_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << TAG_SHIFT) - 1;

/// Longest string value, and longest key, in bytes.
pub const STRING_MAX: usize = u32::MAX as usize - 4096;

// Every key of a collection has one: larger parts of a value belong in a box.
const _: () = assert!(size_of::<Value>() == 16 && align_of::<Value>() == 8 && size_of::<Lengths>() == 8);

/// An owned key with its value. Invariant: the pointer without its tag is an allocation of `layout()` whose header, key and
/// what comes between them are initialised; a non-string kind has a `Value` of that kind that nothing else owns, a string has
/// `Lengths`, of which `len` bytes behind the key are initialised.
pub struct Entry(NonNull<Header>);

// An entry owns what it points to, like a Box; Value is Send and Sync.
unsafe impl Send for Entry {}
unsafe impl Sync for Entry {}

impl Entry {
    /// A string. `tag` is the top 16 bits of the key's hash.
    pub fn string(tag: u16, key: &[u8], value: &[u8], expire_at: Option<u64>) -> Self {
        let entry = Self::allocate(tag, Kind::String, key, value.len(), expire_at);
        // Sound: `allocate` reserved `value.len()` bytes behind the key, and room for the lengths.
        unsafe {
            ptr::copy_nonoverlapping(value.as_ptr(), entry.string_start(), value.len());
            (*entry.lengths_slot()).len = value.len() as u32;
        }
        entry
    }

    /// Any other type.
    pub fn value(tag: u16, key: &[u8], value: Value, expire_at: Option<u64>) -> Self {
        let entry = Self::allocate(tag, value.kind(), key, 0, expire_at);
        // Sound: `allocate` left room for the value of a non-string, and there is none yet.
        unsafe { entry.value_slot().write(value) };
        entry
    }

    /// Everything but the value, or the bytes of the string.
    fn allocate(tag: u16, kind: Kind, key: &[u8], capacity: usize, expire_at: Option<u64>) -> Self {
        assert!(
            key.len() <= STRING_MAX && capacity <= STRING_MAX,
            "lengths are checked by the limits of requests"
        );
        let meta = kind as u32 | if expire_at.is_some() { HAS_EXPIRY } else { 0 };
        let header = Header { meta, key_len: key.len() as u32 };
        let layout = Self::layout_of(&header, capacity);
        // Sound: the size is at least that of the header, never zero.
        let raw = unsafe { alloc(layout) };
        let Some(raw) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout) };
        assert!(raw.as_ptr().addr() & !ADDRESS_MASK == 0, "user addresses have at most 48 bits");
        // Sound: freshly allocated with room for the header.
        unsafe { raw.as_ptr().write(header) };
        let entry = Self(tagged(raw, tag));
        // Sound: the layout has room for the lengths of a string, for an expiry time if there is one, and for the key.
        unsafe {
            if kind == Kind::String {
                entry.lengths_slot().write(Lengths { len: 0, capacity: capacity as u32 });
            }
            if let Some(at) = expire_at {
                entry.expiry_slot().write(at);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), entry.key_start(), key.len());
        }
        entry
    }

    /// `capacity` is that of a string.
    fn layout_of(header: &Header, capacity: usize) -> Layout {
        let size = Self::key_offset(header) + header.key_len as usize + capacity;
        Layout::from_size_align(size, 8).expect("two lengths below 4 GiB fit the address space")
    }

    fn layout(&self) -> Layout {
        Self::layout_of(self.header(), self.lengths().map_or(0, |lengths| lengths.capacity as usize))
    }

    const fn is_string(header: &Header) -> bool {
        header.meta & KIND_MASK == Kind::String as u32
    }

    /// Bytes before the expiry time.
    #[inline]
    const fn expiry_offset(header: &Header) -> usize {
        HEADER + if Self::is_string(header) { size_of::<Lengths>() } else { size_of::<Value>() }
    }

    /// Bytes before the key.
    #[inline]
    const fn key_offset(header: &Header) -> usize {
        Self::expiry_offset(header) + if header.meta & HAS_EXPIRY != 0 { 8 } else { 0 }
    }

    #[inline]
    fn pointer(&self) -> *mut Header {
        self.0.as_ptr().map_addr(|a| a & ADDRESS_MASK)
    }

    #[inline]
    fn base(&self) -> *mut u8 {
        self.pointer().cast()
    }

    #[inline]
    fn header(&self) -> &Header {
        // Sound by the type's invariant.
        unsafe { &*self.pointer() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut Header {
        // Sound by the type's invariant.
        unsafe { &mut *self.pointer() }
    }

    #[inline]
    fn key_start(&self) -> *mut u8 {
        // Sound: what comes before the key is inside the allocation.
        unsafe { self.base().add(Self::key_offset(self.header())) }
    }

    #[inline]
    fn string_start(&self) -> *mut u8 {
        // Sound: the key is inside the allocation.
        unsafe { self.key_start().add(self.header().key_len as usize) }
    }

    /// Where the lengths of a string are.
    #[inline]
    fn lengths_slot(&self) -> *mut Lengths {
        // Sound: they, or a value, come behind the header.
        unsafe { self.base().add(HEADER).cast() }
    }

    /// Where the value of anything but a string is.
    #[inline]
    fn value_slot(&self) -> *mut Value {
        self.lengths_slot().cast()
    }

    /// Where the expiry time is, if there is one.
    #[inline]
    fn expiry_slot(&self) -> *mut u64 {
        // Sound: lengths or value are inside the allocation.
        unsafe { self.base().add(Self::expiry_offset(self.header())).cast() }
    }

    /// Of a string.
    #[inline]
    fn lengths(&self) -> Option<Lengths> {
        // Sound by the type's invariant.
        Self::is_string(self.header()).then(|| unsafe { self.lengths_slot().read() })
    }

    /// Asks the processor for the entry: header, key and the beginning of a short value.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.pointer());
        prefetch(self.pointer().cast::<u8>().wrapping_add(LINE));
    }

    /// The top 16 bits of the key's hash.
    #[inline]
    pub fn tag(&self) -> u16 {
        (self.0.as_ptr().addr() >> TAG_SHIFT) as u16
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        // Sound by the type's invariant.
        unsafe { std::slice::from_raw_parts(self.key_start(), self.header().key_len as usize) }
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.header().meta & KIND_MASK)
    }

    /// Unix time in milliseconds at which the key ceases to be.
    #[inline]
    pub fn expire_at(&self) -> Option<u64> {
        // Sound: the flag says that the eight bytes are there.
        (self.header().meta & HAS_EXPIRY != 0).then(|| unsafe { self.expiry_slot().read() })
    }

    /// The bytes of a string; `None` for other kinds.
    #[inline]
    pub fn as_string(&self) -> Option<&[u8]> {
        let lengths = self.lengths()?;
        // Sound by the type's invariant.
        Some(unsafe { std::slice::from_raw_parts(self.string_start(), lengths.len as usize) })
    }

    /// The value of anything but a string.
    #[inline]
    pub fn as_value(&self) -> Option<&Value> {
        // Sound by the type's invariant.
        (!Self::is_string(self.header())).then(|| unsafe { &*self.value_slot() })
    }

    /// Whoever changes the value leaves one of the same kind.
    #[inline]
    pub(super) fn as_value_mut(&mut self) -> Option<&mut Value> {
        // Sound by the type's invariant; `&mut self` makes it the only reference.
        (!Self::is_string(self.header())).then(|| unsafe { &mut *self.value_slot() })
    }

    /// True once a string was appended to or written into: Redis calls its encoding `raw` from then on.
    pub fn changed_in_place(&self) -> bool {
        self.header().meta & CHANGED_IN_PLACE != 0
    }

    /// For a string that was moved here from where it was.
    pub(super) fn mark_changed_in_place(&mut self) {
        self.header_mut().meta |= CHANGED_IN_PLACE;
    }

    /// Redis' name for the representation of the value (OBJECT ENCODING).
    pub fn encoding(&self) -> &'static str {
        match (self.as_string(), self.as_value()) {
            (Some(value), _) => string_encoding(value, self.changed_in_place()),
            (None, Some(value)) => value.encoding(),
            (None, None) => unreachable!("an entry is a string or has a value"),
        }
    }

    /// 24 bits of the eviction policy's access clock.
    pub fn access(&self) -> u32 {
        self.header().meta >> ACCESS_SHIFT
    }

    #[inline]
    pub fn set_access(&mut self, clock: u32) {
        let meta = &mut self.header_mut().meta;
        *meta = *meta & ((1 << ACCESS_SHIFT) - 1) | clock << ACCESS_SHIFT;
    }

    /// Replaces the value, of whatever kind, by a string.
    pub fn set_string(&mut self, value: &[u8], expire_at: Option<u64>) {
        let fits = |lengths: Lengths| {
            let capacity = lengths.capacity as usize;
            value.len() <= capacity && capacity - value.len() <= 32 + capacity / 4
        };
        let same_layout = (self.header().meta & HAS_EXPIRY != 0) == expire_at.is_some();
        if !same_layout || !self.lengths().is_some_and(fits) {
            let mut fresh = Self::string(self.tag(), self.key(), value, expire_at);
            fresh.set_access(self.access());
            *self = fresh;
            return;
        }
        // Sound: checked above that it is a string, has the expiry's bytes if need be, and that the value fits the capacity.
        unsafe {
            if let Some(at) = expire_at {
                self.expiry_slot().write(at);
            }
            ptr::copy_nonoverlapping(value.as_ptr(), self.string_start(), value.len());
            (*self.lengths_slot()).len = value.len() as u32;
        }
        self.header_mut().meta &= !CHANGED_IN_PLACE;
    }

    pub fn set_expire_at(&mut self, expire_at: Option<u64>) {
        let had = self.header().meta & HAS_EXPIRY != 0;
        match (had, expire_at) {
            (false, None) => {}
            (true, Some(at)) => {
                // Sound: the flag says that the eight bytes are there.
                unsafe { self.expiry_slot().write(at) };
            }
            _ => self.rebuild_with(expire_at),
        }
    }

    fn rebuild_with(&mut self, expire_at: Option<u64>) {
        let flags = self.header().meta & (CHANGED_IN_PLACE | u32::MAX << ACCESS_SHIFT);
        let mut fresh = match self.as_string() {
            Some(value) => Self::string(self.tag(), self.key(), value, expire_at),
            None => {
                let fresh = Self::allocate(self.tag(), self.kind(), self.key(), 0, expire_at);
                // Sound: the value moves from one entry to the other; the old one becomes one without a value at once.
                unsafe { fresh.value_slot().write(self.value_slot().read()) };
                self.forget_value();
                fresh
            }
        };
        fresh.header_mut().meta |= flags;
        *self = fresh;
    }

    /// Makes an entry whose value was moved out a string of no bytes, in the same allocation, which is all that its drop then frees.
    fn forget_value(&mut self) {
        let layout = self.layout();
        let header = self.header_mut();
        header.meta = Kind::String as u32;
        header.key_len = 0;
        let capacity = (layout.size() - HEADER - size_of::<Lengths>()) as u32;
        // Sound: lengths are not longer than a value; the capacity makes the layout what it was.
        unsafe { self.lengths_slot().write(Lengths { len: 0, capacity }) };
    }

    /// The value for a move to another key; the entry is consumed.
    pub fn into_value(mut self) -> Option<Value> {
        if self.kind() == Kind::String {
            return None;
        }
        // Sound: it has a value, which the entry does not own from here on.
        let value = unsafe { self.value_slot().read() };
        self.forget_value();
        Some(value)
    }

    /// Makes the string `len` bytes long (zeros behind what was there) and lends it for writing. Strings only.
    pub fn resize_string(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= STRING_MAX, "callers check the length");
        let lengths = self.lengths().expect("callers check the kind");
        let old_len = lengths.len as usize;
        if len > lengths.capacity as usize {
            // Doubling up to 1 MiB ahead keeps appends amortised without wasting half of a big string.
            let capacity = (len + len.min(1 << 20)).min(STRING_MAX);
            let old = self.layout();
            let size = old.size() - lengths.capacity as usize + capacity;
            // Sound: same allocator and layout as `allocate`; the new size is larger and not zero.
            let raw = unsafe { realloc(self.base(), old, size) };
            let Some(raw) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(old) };
            assert!(raw.as_ptr().addr() & !ADDRESS_MASK == 0, "user addresses have at most 48 bits");
            self.0 = tagged(raw, self.tag());
            // Sound: it is a string.
            unsafe { (*self.lengths_slot()).capacity = capacity as u32 };
        }
        self.header_mut().meta |= CHANGED_IN_PLACE;
        let start = self.string_start();
        // Sound: `len` bytes are inside the capacity; those behind the old length are zeroed before they are lent.
        unsafe {
            if len > old_len {
                ptr::write_bytes(start.add(old_len), 0, len - old_len);
            }
            (*self.lengths_slot()).len = len as u32;
            std::slice::from_raw_parts_mut(start, len)
        }
    }

    /// Bytes of memory behind this entry: its allocation and its value's.
    pub fn heap_bytes(&self) -> usize {
        real_size(self.layout().size()) + self.as_value().map_or(0, Value::heap_bytes)
    }
}

fn tagged(raw: NonNull<Header>, tag: u16) -> NonNull<Header> {
    raw.map_addr(|a| a | usize::from(tag) << TAG_SHIFT)
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.layout();
        if let Some(value) = self.as_value_mut() {
            // Sound: the entry owns the value and is going away.
            unsafe { ptr::drop_in_place(value) };
        }
        // Sound: allocated with this layout.
        unsafe { dealloc(self.base(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::value::Hash;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Set(Vec<u8>, Option<u64>),
        Expire(Option<u64>),
        Resize(usize, u8),
        Access(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        proptest::collection::vec(
            prop_oneof![
                (bytes, any::<Option<u64>>()).prop_map(|(b, e)| Step::Set(b, e)),
                any::<Option<u64>>().prop_map(Step::Expire),
                (0usize..300, any::<u8>()).prop_map(|(n, b)| Step::Resize(n, b)),
                (0u32..1 << 24).prop_map(Step::Access),
            ],
            0..30,
        )
    }

    proptest! {
        #[test]
        fn an_entry_behaves_like_its_model(key in any::<Vec<u8>>(), tag in any::<u16>(), steps in steps()) {
            let mut entry = Entry::string(tag, &key, b"start", None);
            let (mut value, mut expire, mut access) = (b"start".to_vec(), None, 0);
            for step in steps {
                match step {
                    Step::Set(bytes, at) => {
                        entry.set_string(&bytes, at);
                        (value, expire) = (bytes, at);
                    }
                    Step::Expire(at) => {
                        entry.set_expire_at(at);
                        expire = at;
                    }
                    Step::Resize(len, fill) => {
                        let bytes = entry.resize_string(len);
                        value.resize(len, 0);
                        prop_assert_eq!(&*bytes, &value[..]);
                        bytes.fill(fill);
                        value.fill(fill);
                    }
                    Step::Access(clock) => {
                        entry.set_access(clock);
                        access = clock;
                    }
                }
                prop_assert_eq!(entry.key(), &key[..]);
                prop_assert_eq!(entry.tag(), tag);
                prop_assert_eq!(entry.as_string(), Some(&value[..]));
                prop_assert_eq!(entry.expire_at(), expire);
                prop_assert_eq!(entry.access(), access);
            }
        }
    }

    #[test]
    fn a_value_survives_expiry_changes_and_becomes_a_string() {
        let mut entry = Entry::value(9, b"key", Value::Hash(Hash::default()), None);
        entry.set_expire_at(Some(5));
        assert_eq!((entry.key(), entry.expire_at(), entry.kind()), (&b"key"[..], Some(5), Kind::Hash));
        entry.set_expire_at(None);
        assert!(entry.as_value().is_some() && entry.as_string().is_none());
        entry.set_string(b"now a string", Some(7));
        assert_eq!(entry.as_string(), Some(&b"now a string"[..]));
        assert_eq!(entry.key(), b"key");
        let value = Entry::value(1, b"k", Value::Hash(Hash::default()), Some(1)).into_value();
        assert!(value.is_some_and(|value| value.kind() == Kind::Hash));
        assert!(Entry::string(1, b"k", b"v", Some(1)).into_value().is_none());
    }
}
