//! The arguments of one request: borrowed from the connection's buffer, or owned.

use std::fmt;
use std::ops::Index;

/// Where one argument lies in its buffer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: usize,
    pub end: usize,
}

/// The arguments of a request, the command's name first. A copy costs four words.
#[derive(Clone, Copy)]
pub struct RequestArgs<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range],
}

impl<'a> RequestArgs<'a> {
    /// All `ranges` must lie in `bytes`: reading one that doesn't panics.
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8], ranges: &'a [Range]) -> Self {
        Self { bytes, ranges }
    }

    #[inline]
    pub const fn len(&self) -> usize {
        self.ranges.len()
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`. Panics past the end, like a slice; [`Self::try_get`] doesn't.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let range = self.ranges[index];
        &self.bytes[range.start..range.end]
    }

    #[inline]
    pub fn try_get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        self.bytes.get(range.start..range.end)
    }

    /// Arguments `first..`; none if there are fewer.
    #[inline]
    pub fn tail(&self, first: usize) -> RequestArgs<'a> {
        Self { bytes: self.bytes, ranges: self.ranges.get(first..).unwrap_or_default() }
    }

    /// Arguments `..count`; all if there are fewer.
    pub fn first(&self, count: usize) -> RequestArgs<'a> {
        Self { bytes: self.bytes, ranges: self.ranges.get(..count).unwrap_or(self.ranges) }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let bytes = self.bytes;
        self.ranges.iter().map(move |range| &bytes[range.start..range.end])
    }

    /// Bytes of all arguments together.
    pub fn total_len(&self) -> usize {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

impl Index<usize> for RequestArgs<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.get(index)
    }
}

impl PartialEq for RequestArgs<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for RequestArgs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Arguments that outlive the buffer they came in: MULTI's queue, waiting commands, tests. Two allocations, whatever their number.
#[derive(Clone, Default)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
}

impl OwnedArgs {
    pub fn from_slices(args: &[&[u8]]) -> Self {
        let mut owned = Self::default();
        owned.bytes.reserve_exact(args.iter().map(|arg| arg.len()).sum());
        owned.ranges.reserve_exact(args.len());
        for arg in args {
            owned.push(arg);
        }
        owned
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    /// Adds one argument at the end.
    pub fn push(&mut self, arg: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(arg);
        self.ranges.push(Range { start, end: self.bytes.len() });
    }

    #[inline]
    pub fn as_args(&self) -> RequestArgs<'_> {
        RequestArgs::new(&self.bytes, &self.ranges)
    }

    /// Bytes on the heap.
    pub fn heap_len(&self) -> usize {
        self.bytes.capacity() + self.ranges.capacity() * size_of::<Range>()
    }
}

impl From<RequestArgs<'_>> for OwnedArgs {
    fn from(args: RequestArgs<'_>) -> Self {
        let mut owned = Self::default();
        owned.bytes.reserve_exact(args.total_len());
        owned.ranges.reserve_exact(args.len());
        for arg in args.iter() {
            owned.push(arg);
        }
        owned
    }
}

impl PartialEq for OwnedArgs {
    fn eq(&self, other: &Self) -> bool {
        self.as_args() == other.as_args()
    }
}

impl fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_args().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_arguments_are_the_same_as_borrowed_ones() {
        let owned = OwnedArgs::from_slices(&[b"SET", b"", b"value"]);
        let args = owned.as_args();
        assert_eq!(args.len(), 3);
        assert_eq!((&args[0], &args[1], &args[2]), (&b"SET"[..], &b""[..], &b"value"[..]));
        assert_eq!(args.try_get(3), None);
        assert_eq!(args.tail(1).iter().collect::<Vec<_>>(), [&b""[..], b"value"]);
        assert!(args.tail(4).is_empty());
        assert_eq!(OwnedArgs::from(args.tail(1)), OwnedArgs::from_slices(&[b"", b"value"]));
        assert_ne!(OwnedArgs::from(args.tail(1)), owned);
        assert_eq!(args.total_len(), 8);
    }
}
