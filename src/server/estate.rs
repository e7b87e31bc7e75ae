//! What a connection leaves when it ends: watched keys and queued commands, by the ten thousands if its client meant harm. They are
//! given up piece by piece, one connection's at a time, and in between all others are served.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::command::clients::Client;
use crate::command::server::Server;
use crate::command::session::{Multi, Session, Watched};
use crate::engine::transactions;
use crate::keyspace::waiters::WatchFlag;

use super::client_memory;

/// Keys and commands given up at a time: some tens of microseconds.
const PIECE: usize = 128;

pub struct Estate {
    client: Arc<Client>,
    watched: Box<dyn Iterator<Item = Watched>>,
    watch_flag: WatchFlag,
    multi: Multi,
    /// Keys and commands, at first.
    len: usize,
}

impl Estate {
    /// Takes it from the session of a connection that does nothing any more.
    pub fn of(session: &mut Session) -> Self {
        let multi = session.multi.take().unwrap_or_default();
        Self {
            client: session.client.clone(),
            len: session.watched.len() + multi.queue.len(),
            watched: Box::new(session.watched.take()),
            watch_flag: std::mem::take(&mut session.watch_flag),
            multi,
        }
    }

    /// Gives all of it up. `turn`: one's at a time.
    pub async fn settle(mut self, server: &Server, turn: &Semaphore) {
        if self.len > PIECE {
            let _turn = turn.acquire().await;
            for _ in 0..self.len / PIECE {
                self.settle_piece(server);
                tokio::task::yield_now().await;
            }
        }
        self.settle_piece(server);
        // `maxmemory-clients` counts it until now.
        client_memory::forget(server, &self.client);
    }

    fn settle_piece(&mut self, server: &Server) {
        transactions::unwatch_keys(server, self.watched.by_ref().take(PIECE), &self.watch_flag);
        let kept = self.multi.queue.len().saturating_sub(PIECE);
        self.multi.queue.truncate(kept);
    }
}
