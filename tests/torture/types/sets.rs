//! Ops on sets. What SPOP chooses here is never left to chance: every run makes the same log.

pub const LINES: &[&str] = &[
    "DEL s t u",
    "SADD s 1 2 3",
    "SADD s a b %50",
    "SREM s a 1",
    "SADD t 3 4 %300 %300",
    "SMOVE t s 4",
    "SUNIONSTORE u s t",
    "SINTERSTORE u u t",
    "SADD v x",
    "SPOP v",
    "SDIFFSTORE s s t",
    "SPOP u 100",
];
