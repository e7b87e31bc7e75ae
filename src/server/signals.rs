//! SIGTERM and SIGINT ask for an orderly end, as `shutdown-on-sigterm` and `shutdown-on-sigint` say; a second one, once it has
//! begun, does not wait for it. SIGHUP opens the log file anew, and never ends the server.
//!
//! They have a thread of their own, which is there for as long as the process: whoever ends the server may have to wait for a disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::server::{Server, ShutdownRequest};
use crate::config::ShutdownFlags;
use crate::disk::appender::Appender;

/// From here on signals are caught. `log_file` is what SIGHUP opens anew.
pub fn start(server: Arc<Server>, log_file: Option<Arc<Appender>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let caught = {
        let _inside = runtime.enter();
        Caught {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        }
    };
    let work = move || runtime.block_on(watch(server, caught, log_file));
    std::thread::Builder::new().name("signals".to_owned()).spawn(work)?;
    Ok(())
}

struct Caught {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

async fn watch(server: Arc<Server>, mut caught: Caught, log_file: Option<Arc<Appender>>) {
    loop {
        let name = tokio::select! {
            _ = caught.terminate.recv() => "SIGTERM",
            _ = caught.interrupt.recv() => "SIGINT",
            _ = caught.hangup.recv() => {
                reopen(log_file.as_deref());
                continue;
            }
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

/// As logrotate and its like expect it of SIGHUP.
fn reopen(log_file: Option<&Appender>) {
    match log_file.map(Appender::reopen) {
        None => tracing::info!("SIGHUP: the log is standard output, so there is nothing to open anew"),
        Some(Ok(())) => tracing::info!("SIGHUP: the log file was opened anew"),
        Some(Err(error)) => tracing::warn!(
            "SIGHUP: the log file can't be opened anew: {error}; the old one stays in use. Let the user that runs the server write in \
             its folder."
        ),
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
