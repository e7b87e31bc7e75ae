//! MULTI, five SETs, EXEC in one write, over sockets, all clients on one thread.
//!
//! `cargo bench --bench transactions -- PORT CONNECTIONS SECONDS`: against whatever listens there. Prints the transactions that were
//! answered a second. For `tests/bench/scripts.py`.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WRITES: usize = 5;
/// Each connection goes through so many transactions' keys.
const TURNS: usize = 1000;

fn request(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words}", words.matches('$').count())
}

fn transaction(connection: usize, turn: usize) -> String {
    let set = |n| request(&["SET", &format!("key:{connection:04}:{turn:04}:{n}"), &"v".repeat(64)]);
    let sets: String = (0..WRITES).map(set).collect();
    request(&["MULTI"]) + &sets + &request(&["EXEC"])
}

async fn work(port: u16, connection: usize, end: Instant) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a server listens there");
    stream.set_nodelay(true).expect("it is a TCP socket");
    let requests: Vec<String> = (0..TURNS).map(|turn| transaction(connection, turn)).collect();
    let answer = format!("+OK\r\n{}*{WRITES}\r\n{}", "+QUEUED\r\n".repeat(WRITES), "+OK\r\n".repeat(WRITES));
    let mut buffer = vec![0; answer.len()];
    let mut done = 0;
    while Instant::now() < end {
        stream.write_all(requests[done as usize % TURNS].as_bytes()).await.expect("the server takes it");
        stream.read_exact(&mut buffer).await.expect("the server answers");
        assert_eq!(buffer, answer.as_bytes(), "all writes are done");
        done += 1;
    }
    done
}

async fn run(port: u16, connections: usize, seconds: f64) {
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> =
        (0..connections).map(|connection| tokio::task::spawn_local(work(port, connection, end))).collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("they end by themselves");
    }
    println!("{:.0}", done as f64 / begin.elapsed().as_secs_f64());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [port, connections, seconds] = &arguments[..] else {
        return println!("transactions: PORT CONNECTIONS SECONDS");
    };
    let port = port.parse().expect("a port");
    let connections = connections.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = run(port, connections, seconds.parse().expect("seconds"));
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime may start"), work);
}
