//! The SIGKILL loop: pipelined mixed load on several connections, the server killed at a random moment, started again on
//! the same directory, and every key compared with what was acknowledged.
//!
//! Each connection has keys of its own, so its whole state after a crash must be that after some prefix of what it sent: one
//! that contains every acknowledged operation. A transaction is one operation, whole or absent. One counter is shared by
//! all: no value that anybody was shown may be taken back. Nor may what those were shown who only looked (`shown.rs`).
//!
//! Rounds alternate between `appendfsync always` and `everysec`; half of the connections ask for `CLIENT DURABILITY always`.
//! `KILL9_ROUNDS` (default 10), `KILL9_SEED`. The kill comes at a moment of its own choosing: a seed repeats the commands only.

mod model;
mod shown;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use model::{Expected, Operation, State};
use shown::Shown;
use support::client::{Client, Value};
use support::random::Random;
use support::{Options, Server, notation};

const CONNECTIONS: usize = 6;
/// Longest pipeline, in operations.
const PIPELINE_MAX: u64 = 64;
/// Connections that raise the counters of `shown.rs`, and that read them.
const GROWERS: usize = 2;
const WATCHERS: usize = 3;
const SHARED: &str = "shared:counter";

#[test]
fn nothing_acknowledged_is_lost_by_sigkill() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let rounds = number("KILL9_ROUNDS").unwrap_or(10);
    let seed = number("KILL9_SEED").unwrap_or_else(Random::fresh_seed);
    println!("KILL9_ROUNDS={rounds} KILL9_SEED={seed}");
    let mut looped = Loop::new(seed);
    for round in 0..rounds {
        if !looped.round(round) {
            break;
        }
    }
    println!("{}", looped.summary());
    assert!(looped.acknowledged > 0, "there was no load");
    assert_eq!(looped.failed_starts, 0, "the server did not start:\n{}", looped.server.log());
    assert!(looped.complaints.is_empty(), "KILL9_SEED={seed}\n{}", looped.complaints.join("\n"));
}

struct Loop {
    random: Random,
    server: Server,
    /// What each connection's keys hold, as found after the last start.
    states: Vec<State>,
    shared: i64,
    shown: Shown,
    acknowledged: u64,
    lost: u64,
    failed_starts: u64,
    recoveries: Vec<Duration>,
    complaints: Vec<String>,
}

/// What one connection did in one round.
struct Sent {
    operations: Vec<Operation>,
    acknowledged: usize,
    /// Replies of the shared counter: how many, and the highest value shown.
    shared_acknowledged: i64,
    shared_highest: i64,
    complaint: Option<String>,
}

/// Small segments and a low mark: the log is on its way into the snapshot all the time, also when the process is killed.
fn options() -> Options {
    Options::default()
        .directive("appendfsync", "always")
        .directive("log-segment-size", "1mb")
        .directive("auto-aof-rewrite-min-size", "1mb")
        .directive("auto-aof-rewrite-percentage", "10")
}

impl Loop {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::seeded(seed),
            server: Server::start(options()),
            states: vec![State::default(); CONNECTIONS],
            shared: 0,
            shown: Shown::default(),
            acknowledged: 0,
            lost: 0,
            failed_starts: 0,
            recoveries: Vec::new(),
            complaints: Vec::new(),
        }
    }

    /// Load, kill, start, compare. False when there is no point in going on.
    fn round(&mut self, round: u64) -> bool {
        let sent = self.load_and_kill(round);
        let policy = if round.is_multiple_of(2) { "everysec" } else { "always" };
        self.server.set_directive("appendfsync", policy);
        match self.server.try_restart() {
            Ok(took) => self.recoveries.push(took),
            Err(why) => {
                self.failed_starts += 1;
                self.complaints.push(format!("round {round}: failed start: {why}"));
                return false;
            }
        }
        let mut client = self.server.client();
        self.compare_shared(round, &sent, &mut client);
        if let Some(what) = self.shown.taken_back(&mut client) {
            self.lost += 1;
            self.complaints.push(format!("round {round}: {what}"));
        }
        for (connection, sent) in sent.into_iter().enumerate() {
            self.acknowledged += sent.acknowledged as u64;
            if let Some(complaint) = &sent.complaint {
                self.complaints.push(format!("round {round}, connection {connection}: {complaint}"));
            }
            self.compare(round, connection, &sent, &mut client);
        }
        self.complaints.is_empty()
    }

    fn load_and_kill(&mut self, round: u64) -> Vec<Sent> {
        let delay = Duration::from_millis(20 + self.random.below(400));
        let progress = AtomicU64::new(0);
        let server = &mut self.server;
        let loads: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let client = server.client();
                (connection, client, self.states[connection].clone(), Random::seeded(self.random.next()))
            })
            .collect();
        let mut others = Vec::new();
        for number in 0..GROWERS + WATCHERS {
            let mut client = server.client();
            if number % 2 == 1 {
                let _ = client.call(["CLIENT", "DURABILITY", "always"]);
            }
            let run = if number < GROWERS { Shown::grow } else { Shown::watch };
            others.push((run, client, Random::seeded(self.random.next())));
        }
        let shown = &mut self.shown;
        thread::scope(|scope| {
            let progress = &progress;
            let others: Vec<_> = others
                .into_iter()
                .map(|(run, client, random)| scope.spawn(move || run(client, random)))
                .collect();
            let spawn = |(connection, client, state, random)| {
                scope.spawn(move || load(connection, client, state, random, round, progress))
            };
            let running: Vec<_> = loads.into_iter().map(spawn).collect();
            // On a slow machine the moment comes when there is something to lose.
            thread::sleep(delay);
            while progress.load(Ordering::Relaxed) == 0
                && !running.iter().all(thread::ScopedJoinHandle::is_finished)
            {
                thread::sleep(Duration::from_millis(1));
            }
            server.kill9();
            others.into_iter().for_each(|thread| shown.merge(&thread.join().expect("load does not panic")));
            running.into_iter().map(|thread| thread.join().expect("load does not panic")).collect()
        })
    }

    /// Every acknowledged increment is there, and no value that was shown is taken back.
    fn compare_shared(&mut self, round: u64, sent: &[Sent], client: &mut Client) {
        let found = model::read_counter(SHARED, client).expect("a fresh server knows the counter");
        let least = self.shared + sent.iter().map(|sent| sent.shared_acknowledged).sum::<i64>();
        let shown = sent.iter().map(|sent| sent.shared_highest).max().unwrap_or(0);
        let is_shared = |operation: &&Operation| matches!(operation, Operation::IncrementShared);
        let most = self.shared
            + sent.iter().map(|sent| sent.operations.iter().filter(is_shared).count() as i64).sum::<i64>();
        if found < least.max(shown) || found > most {
            self.lost += (least.max(shown) - found).max(0) as u64;
            self.complaints.push(format!(
                "round {round}: the shared counter is {found}; acknowledged {least}, shown {shown}, sent {most}"
            ));
        }
        self.shared = found;
    }

    fn compare(&mut self, round: u64, connection: usize, sent: &Sent, client: &mut Client) {
        let found = State::read(connection, client).expect("a fresh server answers");
        let mut state = self.states[connection].clone();
        let mut matching = Vec::new();
        for count in 0..=sent.operations.len() {
            if state == found {
                matching.push(count);
            }
            if let Some(operation) = sent.operations.get(count) {
                operation.apply(&mut state);
            }
        }
        match matching.last() {
            Some(&count) if count >= sent.acknowledged => {}
            Some(&count) => {
                let lost = sent.acknowledged - count;
                self.lost += lost as u64;
                self.complaints.push(format!(
                    "round {round}, connection {connection}: {lost} acknowledged operations are lost, the first: {}",
                    sent.operations[count].show(connection)
                ));
            }
            None => {
                let mut expected = self.states[connection].clone();
                sent.operations[..sent.acknowledged]
                    .iter()
                    .for_each(|operation| drop(operation.apply(&mut expected)));
                self.lost += 1;
                self.complaints.push(format!(
                    "round {round}, connection {connection}: no prefix of what was sent explains the state\n{}",
                    expected.difference(&found)
                ));
            }
        }
        self.states[connection] = found;
    }

    fn summary(&mut self) -> String {
        self.recoveries.sort();
        let ms = |at: Option<&Duration>| at.map_or(0.0, |took| took.as_secs_f64() * 1000.0);
        format!(
            "acknowledged {}, lost {}, failed starts {}, recovery ms p50 {:.1} max {:.1}",
            self.acknowledged,
            self.lost,
            self.failed_starts,
            ms(self.recoveries.get(self.recoveries.len() / 2)),
            ms(self.recoveries.last()),
        )
    }
}

/// Sends pipelines until the connection breaks, checks every reply on the way.
fn load(
    connection: usize,
    mut client: Client,
    mut state: State,
    mut random: Random,
    round: u64,
    progress: &AtomicU64,
) -> Sent {
    let mut sent = Sent {
        operations: Vec::new(),
        acknowledged: 0,
        shared_acknowledged: 0,
        shared_highest: 0,
        complaint: None,
    };
    if connection % 2 == 1 {
        // redis-server, which stands in where the loop itself is tried out, does not know this.
        let _ = client.call(["CLIENT", "DURABILITY", "always"]);
    }
    let depth = if connection < 2 { 1 } else { PIPELINE_MAX };
    loop {
        let mut awaited = Vec::new();
        for _ in 0..=random.below(depth) {
            let operation = Operation::random(&mut random, &state, round);
            operation.send(connection, &mut client);
            awaited.push(operation.apply(&mut state));
            sent.operations.push(operation);
        }
        if client.flush().is_err() {
            return sent;
        }
        for expected in awaited {
            match await_replies(&mut client, &expected, &mut sent) {
                Ok(()) => {}
                Err(complaint) => {
                    sent.complaint = complaint;
                    return sent;
                }
            }
            sent.acknowledged += 1;
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All replies of one operation; an error without text when the connection broke.
fn await_replies(client: &mut Client, expected: &[Expected], sent: &mut Sent) -> Result<(), Option<String>> {
    for expected in expected {
        let reply = client.receive().map_err(|_| None)?;
        match expected {
            Expected::Exactly(value) if *value == reply => {}
            Expected::Shared if reply.integer().is_some_and(|value| value > sent.shared_highest) => {
                sent.shared_highest = reply.integer().unwrap_or_default();
                sent.shared_acknowledged += 1;
            }
            // Being stopped is no wrong reply.
            _ if matches!(&reply, Value::Error(text) if text.starts_with(b"LOADING")) => return Err(None),
            _ => {
                let operation = sent.operations[sent.acknowledged].show(0);
                return Err(Some(format!(
                    "{operation} was answered {}, not {expected:?}",
                    notation::show(&reply)
                )));
            }
        }
    }
    Ok(())
}
