//! Channels: who listens, and how a message gets from the command that publishes it to the workers whose connections listen.
//!
//! A command only notes its messages; they are posted when its record is appended, while its keys are still locked, so their order is
//! that of the log. Each worker with subscribers gets one post, whatever their number, and hands the message to its own connections.
//! A message carries the LSN that it must not be shown before. Not promised: that a message outlives a connection, or the server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::context::Transaction;
use super::server::Server;
use super::session::Session;
use super::tracking::{self, Notice};
use crate::glob;
use crate::log::Lsn;
use crate::mutation::{Safeguard, is_off};
use crate::resp::{Protocol, Reply};

/// What a subscription is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Channel,
    Pattern,
    /// A channel of SSUBSCRIBE: a world of its own.
    Shard,
}

impl Topic {
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// How many subscribers each worker has, where there are any.
type PerWorker = SmallVec<[(usize, usize); 2]>;

fn total(workers: &PerWorker) -> usize {
    workers.iter().map(|(_, count)| count).sum()
}

/// A published message.
pub struct Message {
    /// Messages are numbered as they are published.
    pub number: u64,
    pub topic: Topic,
    pub channel: Box<[u8]>,
    pub payload: Box<[u8]>,
    /// Those subscribed to that fit the channel.
    pub patterns: Vec<Arc<[u8]>>,
    /// As it goes to subscribers of the channel, made when the first wants it: RESP2, RESP3.
    encoded: [OnceLock<Arc<[u8]>>; 2],
}

impl Message {
    /// As it goes to subscribers of the channel.
    pub fn encoded(&self, proto: Protocol) -> &Arc<[u8]> {
        let word = if self.topic == Topic::Shard { "smessage" } else { "message" };
        self.encoded[(proto == Protocol::Resp3) as usize]
            .get_or_init(|| encode(proto, &[word.as_bytes(), &self.channel, &self.payload]))
    }

    /// As it goes to subscribers of a pattern.
    pub fn encoded_for(&self, proto: Protocol, pattern: &[u8]) -> Arc<[u8]> {
        encode(proto, &[b"pmessage", pattern, &self.channel, &self.payload])
    }

    fn len(&self) -> usize {
        MESSAGE_OVERHEAD + self.channel.len() + self.payload.len()
    }
}

/// Bytes that a message takes besides its own.
const MESSAGE_OVERHEAD: usize = 200;

fn encode(proto: Protocol, words: &[&[u8]]) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(words.iter().map(|word| word.len() + 16).sum::<usize>() + 8);
    let mut reply = Reply::new(&mut bytes, proto);
    reply.push(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    bytes.into()
}

/// What a worker is to hand out.
#[derive(Clone)]
pub enum Letter {
    Message(Arc<Message>),
    /// For connections that track keys: they are named.
    Notice(Arc<Notice>),
}

impl Letter {
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Notice(notice) => notice.heap_len(),
        }
    }
}

/// A letter on its way to the workers of those who listen.
pub struct Publication {
    pub letter: Letter,
    /// Numbers of workers, each with how many of its connections it is for.
    pub workers: SmallVec<[(usize, usize); 4]>,
}

/// What a worker finds in its mailbox.
pub struct Post {
    pub letter: Letter,
    /// Not to be shown before.
    pub gate: Lsn,
    /// How many of the worker's subscriptions it was meant for.
    pub receivers: usize,
}

/// Called when something lies in a mailbox.
pub type Ring = Box<dyn Fn() + Send + Sync>;

struct Mailbox {
    posts: Mutex<Vec<Post>>,
    is_filled: AtomicBool,
    ring: Ring,
}

#[derive(Default)]
struct Tables {
    channels: HashMap<Box<[u8]>, PerWorker>,
    /// In order, so that a message comes to a client with several that fit in an order that can be relied on.
    patterns: BTreeMap<Arc<[u8]>, PerWorker>,
    shards: HashMap<Box<[u8]>, PerWorker>,
    /// Messages so far that had a receiver.
    published: u64,
}

#[derive(Default)]
pub struct Channels {
    tables: Mutex<Tables>,
    /// How many subscriptions there are: most servers have none.
    subscriptions: AtomicUsize,
    mailboxes: OnceLock<Vec<Mailbox>>,
    /// Held while a record's messages are posted: all workers see them in one order.
    order: Mutex<()>,
    /// Deliveries and bytes that were posted and are not made yet.
    backlog: AtomicUsize,
    backlog_bytes: AtomicUsize,
}

/// Deliveries that may be outstanding before those who publish wait.
const BACKLOG_MAX: usize = 1_000_000;
const BACKLOG_BYTES_MAX: usize = 64 << 20;

impl Channels {
    /// One mailbox for each worker, with what to call when it is filled. Called once, at start.
    pub fn open(&self, rings: Vec<Ring>) {
        let boxes = rings.into_iter().map(|ring| Mailbox {
            posts: Mutex::default(),
            is_filled: AtomicBool::new(false),
            ring,
        });
        assert!(self.mailboxes.set(boxes.collect()).is_ok(), "the workers are started once");
    }

    /// What has come for a worker.
    pub fn take_posts(&self, worker: usize) -> Vec<Post> {
        let Some(mailbox) = self.mailbox(worker) else { return Vec::new() };
        if !mailbox.is_filled.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut posts = mailbox.posts.lock();
        mailbox.is_filled.store(false, Ordering::Release);
        std::mem::take(&mut *posts)
    }

    /// Whether something has come for a worker.
    #[inline]
    pub fn has_mail(&self, worker: usize) -> bool {
        self.mailbox(worker).is_some_and(|mailbox| mailbox.is_filled.load(Ordering::Acquire))
    }

    fn mailbox(&self, worker: usize) -> Option<&Mailbox> {
        self.mailboxes.get()?.get(worker)
    }

    /// The messages of a post have all been handed out.
    pub fn delivered(&self, post: &Post) {
        self.backlog.fetch_sub(post.receivers, Ordering::Relaxed);
        self.backlog_bytes.fetch_sub(post.letter.len(), Ordering::Relaxed);
    }

    /// So much waits to be handed out that who publishes more must wait.
    pub fn is_congested(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > BACKLOG_MAX
            || self.backlog_bytes.load(Ordering::Relaxed) > BACKLOG_BYTES_MAX
    }

    /// Whether anybody listens to anything.
    #[inline]
    pub fn has_subscribers(&self) -> bool {
        self.subscriptions.load(Ordering::Relaxed) > 0
    }

    /// Returns the number of the last message that was published before.
    fn change(&self, worker: usize, topic: Topic, name: &[u8], is_new: bool) -> u64 {
        let mut tables = self.tables.lock();
        let Tables { channels, patterns, shards, published } = &mut *tables;
        let workers = match topic {
            Topic::Channel => channels.entry(name.into()).or_default(),
            Topic::Shard => shards.entry(name.into()).or_default(),
            Topic::Pattern => patterns.entry(name.into()).or_default(),
        };
        match workers.iter_mut().find(|(number, _)| *number == worker) {
            Some((_, count)) if is_new => *count += 1,
            Some((_, count)) => *count -= 1,
            None => workers.push((worker, usize::from(is_new))),
        }
        workers.retain(|(_, count)| *count > 0);
        if workers.is_empty() {
            match topic {
                Topic::Channel => drop(channels.remove(name)),
                Topic::Shard => drop(shards.remove(name)),
                Topic::Pattern => drop(patterns.remove(name)),
            }
        }
        if is_new {
            self.subscriptions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        *published
    }

    /// Who listens now, and what they will be sent.
    fn address(&self, topic: Topic, channel: &[u8], payload: &[u8]) -> (usize, Option<Publication>) {
        if !self.has_subscribers() {
            return (0, None);
        }
        let mut tables = self.tables.lock();
        let mut workers = SmallVec::<[(usize, usize); 4]>::new();
        let mut patterns = Vec::new();
        let mut add = |found: &PerWorker| {
            for &(worker, count) in found {
                match workers.iter_mut().find(|(number, _)| *number == worker) {
                    Some((_, sum)) => *sum += count,
                    None => workers.push((worker, count)),
                }
            }
            total(found)
        };
        let mut receivers = match topic {
            Topic::Shard => tables.shards.get(channel),
            _ => tables.channels.get(channel),
        }
        .map_or(0, &mut add);
        if topic == Topic::Channel {
            for (pattern, found) in &tables.patterns {
                if glob::matches(pattern, channel) {
                    patterns.push(pattern.clone());
                    receivers += add(found);
                }
            }
        }
        if receivers == 0 {
            return (0, None);
        }
        tables.published += 1;
        let number = tables.published;
        drop(tables);
        let message = Message {
            number,
            topic,
            channel: channel.into(),
            payload: payload.into(),
            patterns,
            encoded: Default::default(),
        };
        (receivers, Some(Publication { letter: Letter::Message(Arc::new(message)), workers }))
    }

    fn post(&self, publications: &mut Vec<Publication>, gate: Lsn) {
        let Some(mailboxes) = self.mailboxes.get() else { return publications.clear() };
        let mut to_ring = SmallVec::<[usize; 4]>::new();
        let order = self.order.lock();
        for Publication { letter, workers } in publications.drain(..) {
            for (worker, receivers) in workers {
                let Some(mailbox) = mailboxes.get(worker) else { continue };
                self.backlog.fetch_add(receivers, Ordering::Relaxed);
                self.backlog_bytes.fetch_add(letter.len(), Ordering::Relaxed);
                let mut posts = mailbox.posts.lock();
                posts.push(Post { letter: letter.clone(), gate, receivers });
                mailbox.is_filled.store(true, Ordering::Release);
                drop(posts);
                if !to_ring.contains(&worker) {
                    to_ring.push(worker);
                }
            }
        }
        drop(order);
        to_ring.iter().for_each(|&worker| (mailboxes[worker].ring)());
    }

    /// The channels somebody listens to, as far as they fit.
    pub fn names(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let tables = self.tables.lock();
        let table = if topic == Topic::Shard { &tables.shards } else { &tables.channels };
        let fits = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        table.keys().filter(|name| fits(name)).cloned().collect()
    }

    /// How many listen to a channel.
    pub fn listeners(&self, topic: Topic, name: &[u8]) -> usize {
        let tables = self.tables.lock();
        let table = if topic == Topic::Shard { &tables.shards } else { &tables.channels };
        table.get(name).map_or(0, total)
    }

    /// How many channels, patterns or shard channels are listened to.
    pub fn len(&self, topic: Topic) -> usize {
        let tables = self.tables.lock();
        match topic {
            Topic::Channel => tables.channels.len(),
            Topic::Pattern => tables.patterns.len(),
            Topic::Shard => tables.shards.len(),
        }
    }
}

/// Notes a message; it is posted with the record. Returns how many will get it.
pub fn publish(
    server: &Server,
    transaction: &mut Transaction,
    topic: Topic,
    channel: &[u8],
    payload: &[u8],
) -> usize {
    let (receivers, publication) = server.channels.address(topic, channel, payload);
    transaction.publications.extend(publication);
    receivers
}

/// Posts what was published. Call when the record is appended and the keys are still locked. The messages wait for the record, for
/// what the command saw, and for what the connection wrote before: who is told of a write may rely on it as on a reply.
#[inline]
pub fn post(server: &Server, transaction: &mut Transaction, last_write: Lsn) {
    if !transaction.tracked.is_empty() {
        tracking::address(server, &mut transaction.tracked, &mut transaction.publications);
    }
    if transaction.publications.is_empty() {
        return;
    }
    let gate = if is_off(Safeguard::PushGate) { 0 } else { transaction.gate.max(last_write) };
    server.channels.post(&mut transaction.publications, gate);
}

/// A subscription that was begun or ended, to be carried out by the worker.
pub struct Change {
    pub topic: Topic,
    pub name: Box<[u8]>,
    pub is_new: bool,
    /// Number of the last message that was published before.
    pub behind: u64,
}

/// What a connection listens to.
#[derive(Default)]
pub struct Subscriptions {
    names: [HashSet<Box<[u8]>>; 3],
    bytes: usize,
    /// For the worker: taken after each request.
    pub changes: Vec<Change>,
}

/// Bytes that a subscription takes besides its name, here and in the tables of the server and the worker.
const SUBSCRIPTION_OVERHEAD: usize = 200;

impl Subscriptions {
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(HashSet::is_empty)
    }

    pub fn len(&self, topic: Topic) -> usize {
        self.names[topic as usize].len()
    }

    /// The number in the reply to a (un)subscription: that of channels and patterns together, or that of shard channels.
    pub fn shown(&self, topic: Topic) -> usize {
        match topic {
            Topic::Shard => self.len(Topic::Shard),
            _ => self.len(Topic::Channel) + self.len(Topic::Pattern),
        }
    }

    pub fn names(&self, topic: Topic) -> Vec<Box<[u8]>> {
        self.names[topic as usize].iter().cloned().collect()
    }

    pub fn heap_len(&self) -> usize {
        self.bytes
    }
}

/// Begins or ends a subscription. False if there is nothing to change.
pub fn change(server: &Server, session: &mut Session, topic: Topic, name: &[u8], is_new: bool) -> bool {
    let own = session.subscriptions.get_or_insert_default();
    let names = &mut own.names[topic as usize];
    let changes = if is_new { names.insert(name.into()) } else { names.remove(name) };
    if changes {
        let bytes = 3 * name.len() + SUBSCRIPTION_OVERHEAD;
        own.bytes = if is_new { own.bytes + bytes } else { own.bytes - bytes };
        let client = &session.client;
        let behind = server.channels.change(client.worker, topic, name, is_new);
        own.changes.push(Change { topic, name: name.into(), is_new, behind });
        client.subscriptions[topic as usize].store(own.len(topic), Ordering::Relaxed);
    }
    changes
}

/// Ends all subscriptions of a connection.
pub fn forget_session(server: &Server, session: &mut Session) {
    for topic in Topic::ALL {
        let names = session.subscriptions.as_ref().map_or_else(Vec::new, |own| own.names(topic));
        for name in names {
            change(server, session, topic, &name, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rig::Rig;

    fn message(post: &Post) -> &Message {
        match &post.letter {
            Letter::Message(message) => message,
            Letter::Notice(_) => panic!("a notice"),
        }
    }

    fn texts(posts: &[Post]) -> Vec<String> {
        posts
            .iter()
            .map(|post| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let message = message(post);
                format!("{}={}", text(&message.channel), text(&message.payload))
            })
            .collect()
    }

    #[test]
    fn a_message_of_a_transaction_waits_for_its_record_and_a_later_one_for_the_writers_last_write() {
        let mut rig = Rig::new();
        rig.run_as(1, "SUBSCRIBE news");
        assert_eq!(rig.run("PUBLISH news before"), ":1\r\n");
        for line in ["MULTI", "PUBLISH news inside", "SET k v", "EXEC", "PUBLISH news behind"] {
            assert!(!rig.run(line).starts_with('-'), "{line}");
        }
        let posts = rig.posts();
        assert_eq!(texts(&posts), ["news=before", "news=inside", "news=behind"]);
        let lsn = rig.server.store.get().unwrap().log.append_lsn();
        assert_eq!(posts.iter().map(|post| post.gate).collect::<Vec<_>>(), [0, lsn, lsn]);
    }

    #[test]
    fn a_worker_gets_one_post_for_all_its_subscribers_and_their_patterns() {
        let mut rig = Rig::new();
        for session in 1..=3 {
            rig.run_as(session, "SUBSCRIBE a");
        }
        rig.run_as(1, "PSUBSCRIBE ? x*");
        assert_eq!(rig.run("PUBLISH a 1"), ":4\r\n");
        assert_eq!(rig.run("SPUBLISH a 1"), ":0\r\n", "shard channels are apart");
        let posts = rig.posts();
        assert_eq!((posts.len(), posts[0].receivers), (1, 4));
        assert_eq!(message(&posts[0]).patterns, [Arc::from(&b"?"[..])]);
        assert_eq!(
            &**message(&posts[0]).encoded(Protocol::Resp2),
            b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n"
        );
        rig.disconnect(1);
        assert_eq!(rig.run("PUBSUB NUMPAT"), ":0\r\n");
        assert_eq!(rig.run("PUBLISH a 1"), ":2\r\n");
    }

    #[test]
    fn who_publishes_waits_while_too_much_is_to_be_delivered() {
        let channels = Channels::default();
        channels.open(vec![Box::new(|| {})]);
        channels.change(0, Topic::Channel, b"a", true);
        let payload = vec![0; BACKLOG_BYTES_MAX / 4];
        for _ in 0..4 {
            assert!(!channels.is_congested());
            let (_, publication) = channels.address(Topic::Channel, b"a", &payload);
            channels.post(&mut publication.into_iter().collect(), 0);
        }
        assert!(channels.is_congested());
        channels.take_posts(0).iter().for_each(|post| channels.delivered(post));
        assert!(!channels.is_congested());
    }
}
