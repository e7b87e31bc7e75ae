//! Ops on lists.

pub const LINES: &[&str] = &[
    "DEL l m",
    "RPUSH l a b c d e f g h",
    "LPUSH l %50 z",
    "LPOP l",
    "RPOP l 2",
    "LSET l 1 B",
    "LINSERT l BEFORE c bc",
    "LINSERT l AFTER c cd",
    "LREM l 1 bc",
    "LREM l -1 cd",
    "LTRIM l 1 -2",
    "LMOVE l m LEFT RIGHT",
    "RPUSH m %600 %600",
    "@1 BLPOP waits 0",
    "RPUSH waits x y",
    "RPOP waits",
];
