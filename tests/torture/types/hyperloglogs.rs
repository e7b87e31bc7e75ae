//! Ops that HyperLogLogs make: strings that grow in their middle, and registers in place.

pub const LINES: &[&str] = &[
    "DEL p q",
    "PFADD p a b c",
    "PFADD p d",
    "PFCOUNT p",
    "PFADD q e %40",
    "PFMERGE q p",
    "PFDEBUG TODENSE p",
    "PFADD p f g",
    "PFADD p h",
    "PFCOUNT p",
    "PFMERGE q p",
];
