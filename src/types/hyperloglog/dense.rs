//! The dense form: 16384 registers of six bits, each from the lowest free bit of its byte on.

use super::element::{Element, REGISTERS};
use super::estimate::Histogram;
use super::view::HEADER;

const WIDTH: usize = 6;
const MASK: u8 = (1 << WIDTH) - 1;
/// Bytes of all registers.
pub(super) const DENSE: usize = REGISTERS * WIDTH / 8;
/// Length of the whole string.
pub(super) const DENSE_LEN: usize = HEADER + DENSE;

/// First byte of a register and its lowest bit there.
const fn place(index: usize) -> (usize, usize) {
    (index * WIDTH / 8, index * WIDTH % 8)
}

/// One register of those in `bytes`.
pub(super) fn get(bytes: &[u8], index: usize) -> u8 {
    let (byte, bit) = place(index);
    // The last register ends with its byte.
    let pair = u16::from(bytes[byte]) | u16::from(bytes.get(byte + 1).copied().unwrap_or(0)) << 8;
    (pair >> bit) as u8 & MASK
}

pub(super) fn set(bytes: &mut [u8], index: usize, value: u8) {
    let (byte, bit) = place(index);
    write(&mut bytes[byte..], bit, value);
}

/// Writes a register whose lowest bit is `bit` of the first byte.
fn write(bytes: &mut [u8], bit: usize, value: u8) {
    bytes[0] = bytes[0] & !(MASK << bit) | value << bit;
    if bit + WIDTH > 8 {
        let (low, kept) = (8 - bit, 0xff << (bit + WIDTH - 8));
        bytes[1] = bytes[1] & kept | value >> low;
    }
}

/// All registers in order.
pub(super) fn registers(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.as_chunks::<3>().0.iter().flat_map(|&[a, b, c]| {
        let four = u32::from_le_bytes([a, b, c, 0]);
        [0, 6, 12, 18].map(|shift| (four >> shift) as u8 & MASK)
    })
}

pub(super) fn histogram(bytes: &[u8]) -> Histogram {
    let mut histogram = [0; 64];
    registers(bytes).for_each(|value| histogram[usize::from(value)] += 1);
    histogram
}

/// New bytes for a place of the string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub offset: usize,
    pub bytes: smallvec::SmallVec<[u8; 24]>,
}

/// Two changes that are not further apart become one: an op of its own takes about so many bytes.
pub(super) const GAP: usize = 16;

/// What adding elements changes in a string of dense form, mark of the changed cardinality included. Nothing if no register grows.
pub(super) fn patches(string: &[u8], elements: impl Iterator<Item = Element>) -> Vec<Patch> {
    let old = &string[HEADER..];
    let mut grown: smallvec::SmallVec<[Element; 8]> =
        elements.filter(|element| get(old, element.index.into()) < element.rank).collect();
    if grown.is_empty() {
        return Vec::new();
    }
    // Of several for one register the highest comes last.
    grown.sort_unstable();
    let stale = HEADER - 1;
    let mark = Patch { offset: stale, bytes: smallvec::smallvec![string[stale] | 0x80] };
    let mut patches = if mark.bytes[0] == string[stale] { Vec::new() } else { vec![mark] };
    for element in grown {
        let (first, bit) = place(element.index.into());
        let (start, end) = (HEADER + first, HEADER + first + 1 + usize::from(bit + WIDTH > 8));
        match patches.last_mut() {
            Some(last) if last.offset + last.bytes.len() + GAP >= start => {
                let written = last.offset + last.bytes.len();
                last.bytes.extend_from_slice(&string[written.min(end)..end]);
            }
            _ => patches.push(Patch { offset: start, bytes: string[start..end].into() }),
        }
        let patch = patches.last_mut().expect("there is one, or it was just made");
        let at = start - patch.offset;
        write(&mut patch.bytes[at..], bit, element.rank);
    }
    patches
}
