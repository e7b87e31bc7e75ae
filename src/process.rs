//! What the operating system and the allocator say about this process. Figures only; whatever they don't tell reads as 0.

use std::time::Duration;

/// Memory of the process in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Asked of the allocator and not given back.
    pub allocated: u64,
    /// Pages that hold allocations.
    pub active: u64,
    /// Pages that the allocator keeps in memory.
    pub resident: u64,
    /// All pages of the process that are in memory.
    pub rss: u64,
}

/// Processor time used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

/// Memory now. Costs a few system calls: for INFO and now and then, not for every request.
pub fn memory() -> Memory {
    let rss = rss();
    match allocator() {
        Some((allocated, active, resident)) => Memory { allocated, active, resident, rss },
        None => Memory { allocated: rss, active: rss, resident: rss, rss },
    }
}

/// The allocator's name and version, as INFO shows it.
pub fn allocator_name() -> String {
    #[cfg(feature = "jemalloc")]
    if let Ok(version) = tikv_jemalloc_ctl::version::read() {
        return format!("jemalloc-{}", version.split('-').next().unwrap_or(version));
    }
    "libc".to_owned()
}

#[cfg(feature = "jemalloc")]
fn allocator() -> Option<(u64, u64, u64)> {
    use tikv_jemalloc_ctl::{epoch, stats};
    // The figures are those of the last epoch.
    epoch::advance().ok()?;
    let read = |result: Result<usize, tikv_jemalloc_ctl::Error>| result.ok().map(|bytes| bytes as u64);
    Some((read(stats::allocated::read())?, read(stats::active::read())?, read(stats::resident::read())?))
}

#[cfg(not(feature = "jemalloc"))]
fn allocator() -> Option<(u64, u64, u64)> {
    None
}

/// `/proc/self/statm`: sizes in pages, the second is what is resident.
fn rss() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * system_value(libc::_SC_PAGESIZE)
}

/// Memory of the machine in bytes.
pub fn machine_memory() -> u64 {
    system_value(libc::_SC_PHYS_PAGES) * system_value(libc::_SC_PAGESIZE)
}

fn system_value(name: libc::c_int) -> u64 {
    // Sound: sysconf takes any number and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

/// Processor time of the whole process.
pub fn cpu() -> CpuTime {
    usage(libc::RUSAGE_SELF)
}

/// Processor time of the calling thread.
pub fn cpu_of_thread() -> CpuTime {
    usage(libc::RUSAGE_THREAD)
}

fn usage(who: libc::c_int) -> CpuTime {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // Sound: the pointer is to a whole rusage, all of whose bit patterns (zero included) are valid.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration = |time: libc::timeval| {
        Duration::from_micros(time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs())
    };
    CpuTime { user: duration(usage.ru_utime), system: duration(usage.ru_stime) }
}

/// System, release and machine, as `uname` prints them.
pub fn system_name() -> String {
    let mut name = std::mem::MaybeUninit::<libc::utsname>::zeroed();
    // Sound: the pointer is to a whole utsname, all of whose bit patterns are valid; its texts end in a zero byte.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let text = |chars: &[libc::c_char]| -> String {
        chars.iter().map(|&char| char as u8).take_while(|&byte| byte != 0).map(char::from).collect()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_has_used_the_processor() {
        let memory = memory();
        assert!(memory.rss > 0 && memory.allocated > 0);
        assert!(machine_memory() > memory.rss);
        assert!(cpu().user >= cpu_of_thread().user.saturating_sub(Duration::from_millis(10)));
        assert!(system_name().starts_with("Linux "));
    }
}
