//! A stream as a work queue, over sockets: producers add, consumers of one group read ten at a time and acknowledge what they got.
//!
//! `cargo bench --bench stream_group -- PORT PAYLOAD_BYTES SECONDS`: eight of each, against whatever listens there. Prints the
//! messages that were acknowledged a second. For `tests/bench/streams.py`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use duramen::resp::client::{Client, Value};

const SIDES: usize = 8;
const STREAM: &str = "jobs";
const GROUP: &str = "workers";

fn connect(port: u16) -> Client<std::net::TcpStream> {
    Client::connect(("127.0.0.1", port)).expect("a server listens there")
}

fn produce(port: u16, payload: &str, stop: &AtomicBool) {
    let mut client = connect(port);
    while !stop.load(Relaxed) {
        let reply = client.call(&["XADD", STREAM, "*", "job", payload]).expect("the server answers");
        assert!(!reply.is_error(), "{reply:?}");
    }
}

/// Ids of a reply of XREADGROUP on one stream.
fn ids(reply: &Value) -> Vec<Vec<u8>> {
    let Some([Value::Array(stream)]) = reply.elements() else { return Vec::new() };
    let entries = stream.get(1).and_then(Value::elements).unwrap_or_default();
    let id = |entry: &Value| entry.elements().and_then(|parts| parts.first()?.as_bytes().map(<[u8]>::to_vec));
    entries.iter().filter_map(id).collect()
}

fn consume(port: u16, name: &str, acknowledged: &AtomicU64, stop: &AtomicBool) {
    let mut client = connect(port);
    while !stop.load(Relaxed) {
        let read =
            ["XREADGROUP", "GROUP", GROUP, name, "COUNT", "10", "BLOCK", "100", "STREAMS", STREAM, ">"];
        let ids = ids(&client.call(&read).expect("the server answers"));
        if ids.is_empty() {
            continue;
        }
        let mut request = vec![b"XACK".to_vec(), STREAM.into(), GROUP.into()];
        let count = ids.len() as u64;
        request.extend(ids);
        assert_eq!(client.call(&request).expect("the server answers").as_integer(), Some(count as i64));
        acknowledged.fetch_add(count, Relaxed);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [port, payload, seconds] = &arguments[..] else {
        return println!("stream_group: PORT PAYLOAD_BYTES SECONDS");
    };
    let port: u16 = port.parse().expect("a port");
    let payload = "p".repeat(payload.parse().expect("a number of bytes"));
    let seconds: f64 = seconds.parse().expect("seconds");
    let made = connect(port)
        .call(&["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"])
        .expect("the server answers");
    assert!(!made.is_error(), "{made:?}");
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|scope| {
        for side in 0..SIDES {
            scope.spawn(|| produce(port, &payload, &stop));
            let (acknowledged, stop) = (&acknowledged, &stop);
            scope.spawn(move || consume(port, &format!("consumer-{side}"), acknowledged, stop));
        }
        std::thread::sleep(Duration::from_secs(1));
        let (before, start) = (acknowledged.load(Relaxed), Instant::now());
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let count = acknowledged.load(Relaxed) - before;
        println!("{:.0}", count as f64 / start.elapsed().as_secs_f64());
        stop.store(true, Relaxed);
    });
}
