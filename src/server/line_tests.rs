//! What a connection is shown and when it is closed for what it does not read, where time and the log stand still between two looks.

use std::os::unix::net::UnixStream;

use crate::clock::SimClock;
use crate::command::channels::{Letter, Post};
use crate::config::Name;
use crate::disk::sim::CrashStyle;
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::{Rig, client_without_socket};
use crate::log::{Log, LogOptions};
use crate::resp::Protocol;
use crate::server::stream::{Accepted, ReadHalf};

use super::*;

/// A connection whose socket is never written to; the other end is kept open.
struct Mute {
    line: Line,
    _sockets: (ReadHalf, UnixStream),
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime")
}

/// Call inside a runtime.
fn mute(topics: usize) -> Mute {
    let (own, other) = UnixStream::pair().expect("a pair of sockets");
    own.set_nonblocking(true).expect("it can be set");
    let (read, write) = Accepted::Unix(own).split().expect("a runtime is entered");
    let client = client_without_socket(7, 0);
    client.subscriptions[0].store(topics, Relaxed);
    Mute { line: Line::new(write, client), _sockets: (read, other) }
}

impl Mute {
    fn gets(&self, count: usize) {
        self.line.outbox.borrow_mut().bytes.extend(std::iter::repeat_n(b'x', count));
    }

    fn reads(&self, count: usize) {
        self.line.outbox.borrow_mut().consume(count);
    }

    /// Whether it is open after a look at that time.
    fn lives(&self, server: &Server, now_ms: u64) -> bool {
        self.line.sweep(server, now_ms);
        !self.line.dead.get()
    }
}

#[test]
fn output_may_be_over_the_soft_limit_of_its_class_for_so_long_and_no_longer() {
    let (rig, runtime) = (Rig::new(), runtime());
    let (server, _entered) = (&rig.server, runtime.enter());
    let limits = "normal 0 0 0 pubsub 0 1000 3";
    server.config.set_at_start(Name::client_output_buffer_limit, limits).expect("as in redis.conf");
    let closed = || server.stats.output_buffer_limit_disconnections.get();

    let [over, at, other] = [mute(1), mute(1), mute(0)];
    over.gets(1001);
    at.gets(1000);
    other.gets(1 << 20);
    for now_ms in [10_000, 10_001, 12_999] {
        assert!(over.lives(server, now_ms), "at {now_ms}");
    }
    assert!(!over.lives(server, 13_000) && closed() == 1);
    for now_ms in [10_000, 13_000, 1_000_000] {
        assert!(at.lives(server, now_ms) && other.lives(server, now_ms), "at {now_ms}");
    }

    // Who gets below it in between begins anew.
    let between = mute(1);
    between.gets(1500);
    assert!(between.lives(server, 20_000) && between.lives(server, 22_000));
    between.reads(500);
    assert!(between.lives(server, 22_500));
    between.gets(1);
    assert!(between.lives(server, 22_900) && between.lives(server, 25_899));
    assert!(!between.lives(server, 25_900));
    assert_eq!(closed(), 2);
}

#[test]
fn who_waits_for_the_server_is_not_idle_and_who_does_not_read_is() {
    let (mut rig, runtime) = (Rig::new(), runtime());
    let (server, _entered) = (rig.server.clone(), runtime.enter());
    server.config.set_at_start(Name::timeout, "3").expect("as in redis.conf");
    rig.run("SET k v");
    let log = &server.store.get().expect("the rig opened it").log;

    let [silent, unread, blocked, paused, held] = [(); 5].map(|()| mute(0));
    unread.gets(10);
    blocked.line.blocked.set(true);
    paused.line.client.held_back.store(true, Relaxed);
    held.gets(10);
    held.line.outbox.borrow_mut().gate(0, log.append_lsn(), Level::Durable);
    let waiting = [&blocked, &paused, &held];
    for now_ms in [0, 3000] {
        assert!(waiting.iter().chain(&[&silent, &unread]).all(|mute| mute.lives(&server, now_ms)));
    }
    assert!(!silent.lives(&server, 3001) && !unread.lives(&server, 3001));
    assert!([3001, 1_000_000].iter().all(|&now_ms| waiting.iter().all(|mute| mute.lives(&server, now_ms))));

    blocked.line.blocked.set(false);
    paused.line.client.held_back.store(false, Relaxed);
    log.flush_tick(true);
    rig.settle();
    // Counted from where they were last seen waiting.
    assert!(waiting.iter().all(|mute| mute.lives(&server, 1_003_000)));
    assert!(waiting.iter().all(|mute| !mute.lives(&server, 1_003_001)));
}

/// Which messages a connection has been shown.
struct Reader {
    mute: Mute,
    /// The number of the last one.
    shown: u64,
    last_bytes: Vec<u8>,
    /// How often something was there that might not be shown yet.
    held: usize,
}

impl Reader {
    fn new(durability: Option<Policy>) -> Self {
        let mute = mute(1);
        mute.line.durability.set(durability);
        Self { mute, shown: 0, last_bytes: Vec::new(), held: 0 }
    }

    fn is_told(&self, server: &Server, posts: &[Post]) {
        for post in posts {
            let Letter::Message(message) = &post.letter else { panic!("nobody tracks") };
            assert!(self.mute.line.push(server, message.encoded(Protocol::Resp2), post.gate));
        }
    }

    /// Takes what may leave, as the worker does.
    fn look(&mut self, log: &Log) {
        let published = Published::of(log);
        loop {
            let mut outbox = self.mute.line.outbox.borrow_mut();
            let ready = outbox.ready(published).to_vec();
            if ready.is_empty() {
                self.held += usize::from(!outbox.is_empty());
                break;
            }
            outbox.consume(ready.len());
            self.last_bytes.extend(ready);
        }
        let text = String::from_utf8_lossy(&self.last_bytes);
        let numbers = text.split("\r\n").filter_map(|word| word.strip_prefix("number:")?.parse().ok());
        self.shown = numbers.max().unwrap_or(self.shown);
    }

    fn asks_for_the_medium(&self, log: &Log) -> bool {
        self.mute.line.level(log.policy()) == Level::Durable
    }
}

const ROUNDS: u64 = 24;

/// The number that a store on this disk holds.
fn found(disk: SimDisk, options: &LogOptions) -> u64 {
    let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
    let mut rig = Rig::open(Arc::new(disk) as Arc<dyn Disk>, clock, options.clone()).expect("it opens");
    let reply = rig.run("GET number");
    reply.split("\r\n").nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn no_message_of_a_transaction_is_shown_before_its_record_is_as_safe_as_the_subscriber_asks() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let disk = SimDisk::new(5);
        let options = LogOptions { policy, threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
        let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
        let opened = Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, clock, options.clone());
        let mut rig = opened.expect("an empty disk");
        rig.run_as(1, "SUBSCRIBE news");
        let mut readers = [Reader::new(None), Reader::new(Some(Policy::Always))];
        for number in 1..=ROUNDS {
            // What is told stands before what it tells of.
            let script =
                format!("redis.call('publish','news','number:{number}') redis.call('set','number',{number})");
            if number % 4 == 0 {
                rig.call(0, &[b"EVAL", script.as_bytes(), b"0"]);
            } else {
                rig.run("MULTI");
                rig.run(&format!("PUBLISH news number:{number}"));
                rig.run(&format!("SET number {number}"));
                rig.run("EXEC");
            }
            let posts = rig.posts();
            assert_eq!(posts.len(), 1, "{policy:?}");
            let server = rig.server.clone();
            let log = &server.store.get().expect("the rig opened it").log;
            readers.iter().for_each(|reader| reader.is_told(&server, &posts));
            for _ in 0..=number % 3 {
                readers.iter_mut().for_each(|reader| reader.look(log));
                for reader in &readers {
                    let after_kill = found(disk.kill(), &options);
                    assert!(
                        reader.shown <= after_kill,
                        "{policy:?}: {} shown, {after_kill} kept",
                        reader.shown
                    );
                    if reader.asks_for_the_medium(log) {
                        let after_power = found(disk.crash(number, CrashStyle::LoseAll), &options);
                        assert!(
                            reader.shown <= after_power,
                            "{policy:?}: {} shown, {after_power} kept",
                            reader.shown
                        );
                    }
                }
                log.step();
            }
        }
        let log = &rig.server.store.get().expect("the rig opened it").log;
        log.flush_tick(true);
        rig.settle();
        for reader in &mut readers {
            reader.look(log);
            assert!(reader.held > 3, "{policy:?}: nothing was held back");
            assert_eq!(reader.shown, ROUNDS, "{policy:?}: in the end all are shown");
        }
    }
}
