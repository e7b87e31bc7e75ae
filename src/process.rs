//! What the operating system says about this process and its machine. Figures only; whatever it doesn't tell reads as 0.

use std::time::Duration;

/// Processor time used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

/// Bytes of the process in physical memory.
pub fn resident_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    // Sizes in pages; the second is what is resident.
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

/// Lets this process have that many files open, or as many as it may. Returns how many those are.
pub fn allow_open_files(wanted: u64) -> std::io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // Sound: the pointer is to a whole rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), rlim_max: limit.rlim_max };
        // Sound: as above; only read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
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
        assert!(resident_bytes() > 0 && machine_memory() > resident_bytes());
        assert!(cpu().user >= cpu_of_thread().user.saturating_sub(Duration::from_millis(10)));
        assert!(system_name().starts_with("Linux "));
    }
}
