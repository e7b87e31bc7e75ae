//! A worker's subscribers, and the handing out of messages to them.
//!
//! A message is encoded once per protocol; long ones are not even copied. A message to many takes several ticks, so that others are
//! served in between; a connection that begins or ends a subscription gets what was published before first. What connections that track
//! keys are told goes the same way, to connections that are named.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::command::channels::{Change, Channels, Letter, Post, Topic};
use crate::command::server::Server;
use crate::resp::Protocol;

use super::line::Line;

/// The subscribers of one channel or pattern, each with the number of the last message from before it was one. A delivery under way
/// keeps the list as it was.
type Lines = Rc<Vec<(Rc<Line>, u64)>>;

type Pattern = Arc<[u8]>;

/// A message that is being handed out.
struct Delivery {
    post: Post,
    /// Whom it goes to: subscribers of the channel, and those of each pattern.
    lists: SmallVec<[(Option<Pattern>, Lines); 2]>,
    /// The list that is under way, and how far.
    list: usize,
    next: usize,
    /// The message as subscribers of the list's pattern get it.
    encoded: [Option<Arc<[u8]>>; 2],
}

impl Delivery {
    fn new(post: Post, tables: &[HashMap<Box<[u8]>, Lines>; 3], known: &HashMap<u64, Weak<Line>>) -> Self {
        let mut lists = SmallVec::new();
        let message = match &post.letter {
            Letter::Message(message) => message,
            Letter::Notice(notice) => {
                let lines = notice.receivers.iter().filter_map(|id| known.get(id)?.upgrade());
                lists.push((None, Rc::new(lines.map(|line| (line, 0)).collect())));
                return Self { post, lists, list: 0, next: 0, encoded: Default::default() };
            }
        };
        if let Some(lines) = tables[message.topic as usize].get(&message.channel) {
            lists.push((None, lines.clone()));
        }
        for pattern in &message.patterns {
            if let Some(lines) = tables[Topic::Pattern as usize].get(&**pattern) {
                lists.push((Some(pattern.clone()), lines.clone()));
            }
        }
        Self { post, lists, list: 0, next: 0, encoded: Default::default() }
    }

    /// The next subscriber and what it gets.
    fn step(&mut self) -> Option<(Rc<Line>, Arc<[u8]>)> {
        loop {
            let (pattern, lines) = self.lists.get(self.list)?;
            let Some((line, behind)) = lines.get(self.next) else {
                self.list += 1;
                self.next = 0;
                self.encoded = Default::default();
                continue;
            };
            self.next += 1;
            let proto = if line.client.resp.load(Relaxed) == 3 { Protocol::Resp3 } else { Protocol::Resp2 };
            let message = match &self.post.letter {
                // In RESP2 only who waits for messages may be sent something unasked.
                Letter::Notice(_) if proto == Protocol::Resp2 && !line.client.is_subscribed() => continue,
                Letter::Notice(notice) => return Some((line.clone(), notice.encoded(proto).clone())),
                Letter::Message(message) if message.number <= *behind => continue,
                Letter::Message(message) => message,
            };
            let encoded =
                self.encoded[usize::from(proto == Protocol::Resp3)].get_or_insert_with(|| match pattern {
                    Some(pattern) => message.encoded_for(proto, pattern),
                    None => message.encoded(proto).clone(),
                });
            return Some((line.clone(), encoded.clone()));
        }
    }
}

#[derive(Default)]
pub struct Subscribers {
    tables: [HashMap<Box<[u8]>, Lines>; 3],
    under_way: VecDeque<Delivery>,
    /// Every connection of the worker.
    known: HashMap<u64, Weak<Line>>,
}

impl Subscribers {
    /// A connection begins.
    pub fn know(&mut self, line: &Rc<Line>) {
        self.known.insert(line.client.id, Rc::downgrade(line));
    }

    /// A connection ends.
    pub fn forget(&mut self, id: u64) {
        self.known.remove(&id);
    }

    /// Carries out what a connection's request changed.
    pub fn change(&mut self, line: &Rc<Line>, Change { topic, name, is_new, behind }: Change) {
        let table = &mut self.tables[topic as usize];
        if is_new {
            return Rc::make_mut(table.entry(name).or_default()).push((line.clone(), behind));
        }
        let Some(lines) = table.get_mut(&name) else { return };
        if let Some(at) = lines.iter().position(|(known, _)| Rc::ptr_eq(known, line)) {
            Rc::make_mut(lines).swap_remove(at);
        }
        if lines.is_empty() {
            table.remove(&name);
        }
    }

    /// Takes the mail: who ends a subscription from here on gets it still.
    pub fn collect(&mut self, channels: &Channels, worker: usize) {
        for post in channels.take_posts(worker) {
            self.under_way.push_back(Delivery::new(post, &self.tables, &self.known));
        }
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Hands out messages to at most `count` subscribers; `due` is told of each.
    pub fn deliver(&mut self, server: &Server, mut count: usize, due: &mut dyn FnMut(&Rc<Line>)) {
        while let Some(delivery) = self.under_way.front_mut() {
            while count > 0
                && let Some((line, encoded)) = delivery.step()
            {
                count -= 1;
                if line.push(server, &encoded, delivery.post.gate) {
                    due(&line);
                }
            }
            if count == 0 {
                return;
            }
            let delivery = self.under_way.pop_front().expect("it is the one at the front");
            server.channels.delivered(&delivery.post);
        }
    }
}
