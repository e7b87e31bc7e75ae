//! `apply(op)`: the one place where state changes. Live execution, recovery, compaction and replicas all come through here.
//!
//! There is no clock here, no randomness, no command: the same ops in the same order make the same keyspace.

use crate::types::Misfit;
use crate::types::string::value::StringOp;

use super::access::Accesses;
use super::entry::{Entry, STRING_MAX};
use super::hash::KeyRef;
use super::op::{Op, SpaceId};
use super::stream_totals::StreamTotals;
use super::stripe::{Part, Stripe};
use super::value::{Kind, Value};

const NO_KEY: Misfit = Misfit("no such key");

const fn tag(key: &KeyRef<'_>) -> u16 {
    (key.hash >> 48) as u16
}

impl Stripe {
    /// Carries out one op on a key of this stripe. On a misfit nothing has changed.
    #[inline]
    pub(super) fn apply(
        &mut self,
        space: SpaceId,
        key: &KeyRef<'_>,
        op: &Op<'_>,
        seed: u64,
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let part = self.part_or_new(space, seed);
        match op {
            Op::String(op) => part.apply_string(key, op, accesses),
            Op::Delete => part.delete(key).map(drop).ok_or(NO_KEY),
            Op::ExpireAt(at) => part.set_expiry(key, Some(*at), accesses),
            Op::Persist => part.set_expiry(key, None, accesses),
            Op::Rename { to } => part.rename(key, to, seed, accesses),
            Op::List(_) | Op::Hash(_) | Op::Set(_) | Op::SortedSet(_) | Op::Stream(_) => {
                part.apply_collection(key, op, accesses)
            }
        }
    }
}

impl Part {
    fn apply_string(
        &mut self,
        key: &KeyRef<'_>,
        op: &StringOp<'_>,
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        match *op {
            StringOp::Set { value, expire_at } => {
                self.store_string(key, value, expire_at, accesses);
                Ok(())
            }
            StringOp::Replace { value } => {
                let expire_at = self.get(key).and_then(Entry::expire_at);
                self.store_string(key, value, expire_at, accesses);
                Ok(())
            }
            StringOp::Append { bytes } => {
                let len = self.string_len(key)?;
                self.write_string(key, len, bytes, accesses)
            }
            StringOp::SetRange { offset, bytes } => {
                let offset = usize::try_from(offset).map_err(|_| Misfit("offset over the address space"))?;
                self.write_string(key, offset, bytes, accesses)
            }
            StringOp::Splice { offset, removed, bytes } => {
                self.splice_string(key, offset, removed, bytes, accesses)
            }
            StringOp::SetBit { offset, bit } => {
                let byte =
                    usize::try_from(offset / 8).map_err(|_| Misfit("offset over the address space"))?;
                let mask = 0x80 >> (offset % 8);
                let old = self.get(key).and_then(Entry::as_string).and_then(|s| s.get(byte)).copied();
                let old = old.unwrap_or(0);
                self.write_string(key, byte, &[if bit { old | mask } else { old & !mask }], accesses)
            }
        }
    }

    fn store_string(
        &mut self,
        key: &KeyRef<'_>,
        value: &[u8],
        expire_at: Option<u64>,
        accesses: &mut Accesses,
    ) {
        let Some(entry) = self.get_mut(key) else {
            if let Some(at) = expire_at {
                self.expiring.insert((at, key.slot, key.hash));
            }
            let mut entry = Entry::string(tag(key), key.bytes, value, expire_at);
            entry.set_access(accesses.first());
            self.insert(key, entry);
            return;
        };
        let old = entry.expire_at();
        let old_part = entry.as_value().and_then(Value::next_expiry);
        let old_streams = StreamTotals::of_entry(entry);
        entry.set_string(value, expire_at);
        entry.set_access(accesses.next(entry.access()));
        self.streams.change(old_streams, StreamTotals::default());
        self.reindex(key, old, expire_at);
        self.reindex_parts(key, old_part, None);
    }

    fn string_len(&self, key: &KeyRef<'_>) -> Result<usize, Misfit> {
        match self.get(key) {
            None => Ok(0),
            Some(entry) => entry.as_string().map(<[u8]>::len).ok_or(Misfit("not a string")),
        }
    }

    /// Writes bytes into a string from `offset` on, which may lie beyond its end.
    fn write_string(
        &mut self,
        key: &KeyRef<'_>,
        offset: usize,
        bytes: &[u8],
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let len = self.string_len(key)?;
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= STRING_MAX);
        let end = end.ok_or(Misfit("string over the longest length"))?;
        let is_new = self.get(key).is_none();
        if is_new {
            self.insert(key, Entry::string(tag(key), key.bytes, b"", None));
        }
        let entry = self.get_mut(key).expect("found or just inserted");
        entry.set_access(if is_new { accesses.first() } else { accesses.next(entry.access()) });
        entry.resize_string(end.max(len))[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Puts bytes in the place of `removed` others, all of which must be there.
    fn splice_string(
        &mut self,
        key: &KeyRef<'_>,
        offset: u64,
        removed: u64,
        bytes: &[u8],
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let old_len = self.string_len(key)?;
        let tail = offset.checked_add(removed).filter(|&tail| tail <= old_len as u64);
        let tail = tail.ok_or(Misfit("bytes to be replaced behind the end of a string"))? as usize;
        // Within the string, so within the address space.
        let offset = offset as usize;
        let end = offset + bytes.len();
        let len = end + (old_len - tail);
        if len > STRING_MAX {
            return Err(Misfit("string over the longest length"));
        }
        if len > old_len {
            // Made longer first, then the tail moves back.
            self.write_string(key, len, b"", accesses)?;
        }
        let Some(entry) = self.get_mut(key) else { return Ok(()) };
        if len <= old_len {
            entry.set_access(accesses.next(entry.access()));
        }
        entry.resize_string(len.max(old_len)).copy_within(tail..old_len, end);
        entry.resize_string(len)[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    fn apply_collection(
        &mut self,
        key: &KeyRef<'_>,
        op: &Op<'_>,
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let Some(entry) = self.get_mut(key) else {
            let mut value = Value::empty_for(op).ok_or(Misfit("op of no collection"))?;
            value.apply(op)?;
            if !value.is_empty() {
                self.reindex_parts(key, None, value.next_expiry());
                let mut entry = Entry::value(tag(key), key.bytes, value, None);
                entry.set_access(accesses.first());
                self.insert(key, entry);
            }
            return Ok(());
        };
        entry.set_access(accesses.next(entry.access()));
        let value = entry.as_value_mut().ok_or(Misfit("a string is there"))?;
        let (old, old_streams) = (value.next_expiry(), StreamTotals::under(op, value));
        value.apply(op)?;
        let (new, new_streams) = (value.next_expiry(), StreamTotals::under(op, value));
        if value.is_empty() {
            // The index still has the expiry from before the op.
            let expire_at = entry.expire_at();
            self.reindex(key, expire_at, None);
            self.reindex_parts(key, old, None);
            self.remove(key);
        } else {
            self.reindex_parts(key, old, new);
            self.streams.change(old_streams, new_streams);
        }
        Ok(())
    }

    /// Removes a key from the table and from the indexes.
    fn delete(&mut self, key: &KeyRef<'_>) -> Option<Entry> {
        let entry = self.remove(key)?;
        self.reindex(key, entry.expire_at(), None);
        self.reindex_parts(key, entry.as_value().and_then(Value::next_expiry), None);
        Some(entry)
    }

    fn set_expiry(
        &mut self,
        key: &KeyRef<'_>,
        expire_at: Option<u64>,
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let entry = self.get_mut(key).ok_or(NO_KEY)?;
        entry.set_access(accesses.next(entry.access()));
        let old = entry.expire_at();
        entry.set_expire_at(expire_at);
        self.reindex(key, old, expire_at);
        Ok(())
    }

    fn rename(
        &mut self,
        key: &KeyRef<'_>,
        to: &[u8],
        seed: u64,
        accesses: &mut Accesses,
    ) -> Result<(), Misfit> {
        let to = KeyRef::new(to, seed);
        if to.slot != key.slot {
            return Err(Misfit("renamed into another slot"));
        }
        let entry = self.delete(key).ok_or(NO_KEY)?;
        self.delete(&to);
        let (expire_at, access) = (entry.expire_at(), entry.access());
        let changed_in_place = entry.changed_in_place();
        let mut renamed = match entry.kind() {
            Kind::String => {
                Entry::string(tag(&to), to.bytes, entry.as_string().expect("kind says so"), expire_at)
            }
            _ => Entry::value(tag(&to), to.bytes, entry.into_value().expect("kind says so"), expire_at),
        };
        renamed.set_access(accesses.next(access));
        if changed_in_place {
            renamed.mark_changed_in_place();
        }
        self.reindex(&to, None, expire_at);
        self.reindex_parts(&to, None, renamed.as_value().and_then(Value::next_expiry));
        self.insert(&to, renamed);
        Ok(())
    }

    #[inline]
    fn reindex(&mut self, key: &KeyRef<'_>, old: Option<u64>, new: Option<u64>) {
        if old != new {
            if let Some(at) = old {
                self.expiring.remove(&(at, key.slot, key.hash));
            }
            if let Some(at) = new {
                self.expiring.insert((at, key.slot, key.hash));
            }
        }
    }

    #[inline]
    fn reindex_parts(&mut self, key: &KeyRef<'_>, old: Option<u64>, new: Option<u64>) {
        if old != new {
            if let Some(at) = old {
                self.expiring_parts.remove(&(at, key.slot, key.hash));
            }
            if let Some(at) = new {
                self.expiring_parts.insert((at, key.slot, key.hash));
            }
        }
    }
}
