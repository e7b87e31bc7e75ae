//! An error at every operation: of each kind the nth fails, once or from then on, for every n of a life.
//!
//! Nothing panics. A start that fails says so and succeeds when the disk works again. Where a fault is got over, no client sees
//! it. A log that has failed executes and acknowledges nothing more and says why; one without space executes nothing until there
//! is space, and then goes on. A compaction that fails changes nothing, and the next one succeeds. Nothing acknowledged is lost, and
//! the state found is the one behind the record at which the log ends, after a kill and after power loss.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use duramen::disk::SimDisk;
use duramen::disk::sim::{CrashStyle, Fault, FaultRule, OpKind};
use duramen::error::StoreError;
use duramen::log::LogState;
use duramen::snapshot::compact;

use crate::life::Living;
use crate::workloads::{self, Workload};

const NO_SPACE: &str = "-MISCONF No space left for the log, so commands that may modify the data set are disabled. \
                        Free some space: writes resume by themselves.\r\n";

fn log_failed(reason: &str) -> String {
    format!(
        "-MISCONF The log has failed ({reason}), so commands that may modify the data set are disabled. \
         Check the disk, then restart.\r\n"
    )
}

/// How an operation fails.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Error {
    kind: OpKind,
    fault: Fault,
    sticky: bool,
    nth: u64,
}

const FAULTS: [(&str, Fault); 4] = [
    ("eio", Fault::Eio),
    ("enospc", Fault::Enospc),
    ("short-7", Fault::ShortWrite(7)),
    ("short-1024", Fault::ShortWrite(1024)),
];

impl Error {
    fn name(&self) -> String {
        let fault = FAULTS.iter().find(|(_, fault)| *fault == self.fault).expect("all faults have names").0;
        format!("{:?}:{fault}:{}:{}", self.kind, if self.sticky { "sticky" } else { "once" }, self.nth)
    }
}

/// Says which case it was if the test ends in it.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: TORTURE_ERROR={} cargo test --test torture error -- --nocapture", self.0);
        }
    }
}

/// What was seen of a fault: a sweep that meets none of these has no teeth.
#[derive(Debug, Default)]
pub struct Met {
    runs: AtomicU64,
    starts: AtomicU64,
    failed: AtomicU64,
    no_space: AtomicU64,
    refusals: AtomicU64,
    compactions: AtomicU64,
    unnoticed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A life in which something fails.
struct Trouble<'a> {
    living: Living,
    workload: &'a Workload,
    met: &'a Met,
    /// Replies need not be those of a life without faults any more.
    disturbed: bool,
    noticed: bool,
}

impl Trouble<'_> {
    fn mend_disk(&self) {
        self.living.disk.heal();
        self.living.disk.set_capacity(None);
    }

    fn state(&self) -> LogState {
        self.living.log().state()
    }

    fn line(&mut self, line: &str, expected: Option<&[u8]>) {
        let before = (self.state(), self.living.log().append_lsn(), self.living.acknowledged());
        let had_failed = matches!(before.0, LogState::Failed { .. });
        match self.living.step(line, self.workload.lazy) {
            Ok(reply) => self.reply(line, reply.as_deref(), expected, &before.0, before.1),
            Err(error) => {
                self.noticed = true;
                self.told(line, &error);
            }
        }
        if had_failed && !matches!(line, "restart" | "sigkill") {
            let acknowledged = self.living.acknowledged();
            assert_eq!(self.living.log().append_lsn(), before.1, "{line}: executed by a log that has failed");
            assert_eq!(
                (acknowledged.durable, acknowledged.written),
                (before.2.durable, before.2.written),
                "{line}: acknowledged by a log that has failed"
            );
        }
        self.noticed |= self.state() != LogState::Healthy;
    }

    fn reply(
        &mut self,
        line: &str,
        reply: Option<&[u8]>,
        expected: Option<&[u8]>,
        state: &LogState,
        append_lsn: u64,
    ) {
        let Some(reply) = reply else { return };
        let text = String::from_utf8_lossy(reply);
        if text.starts_with("-MISCONF") {
            count(&self.met.refusals);
            let documented = match state {
                LogState::Failed { reason } => log_failed(reason),
                LogState::NoSpace => NO_SPACE.to_owned(),
                LogState::Healthy => panic!("{line}: {text} from a healthy log"),
            };
            assert_eq!(text, documented, "{line}");
            assert_eq!(self.living.log().append_lsn(), append_lsn, "{line}: refused and executed");
            self.disturbed = true;
        } else if *state == LogState::NoSpace {
            assert_eq!(self.living.log().append_lsn(), append_lsn, "{line}: executed without space");
        } else if !self.disturbed {
            assert_eq!(Some(reply), expected, "{line}: another reply than without the fault: {text}");
        }
    }

    /// What a step other than a command came to grief with.
    fn told(&mut self, line: &str, error: &StoreError) {
        assert!(!matches!(error, StoreError::Corruption(_)), "{line}: an error is no damage: {error}");
        match line.split(' ').next() {
            Some("compact") => {
                count(&self.met.compactions);
                self.living.note_state();
            }
            // The start failed, or the end did. The process is over; the disk is mended.
            _ => self.begin_anew(line),
        }
    }

    /// After a kill, on a disk that works again.
    fn begin_anew(&mut self, line: &str) {
        let acknowledged = self.living.acknowledged();
        self.mend_disk();
        let states = std::mem::take(&mut self.living.states);
        self.living.reopen().unwrap_or_else(|error| panic!("{line}: it does not open again: {error}"));
        let end = self.living.log().append_lsn();
        assert!(end >= acknowledged.written, "{line}: {end} of {} are there", acknowledged.written);
        assert_eq!(states.get(&end), Some(&self.living.rig.state()), "{line}: replayed, at LSN {end}");
        self.disturbed |= states.keys().next_back() != Some(&end);
    }

    /// The disk works again: the log goes on, or must be started anew; nothing is lost either way.
    fn mend(mut self) {
        self.mend_disk();
        self.living.rig.settle();
        let acknowledged = self.living.acknowledged();
        // A failed sync may have been taken for a success: what is acknowledged must be on the medium in any state.
        let states = &self.living.states;
        for (seed, style) in [(1, CrashStyle::LoseAll), (2, CrashStyle::Random), (3, CrashStyle::Torn)] {
            let found = Living::new(self.living.disk.crash(seed, style), self.workload.policy);
            let found = found.unwrap_or_else(|error| panic!("power loss, {style:?}: {error}"));
            let end = found.log().append_lsn();
            assert!(end >= acknowledged.durable, "power loss, {style:?}: {end} of {acknowledged:?}");
            assert_eq!(states.get(&end), Some(&found.rig.state()), "power loss, {style:?}");
        }
        if let LogState::Failed { reason } = self.state() {
            count(&self.met.failed);
            assert_eq!(self.living.rig.run("SET late 1"), log_failed(&reason));
            assert!(!self.living.rig.run("GET late").starts_with('-'), "reads go on");
            assert!(self.living.log().shutdown().is_err());
            self.begin_anew("after the failure");
        }
        assert_eq!(self.state(), LogState::Healthy, "the disk works again");
        let log = self.living.store_log();
        assert_eq!(log.written_lsn(), log.append_lsn(), "what had waited for the disk is written");
        drop(log);
        self.living.rig.run("DISCARD");
        self.living.rig.run("SELECT 0");
        self.line("SET mended 1", Some(b"+OK\r\n"));
        self.living.compact(1 << 20).unwrap_or_else(|error| panic!("the next compaction: {error}"));
        self.living.note_state();
        self.living.log().shutdown().unwrap_or_else(|error| panic!("shutdown: {error}"));
        let (end, state) = (self.living.log().append_lsn(), self.living.rig.state());
        let listed = compact::catalogs(self.living.log()).expect("it was just written").files();
        let listed: BTreeSet<String> = listed.into_iter().map(duramen::snapshot::header::path).collect();
        let files = self.living.disk.files().into_iter().filter(|path| path.starts_with("snapshot/"));
        assert_eq!(files.collect::<BTreeSet<_>>(), listed, "a failed compaction left files");
        let found = Living::new(self.living.disk.crash(4, CrashStyle::LoseAll), self.workload.policy);
        let found = found.unwrap_or_else(|error| panic!("after the end: {error}"));
        assert_eq!((found.log().append_lsn(), found.rig.state()), (end, state), "after the end");
        if !self.noticed {
            count(&self.met.unnoticed);
        }
    }
}

/// Replies of a life without faults, and how many operations of each kind it has.
struct Plain {
    replies: Vec<Option<Vec<u8>>>,
    counts: Vec<(OpKind, u64)>,
}

fn plain(workload: &Workload) -> Plain {
    let disk = SimDisk::new(7);
    let mut living = Living::new(disk.clone(), workload.policy).expect("a new store opens");
    let step = |line: &String| living.step(line, workload.lazy).expect("the disk has no faults");
    let replies = workload.lines.iter().map(step).collect();
    Plain { replies, counts: OpKind::ALL.map(|kind| (kind, disk.count(kind))).to_vec() }
}

fn run(workload: &Workload, plain: &Plain, met: &Met, error: &Error) {
    let _context = Context(format!("{}:{}", workload.name, error.name()));
    count(&met.runs);
    let disk = SimDisk::new(7);
    let rule = FaultRule::new(error.kind, error.nth, error.fault);
    disk.inject(if error.sticky { rule.sticky() } else { rule });
    let living = match Living::new(disk.clone(), workload.policy) {
        Ok(living) => living,
        Err(told) => {
            count(&met.starts);
            assert!(matches!(told, StoreError::Io { .. }), "a start on a disk with an error: {told}");
            disk.heal();
            let again = Living::new(disk, workload.policy).expect("the disk works again");
            assert_eq!(again.rig.state(), "");
            return;
        }
    };
    carry_out(Trouble { living, workload, met, disturbed: false, noticed: false }, plain, &mut |_, _| {});
}

fn carry_out(mut trouble: Trouble<'_>, plain: &Plain, before: &mut dyn FnMut(usize, &SimDisk)) {
    let workload = trouble.workload;
    for (at, (line, expected)) in workload.lines.iter().zip(&plain.replies).enumerate() {
        before(at, &trouble.living.disk);
        trouble.line(line, expected.as_deref());
    }
    if trouble.state() == LogState::NoSpace {
        count(&trouble.met.no_space);
    }
    trouble.mend();
}

/// All errors at a life, or those that are sampled.
fn errors_of(plain: &Plain, every: u64) -> Vec<Error> {
    let mut errors = Vec::new();
    for &(kind, operations) in &plain.counts {
        for (_, fault) in FAULTS {
            if matches!(fault, Fault::ShortWrite(_)) && kind != OpKind::Write {
                continue;
            }
            for sticky in [false, true] {
                let all = (1..=operations).map(|nth| Error { kind, fault, sticky, nth });
                // Reads are the many; the first operations are those of the first start.
                errors.extend(all.filter(|error| error.nth % every == 0 || error.nth < 10));
            }
        }
    }
    errors
}

/// A disk that is full before each line, until the life is over.
fn full_at(workload: &Workload, plain: &Plain, met: &Met, at: usize) {
    let _context = Context(format!("{}:full:{at}", workload.name));
    count(&met.runs);
    let living = Living::new(SimDisk::new(7), workload.policy).expect("a new store opens");
    let trouble = Trouble { living, workload, met, disturbed: false, noticed: false };
    carry_out(trouble, plain, &mut |line, disk| {
        if line == at {
            let used = disk.fold_files(0, |sum, _, bytes| sum + bytes.len() as u64);
            disk.set_capacity(Some(used));
        }
        if line + 1 == workload.lines.len() {
            disk.set_capacity(None);
        }
    });
}

#[test]
fn an_error_at_every_operation_is_got_over_or_told_and_nothing_acknowledged_is_lost() {
    crate::large_allocations_are_maps();
    let only = std::env::var("TORTURE_ERROR").ok();
    let every =
        if only.is_some() || std::env::var("TORTURE").is_ok_and(|text| text == "full") { 1 } else { 10 };
    let mut workloads = workloads::all();
    workloads.retain(|workload| {
        let name = &workload.name;
        every == 1
            || name.starts_with("keys-e")
            || name.starts_with("large")
            || name.starts_with("groups-a")
            || matches!(
                name.as_str(),
                "deltas" | "retention" | "rolling-buffered" | "transactions" | "renames-buffered"
            )
    });
    let met = Met::default();
    let (mut jobs, mut plains) = (Vec::<(usize, Result<Error, usize>)>::new(), Vec::<Plain>::new());
    for (number, workload) in workloads.iter().enumerate() {
        let plain = plain(workload);
        jobs.extend(errors_of(&plain, every).into_iter().map(|error| (number, Ok(error))));
        jobs.extend((0..workload.lines.len()).map(|at| (number, Err(at))));
        plains.push(plain);
    }
    if let Some(only) = &only {
        jobs.retain(|(number, job)| {
            let what = job.as_ref().map_or_else(|at| format!("full:{at}"), Error::name);
            *only == format!("{}:{what}", workloads[*number].name)
        });
        assert!(!jobs.is_empty(), "TORTURE_ERROR={only} is no workload:kind:fault:once or sticky:n");
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
            scope.spawn(|| {
                while let Some((number, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match job {
                        Ok(error) => run(&workloads[*number], &plains[*number], &met, error),
                        Err(at) => full_at(&workloads[*number], &plains[*number], &met, *at),
                    }
                }
            });
        }
    });
    eprintln!("{met:?}");
    let Met { starts, failed, no_space, refusals, compactions, unnoticed, .. } = &met;
    for counter in [starts, failed, no_space, refusals, compactions, unnoticed] {
        assert!(only.is_some() || counter.load(Ordering::Relaxed) > 10, "{met:?}");
    }
}
