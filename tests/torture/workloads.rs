//! The workloads: what a life of a store is made of, one step a line.
//!
//! ```text
//! SET k %300      a command of the first connection; `%300` is a value of so many letters. It must not be refused.
//! @1 BLPOP k 0    the same of another connection
//! .               the log does one unit of its work; `..` two, and so on; `settle` all
//! pass 400        milliseconds
//! expire          a cycle of active expiry
//! sync            somebody demands that everything is durable
//! compact 2000    the log is sealed and moved into the snapshot in rounds of at most so many bytes
//! policy no       appendfsync from now on
//! restart         an orderly end and a start; `sigkill` the same without the end
//! ```
//!
//! After each command line the log settles, unless the workload is *lazy*: then only when told to.

use duramen::log::Policy;

use crate::types::TYPES;

pub struct Workload {
    pub name: String,
    pub policy: Policy,
    pub lazy: bool,
    pub lines: Vec<String>,
}

pub const POLICIES: [(&str, Policy); 3] =
    [("always", Policy::Always), ("everysec", Policy::EverySec), ("no", Policy::No)];

/// Commands of a type, a snapshot, the same again, a delta, an end and a start.
fn of_types() -> impl Iterator<Item = Workload> {
    TYPES.iter().enumerate().flat_map(|(index, each)| {
        POLICIES.iter().enumerate().map(move |(at, &(policy_name, policy))| {
            let lines = || each.lines.iter().map(|line| (*line).to_owned());
            // The middle one is written in groups, and compacted in many rounds.
            let between = if at == 1 { ["compact 300", "pass 600"] } else { ["compact 100000", "settle"] };
            let between = || between.iter().map(|line| (*line).to_owned());
            let all = lines().chain(between()).chain(lines()).chain(between());
            let end = if index % 2 == 0 { "restart" } else { "sigkill" };
            Workload {
                name: format!("{}-{policy_name}", each.name),
                policy,
                lazy: false,
                lines: all.chain([end.to_owned()]).collect(),
            }
        })
    })
}

const ROLLING: &str = "
    SET a %3000
    SET b %3000
    SET a %3000
    MSET c %2000 d %2000 e %100
    policy everysec
    SET f %3000
    pass 700
    SET g %3000
    policy always
    SET h %3000
    DEL a
    pass 20
    settle
    restart
    SET i %4000
";

const LARGER_THAN_A_SEGMENT: &str = "
    SET small 1
    SET large %20000
    APPEND large tail
    RPUSH list %9000 %9000
    compact 4000
    SET large %17000
    SET small 2
    restart
    DEL large
    compact 100000
";

const DELTAS: &str = "
    MSET {t}1 %200 {t}2 %200 {t}3 %200 {t}4 %200 {t}5 %200 {t}6 %200 {t}7 %200 {t}8 %200
    HSET {t}h f %300 g %300
    RPUSH {t}l a b c %300
    SET other %200
    compact 100000
    SET {t}1 a
    HSET {t}h f b
    LPOP {t}l
    compact 100000
    APPEND {t}1 c
    DEL {t}2
    EXPIRE {t}3 1000
    compact 100000
    SETBIT {t}1 9 1
    RPUSH {t}l %700
    SET {t}4 %700
    compact 100000
    restart
    SET {t}5 5
    compact 100000
";

const RENAMES: &str = "
    MSET {r}a %100 {r}b %100 {r}c %100 {r}d %100 {r}e %300 {r}f %300 {r}g %300
    RPUSH {r}l a b %100
    compact 100000
    RENAME {r}a {r}x
    RENAME {r}b {r}a
    RENAME {r}x {r}b
    APPEND {r}b tail
    RENAME {r}l {r}c
    RPUSH {r}c c
    compact 100000
    SET {r}n 1
    RENAME {r}n {r}d
    RENAME {r}c {r}away
    compact 100
    restart
";

const DATABASES: &str = "
    SET a %100
    RPUSH l a b
    SELECT 1
    SET a %200
    compact 100000
    SWAPDB 0 1
    SET b 2
    compact 100000
    FLUSHDB
    SET c 3
    SELECT 0
    compact 300
    SET d 4
    FLUSHALL
    SET e 5
    compact 100000
    SWAPDB 0 7
    compact 100000
    restart
    FLUSHALL
    compact 100000
";

const RETENTION: &str = "
    retain 1 0
    MSET {t}1 %100 {t}2 %100 {t}3 %100 other %40
    compact 100000
    SET {t}1 a
    compact 100000
    SET {t}1 %200
    DEL {t}2
    compact 100000
    retain 2 9000
    RPUSH l a b %500
    compact 100000
    FLUSHDB
    SET {t}1 b
    compact 100
    restart
    SET {t}2 c
    compact 100000
    retain 0 0
    SET {t}3 d
    compact 100000
";

const TRANSACTIONS: &str = "
    MSET from 100 to 0
    MULTI
    DECRBY from 40
    INCRBY to 40
    RPUSH journal from:to:40
    EXEC
    MULTI
    SET large %9000
    DEL large
    SET from %5000
    HSET h f v
    EXEC
    compact 100000
    MULTI
    FLUSHDB
    SET after 1
    SWAPDB 0 2
    SET before 2
    EXEC
    restart
";

const EXPIRY: &str = "
    SET a 1 PX 100
    SET b %300 PX 5000
    HSET h f 1 g 2
    HPEXPIRE h 100 FIELDS 1 f
    compact 100000
    pass 200
    GET a
    expire
    HGET h f
    compact 100000
    SET c 1 PX 50
    PEXPIRE b 100
    pass 300
    restart
    GET b
    expire
    compact 100000
";

/// Nothing is written until it is asked for: groups of many records, and what the disk has not seen.
const GROUPS: &str = "
    SET a 1
    SET b 2
    RPUSH l a b c
    .
    INCR a
    INCR a
    SET c %3000
    .
    SET d %6000
    SET e %600
    ..
    sync
    .
    LPOP l
    pass 600
    .
    HSET h f v
    ...
    policy always
    SET f %5000
    .
    policy everysec
    SET g 1
    .
    settle
    compact 1000
    SET h2 1
    restart
    SET i 1
    settle
    sigkill
    SET j 1
";

pub fn all() -> Vec<Workload> {
    let of = |name: &str, policy, lazy, text: &str| Workload {
        name: name.to_owned(),
        policy,
        lazy,
        lines: text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect(),
    };
    let mut all: Vec<Workload> = of_types().collect();
    for (name, text) in [
        ("rolling", ROLLING),
        ("large", LARGER_THAN_A_SEGMENT),
        ("deltas", DELTAS),
        ("renames", RENAMES),
        ("databases", DATABASES),
        ("retention", RETENTION),
        ("transactions", TRANSACTIONS),
        ("expiry", EXPIRY),
    ] {
        all.push(of(name, Policy::Always, false, text));
        all.push(of(&format!("{name}-buffered"), Policy::EverySec, false, text));
    }
    for (policy_name, policy) in POLICIES {
        all.push(of(&format!("groups-{policy_name}"), policy, true, GROUPS));
    }
    all
}
