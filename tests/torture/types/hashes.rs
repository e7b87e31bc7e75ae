//! Ops on hashes.

pub const LINES: &[&str] = &[
    "DEL h i",
    "HSET h f 1 g 2 h %50",
    "HINCRBY h f 3",
    "HSETNX h i 4",
    "HPEXPIRE h 100000 FIELDS 2 f g",
    "HINCRBY h f 3",
    "HPERSIST h FIELDS 1 f",
    "HDEL h f",
    "HSET i a %300 b %300",
    "HDEL i a b",
    "HSET i c 1",
];
