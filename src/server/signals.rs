//! SIGTERM and SIGINT ask for an orderly end; a second one does not wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::signal::unix::{SignalKind, signal};

use crate::command::server::{Server, ShutdownRequest};

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
        server.request_shutdown(ShutdownRequest { restart: false, now: false });
    }
}
