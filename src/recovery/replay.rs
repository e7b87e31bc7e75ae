//! Replay: the records of the log, applied by several threads as if by one.
//!
//! ```text
//! log (reads, verifies, cuts records) -> Replay::record -> lane 0: batches -> thread 0, stripes 0, n, 2n, ...
//!                                                          lane 1: batches -> thread 1, stripes 1, n+1, ...
//! ```
//!
//! An op changes one stripe, and a stripe belongs to one lane, which keeps the order: so every stripe sees its ops as it did
//! when they were made. An op on whole databases waits until all before it are applied. Without threads there is one lane,
//! and its batches are applied where they are filled.
//!
//! The first failure in the order of the log is the one that is told, whoever met which first: before a failure is told,
//! everything before it has been applied.
//!
//! What it does **not** promise: that a record was applied when `record` returns, or that nothing behind a failure was.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::batch::{Batch, Failure, Position};
use crate::keyspace::Keyspace;
use crate::keyspace::hash::slot_of;
use crate::keyspace::op::{Ops, Routed, SpaceOp};
use crate::keyspace::stripe::{STRIPES, stripe_of};
use crate::keyspace::waiters::StripeSet;
use crate::log::Lsn;

/// Batches that a lane's thread has before it.
const DEPTH: usize = 4;
/// Bytes of ops that threads have before them in all; one longer op goes alone.
const BYTES_MAX: usize = 64 << 20;

/// Recovery's state between two records.
pub struct Replay {
    keyspace: Arc<Keyspace>,
    lanes: Vec<Lane>,
    bytes_in_flight: usize,
    /// The first in the order of the log, of those known.
    failure: Option<Failure>,
}

/// Some of the stripes, and what was gathered for them.
struct Lane {
    set: StripeSet,
    filling: Batch,
    spare: Vec<Batch>,
    worker: Option<Worker>,
}

/// A thread that applies a lane's batches in order and gives them back.
struct Worker {
    batches: SyncSender<Batch>,
    done: Receiver<(Batch, Result<(), Failure>)>,
    in_flight: usize,
    thread: JoinHandle<()>,
}

impl Replay {
    /// Without `threads`, everything happens in the caller's.
    pub fn new(keyspace: Keyspace, threads: usize) -> io::Result<Self> {
        let keyspace = Arc::new(keyspace);
        let count = threads.clamp(1, STRIPES);
        let lanes = (0..count).map(|number| {
            let stripes = (number..STRIPES).step_by(count);
            let set = stripes.fold(StripeSet::default(), |set, stripe| set.with(StripeSet::one(stripe)));
            let worker =
                if threads == 0 { None } else { Some(Worker::spawn(keyspace.clone(), set, number)?) };
            Ok(Lane { set, filling: Batch::default(), spare: Vec::new(), worker })
        });
        let lanes = lanes.collect::<io::Result<_>>()?;
        Ok(Self { keyspace, lanes, bytes_in_flight: 0, failure: None })
    }

    /// Takes the next record. A failure may be that of a record before.
    pub fn record(&mut self, lsn_end: Lsn, body: &[u8]) -> Result<(), Failure> {
        let mut ops = Ops::new(body);
        let mut at = Position { lsn_end, index: 0 };
        while let Some(routed) = ops.next_routed() {
            match routed {
                Ok(Routed::Key { key, bytes }) => {
                    let slot = slot_of(key);
                    let lane = stripe_of(slot) % self.lanes.len();
                    let filling = &mut self.lanes[lane].filling;
                    filling.push(at, slot, bytes);
                    if filling.is_full() {
                        self.hand_over(lane);
                        self.check()?;
                    }
                }
                Ok(Routed::Space(op)) => {
                    self.settle()?;
                    self.apply_space(&op, at)?;
                }
                Err(malformed) => {
                    self.settle()?;
                    return Err(Failure { at, error: malformed.into() });
                }
            }
            at.index += 1;
        }
        Ok(())
    }

    /// Waits until everything so far is applied.
    pub fn settle(&mut self) -> Result<(), Failure> {
        (0..self.lanes.len()).for_each(|lane| self.hand_over(lane));
        self.wait_for_all();
        self.failure.map_or(Ok(()), Err)
    }

    /// What the records before the last [`Self::settle`] made, and perhaps some behind.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// What all records made.
    pub fn finish(mut self) -> Result<Keyspace, Failure> {
        self.settle()?;
        for lane in &mut self.lanes {
            lane.worker.take().into_iter().for_each(Worker::join);
        }
        Ok(Arc::into_inner(self.keyspace).expect("the threads that shared it have ended"))
    }

    fn apply_space(&self, op: &SpaceOp, at: Position) -> Result<(), Failure> {
        let retired = self.keyspace.lock(StripeSet::ALL).apply_space(op);
        retired.map(drop).map_err(|error| Failure { at, error })
    }

    /// Another op may have failed before the one that is known: all that came before is applied first.
    fn check(&mut self) -> Result<(), Failure> {
        if self.failure.is_some() { self.settle() } else { Ok(()) }
    }

    /// Has a lane's gathered ops applied: by its thread, if it has one.
    fn hand_over(&mut self, number: usize) {
        let bytes = self.lanes[number].filling.bytes_len();
        if self.bytes_in_flight > 0 && self.bytes_in_flight + bytes > BYTES_MAX {
            self.wait_for_all();
        }
        let lane = &mut self.lanes[number];
        if lane.filling.is_empty() {
            return;
        }
        let Some(worker) = &lane.worker else {
            if self.failure.is_none() {
                self.failure = lane.filling.apply(&self.keyspace, lane.set).err();
            }
            lane.filling.clear();
            return;
        };
        if worker.in_flight == DEPTH {
            self.take_back(number);
        }
        self.bytes_in_flight += bytes;
        self.lanes[number].give_filled();
    }

    fn wait_for_all(&mut self) {
        for number in 0..self.lanes.len() {
            while self.lanes[number].in_flight() > 0 {
                self.take_back(number);
            }
        }
    }

    /// Waits for the oldest batch of a lane.
    fn take_back(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        let Some(worker) = &mut lane.worker else { return };
        let (mut batch, result) = worker.take();
        self.bytes_in_flight -= batch.bytes_len();
        batch.clear();
        lane.spare.push(batch);
        if let Err(failure) = result
            && self.failure.is_none_or(|first| failure.at < first.at)
        {
            self.failure = Some(failure);
        }
    }
}

impl Lane {
    /// Passes what was gathered on to the thread.
    fn give_filled(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.give(std::mem::replace(&mut self.filling, self.spare.pop().unwrap_or_default()));
        }
    }

    fn in_flight(&self) -> usize {
        self.worker.as_ref().map_or(0, |worker| worker.in_flight)
    }
}

impl Worker {
    fn spawn(keyspace: Arc<Keyspace>, set: StripeSet, number: usize) -> io::Result<Self> {
        let (batches, todo) = sync_channel::<Batch>(DEPTH);
        let (give_back, done) = sync_channel(DEPTH);
        let run = move || {
            let mut failed = false;
            while let Ok(batch) = todo.recv() {
                // Behind a failure nothing is applied, and everything still goes back.
                let result = if failed { Ok(()) } else { batch.apply(&keyspace, set) };
                failed |= result.is_err();
                if give_back.send((batch, result)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("recovery-{number}")).spawn(run)?;
        Ok(Self { batches, done, in_flight: 0, thread })
    }

    /// Never waits: the queue has room for as many as are in flight.
    fn give(&mut self, batch: Batch) {
        self.in_flight += 1;
        // If the thread is gone, `take` tells why.
        let _ = self.batches.send(batch);
    }

    /// The oldest batch, when it is done.
    fn take(&mut self) -> (Batch, Result<(), Failure>) {
        self.in_flight -= 1;
        self.done.recv().expect("the thread of a lane ends with its queue, or the program with the thread")
    }

    fn join(self) {
        drop(self.batches);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
