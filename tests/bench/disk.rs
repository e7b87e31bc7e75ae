//! How to write a log: ways to put a small piece on the medium, one after the other, on this machine and in one run.
//!
//! `cargo bench --bench disk [folder [seconds per way and round]]`. The folder must be on the medium in question and have 200 MB free.
//! Rounds are short and interleaved, and each way's round with the highest rate is printed: on a shared machine the one that others disturbed
//! least. CPU time is that of this process with its io_uring workers, and beside it that of the kernel's own threads (they
//! complete direct synced writes, and work for others too).

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

const FILE_LEN: u64 = 64 << 20;
const ROUNDS: usize = 9;
const BUFFER_LEN: usize = 64 << 10;

/// What the file is before the first write.
#[derive(Clone, Copy, PartialEq)]
enum Space {
    Empty,
    Zeros,
    Allocated,
}

/// How a piece gets from the buffer to the medium.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    /// `pwrite` alone: what a write costs while no sync is asked for.
    None,
    /// `pwrite`, then `fdatasync`.
    Data,
    /// `pwritev2(RWF_DSYNC)`.
    WriteFlag,
    /// `pwrite` to a file opened with `O_DSYNC`.
    OpenFlag,
}

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    space: Space,
    direct: bool,
    sync: Sync,
}

const WAYS: [Way; 9] = [
    Way { name: "zeros, no sync", space: Space::Zeros, direct: false, sync: Sync::None },
    Way { name: "zeros, O_DIRECT, no sync", space: Space::Zeros, direct: true, sync: Sync::None },
    Way { name: "append, fdatasync", space: Space::Empty, direct: false, sync: Sync::Data },
    Way { name: "fallocated, fdatasync", space: Space::Allocated, direct: false, sync: Sync::Data },
    Way { name: "zeros, fdatasync", space: Space::Zeros, direct: false, sync: Sync::Data },
    Way { name: "zeros, RWF_DSYNC", space: Space::Zeros, direct: false, sync: Sync::WriteFlag },
    Way { name: "zeros, O_DIRECT, fdatasync", space: Space::Zeros, direct: true, sync: Sync::Data },
    Way { name: "zeros, O_DIRECT, O_DSYNC", space: Space::Zeros, direct: true, sync: Sync::OpenFlag },
    Way {
        name: "fallocated, O_DIRECT, O_DSYNC",
        space: Space::Allocated,
        direct: true,
        sync: Sync::OpenFlag,
    },
];

#[derive(Clone, Copy)]
struct Figures {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
    kernel_cpu_us: f64,
}

/// Memory as `O_DIRECT` wants it.
struct Aligned(*mut u8);

impl Aligned {
    const LAYOUT: Layout = match Layout::from_size_align(BUFFER_LEN, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    fn new() -> Self {
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(Self::LAYOUT) };
        assert!(!start.is_null(), "out of memory");
        Self(start)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: allocated with that length, initialised, and borrowed as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.0, BUFFER_LEN) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0, Self::LAYOUT) }
    }
}

fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable memory of the size that getrusage(2) fills; zeros are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// What the kernel's own threads have used, of those that still live.
fn kernel_cpu_time() -> Duration {
    let mut sum_ns = 0;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let text = |name: &str| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
        // "2 (kthreadd) S 0 ...": the parent comes second after the parenthesis.
        let stat = text("stat");
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent == Some("2") {
            sum_ns += text("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(sum_ns)
}

fn check(result: isize, expected: usize) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        n if n as usize == expected => Ok(()),
        n => Err(io::Error::other(format!("short: {n} of {expected}"))),
    }
}

/// Plain system calls, or the same through a ring, each awaited.
enum Door {
    Calls,
    Ring(Box<IoUring>),
}

impl Door {
    fn name(&self) -> &'static str {
        if let Self::Calls = self { "calls" } else { "ring" }
    }

    fn run(ring: &mut IoUring, entry: &squeue::Entry, expected: usize) -> io::Result<()> {
        // SAFETY: awaited right here, while the caller still borrows the buffer.
        unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let result = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?.result();
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { check(result as isize, expected) }
    }

    fn write(&mut self, file: &File, bytes: &[u8], offset: u64, sync: Sync) -> io::Result<()> {
        let descriptor = file.as_raw_fd();
        let flags = if sync == Sync::WriteFlag { libc::RWF_DSYNC } else { 0 };
        match self {
            Self::Calls => {
                let part = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
                // SAFETY: one part, which the call only reads.
                check(unsafe { libc::pwritev2(descriptor, &part, 1, offset as i64, flags) }, bytes.len())?;
                if sync == Sync::Data { file.sync_data() } else { Ok(()) }
            }
            Self::Ring(ring) => {
                let write = opcode::Write::new(types::Fd(descriptor), bytes.as_ptr(), bytes.len() as u32);
                Self::run(ring, &write.offset(offset).rw_flags(flags).build(), bytes.len())?;
                if sync == Sync::Data {
                    let fsync = opcode::Fsync::new(types::Fd(descriptor)).flags(types::FsyncFlags::DATASYNC);
                    Self::run(ring, &fsync.build(), 0)?;
                }
                Ok(())
            }
        }
    }
}

fn prepare(path: &Path, space: Space) -> io::Result<()> {
    if space == Space::Zeros && path.exists() {
        return Ok(());
    }
    let mut file = File::create(path)?;
    match space {
        Space::Empty => {}
        Space::Zeros => {
            for _ in 0..FILE_LEN >> 20 {
                file.write_all(&vec![0; 1 << 20])?;
            }
        }
        // SAFETY: no memory is involved.
        Space::Allocated => match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, FILE_LEN as i64) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        },
    }
    file.sync_all()
}

fn measure(dir: &Path, way: Way, door: &mut Door, len: usize, time: Duration) -> io::Result<Figures> {
    let path = dir.join(match way.space {
        Space::Empty => "empty",
        Space::Zeros => "zeros",
        Space::Allocated => "allocated",
    });
    prepare(&path, way.space)?;
    let direct = if way.direct { libc::O_DIRECT } else { 0 };
    let dsync = if way.sync == Sync::OpenFlag { libc::O_DSYNC } else { 0 };
    let file = OpenOptions::new().write(true).custom_flags(direct | dsync).open(&path)?;
    let mut buffer = Aligned::new();
    let bytes = &mut buffer.bytes()[..len];
    let mut offset = 0u64;
    let mut piece = |door: &mut Door| {
        bytes[..8].copy_from_slice(&(offset | 1).to_le_bytes());
        door.write(&file, bytes, offset, way.sync)?;
        offset += len as u64;
        io::Result::Ok(offset + len as u64 <= FILE_LEN)
    };
    for _ in 0..50 {
        piece(door)?;
    }
    let mut latencies = Vec::with_capacity(100_000);
    let kernel_cpu_start = kernel_cpu_time();
    let (start, cpu_start) = (Instant::now(), cpu_time());
    // A second pass over the file would no longer meet unwritten space: the end of the file ends the round.
    let mut room = true;
    while latencies.is_empty() || (room && start.elapsed() < time) {
        let begin = Instant::now();
        room = piece(door)?;
        latencies.push(begin.elapsed());
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu_start);
    let kernel_cpu = kernel_cpu_time().saturating_sub(kernel_cpu_start);
    latencies.sort_unstable();
    let count = latencies.len();
    Ok(Figures {
        per_s: count as f64 / elapsed.as_secs_f64(),
        p50_us: latencies[count / 2].as_secs_f64() * 1e6,
        p99_us: latencies[count * 99 / 100].as_secs_f64() * 1e6,
        cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        kernel_cpu_us: kernel_cpu.as_secs_f64() * 1e6 / count as f64,
    })
}

fn main() -> io::Result<()> {
    // cargo adds `--bench`.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let base =
        arguments.first().map_or_else(|| Path::new("target").to_owned(), |dir| Path::new(dir).to_owned());
    let seconds: f64 = arguments.get(1).map_or(Ok(0.1), |text| text.parse()).map_err(io::Error::other)?;
    let dir = base.join(format!("bench-disk-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = run(&dir, Duration::from_secs_f64(seconds));
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, time: Duration) -> io::Result<()> {
    let mut doors = vec![Door::Calls];
    match IoUring::new(4) {
        Ok(ring) => doors.push(Door::Ring(Box::new(ring))),
        Err(error) => println!("io_uring is refused here: {error}"),
    }
    println!(
        "| bytes | way | through | syncs/s | p50 us | p99 us | CPU us | kernel threads us |\n|--:|---|---|--:|--:|--:|--:|--:|"
    );
    for len in [150, 512, 4096, 16384] {
        let ways: Vec<_> = WAYS.iter().filter(|way| !way.direct || len % 512 == 0).collect();
        let mut rounds = vec![Vec::<Result<Figures, String>>::new(); ways.len() * doors.len()];
        for _ in 0..ROUNDS {
            for (i, way) in ways.iter().enumerate() {
                let count = doors.len();
                for (j, door) in doors.iter_mut().enumerate() {
                    let figures = measure(dir, **way, door, len, time).map_err(|error| error.to_string());
                    rounds[i * count + j].push(figures);
                }
            }
        }
        for (i, way) in ways.iter().enumerate() {
            for (j, door) in doors.iter().enumerate() {
                let mut good: Vec<_> =
                    rounds[i * doors.len() + j].iter().filter_map(|round| round.as_ref().ok()).collect();
                good.sort_by(|a, b| a.per_s.total_cmp(&b.per_s));
                match good.last() {
                    Some(f) => println!(
                        "| {len} | {} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} |",
                        way.name,
                        door.name(),
                        f.per_s,
                        f.p50_us,
                        f.p99_us,
                        f.cpu_us,
                        f.kernel_cpu_us
                    ),
                    None => println!(
                        "| {len} | {} | {} | {:?} |",
                        way.name,
                        door.name(),
                        rounds[i * doors.len() + j][0].as_ref().err()
                    ),
                }
            }
        }
    }
    Ok(())
}
