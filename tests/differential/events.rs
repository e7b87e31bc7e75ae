//! Keyspace notifications of both servers, step by step.

use super::support::Server;
use super::support::client::{Client, Value};
use super::support::notation;

/// What is not compared: when a key is found to have expired is each server's own affair, and since Redis 7.2 a poll or a claim makes
/// the consumer even if there was nothing.
const OWN_AFFAIRS: [&[u8]; 3] = [b"expired", b"xgroup-createconsumer", b"xgroup-delconsumer"];
const FENCE: &str = "fence";

/// A subscriber to everything on each server.
pub struct Events {
    listeners: [Client; 2],
    publishers: [Client; 2],
}

impl Events {
    pub fn of(oracle: &Server, ours: &Server) -> Self {
        let listener = |server: &Server| {
            let mut client = server.client();
            let set = client.call(["CONFIG", "SET", "notify-keyspace-events", "KEA"]).expect("answers");
            assert_eq!(set, Value::ok());
            client.call(["PSUBSCRIBE", "__key*", FENCE]).expect("answers");
            client.receive().expect("both are confirmed");
            client
        };
        Self { listeners: [listener(oracle), listener(ours)], publishers: [oracle.client(), ours.client()] }
    }

    /// Whether what came since the last call is the same. Both servers have answered everything by now.
    pub fn compare(&mut self) -> Result<(), String> {
        let mut came = [Vec::new(), Vec::new()];
        for ((listener, publisher), events) in
            self.listeners.iter_mut().zip(&mut self.publishers).zip(&mut came)
        {
            publisher.call(["PUBLISH", FENCE, ""]).map_err(|e| e.to_string())?;
            loop {
                let message = listener.receive().map_err(|e| e.to_string())?;
                let words = message.items();
                if words[1] == Value::bulk(FENCE) {
                    break;
                }
                if !is_own_affair(&words) {
                    events.push(notation::show(&Value::Array(words[2..].to_vec())));
                }
            }
        }
        let [oracle, ours] = came;
        if oracle == ours {
            return Ok(());
        }
        Err(format!("  redis:\n{}\n  duramen:\n{}", oracle.join("\n"), ours.join("\n")))
    }
}

fn is_own_affair(words: &[Value]) -> bool {
    let of = |word: &Value, own: &[u8]| word.bytes().is_some_and(|bytes| bytes.ends_with(own));
    // The event is the message of one channel and the end of the other's name.
    OWN_AFFAIRS.iter().any(|own| of(&words[3], own) || of(&words[2], &[b":", *own].concat()))
}
