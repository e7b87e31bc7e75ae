//! What each type adds to the torture: one file with the commands that log each of its ops. [`TYPES`] is the one place to name it.

mod hashes;
mod hyperloglogs;
mod keys;
mod lists;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

/// Commands that log every op of a type, none of which is refused, however often they run one behind the other.
pub struct Type {
    pub name: &'static str,
    pub lines: &'static [&'static str],
}

pub const TYPES: &[Type] = &[
    Type { name: "keys", lines: keys::LINES },
    Type { name: "strings", lines: strings::LINES },
    Type { name: "lists", lines: lists::LINES },
    Type { name: "hashes", lines: hashes::LINES },
    Type { name: "sets", lines: sets::LINES },
    Type { name: "sorted-sets", lines: sorted_sets::LINES },
    Type { name: "hyperloglogs", lines: hyperloglogs::LINES },
    Type { name: "streams", lines: streams::LINES },
];
