//! A small real log on a simulated disk, with everything about it that a check wants to hold against: for `segment` and `manifest`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use duramen::clock::Clock;
use duramen::disk::sim::SimDisk;
use duramen::error::StoreError;
use duramen::log::frame::{HEADER_LEN, Header};
use duramen::log::segment::SegmentHeader;
use duramen::log::{Log, LogOptions, Policy, Recovered, RecoveryReport};

use super::choices::Choices;

/// A clock whose chance is counted: the same input makes the same bytes on the disk.
pub struct CountingClock(AtomicU64);

impl CountingClock {
    pub fn new(start: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(start)))
    }
}

impl Clock for CountingClock {
    fn wall_us(&self) -> u64 {
        1_700_000_000_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn random_id(&self) -> std::io::Result<[u8; 16]> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let [low, high] = [count.wrapping_mul(0x9e37_79b9_7f4a_7c15), count ^ 0x6a09_e667_f3bc_c908];
        Ok((u128::from(low) << 64 | u128::from(high)).to_le_bytes())
    }
}

/// A log that was written and then met SIGKILL, or was shut down.
pub struct Written {
    pub disk: SimDisk,
    /// Everything that was handed to the kernel, in order.
    pub bodies: Vec<Vec<u8>>,
    pub clock: Arc<CountingClock>,
}

pub struct Opened {
    pub log: Log,
    pub report: RecoveryReport,
    pub bodies: Vec<Vec<u8>>,
}

#[allow(clippy::needless_update, reason = "an option to come keeps its default")]
pub fn options(policy: Policy) -> LogOptions {
    LogOptions {
        segment_bytes: 8 << 10,
        buffer_bytes_max: 1 << 20,
        policy,
        threads: false,
        ..LogOptions::default()
    }
}

pub fn open(disk: &SimDisk, clock: &Arc<CountingClock>, policy: Policy) -> Result<Opened, StoreError> {
    let mut bodies = Vec::new();
    let (log, report) =
        Log::open(Arc::new(disk.clone()), clock.clone(), options(policy), &mut |recovered| {
            if let Recovered::Record { body, .. } = recovered {
                bodies.push(body.to_vec());
            }
            Ok(())
        })?;
    assert_eq!(report.records, bodies.len() as u64);
    Ok(Opened { log, report, bodies })
}

fn settle(log: &Log) {
    while log.step() {}
}

/// Writes a log as the input says: policies, lengths, groups, restarts.
pub fn write(choices: &mut Choices<'_>) -> Written {
    let disk = SimDisk::new(1);
    let clock = CountingClock::new(0);
    let policy = [Policy::Always, Policy::EverySec, Policy::No][choices.below(3)];
    let mut log = open(&disk, &clock, policy).expect("an empty disk has no faults").log;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for number in 0..1 + choices.below(14) {
        let how = choices.byte();
        let len = match how % 8 {
            0 => 20_000,
            1 => usize::from(choices.byte()) * 24,
            2 => 0,
            _ => usize::from(choices.byte()),
        };
        let body: Vec<u8> = (0..len).map(|at| (number * 31 + at % 251) as u8).collect();
        log.append(&body);
        bodies.push(body);
        match how >> 4 {
            0..8 => {
                log.flush_tick(how & 8 != 0);
                settle(&log);
            }
            8..11 => {
                log.flush_tick(false);
            }
            // A group: the next tick takes it along.
            11..14 => {}
            end => {
                log.flush_tick(false);
                settle(&log);
                if end == 14 {
                    log.shutdown().expect("the disk has no faults");
                }
                drop(log);
                let found = open(&disk, &clock, policy).expect("the disk has no faults");
                assert_eq!(found.bodies, bodies, "nothing was lost between two starts");
                log = found.log;
            }
        }
    }
    log.flush_tick(false);
    settle(&log);
    if choices.byte().is_multiple_of(4) {
        log.shutdown().expect("the disk has no faults");
    }
    drop(log);
    Written { disk: disk.kill(), bodies, clock }
}

/// The largest position that an intact frame header of any segment proves to have been synced.
pub fn witnessed(disk: &SimDisk) -> u64 {
    let mut largest = 0;
    for path in disk.files().iter().filter(|path| path.ends_with(".log")) {
        let bytes = disk.read_raw(path).expect("the disk listed it");
        let Ok(segment) = SegmentHeader::decode(&bytes) else { continue };
        for window in bytes.windows(HEADER_LEN).step_by(8) {
            let head = window.try_into().expect("windows have the length of a header");
            if let Ok(header) = Header::decode(head, &segment.salt)
                && header.term == segment.term
            {
                largest = largest.max(header.synced_through);
            }
        }
    }
    largest
}

/// A refusal says where the damage is, in a file that there is.
pub fn assert_names_the_damage(error: &StoreError, disk: &SimDisk) {
    match error {
        StoreError::Corruption(damage) => {
            let len = disk.read_raw(&damage.file).map(|bytes| bytes.len() as u64);
            let len = len.unwrap_or_else(|| panic!("{damage}: no such file"));
            assert!(damage.offset <= len && !damage.reason.is_empty(), "{damage}: the file has {len} bytes");
        }
        StoreError::Refused(text) => assert!(!text.is_empty()),
        StoreError::Io { .. } => panic!("the disk has no faults: {error}"),
    }
}
