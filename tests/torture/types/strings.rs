//! Ops on strings.

pub const LINES: &[&str] = &[
    "SET s 10",
    "SET lived %30 PX 100000",
    "INCRBY s 5",
    "APPEND s abc",
    "SETRANGE s 2 xyz",
    "SETBIT s 1 1",
    "SETBIT s 1 0",
    "BITFIELD b SET u8 8 255 SET u8 0 1",
    "GETEX lived PERSIST",
    "SET s %700 KEEPTTL",
    "MSET s 1 t 2 {u}1 3 v %100",
    "GETDEL t",
];
