//! `maxmemory-clients`: what all connections take together, and who has to go when it is too much.
//!
//! Counted are buffers, queued commands and watched keys, and a flat amount for each connection itself. Nothing is counted
//! byte by byte: a connection that keeps next to nothing counts for the flat amount only.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::clients::{Client, Share};
use crate::command::server::Server;
use crate::config::{Config, MemoryLimit};
use crate::mutation::{Safeguard, is_off};

/// What a connection takes that keeps nothing: its task, its socket's registration, its entry in the list of clients.
const CONNECTION_BYTES: u64 = 3 << 10;
/// So much of the limit is made free at once, that not every growth has to look through all clients.
const SPARE_SHARE: u64 = 8;
/// So much of the limit may be kept by those who are ending, while the others go on.
const DYING_SHARE: u64 = 4;
/// What a connection keeps counts from here on.
const KEPT_FROM: usize = 1 << 10;

/// `maxmemory-clients` in bytes.
pub fn limit(config: &Config) -> Option<u64> {
    let bytes = match config.maxmemory_clients() {
        MemoryLimit::Bytes(bytes) => bytes,
        MemoryLimit::PercentOfMaxmemory(percent) => config.maxmemory() / 100 * u64::from(percent),
    };
    Some(bytes).filter(|&bytes| bytes > 0)
}

/// A client keeps `kept` bytes now. True if somebody was told to end for it: then there is room only when he has.
pub fn note(server: &Server, client: &Client, kept: usize) -> bool {
    let new = CONNECTION_BYTES + if kept < KEPT_FROM { 0 } else { kept as u64 };
    let mut share = client.share.lock();
    if share.is_evicted {
        return true;
    }
    let old = std::mem::replace(&mut share.bytes, new);
    drop(share);
    server.stats.client_memory_bytes.change(old, new);
    new > old && enforce(server)
}

/// Tells clients to end if all together take too much. True if one was told.
pub fn enforce(server: &Server) -> bool {
    limit(&server.config)
        .filter(|_| !is_off(Safeguard::ClientsMemory))
        .is_some_and(|limit| server.stats.client_memory_bytes.get() > limit && evict(server, limit))
}

/// Those who were told to end keep so much that nobody may take more until they have. The connections told for one growth
/// are mostly far from it, and then the others needn't wait for them.
pub fn is_crowded(server: &Server) -> bool {
    let dying_bytes = server.stats.dying_client_bytes.get();
    dying_bytes > 0 && limit(&server.config).is_none_or(|limit| dying_bytes > limit / DYING_SHARE)
}

/// A connection has ended.
pub fn forget(server: &Server, client: &Client) {
    let mut share = client.share.lock();
    let Share { bytes, is_evicted } = *share;
    // Whoever comes too late to evict it finds it gone.
    *share = Share { bytes: 0, is_evicted: true };
    let counter =
        if is_evicted { &server.stats.dying_client_bytes } else { &server.stats.client_memory_bytes };
    counter.change(bytes, 0);
}

/// Tells the largest clients to end until the others fit, with a little to spare. False if nobody could be told.
#[cold]
fn evict(server: &Server, limit: u64) -> bool {
    let stats = &server.stats;
    // Those that keep nothing are not worth it: they would only come again.
    let keeps = |client: &Client| {
        let share = client.share.lock();
        share.bytes > CONNECTION_BYTES && !share.is_evicted && !client.no_evict.load(Relaxed)
    };
    let clients = server.clients.chosen(keeps).into_iter();
    let mut clients: Vec<(u64, Arc<Client>)> = clients
        .map(|client| {
            let bytes = client.share.lock().bytes;
            (bytes, client)
        })
        .collect();
    clients.sort_unstable_by_key(|(bytes, _)| *bytes);
    let mut told = false;
    let enough = limit - limit / SPARE_SHARE;
    while stats.client_memory_bytes.get() > enough
        && let Some((_, client)) = clients.pop()
    {
        let mut share = client.share.lock();
        if share.is_evicted {
            continue;
        }
        share.is_evicted = true;
        stats.client_memory_bytes.change(share.bytes, 0);
        stats.dying_client_bytes.change(0, share.bytes);
        drop(share);
        tracing::warn!(client = client.id, "the clients take more than maxmemory-clients: closed");
        stats.evicted_clients.add(1);
        client.kill();
        told = true;
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Name;
    use crate::engine::rig::{Rig, client_without_socket};

    fn rig(limit: &str) -> Rig {
        let rig = Rig::new();
        rig.server.config.set_at_start(Name::maxmemory_clients, limit).unwrap();
        rig
    }

    #[test]
    fn the_largest_end_first_and_only_as_many_as_needed() {
        let rig = rig("1mb");
        let server = &rig.server;
        let clients: Vec<_> = (1000..1004).map(|id| client_without_socket(id, 0)).collect();
        clients.iter().for_each(|client| server.clients.add(client.clone()));
        clients[3].no_evict.store(true, Relaxed);
        let killed = || clients.iter().map(|client| client.killed.load(Relaxed)).collect::<Vec<_>>();
        for (client, kib) in clients.iter().zip([100, 400, 200, 300]) {
            assert!(!note(server, client, kib << 10));
        }
        assert!(note(server, &clients[0], 150 << 10), "1050 KiB are too many");
        assert_eq!(killed(), [false, true, false, false]);
        assert_eq!(server.stats.client_memory_bytes.get(), (650 << 10) + 3 * CONNECTION_BYTES);
        assert_eq!(server.stats.dying_client_bytes.get(), (400 << 10) + CONNECTION_BYTES);
        assert!(note(server, &clients[1], 1 << 20), "what has to end counts no more");
        clients.iter().for_each(|client| forget(server, client));
        assert_eq!(server.stats.client_memory_bytes.get(), 0);
        assert_eq!(server.stats.dying_client_bytes.get(), 0);
        assert_eq!(server.stats.evicted_clients.get(), 1);
    }

    #[test]
    fn others_wait_only_while_much_is_about_to_go() {
        let rig = rig("1mb");
        let server = &rig.server;
        let clients: Vec<_> = (1000..1003).map(|id| client_without_socket(id, 0)).collect();
        clients.iter().for_each(|client| server.clients.add(client.clone()));
        for (client, kib) in clients.iter().zip([400, 200, 300]) {
            assert!(!note(server, client, kib << 10));
        }
        assert!(!is_crowded(server), "nobody ends");
        server.config.set_at_start(Name::maxmemory_clients, "800kb").unwrap();
        assert!(enforce(server) && clients[0].killed.load(Relaxed));
        assert!(is_crowded(server), "half of the limit is still in memory");
        forget(server, &clients[0]);
        assert!(!is_crowded(server));
        server.config.set_at_start(Name::maxmemory_clients, "450kb").unwrap();
        assert!(enforce(server) && clients[2].killed.load(Relaxed));
        server.config.set_at_start(Name::maxmemory_clients, "1500kb").unwrap();
        assert!(!is_crowded(server), "300 KiB are no quarter of the limit");
    }

    #[test]
    fn nobody_ends_who_keeps_nothing() {
        let rig = rig("1kb");
        let client = client_without_socket(1000, 0);
        rig.server.clients.add(client.clone());
        assert!(!note(&rig.server, &client, 0));
        assert!(!client.killed.load(Relaxed));
    }
}
