//! From an append to the reply: no wake-up is lost, and no reply leaves before its LSN is as safe as it asks for.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use loom::thread;

use crate::bell::Bell;
use crate::log::{Log, Lsn, Policy};
use crate::outbox::{Level, Outbox, Published};
use crate::park::Parker;

/// A worker with one connection; its flusher as `src/server/worker.rs` has it.
struct Worker {
    log: Arc<Log>,
    bell: Arc<Bell>,
    outbox: RefCell<Outbox>,
    /// What the replies wait for, oldest first: each is one byte.
    waiting: RefCell<Vec<(Lsn, Level)>>,
    appended: Cell<bool>,
    ended: Cell<bool>,
}

impl Worker {
    /// Runs `commands` writes, one tick each, until every reply has left or the connection has ended. Returns whether that is so.
    fn run(log: Arc<Log>, bell: Arc<Bell>, level: Level, commands: usize) -> bool {
        bell.belongs_to_this_thread();
        let worker = Self {
            log,
            bell,
            outbox: RefCell::default(),
            waiting: RefCell::default(),
            appended: Cell::new(false),
            ended: Cell::new(false),
        };
        let parker = Arc::new(Parker::default());
        let waker = Waker::from(parker.clone());
        for _ in 0..commands {
            worker.command(level);
            worker.bell.answer(&waker, || worker.flush());
        }
        while !worker.outbox.borrow().is_empty() && !worker.ended.get() {
            parker.park();
            worker.bell.answer(&waker, || worker.flush());
        }
        worker.ended.get()
    }

    fn command(&self, level: Level) {
        let lsn = self.log.append();
        let mut outbox = self.outbox.borrow_mut();
        let from = outbox.bytes.len();
        outbox.bytes.push(b'+');
        outbox.gate(from, lsn, level);
        self.waiting.borrow_mut().push((lsn, level));
        self.appended.set(true);
        self.bell.ring();
    }

    fn flush(&self) {
        let log = &*self.log;
        let demanded = self.outbox.borrow().demanded();
        if self.appended.replace(false) || demanded.is_some_and(|lsn| lsn > log.durable_lsn()) {
            if let Some(lsn) = demanded {
                log.demand_sync(lsn);
            }
            log.flush_tick(demanded.is_some());
        }
        let published = Published::of(log);
        let failed = log.is_failed();
        self.send(published);
        let outbox = self.outbox.borrow();
        if outbox.is_held() && failed {
            self.ended.set(true);
        }
        let wants_written = outbox.is_held() && !failed && outbox.waits_for_written();
        drop(outbox);
        self.bell.want_written(wants_written, || log.written_lsn() > published.written);
    }

    fn send(&self, published: Published) {
        let mut outbox = self.outbox.borrow_mut();
        let count = outbox.ready(published).len();
        for (lsn, level) in self.waiting.borrow_mut().drain(..count) {
            let disk = &self.log.disk;
            let reached = match level {
                Level::Written => disk.kernel.load(SeqCst),
                Level::Durable => disk.medium.load(SeqCst),
            };
            assert!(reached >= lsn, "a reply left at {reached} that waits for {lsn}, {level:?}");
        }
        outbox.consume(count);
    }
}

struct Model {
    policy: Policy,
    /// One worker each.
    levels: &'static [Level],
    commands: usize,
    syncer: bool,
    sync_fails: bool,
    /// None: every interleaving.
    preemptions_max: Option<usize>,
}

impl Model {
    const ALWAYS: Self = Self {
        policy: Policy::Always,
        levels: &[Level::Durable],
        commands: 1,
        syncer: false,
        sync_fails: false,
        preemptions_max: Some(3),
    };

    fn check(self) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = self.preemptions_max;
        builder.max_branches = 10_000;
        let Self { policy, levels, commands, syncer, sync_fails, .. } = self;
        builder.check(move || {
            let bells: Vec<Arc<Bell>> = levels.iter().map(|_| Arc::default()).collect();
            let log = Arc::new(Log::new(policy, sync_fails, bells.clone()));
            let start = |run: fn(&Log)| {
                let log = log.clone();
                thread::spawn(move || run(&log))
            };
            let mut threads = vec![start(Log::run_writer)];
            if syncer {
                threads.push(start(Log::run_syncer));
            }
            let work = |index: usize| {
                let (log, bell, level) = (log.clone(), bells[index].clone(), levels[index]);
                move || Worker::run(log, bell, level, commands)
            };
            // The first worker runs in this thread.
            let others: Vec<_> = (1..levels.len()).map(|index| thread::spawn(work(index))).collect();
            let mut ended = vec![work(0)()];
            ended.extend(others.into_iter().map(|other| other.join().unwrap()));
            assert!(ended.into_iter().all(|ended| ended == sync_fails));
            log.stop();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

#[test]
fn under_always_every_reply_leaves_and_none_before_its_sync() {
    Model::ALWAYS.check();
}

#[test]
fn replies_of_two_ticks_leave_in_order() {
    Model { commands: 2, preemptions_max: Some(3), ..Model::ALWAYS }.check();
}

#[test]
fn two_workers_share_a_sync_and_neither_sleeps_on() {
    Model { levels: &[Level::Durable, Level::Durable], preemptions_max: Some(2), ..Model::ALWAYS }.check();
}

#[test]
fn under_always_a_careless_connection_is_woken_when_its_record_is_written() {
    Model { levels: &[Level::Written], preemptions_max: Some(3), ..Model::ALWAYS }.check();
}

#[test]
fn under_everysec_workers_that_write_for_each_other_wake_each_other() {
    Model {
        policy: Policy::EverySec,
        levels: &[Level::Written, Level::Written],
        preemptions_max: Some(2),
        ..Model::ALWAYS
    }
    .check();
}

#[test]
fn under_everysec_a_careful_connection_gets_its_sync() {
    Model { policy: Policy::EverySec, syncer: true, preemptions_max: Some(2), ..Model::ALWAYS }.check();
}

#[test]
fn under_everysec_a_careful_and_a_careless_connection_both_get_theirs() {
    Model {
        policy: Policy::EverySec,
        levels: &[Level::Durable, Level::Written],
        syncer: true,
        preemptions_max: Some(1),
        ..Model::ALWAYS
    }
    .check();
}

#[test]
fn after_a_failed_sync_no_reply_leaves_and_every_connection_ends() {
    Model { sync_fails: true, ..Model::ALWAYS }.check();
    Model {
        sync_fails: true,
        levels: &[Level::Durable, Level::Durable],
        preemptions_max: Some(2),
        ..Model::ALWAYS
    }
    .check();
}
