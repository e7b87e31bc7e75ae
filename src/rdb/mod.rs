//! Redis' RDB format of values: what DUMP writes and RESTORE reads, and what a file of many keys is made of.
//!
//! ```text
//! value  = type u8 | what the type says                   in files the key stands between the two
//! length = 00nnnnnn | 01nnnnnn n8 | 0x80 n32 | 0x81 n64    big-endian
//! string = length | bytes,   or 0xc0 i8 | 0xc1 i16 | 0xc2 i32   an integer's digits, little-endian
//!          or 0xc3 length of what follows | length of the string | LZF
//! ```
//!
//! Written are the types of version 11 (Redis 7.2); a hash with fields that expire needs a type of version 12 (Redis 7.4).
//! Read are those and all older ones, but no values of modules. Nothing is written compressed.
//!
//! Reading is total: any bytes are a [`Content`] or malformed, and no more memory is asked for than the bytes can fill. What
//! this does not do: look at a clock, at limits of representations, or at the keyspace.

mod content;
mod crc64;
mod decode;
mod encode;
mod input;
mod intset;
mod listpack;
mod lzf;
mod payload;
mod pieces;
mod stream;
mod ziplist;
mod zipmap;

pub use content::Content;
pub use crc64::crc64;
pub use decode::decode;
pub use encode::{put_string, put_value, type_of};
pub use input::Input;
pub use payload::{open, seal};
pub use pieces::Pieces;
pub use stream::put as put_stream;

/// The version whose types are written.
pub const VERSION: u16 = 11;
/// The version of a hash whose fields expire, and the newest that is read.
pub const VERSION_OF_FIELD_EXPIRY: u16 = 12;

/// The type bytes, by Redis' numbers.
pub mod types {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    /// Scores as text.
    pub const SORTED_SET: u8 = 3;
    pub const HASH: u8 = 4;
    /// Scores as doubles.
    pub const SORTED_SET_2: u8 = 5;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const SORTED_SET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const SORTED_SET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Fields that expire, from version 12 on.
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// What a node of a list is.
mod node {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}

/// The version that a payload with a value of this type must name.
pub const fn version_of(kind: u8) -> u16 {
    if kind == types::HASH_METADATA { VERSION_OF_FIELD_EXPIRY } else { VERSION }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
