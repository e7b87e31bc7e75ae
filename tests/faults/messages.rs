//! Messages between connections: across workers, behind the log's gate, to subscribers that read nothing.

use std::io::ErrorKind;
use std::thread;

use crate::faulty::{Fault, Faulty, ask, waits};
use crate::support::Options;
use crate::support::client::{Client, Value};

fn subscribed(faulty: &Faulty, command: &str, name: &str) -> Client {
    let mut client = faulty.client();
    assert!(!client.call([command, name]).unwrap().is_error());
    client
}

/// The last word of a message.
fn payload(message: &Value) -> String {
    let words = message.items();
    String::from_utf8_lossy(words.last().and_then(Value::bytes).expect("a message")).into_owned()
}

#[test]
fn under_always_no_message_tells_of_a_write_that_may_be_lost() {
    let faulty = Faulty::start_with("always", Options::default().directive("io-threads", "2"));
    let mut listeners = [subscribed(&faulty, "SUBSCRIBE", "news"), subscribed(&faulty, "SUBSCRIBE", "news")];
    let mut keys = subscribed(&faulty, "PSUBSCRIBE", "__keyevent*");
    let mut hasty = subscribed(&faulty, "SUBSCRIBE", "other");
    assert_eq!(ask(&faulty, &["CONFIG", "SET", "notify-keyspace-events", "EA"]), Value::ok());
    faulty.begin(Fault::SyncIsStuck);
    let mut writer = faulty.client();
    for words in [&["MULTI"][..], &["PUBLISH", "news", "inside"], &["SET", "k", "v"]] {
        writer.queue(words);
    }
    faulty.send_on(&mut writer, &["EXEC"]);
    faulty.wait_until_a_sync_is_stuck();
    // Neither that of the transaction, nor one that its connection publishes later, nor the notification.
    faulty.send_on(&mut writer, &["PUBLISH", "news", "behind"]);
    // Who wrote nothing is not held up.
    assert_eq!(ask(&faulty, &["PUBLISH", "other", "free"]), Value::Integer(1));
    assert_eq!(payload(&hasty.receive().unwrap()), "free");
    assert!(listeners.iter_mut().all(waits) && waits(&mut keys));
    faulty.end(Fault::SyncIsStuck);
    for listener in &mut listeners {
        assert_eq!(payload(&listener.receive().unwrap()), "inside");
        assert_eq!(payload(&listener.receive().unwrap()), "behind");
    }
    assert_eq!(payload(&keys.receive().unwrap()), "k");
}

#[test]
fn every_subscriber_of_every_worker_sees_the_messages_in_one_order() {
    const MESSAGES: usize = 500;
    let faulty = Faulty::start_with("no", Options::default().directive("io-threads", "4"));
    let mut listeners: Vec<Client> = (0..12).map(|_| subscribed(&faulty, "SUBSCRIBE", "news")).collect();
    thread::scope(|scope| {
        let faulty = &faulty;
        for publisher in 0..4 {
            scope.spawn(move || {
                let mut client = faulty.client();
                for number in 0..MESSAGES {
                    client.queue(["PUBLISH", "news", &format!("{publisher}:{number}")]);
                }
                client.flush().unwrap();
                for _ in 0..MESSAGES {
                    assert_eq!(client.receive().unwrap(), Value::Integer(12));
                }
            });
        }
    });
    let mut seen = Vec::new();
    for listener in &mut listeners {
        let messages: Vec<String> =
            (0..4 * MESSAGES).map(|_| payload(&listener.receive().unwrap())).collect();
        for publisher in 0..4 {
            let of = messages.iter().filter(|message| message.starts_with(&format!("{publisher}:")));
            let expected = (0..MESSAGES).map(|number| format!("{publisher}:{number}"));
            assert!(of.eq(expected.collect::<Vec<_>>().iter()), "in the order of their publisher");
        }
        seen.push(messages);
    }
    assert!(seen.iter().all(|messages| *messages == seen[0]), "in the same order for all");
}

#[test]
fn subscribing_and_leaving_while_messages_come_loses_none_in_between() {
    let faulty = Faulty::start_with("no", Options::default().directive("io-threads", "2"));
    let mut publisher = faulty.client();
    for round in 0..200 {
        let mut listener = faulty.client();
        let mut say = |text: &str| publisher.call(["PUBLISH", "news", text]).unwrap();
        assert_eq!(say("before"), Value::Integer(0));
        assert!(!listener.call(["SUBSCRIBE", "news"]).unwrap().is_error());
        let text = format!("round {round}");
        assert_eq!(say(&text), Value::Integer(1));
        // What was published before it leaves comes before it has left.
        listener.queue(["UNSUBSCRIBE"]);
        listener.flush().unwrap();
        assert_eq!(payload(&listener.receive().unwrap()), text);
        assert_eq!(listener.receive().unwrap().items()[0], Value::bulk("unsubscribe"));
        assert_eq!(say("after"), Value::Integer(0));
    }
}

#[test]
fn a_subscriber_that_reads_nothing_is_closed_at_its_own_limit_and_others_are_not_held_up() {
    let options = Options::default()
        .directive("io-threads", "2")
        .directive("client-output-buffer-limit", "pubsub 4mb 0 0");
    let faulty = Faulty::start_with("no", options);
    let mut slow = subscribed(&faulty, "SUBSCRIBE", "news");
    let mut quick = subscribed(&faulty, "SUBSCRIBE", "news");
    let mut publisher = faulty.client();
    let text = "x".repeat(100_000);
    let mut sent = 0;
    while publisher.call(["PUBLISH", "news", &text]).unwrap() == Value::Integer(2) {
        sent += 1;
        assert_eq!(payload(&quick.receive().unwrap()), text);
        assert!(sent < 1000, "the limit is never reached");
    }
    assert_eq!(payload(&quick.receive().unwrap()), text);
    assert_eq!(faulty.number("client_output_buffer_limit_disconnections"), 1);
    assert_eq!(faulty.number("pubsub_clients"), 1);
    let error = loop {
        match slow.receive() {
            Ok(message) => assert_eq!(payload(&message), text),
            Err(error) => break error,
        }
    };
    assert_ne!(error.kind(), ErrorKind::TimedOut);
}

/// The limit for a time; how long exactly is looked at beside the code, where time stands still.
#[test]
fn a_subscriber_that_stays_over_the_soft_limit_is_closed_and_one_that_reads_is_not() {
    let options = Options::default()
        .directive("io-threads", "2")
        .directive("client-output-buffer-limit", "pubsub 0 1mb 1");
    let faulty = Faulty::start_with("no", options);
    let mut slow = subscribed(&faulty, "SUBSCRIBE", "news");
    let mut quick = subscribed(&faulty, "SUBSCRIBE", "news");
    let mut publisher = faulty.client();
    let text = "x".repeat(100_000);
    // More than the buffers of both sockets take, and no hard limit.
    for _ in 0..300 {
        assert!(!publisher.call(["PUBLISH", "news", &text]).unwrap().is_error());
        assert_eq!(payload(&quick.receive().unwrap()), text);
    }
    faulty.wait_for("the end of the slow one", || {
        faulty.number("client_output_buffer_limit_disconnections") == 1
    });
    assert_eq!(publisher.call(["PUBLISH", "news", "end"]).unwrap(), Value::Integer(1));
    assert_eq!(payload(&quick.receive().unwrap()), "end");
    let error = loop {
        match slow.receive() {
            Ok(message) => assert_eq!(payload(&message), text),
            Err(error) => break error,
        }
    };
    assert_ne!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn what_subscribers_do_not_read_counts_for_maxmemory_clients() {
    let options = Options::default().directive("maxmemory-clients", "2mb");
    let faulty = Faulty::start_with("no", options);
    let _slow = subscribed(&faulty, "SUBSCRIBE", "news");
    let mut publisher = faulty.client();
    let text = "x".repeat(100_000);
    let mut sent = 0;
    while publisher.call(["PUBLISH", "news", &text]).unwrap() == Value::Integer(1) {
        sent += 1;
        assert!(sent < 1000, "the limit is never reached");
    }
    assert_eq!(faulty.number("evicted_clients"), 1);
}

#[test]
fn a_message_to_very_many_comes_to_each_of_them() {
    const SUBSCRIBERS: usize = 3000;
    let faulty = Faulty::start_with("no", Options::default().directive("io-threads", "2"));
    let mut listeners: Vec<Client> =
        (0..SUBSCRIBERS).map(|_| subscribed(&faulty, "SUBSCRIBE", "news")).collect();
    let mut publisher = faulty.client();
    for number in 0..3 {
        let count = publisher.call(["PUBLISH", "news", &number.to_string()]).unwrap();
        assert_eq!(count, Value::Integer(SUBSCRIBERS as i64));
    }
    for listener in &mut listeners {
        for number in 0..3 {
            assert_eq!(payload(&listener.receive().unwrap()), number.to_string());
        }
    }
}
