//! The promises on the simulated disk: random commands from several connections, with restarts, SIGKILLs and power failures in
//! between. What was acknowledged is kept, what survives is a prefix, and live state == replayed state.
//!
//! CRASH_CASES sets the number of random histories (default 200).

use std::sync::Arc;

use duramen::clock::SimClock;
use duramen::disk::sim::CrashStyle;
use duramen::disk::{Disk, SimDisk};
use duramen::engine::rig::Rig;
use duramen::error::StoreError;
use duramen::log::{LogOptions, Policy, Seed};
use duramen::snapshot::compact;
use duramen::snapshot::header;
use duramen::snapshot::retained::{Keep, Window};
use duramen::snapshot::room::is_no_room;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Command(usize, Vec<String>),
    /// MULTI ... EXEC, as one.
    Transaction(Vec<Vec<String>>),
    /// The same commands from a script, which goes on when one fails.
    Script(Vec<Vec<String>>),
    /// Lets the log write and sync so many times.
    Log(usize),
    PassMs(u64),
    Expire,
    /// One key goes, as a policy has it.
    Evict(&'static str),
    /// An orderly end and a start.
    Reopen,
    Kill,
    Power(u64, bool),
    /// Moves the log into the snapshot: the active segment, too, or not; with a small or a large budget; with a power failure
    /// after so many disk operations (and a seed), or none.
    Compact(bool, bool, Option<(u64, u64)>),
}

fn key() -> impl Strategy<Value = String> {
    (0u8..6, any::<bool>())
        .prop_map(|(n, tagged)| if tagged { format!("{{t}}:{n}") } else { format!("k{n}") })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0i64..200).prop_map(|n| n.to_string()),
        2 => "[a-z]{1,12}",
        1 => (1usize..3000).prop_map(|len| "x".repeat(len)),
    ]
}

/// The code of a library with one function.
fn library(number: i64, text: &str) -> String {
    let name = format!("#!lua name=l{number}\n");
    name + &format!(
        "redis.register_function('f{number}', function(k, a) redis.call('set', k[1], a[1]) return '{text}' end)"
    )
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let words = |line: &'static str, key: String, other: String, value: String, number: i64| -> Vec<String> {
        line.split(' ')
            .map(|word| match word {
                "K" => key.clone(),
                "O" => other.clone(),
                "V" => value.clone(),
                "N" => number.to_string(),
                "CODE" => library(number % 3, &value),
                "L" => format!("l{}", number % 3),
                "F" => format!("f{}", number % 3),
                word => word.to_owned(),
            })
            .collect()
    };
    let lines = prop::sample::select(vec![
        "SET K V",
        "SET K V PX 500",
        "SET K V KEEPTTL",
        "SETNX K V",
        "INCRBY K N",
        "APPEND K V",
        "SETRANGE K N V",
        "SETBIT K N 1",
        "GETSET K V",
        "GETDEL K",
        "GETEX K PX 300",
        "MSET K V O V",
        "DEL K O",
        "EXPIRE K N",
        "PEXPIRE K 700",
        "PERSIST K",
        "RENAME K O",
        "COPY K O REPLACE",
        "MOVE K 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "RPUSH K V V V",
        "LPUSH K V",
        "LPOP K",
        "RPOP K 2",
        "LMOVE K O LEFT RIGHT",
        "LTRIM K 1 -2",
        "LINSERT K BEFORE V N",
        "LREM K 0 V",
        "LSET K 0 V",
        "HSET K f V g N",
        "HINCRBY K g N",
        "HDEL K f",
        "HPEXPIRE K 400 FIELDS 1 f",
        "HPERSIST K FIELDS 1 f",
        "SADD K V N f",
        "SADD K N 1 2 3",
        "SREM K f N",
        "SPOP K",
        "SPOP K 2",
        "SMOVE K O f",
        "SUNIONSTORE K K O",
        "SINTERSTORE O K O",
        "SDIFFSTORE K K O",
        "SMEMBERS K",
        "BITFIELD K SET u8 N 255",
        // Payloads whose sums happen to be text: a string, a list, a set, a sorted set, a hash.
        "RESTORE K 700 \0\x04aadD\x08\0!OXbAiae REPLACE",
        "RESTORE K 0 \x01\x02\x04aad3\x01b\x08\0mlv'4W6( REPLACE",
        "RESTORE K 0 \x02\x02\x04aaYG\x01b\x08\0T2/v,E`| REPLACE",
        "RESTORE K 0 \x03\x02\x04aahc\x031.5\x01b\x012\x08\0b5a79ojj REPLACE",
        "RESTORE K 0 \x04\x02\x01f\x04aaYQ\x01g\x01w\x08\0ld+LDq`w",
        "SORT K ALPHA STORE O",
        "SORT K ALPHA DESC GET V* GET # STORE O",
        "GET K",
        "BITOP OR K O K",
        "PFADD K V N",
        "PFADD K 1 2 3 4 5 6 7 8 9 10 V",
        "PFCOUNT K",
        "PFMERGE K O K",
        "PFDEBUG TODENSE K",
        "GEOADD K N 1 V N 2 m",
        "GEOSEARCHSTORE K O FROMLONLAT 1 1 BYRADIUS 9000 km",
        "HGETALL K",
        "LRANGE K 0 -1",
        "BLPOP K 0",
        "ZADD K N V",
        "ZADD K N a N b 3 V",
        "ZINCRBY K N V",
        "ZREM K a V",
        "ZREMRANGEBYSCORE K 0 N",
        "ZPOPMAX K 2",
        "ZUNIONSTORE O 2 K O",
        "ZRANGESTORE O K 0 1",
        "ZRANGE K 0 -1 WITHSCORES",
        "BZPOPMIN K 0",
        "XADD K * f V g N",
        "XADD K * f V",
        "XADD K * o O",
        "XADD K MAXLEN 3 * f V",
        "XADD K DELREF MINID ~ N N-* f V",
        "XDEL K N 0-1",
        "XTRIM K MAXLEN 2",
        "XTRIM K MAXLEN 0 ACKED",
        "XTRIM K DELREF MAXLEN 1",
        "XSETID K 9999999999999-0 ENTRIESADDED N",
        "XGROUP CREATE K g 0 MKSTREAM",
        "XGROUP CREATE K h $ MKSTREAM ENTRIESREAD N",
        "XGROUP SETID K g 0",
        "XGROUP CREATECONSUMER K g c",
        "XGROUP DELCONSUMER K g d",
        "XGROUP DESTROY K h",
        "XREADGROUP GROUP g c COUNT 2 STREAMS K >",
        "XREADGROUP GROUP g d STREAMS K >",
        "XREADGROUP GROUP h c NOACK COUNT 1 STREAMS K >",
        "XREADGROUP GROUP g c STREAMS K 0",
        "XREADGROUP GROUP g d BLOCK 0 STREAMS K >",
        "XREAD BLOCK 0 STREAMS K $",
        "XAUTOCLAIM K g d 0 0 COUNT 2",
        "XAUTOCLAIM K g c N 0 JUSTID",
        "XINFO STREAM K FULL",
        "FUNCTION LOAD CODE",
        "FUNCTION LOAD REPLACE CODE",
        "FUNCTION DELETE L",
        "FUNCTION FLUSH",
        "FCALL F 1 K V",
        "FCALL F 1 K N",
    ]);
    (lines, key(), key(), value(), 0i64..100)
        .prop_map(move |(line, key, other, value, number)| words(line, key, other, value, number))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0usize..3, command()).prop_map(|(session, words)| Step::Command(session, words)),
        3 => prop::collection::vec(command(), 1..5).prop_map(Step::Transaction),
        3 => prop::collection::vec(command(), 1..5).prop_map(Step::Script),
        10 => (1usize..4).prop_map(Step::Log),
        4 => (1u64..400).prop_map(Step::PassMs),
        2 => Just(Step::Expire),
        3 => prop::sample::select(vec![
            "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
        ])
        .prop_map(Step::Evict),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        2 => (any::<u64>(), any::<bool>()).prop_map(|(seed, garbage)| Step::Power(seed, garbage)),
        3 => (any::<bool>(), any::<bool>(), prop::option::weighted(0.4, (0u64..60, any::<u64>())))
            .prop_map(|(seal, small, crash)| Step::Compact(seal, small, crash)),
    ]
}

/// A server on a simulated disk, with what it promised: the state after every record.
struct History {
    rig: Rig,
    disk: SimDisk,
    clock: Arc<SimClock>,
    policy: Policy,
    keep: Keep,
    /// (LSN, whole state) after each change since the last start; the first is the state at the start.
    states: Vec<(u64, String)>,
    /// The highest position that a reply at each level has been let go for.
    acknowledged_written: u64,
    acknowledged_durable: u64,
}

fn options(policy: Policy) -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, policy, threads: false, ..LogOptions::default() }
}

impl History {
    fn new(policy: Policy) -> Self {
        let disk = SimDisk::new(7);
        let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
        let rig = Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, clock.clone(), options(policy));
        let rig = rig.expect("a new store opens");
        let states = vec![(0, rig.state())];
        let keep = Keep::NOTHING;
        Self { rig, disk, clock, policy, keep, states, acknowledged_written: 0, acknowledged_durable: 0 }
    }

    /// What the manifest lists is there, and nothing else; and older snapshots that the log connects make the same state.
    fn check_snapshots(&self) -> Result<(), TestCaseError> {
        let catalogs = compact::catalogs(self.log()).expect("it was written by this program");
        let names = self.disk.files().into_iter().filter(|path| path.starts_with(header::FOLDER));
        let mut listed: Vec<String> = catalogs.files().into_iter().map(header::path).collect();
        listed.sort();
        prop_assert_eq!(names.collect::<Vec<_>>(), listed);
        let oldest = catalogs.oldest_connected(self.log().first_lsn());
        if let Some(file) = catalogs.current.files.iter().find(|file| !oldest.files.contains(file)) {
            let damaged = self.disk.kill();
            damaged.remove(&header::path(file.sequence)).expect("it is listed");
            let rig = Rig::open(Arc::new(damaged), self.clock.clone(), options(self.policy));
            let rig = rig.map_err(|error| TestCaseError::fail(format!("without {file:?}: {error}")))?;
            let end = rig.server.store.get().expect("the rig opened it").recovery.end_lsn;
            let expected = self.states.iter().rev().find(|(lsn, _)| *lsn <= end);
            prop_assert_eq!(Some(&rig.state()), expected.map(|(_, state)| state), "from an older snapshot");
        }
        Ok(())
    }

    fn log(&self) -> &duramen::log::Log {
        &self.rig.server.store.get().expect("the rig opened it").log
    }

    fn note_state(&mut self) {
        let lsn = self.log().append_lsn();
        if self.states.last().is_some_and(|(last, _)| *last != lsn) {
            self.states.push((lsn, self.rig.state()));
        }
    }

    /// What a client could have been told by now.
    fn note_acknowledged(&mut self) {
        self.acknowledged_durable = self.log().durable_lsn();
        self.acknowledged_written = self.log().written_lsn();
    }

    fn run(&mut self, session: usize, words: &[String]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        if !self.rig.is_blocked(session) {
            self.rig.call(session, &words);
        }
        self.note_state();
    }

    /// Goes on from another disk; the state found must be that after some record at or behind `kept`.
    fn reopen(&mut self, disk: SimDisk, kept: u64) -> Result<(), TestCaseError> {
        let opened =
            Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, self.clock.clone(), options(self.policy));
        let rig = match opened {
            Ok(rig) => rig,
            Err(error) => return Err(TestCaseError::fail(format!("the store did not open again: {error}"))),
        };
        let end = rig.server.store.get().expect("the rig opened it").recovery.end_lsn;
        prop_assert!(end >= kept, "found up to {end}, acknowledged up to {kept}");
        let expected = self.states.iter().rev().find(|(lsn, _)| *lsn <= end);
        let expected = expected.map(|(_, state)| state.as_str()).unwrap_or_default();
        prop_assert_eq!(rig.state(), expected, "replayed to {}, live", end);
        self.rig = rig;
        self.disk = disk;
        self.states = vec![(end, self.rig.state())];
        Ok(())
    }

    fn compact(&mut self, seal: bool, small: bool, crash: Option<(u64, u64)>) -> Result<(), TestCaseError> {
        if seal {
            self.log().seal();
            for _ in 0..12 {
                self.log().step();
            }
            self.note_acknowledged();
        }
        if let Some((mutations, _)) = crash {
            self.disk.crash_after(mutations);
        }
        let outcome = self.compact_all(if small { 2000 } else { 1 << 20 });
        if let Some((_, seed)) = crash {
            let (disk, kept) =
                (self.disk.crash(seed, CrashStyle::RandomWithGarbage), self.acknowledged_durable);
            return self.reopen(disk, kept);
        }
        outcome.map_err(|error| TestCaseError::fail(format!("compaction: {error}")))?;
        self.check_snapshots()
    }

    /// Rounds until there is nothing left to move.
    fn compact_all(&self, budget_bytes: usize) -> Result<(), StoreError> {
        let store = self.rig.server.store.get().expect("the rig opened it");
        let seed = Seed(store.keyspace.seed());
        let mut options =
            compact::Options { seed, level: 1, budget_bytes, reserve_bytes: 0, keep: self.keep };
        // In half of the cases there is little room: ranges are merged one by one, or the round fails for lack of it.
        let is_tight = self.states.len().is_multiple_of(2);
        if is_tight {
            options.reserve_bytes = self.disk.free_bytes().unwrap_or(0).saturating_sub(TIGHT_BYTES);
        }
        loop {
            match compact::round(&store.log, &*store.disk, &*self.clock, &options, &mut |_| Ok(())) {
                Ok(Some(_)) => options.keep.replaced = false,
                Ok(None) => return Ok(()),
                Err(error) if is_tight && is_no_room(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Command(session, words) => self.run(*session, words),
            Step::Transaction(commands) => {
                if !self.rig.is_blocked(0) {
                    self.rig.run("MULTI");
                    for words in commands {
                        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                        self.rig.call(0, &words);
                    }
                    self.rig.run("EXEC");
                    self.note_state();
                }
            }
            Step::Script(commands) => {
                if !self.rig.is_blocked(0) {
                    self.rig.call(0, &[b"EVAL", script(commands).as_bytes(), b"0"]);
                    self.note_state();
                }
            }
            Step::Log(steps) => {
                for _ in 0..*steps {
                    self.log().step();
                }
            }
            Step::PassMs(ms) => self.rig.advance_ms(*ms),
            Step::Expire => {
                self.rig.expire();
                self.note_state();
            }
            Step::Evict(policy) => {
                self.rig.evict_one(policy);
                self.note_state();
            }
            Step::Reopen => {
                self.log().shutdown().map_err(|e| TestCaseError::fail(format!("shutdown: {e}")))?;
                let end = self.log().append_lsn();
                let disk = self.disk.kill();
                self.reopen(disk, end)?;
            }
            Step::Kill => {
                let kept = self.acknowledged_written;
                let disk = self.disk.kill();
                self.reopen(disk, kept)?;
            }
            Step::Compact(seal, small, crash) => self.compact(*seal, *small, *crash)?,
            Step::Power(seed, garbage) => {
                let style = if *garbage { CrashStyle::RandomWithGarbage } else { CrashStyle::Random };
                let (disk, kept) = (self.disk.crash(*seed, style), self.acknowledged_durable);
                self.reopen(disk, kept)?;
            }
        }
        self.note_acknowledged();
        Ok(())
    }
}

/// A program that calls the commands one after the other.
fn script(commands: &[Vec<String>]) -> String {
    let quoted =
        |words: &Vec<String>| words.iter().map(|word| format!("[[{word}]]")).collect::<Vec<_>>().join(",");
    commands.iter().map(|words| format!("redis.pcall({})\n", quoted(words))).collect()
}

/// What retention keeps, in half of the histories.
fn keep() -> impl Strategy<Value = Keep> {
    let window = prop_oneof![
        2 => Just(Window::Nothing),
        1 => (1u64..3_000_000).prop_map(Window::Us),
        1 => (1u64..60_000).prop_map(Window::Bytes),
    ];
    let snapshots = prop_oneof![2 => Just(0usize), 1 => 1usize..4];
    (snapshots, window).prop_map(|(snapshots, window)| Keep { snapshots, window, ..Keep::NOTHING })
}

/// Room of a compaction that has little.
const TIGHT_BYTES: u64 = 20_000;

fn cases() -> u32 {
    std::env::var("CRASH_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_is_kept_and_what_survives_is_a_prefix(
        everysec in any::<bool>(), keep in keep(), steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut history = History::new(if everysec { Policy::EverySec } else { Policy::Always });
        history.keep = keep;
        for step in &steps {
            history.step(step)?;
        }
        history.step(&Step::Reopen)?;
    }
}

/// A transaction that moves money is there whole or not at all, wherever the power fails.
#[test]
fn a_transaction_is_whole_or_absent_at_every_crash_point() {
    for mutations in 0..60 {
        let mut history = History::new(Policy::Always);
        history.rig.run("MSET a 100 b 0");
        history.rig.settle();
        history.disk.crash_after(mutations);
        history.rig.run("MULTI");
        history.rig.run("DECRBY a 40");
        history.rig.run("INCRBY b 40");
        history.rig.run("RPUSH journal a:40");
        history.rig.run("EXEC");
        for _ in 0..20 {
            history.log().step();
        }
        let durable = history.log().durable_lsn() == history.log().append_lsn();
        for seed in 0..8 {
            let disk = history.disk.crash(seed, CrashStyle::RandomWithGarbage);
            let mut rig =
                Rig::open(Arc::new(disk), history.clock.clone(), options(Policy::Always)).expect("it opens");
            let found = (rig.run("MGET a b"), rig.run("LLEN journal"));
            let after = ("*2\r\n$2\r\n60\r\n$2\r\n40\r\n".to_owned(), ":1\r\n".to_owned());
            let before = ("*2\r\n$3\r\n100\r\n$1\r\n0\r\n".to_owned(), ":0\r\n".to_owned());
            assert!(
                found == after || (!durable && found == before),
                "after {mutations} disk operations: {found:?}"
            );
        }
    }
}

/// What a script has changed in several keys and databases is there whole or not at all, wherever the power fails.
#[test]
fn a_script_is_whole_or_absent_at_every_crash_point() {
    const SCRIPT: &str =
        "for i = 1, 40 do redis.call('set', 'k' .. i, 'v') redis.call('rpush', 'list', i) end
        redis.call('decrby', 'a', 40) redis.call('select', 1) redis.call('incrby', 'b', 40)
        redis.call('select', 0) redis.pcall('incr', 'list') redis.call('del', 'gone') error('the end')";
    for mutations in 0..60 {
        let mut history = History::new(Policy::Always);
        history.rig.run("MSET a 100 gone x");
        history.rig.settle();
        history.disk.crash_after(mutations);
        let (reply, _) = history.rig.call(0, &[b"EVAL", SCRIPT.as_bytes(), b"0"]);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.starts_with("-ERR user_script:3: the end"), "{reply}");
        for _ in 0..20 {
            history.log().step();
        }
        let durable = history.log().durable_lsn() == history.log().append_lsn();
        for seed in 0..8 {
            let disk = history.disk.crash(seed, CrashStyle::RandomWithGarbage);
            let mut rig =
                Rig::open(Arc::new(disk), history.clock.clone(), options(Policy::Always)).expect("it opens");
            let found: String = ["GET a", "EXISTS gone", "LLEN list", "DBSIZE", "SELECT 1", "EXISTS b"]
                .map(|line| rig.run(line))
                .concat();
            let after = "$2\r\n60\r\n:0\r\n:40\r\n:42\r\n+OK\r\n:1\r\n";
            let before = "$3\r\n100\r\n:1\r\n:0\r\n:2\r\n+OK\r\n:0\r\n";
            assert!(
                found == after || (!durable && found == before),
                "after {mutations} disk operations: {found:?}"
            );
        }
    }
}

/// What libraries of functions say when they are called, and whether keys are as they should be.
fn said(rig: &mut Rig) -> String {
    ["FCALL f0 1 k v", "FCALL f1 1 k v", "FCALL f2 1 k v"].map(|line| rig.run(line)).concat()
}

/// A library that was loaded, replaced or deleted is what it was before or after that, wherever the power fails.
#[test]
fn libraries_of_functions_are_whole_or_absent_at_every_crash_point() {
    let before = "$3\r\nold\r\n-ERR Function not found\r\n$4\r\ngone\r\n";
    let after = "$3\r\nnew\r\n$5\r\nadded\r\n-ERR Function not found\r\n";
    let mut seen = [false; 2];
    for mutations in 0..40 {
        let mut history = History::new(Policy::Always);
        for (number, text) in [(0, "old"), (2, "gone")] {
            history.rig.call(0, &[b"FUNCTION", b"LOAD", library(number, text).as_bytes()]);
        }
        assert_eq!(said(&mut history.rig), before);
        history.rig.settle();
        history.disk.crash_after(mutations);
        history.rig.run("MULTI");
        history.rig.call(0, &[b"FUNCTION", b"LOAD", b"REPLACE", library(0, "new").as_bytes()]);
        history.rig.call(0, &[b"FUNCTION", b"LOAD", library(1, "added").as_bytes()]);
        history.rig.run("FUNCTION DELETE l2");
        history.rig.run("EXEC");
        for _ in 0..20 {
            history.log().step();
        }
        let durable = history.log().durable_lsn() == history.log().append_lsn();
        for seed in 0..6 {
            let disk = history.disk.crash(seed, CrashStyle::RandomWithGarbage);
            let mut rig =
                Rig::open(Arc::new(disk), history.clock.clone(), options(Policy::Always)).expect("it opens");
            let found = said(&mut rig);
            seen[usize::from(found == after)] = true;
            assert!(found == after || (!durable && found == before), "after {mutations}: {found:?}");
        }
    }
    assert_eq!(seen, [true; 2]);
}

/// FLUSHALL leaves libraries alone, and a compaction takes them along, even one that the power cuts short.
#[test]
fn libraries_of_functions_outlive_flushes_compaction_and_restarts() {
    let expected = "$3\r\nnew\r\n-ERR Function not found\r\n-ERR Function not found\r\n";
    for mutations in 0..50 {
        let mut history = History::new(Policy::Always);
        for round in 0..3 {
            for (number, text) in [(0, "old"), (1, "gone"), (0, "new")] {
                let code = library(number, text);
                history.rig.call(0, &[b"FUNCTION", b"LOAD", b"REPLACE", code.as_bytes()]);
            }
            history.rig.run("FUNCTION DELETE l1");
            history.rig.run(&format!("SET key:{round} v"));
            history.rig.run("SWAPDB 0 1");
            history.rig.run("FLUSHALL");
            assert_eq!(history.rig.run("DBSIZE") + &history.rig.run("KEYS *"), ":0\r\n*0\r\n");
            history.log().seal();
            while history.log().step() {}
            if round == 2 {
                history.disk.crash_after(mutations);
            }
            let compacted = history.compact_all(1 << 20);
            assert!(round == 2 || compacted.is_ok());
        }
        for seed in 0..3 {
            let disk = Arc::new(history.disk.crash(seed, CrashStyle::RandomWithGarbage));
            let mut rig = Rig::open(disk, history.clock.clone(), options(Policy::Always)).expect("it opens");
            assert_eq!(rig.run("DBSIZE"), ":0\r\n");
            assert_eq!(said(&mut rig), expected, "after {mutations} disk operations");
        }
    }
}

/// Bytes of a snapshot are never taken for others: the start is refused, or nothing is different.
#[test]
fn a_damaged_snapshot_is_refused() {
    let mut history = History::new(Policy::Always);
    for round in 0..3 {
        // Few changes make deltas.
        for n in 0..if round == 0 { 60 } else { 3 } {
            history.rig.run(&format!("SET key:{n} {round}-{}", "v".repeat(5 * n)));
            history.rig.run(&format!("HSET hash:{n} f{round} v"));
            history.rig.run(&format!("RPUSH list:{} {n}", n % 3));
        }
        history.log().seal();
        while history.log().step() {}
        history.compact_all(1 << 20).expect("a healthy disk");
    }
    let expected = history.rig.state();
    let disk = history.disk.kill();
    let snapshots: Vec<String> = disk.files().into_iter().filter(|path| path.ends_with(".snap")).collect();
    assert!(snapshots.len() > 12, "bases and deltas: {snapshots:?}");
    let mut refused = 0;
    for path in &snapshots {
        let whole = disk.read_raw(path).expect("it is listed");
        // The header's zeros are thousands: a few of them stand for all.
        let places = (0..100).chain((100..4096).step_by(997)).chain((4096..whole.len()).step_by(5));
        let flips = places.map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        });
        let cuts = [0, 1, 4095, 4096, whole.len() / 2, whole.len() - 1]
            .map(|len| whole[..len.min(whole.len())].to_vec());
        for bytes in flips.chain(cuts) {
            let damaged = disk.kill();
            damaged.write_raw(path, &bytes);
            match Rig::open(Arc::new(damaged), history.clock.clone(), options(Policy::Always)) {
                Ok(rig) => assert_eq!(rig.state(), expected, "{path}"),
                Err(error) => {
                    assert!(error.to_string().contains(path.as_str()), "{error} does not name {path}");
                    refused += 1;
                }
            }
        }
        let without = disk.kill();
        without.remove(path).expect("it is there");
        assert!(Rig::open(Arc::new(without), history.clock.clone(), options(Policy::Always)).is_err());
    }
    assert!(refused > 1000, "{refused}");
}
