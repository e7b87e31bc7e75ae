//! Ten thousand connections, five thousand of them hostile: what the honest ones notice. Only with `HOSTILE=full`; it
//! prints its figures, and asserts on memory and on right answers, never on time.
//!
//! `HOSTILE_SECONDS` (10) of each half, `HOSTILE_PACE_MS` (1000) between two deeds of one hostile connection. The honest ones
//! send at a fixed rate, one request a second each, so that a slow server gets no easier load. `HOSTILE_RANKS=1` (with the right to
//! do so) keeps clients and server from waiting for each other's slices of the processors. `DURAMEN_BIN=/usr/bin/redis-server`
//! measures Redis, without `maxmemory-clients`; `HOSTILE_KIND=8` makes all hostile clients be of one kind.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, sleep_until, timeout};

use crate::support::client::Value;
use crate::target::{MIB, Target, mib};

const HALF: usize = 5000;
const PASSWORD: &str = "secret";
const AUTH: &[u8] = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
/// `maxmemory-clients`, of which the flat amounts for ten thousand connections are 30 MB.
const CLIENTS_MAX: u64 = 96 * MIB;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn honest_clients_among_five_thousand_hostile_ones() {
    if std::env::var("HOSTILE").as_deref() != Ok("full") {
        eprintln!("skipped: set HOSTILE=full for ten thousand connections");
        return;
    }
    duramen::process::allow_open_files(12_000).expect("limits can be read");
    let seconds = from_environment("HOSTILE_SECONDS", 10);
    let pace = Duration::from_millis(from_environment("HOSTILE_PACE_MS", 1000));
    let mut directives = vec![
        ("maxclients", "10100"),
        ("tcp-backlog", "4096"),
        ("client-output-buffer-limit", "normal 1mb 0 0"),
        ("client-query-buffer-limit", "1mb"),
    ];
    if !Target::is_redis() {
        // So that no segment ends meanwhile: how long its sync takes is the disk's affair.
        directives.extend([("log-segment-size", "64mb"), ("held-replies-size", "64mb")]);
        // In Redis ten thousand idle connections alone take more.
        directives.push(("maxmemory-clients", "96mb"));
    }
    let target = Target::start(&directives);
    if ranks() {
        rank_threads(&format!("/proc/{}/task", target.server.pid().expect("it runs")), SERVER_RANK);
    }
    assert_eq!(target.ask(&["SET", "big", &"x".repeat(100_000)]), Value::ok());
    let mut watcher = target.server.client();
    assert_eq!(watcher.call(["CLIENT", "NO-EVICT", "on"]).unwrap(), Value::ok());
    assert_eq!(watcher.call(["CONFIG", "SET", "requirepass", PASSWORD]).unwrap(), Value::ok());
    let port = target.server.port();
    let mut p99 = Vec::new();
    for hostile in [false, true] {
        let end = Instant::now() + Duration::from_secs(seconds) + CONNECTING;
        let cpu = cpu_ticks(&target);
        let others = std::thread::spawn(move || (run_others(port, hostile, pace, end), thread_cpu_ms()));
        let honest = std::thread::spawn(move || {
            if ranks() {
                rank(0, HONEST_RANK);
            }
            (run_honest(port, end), thread_cpu_ms())
        });
        let ([mut gets, mut latencies, mut late], honest_cpu_ms) = honest.join().expect("they are answered");
        let (deeds, others_cpu_ms) = others.join().expect("the hostile clients come to their end");
        let gets_p99 = share_ms(&mut gets, 0.99);
        latencies.append(&mut gets);
        latencies.sort_unstable();
        let at = |share: f64| share_ms(&mut latencies.clone(), share);
        let cpu_ms = (cpu_ticks(&target) - cpu) * 10;
        let info = |field: &str, watcher: &mut _| crate::target::number_if_any(watcher, field).unwrap_or(0);
        let client_memory = info("client_memory_bytes", &mut watcher);
        println!(
            "{} hostile: {} requests, p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms, of GET p99 {gets_p99:.2}; hostile deeds {deeds}; server peak \
             {:.0} MiB, clients {:.1} MiB; closed: output {}, query {}, evicted {}\n  CPU ms in {} s: server {cpu_ms}, honest {honest_cpu_ms}, \
             others {others_cpu_ms}; honest clients' timers late: p50 {:.2} p99 {:.2} ms",
            if hostile { "with 5000" } else { "without" },
            latencies.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            mib(target.peak()),
            mib(client_memory),
            info("client_output_buffer_limit_disconnections", &mut watcher),
            info("client_query_buffer_limit_disconnections", &mut watcher),
            info("evicted_clients", &mut watcher),
            seconds + CONNECTING.as_secs(),
            share_ms(&mut late, 0.5),
            share_ms(&mut late, 0.99),
        );
        assert!(client_memory <= CLIENTS_MAX + 2 * MIB);
        p99.push(at(0.99));
    }
    println!("p99 with / without: {:.2}", p99[1] / p99[0]);
    // What Redis takes is looked at for comparison only.
    let bound = if Target::is_redis() { u64::MAX } else { 2 * CLIENTS_MAX + 128 * MIB };
    assert!(target.peak() < bound, "peak {:.0} MiB, bound {:.0}", mib(target.peak()), mib(bound));
}

/// Time to connect, before the honest ones begin to measure.
const CONNECTING: Duration = Duration::from_secs(4);

/// Whether the scheduler is told who goes first: the honest clients, then the server, then the hostile clients, as if they were on
/// machines of their own. Otherwise whoever wants a processor waits for the slices of the others, a few milliseconds each.
fn ranks() -> bool {
    from_environment("HOSTILE_RANKS", 0) > 0
}

/// Priorities of SCHED_FIFO; the hostile clients have none.
const HONEST_RANK: libc::c_int = 20;
const SERVER_RANK: libc::c_int = 10;

/// 0 means the calling thread.
fn rank(thread: libc::pid_t, priority: libc::c_int) {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: a plain system call that reads what it is given.
    let outcome = unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &parameters) };
    assert_eq!(outcome, 0, "HOSTILE_RANKS=1 needs CAP_SYS_NICE");
}

fn rank_threads(folder: &str, priority: libc::c_int) {
    for thread in std::fs::read_dir(folder).expect("it runs") {
        let name = thread.expect("it runs").file_name();
        rank(name.to_str().and_then(|text| text.parse().ok()).expect("a number"), priority);
    }
}

/// Processor time of the calling thread so far.
fn thread_cpu_ms() -> u64 {
    // SAFETY: plain data, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a plain system call that fills what it is given.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    assert_eq!(outcome, 0, "a thread may ask for itself");
    let ms = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// Processor time of the server so far, in hundredths of a second.
fn cpu_ticks(target: &Target) -> u64 {
    let pid = target.server.pid().expect("it runs");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads work");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// From 127.0.0.2 and so on, so that closed connections don't use up the ports of one address.
async fn connect(port: u16, number: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 2 + (number % 8) as u8], 0)))?;
    let stream = socket.connect(std::net::SocketAddr::from(([127, 0, 0, 1], port))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Of GETs and of SETs; and by how much the client itself began too late.
type Latencies = Rc<RefCell<[Vec<u64>; 3]>>;

/// In milliseconds, of times in microseconds.
fn share_ms(times: &mut [u64], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0
}

/// Every request's time in microseconds, once all are connected.
fn run_honest(port: u16, end: Instant) -> [Vec<u64>; 3] {
    let latencies: Latencies = Rc::default();
    let measure_from = end - Duration::from_secs(from_environment("HOSTILE_SECONDS", 10));
    on_a_runtime(async {
        let tasks: Vec<_> = (0..HALF)
            .map(|number| {
                tokio::task::spawn_local(honest(port, number, measure_from, end, latencies.clone()))
            })
            .collect();
        for task in tasks {
            task.await.expect("honest clients are answered, rightly");
        }
    });
    latencies.take()
}

async fn honest(port: u16, number: usize, measure_from: Instant, end: Instant, latencies: Latencies) {
    sleep(Duration::from_micros(number as u64 * 500)).await;
    let mut stream = connect(port, number).await.expect("it listens");
    exchange(&mut stream, AUTH, b"+OK\r\n").await;
    let mut at = measure_from + Duration::from_micros((number * 200) as u64);
    let mut round = 0;
    while at < end {
        sleep_until(at.into()).await;
        let key = format!("honest:{number:05}");
        let begin = Instant::now();
        latencies.borrow_mut()[2].push((begin - at).as_micros() as u64);
        if round % 2 == 0 {
            let request = format!("*3\r\n$3\r\nSET\r\n$12\r\n{key}\r\n$8\r\n{round:08}\r\n");
            exchange(&mut stream, request.as_bytes(), b"+OK\r\n").await;
        } else {
            let request = format!("*2\r\n$3\r\nGET\r\n$12\r\n{key}\r\n");
            let expected = format!("$8\r\n{:08}\r\n", round - 1);
            exchange(&mut stream, request.as_bytes(), expected.as_bytes()).await;
        }
        latencies.borrow_mut()[usize::from(round % 2 == 0)].push(begin.elapsed().as_micros() as u64);
        round += 1;
        at += Duration::from_secs(1);
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8], expected: &[u8]) {
    stream.write_all(request).await.expect("an honest client is not closed");
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).await.expect("an honest client is answered");
    assert_eq!(String::from_utf8_lossy(&reply), String::from_utf8_lossy(expected));
}

/// The other half: idle, or hostile in turn of kinds. How many hostile deeds were done.
fn run_others(port: u16, hostile: bool, pace: Duration, end: Instant) -> u64 {
    on_a_runtime(async {
        let deeds = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..HALF)
            .map(|number| {
                let deeds = deeds.clone();
                tokio::task::spawn_local(async move {
                    sleep(Duration::from_micros(number as u64 * 500)).await;
                    while Instant::now() < end {
                        // Closed for what it did, most likely: it comes again.
                        let _ = attack(port, number, hostile, pace, end, &deeds).await;
                        sleep(pace.min(end.saturating_duration_since(Instant::now()))).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("hostile clients have no bugs");
        }
        deeds.get()
    })
}

/// What a kind sends each time, and whether it reads.
fn deed(kind: usize, round: usize) -> (Vec<u8>, bool) {
    let loris = b"*3\r\n$3\r\nSET\r\n$5\r\nloris\r\n$1000\r\n";
    match kind {
        0 => (vec![*loris.get(round).unwrap_or(&b'x')], false),
        1 if round == 0 => (b"*2\r\n$3\r\nGET\r\n$500000000\r\nxx".to_vec(), false),
        1 => (Vec::new(), false),
        2 => (b"*1000000000\r\n$9999999999\r\n".to_vec(), true),
        3 => (vec![b'x'; 10_000], false),
        4 => (b"\r\n".repeat(5000), false),
        5 => (b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(20), false),
        6 if round == 0 => (b"CLIENT REPLY OFF\r\n".to_vec(), false),
        6 => (b"*3\r\n$3\r\nSET\r\n$5\r\nflood\r\n$1\r\nv\r\n".repeat(100), false),
        7 if round == 0 => (b"MULTI\r\n".to_vec(), false),
        7 => (b"PING\r\n".repeat(100), false),
        8 => {
            let keys: String = (0..50).map(|key| format!(" {round}:{key}")).collect();
            (format!("WATCH{keys}\r\n").into_bytes(), false)
        }
        9 => (b"HELLO 3 SETNAME mallory\r\nHELLO 2\r\n".repeat(20), true),
        10 => (b"*1\r\n*1\r\n*1\r\n".to_vec(), true),
        _ => (b"PING\r\n".to_vec(), true),
    }
}

const KINDS: usize = 13;

async fn attack(
    port: u16,
    number: usize,
    hostile: bool,
    pace: Duration,
    end: Instant,
    deeds: &Cell<u64>,
) -> std::io::Result<()> {
    let mut stream = connect(port, number).await?;
    let kind = match from_environment("HOSTILE_KIND", u64::MAX) {
        u64::MAX => number % KINDS,
        kind => kind as usize % KINDS,
    };
    // The eleventh kind stays a stranger, the last comes and goes.
    if kind != 11 {
        stream.write_all(AUTH).await?;
    }
    let mut chunk = vec![0; 4096];
    for round in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if !hostile {
            sleep(left).await;
            break;
        }
        let (bytes, reads) = deed(kind, round);
        match timeout(pace, stream.write_all(&bytes)).await {
            Ok(written) => written?,
            Err(_) => continue,
        }
        deeds.set(deeds.get() + 1);
        if kind == 12 {
            stream.shutdown().await?;
            break;
        }
        let begin = Instant::now();
        while reads && matches!(stream.try_read(&mut chunk), Ok(count) if count > 0) {}
        sleep(pace.saturating_sub(begin.elapsed())).await;
    }
    Ok(())
}
