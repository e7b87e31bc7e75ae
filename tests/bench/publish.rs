//! PUBLISH to many subscribers, over sockets.
//!
//! `cargo bench --bench publish -- PORT PUBLISHERS PIPELINE SUBSCRIBERS PAYLOAD_BYTES SECONDS`: against whatever listens there, all
//! clients on one thread. Prints the messages that were published a second and had come to every subscriber at the end. For
//! `tests/bench/publish.py`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a server listens there");
    stream.set_nodelay(true).expect("it is a TCP socket");
    stream
}

/// Reads messages of one length; says how many bytes of them came.
async fn listen(port: u16, ready: Rc<Cell<usize>>, came: Rc<Cell<u64>>) {
    let mut stream = connect(port).await;
    stream.write_all(b"SUBSCRIBE news\r\n").await.expect("the server takes it");
    let mut confirmation = [0; "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n".len()];
    stream.read_exact(&mut confirmation).await.expect("the server answers");
    ready.set(ready.get() + 1);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = stream.read(&mut buffer).await.expect("the connection lasts");
        assert!(count > 0, "a subscriber was closed");
        came.set(came.get() + count as u64);
    }
}

/// Publishes until the time is over; returns how often.
async fn publish(port: u16, pipeline: usize, request: Rc<Vec<u8>>, subscribers: usize, end: Instant) -> u64 {
    let mut stream = connect(port).await;
    let batch = request.repeat(pipeline);
    let answer = format!(":{subscribers}\r\n").repeat(pipeline);
    let mut buffer = vec![0; answer.len()];
    let mut published = 0;
    while Instant::now() < end {
        stream.write_all(&batch).await.expect("the server takes it");
        stream.read_exact(&mut buffer).await.expect("the server answers");
        assert_eq!(buffer, answer.as_bytes(), "everybody is there");
        published += pipeline as u64;
    }
    published
}

async fn run(
    port: u16,
    publishers: usize,
    pipeline: usize,
    subscribers: usize,
    payload: usize,
    seconds: f64,
) {
    let (ready, came) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..subscribers {
        tokio::task::spawn_local(listen(port, ready.clone(), came.clone()));
    }
    while ready.get() < subscribers {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let text = "p".repeat(payload);
    let request =
        Rc::new(format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${payload}\r\n{text}\r\n").into_bytes());
    let message_len = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${payload}\r\n{text}\r\n").len() as u64;
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..publishers)
        .map(|_| tokio::task::spawn_local(publish(port, pipeline, request.clone(), subscribers, end)))
        .collect();
    let mut published = 0;
    for task in tasks {
        published += task.await.expect("publishers end by themselves");
    }
    let due = published * message_len * subscribers as u64;
    while came.get() < due {
        assert!(end.elapsed() < PATIENCE, "{} of {due} bytes came", came.get());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{:.0}", published as f64 / begin.elapsed().as_secs_f64());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [port, publishers, pipeline, subscribers, payload, seconds] = &arguments[..] else {
        return println!("publish: PORT PUBLISHERS PIPELINE SUBSCRIBERS PAYLOAD_BYTES SECONDS");
    };
    let number = |word: &String| word.parse::<usize>().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = run(
        number(port) as u16,
        number(publishers),
        number(pipeline),
        number(subscribers),
        number(payload),
        seconds.parse().expect("seconds"),
    );
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime may start"), work);
}
