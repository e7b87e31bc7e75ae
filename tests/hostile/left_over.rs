//! What has to go on while nobody asks for anything: work that one tick of a worker leaves to the next, memory to be given back.

use crate::support::client::Value;
use crate::target::{MIB, SLACK, Target, send};

#[test]
fn long_replies_arrive_whole() {
    let len = 4 << 20;
    let target = Target::start(&[]);
    assert_eq!(target.ask(&["SET", "big", &"x".repeat(len)]), Value::ok());
    let mut clients: Vec<_> = (0..4).map(|_| target.server.client()).collect();
    for client in &mut clients {
        (0..4).for_each(|_| client.queue(["GET", "big"]));
        client.flush().expect("few bytes");
    }
    for client in &mut clients {
        for _ in 0..4 {
            let reply = client.receive().expect("the reply comes to its end");
            assert_eq!(reply.bytes().map(<[u8]>::len), Some(len));
        }
    }
}

#[test]
fn long_pipelines_are_executed_to_their_ends() {
    const LEN: usize = 3000;
    let target = Target::start(&[]);
    let mut clients: Vec<_> = (0..40).map(|_| target.server.client()).collect();
    for client in &mut clients {
        (0..LEN).for_each(|_| client.queue(["INCR", "count"]));
        client.flush().expect("the server reads");
    }
    for client in &mut clients {
        for _ in 0..LEN {
            assert!(client.receive().expect("every request is answered").integer().is_some());
        }
    }
    assert_eq!(target.ask(&["GET", "count"]), Value::bulk((40 * LEN).to_string()));
}

/// Publishes lots of so many messages each, the next when the last lot was answered; every subscriber gets all.
fn publish(subscribers: usize, lots: &[usize]) {
    let target = Target::start(&[]);
    let mut subscribers: Vec<_> = (0..subscribers).map(|_| target.server.client()).collect();
    for subscriber in &mut subscribers {
        subscriber.call(["SUBSCRIBE", "news"]).expect("it is subscribed");
    }
    let mut publisher = target.server.client();
    for &lot in lots {
        (0..lot).for_each(|_| publisher.queue(["PUBLISH", "news", "text"]));
        publisher.flush().expect("the server reads");
        for _ in 0..lot {
            let count = publisher.receive().expect("it is answered").integer();
            assert_eq!(count, Some(subscribers.len() as i64));
        }
    }
    for subscriber in &mut subscribers {
        for _ in 0..lots.iter().sum() {
            let message = subscriber.receive().expect("every message arrives");
            assert_eq!(message.items()[2], Value::bulk("text"));
        }
    }
}

#[test]
fn more_deliveries_than_a_tick_makes_reach_every_subscriber() {
    publish(200, &[100]);
}

#[test]
fn a_message_reaches_more_subscribers_than_a_tick_sends_to() {
    publish(600, &[1]);
}

/// Deliveries let requests go first, which are the publisher's here, and the last of them leaves nothing to wait for.
#[test]
fn messages_that_gave_way_to_requests_reach_every_subscriber() {
    publish(200, &[1; 50]);
}

/// It goes on when the client that had to end for it has done so, which tells nobody.
#[test]
fn who_waits_for_room_is_served_when_there_is_some() {
    let target = Target::start(&[("maxmemory-clients", "22mb")]);
    let mut other = target.raw();
    let half = [&b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$20000000\r\n"[..], &vec![b'x'; 12_000_000]].concat();
    send(&mut other, &half);
    target.wait_for("half a request", || target.number("client_memory_bytes") > 12_000_000);
    let mut client = target.server.client();
    assert_eq!(client.call(["CLIENT", "NO-EVICT", "on"]).unwrap(), Value::ok());
    assert_eq!(client.call(["SET", "big", &"x".repeat(14_000_000)]).unwrap(), Value::ok());
    assert_eq!(target.number("evicted_clients"), 1);
}

#[test]
fn free_memory_is_given_back() {
    const COUNT: usize = 200;
    let target = Target::start(&[]);
    let value = "x".repeat(1 << 20);
    (0..COUNT).for_each(|key| assert_eq!(target.ask(&["SET", &key.to_string(), &value]), Value::ok()));
    assert!(target.resident() > COUNT as u64 * MIB);
    assert_eq!(target.ask(&["FLUSHALL"]), Value::ok());
    target.wait_for("less memory", || target.resident() < COUNT as u64 / 2 * MIB + SLACK);
}
