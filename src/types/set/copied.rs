//! Members copied out of sets, because reading values and changing the keyspace exclude each other.

use crate::types::REBUILD_BYTES;

/// Byte strings in one allocation.
#[derive(Debug, Default)]
pub struct Copied {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Copied {
    pub fn push(&mut self, member: &[u8]) {
        self.bytes.extend_from_slice(member);
        self.ends.push(self.bytes.len());
    }

    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Calls `visit` with all members, as many at once as one op may hold.
    pub fn for_each_op<E>(&self, visit: impl FnMut(&[&[u8]]) -> Result<(), E>) -> Result<(), E> {
        in_ops(self.iter(), visit)
    }
}

/// Cuts members into slices of at most about [`REBUILD_BYTES`], or of one member.
pub(super) fn in_ops<'a, E>(
    members: impl Iterator<Item = &'a [u8]>,
    mut visit: impl FnMut(&[&[u8]]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut slice, mut bytes) = (Vec::new(), 0);
    for member in members {
        // Each has a length of its own in the op.
        let len = member.len() + 1;
        if bytes + len > REBUILD_BYTES && !slice.is_empty() {
            visit(&slice)?;
            slice.clear();
            bytes = 0;
        }
        slice.push(member);
        bytes += len;
    }
    if slice.is_empty() { Ok(()) } else { visit(&slice) }
}
