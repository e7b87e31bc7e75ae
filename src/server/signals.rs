//! SIGTERM and SIGINT ask for an orderly end, as `shutdown-on-sigterm` and `shutdown-on-sigint` say; a second one, once it has
//! begun, does not wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::signal::unix::{SignalKind, signal};

use crate::command::server::{Server, ShutdownRequest};
use crate::config::ShutdownFlags;

/// Waits for signals for as long as the server runs.
pub async fn watch(server: Arc<Server>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if server.shutting_down.load(Relaxed) {
            tracing::warn!("{name} again: leaving at once; what is acknowledged is in the log");
            std::process::exit(1);
        }
        tracing::info!("{name}: shutting down");
        let flags = if name == "SIGTERM" {
            server.config.shutdown_on_sigterm()
        } else {
            server.config.shutdown_on_sigint()
        };
        if flags.contains(ShutdownFlags::SAVE) && server.store.get().is_some() {
            tokio::spawn(save_and_end(server.clone(), flags));
        } else {
            end(&server, flags);
        }
    }
}

fn end(server: &Server, flags: ShutdownFlags) {
    server.request_shutdown(ShutdownRequest { restart: false, now: flags.contains(ShutdownFlags::NOW) });
}

/// As SHUTDOWN SAVE: without a snapshot there is no end, except by force.
async fn save_and_end(server: Arc<Server>, flags: ShutdownFlags) {
    match server.snapshots.request_and_wait(server.clock.wall_ms()).await {
        Ok(Err(error)) if !flags.contains(ShutdownFlags::FORCE) => {
            tracing::error!("no shutdown, because the snapshot was not made: {error}");
        }
        _ => end(&server, flags),
    }
}
